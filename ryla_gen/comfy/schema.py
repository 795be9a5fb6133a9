"""Checks a graph against a server's node schemas (``/object_info``), with ComfyUI's own verdicts.

Pure: takes plain data, returns plain data. Knows no network, no workflow, no file system. Nothing here recurses,
so that a hostile graph (a chain of ten thousand nodes, a circle) costs time in proportion to its size and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Schemas = Mapping[str, Mapping[str, Any]]
"""Node class name to its ``/object_info`` entry."""

UploadCheck = Callable[[str, str, Any], str | None]
"""``check(class_type, input_name, value)`` for inputs that name an uploaded file; returns what is wrong, or None."""

LONGEST_LISTED_ENUM = 20
"""ComfyUI spells the options out in its message up to this many."""

MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".onnx", ".pkl")
"""What the name of a weights file ends with; the first eight but one are ComfyUI's own list."""

NO_FILES = ("none", "None", "[None]", "pixel_space")
"""Options that stand in lists of weights files without being one; a server without such files lists nothing else."""

_UPLOAD_FLAGS = ("image_upload", "video_upload", "audio_upload", "file_upload")
_DYNAMIC = re.compile(r"COMFY_(?!MATCHTYPE)\w+_V3")
"""Types of newer servers that stand for a group of inputs under names of their own; what they require is theirs to check."""
_UNCHECKED = frozenset({("LoadLatent", "latent")})
"""Enums of input files without a flag: ComfyUI's nodes look for the file themselves and skip the list."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ComfyUI would answer to this graph."""

    ok: bool
    """True when at least one output can run; ``node_errors`` may still name outputs that were dropped."""
    error: dict[str, Any] | None
    """ComfyUI's ``{type, message, details, extra_info}``; None when accepted."""
    node_errors: dict[str, Any]
    """Node id to ``{errors, dependent_outputs, class_type}``."""
    outputs: list[str]
    """Ids of the output nodes that passed."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a node class."""

    name: str
    type: Any
    """``INT``, ``MODEL``, … or, in the older enum dialect, the list of options itself."""
    config: Mapping[str, Any]
    required: bool

    @property
    def options(self) -> Sequence[Any] | None:
        """The options of an enum, whichever dialect it is written in; None for any other input."""
        if isinstance(self.type, list):
            return self.type
        if self.type == "COMBO":
            return list(self.config.get("options") or [])
        return None

    @property
    def uploads(self) -> bool:
        """True for an input that names an uploaded file; its list is never enforced."""
        return any(self.config.get(flag) for flag in _UPLOAD_FLAGS)


def input_specs(schema: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Every input of a node class that a graph may set, required ones first."""
    specs: dict[str, InputSpec] = {}
    sections = schema.get("input") or {}
    for section in ("required", "optional"):
        for name, entry in (sections.get(section) or {}).items():
            config = entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}
            dynamic = isinstance(entry[0], str) and _DYNAMIC.fullmatch(entry[0])
            specs[name] = InputSpec(name, entry[0], config, section == "required" and not dynamic)
    return specs


def file_inputs(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the inputs that choose a weights file of the server: enums that are empty or list such files."""
    return tuple(spec.name for spec in input_specs(schema).values() if not spec.uploads and _lists_models(spec.options))


def upload_inputs(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the inputs that choose an uploaded file."""
    return tuple(spec.name for spec in input_specs(schema).values() if spec.uploads)


def _lists_models(options: Sequence[Any] | None) -> bool:
    if options is None:
        return False
    files = [option for option in options if option not in NO_FILES]
    return not files or any(isinstance(option, str) and option.endswith(MODEL_SUFFIXES) for option in files)


def is_link(value: Any) -> bool:
    """True for a well-formed link: ``[node id, output slot]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def converted_inputs(node: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs a node will see: literals converted to their types, links as they are.

    Inputs that the schema does not know are left out and defaults are not filled in, as ComfyUI does it.
    """
    given = node.get("inputs") or {}
    specs = input_specs(schema)
    return {
        name: value if isinstance(value, list) else _converted(value, specs[name].type)
        for name, value in given.items()
        if name in specs
    }


def _converted(value: Any, kind: Any) -> Any:
    if isinstance(value, Mapping) and "__value__" in value:
        value = value["__value__"]
    if kind == "INT":
        return int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "STRING":
        return str(value)
    if kind == "BOOLEAN":
        return bool(value)
    return value


def types_fit(received: Any, wanted: Any) -> bool:
    """True when an output of one type may be linked to an input of the other; both may list types with commas."""
    if received == wanted or "*" in (received, wanted) or "COMFY_MATCHTYPE_V3" in (received, wanted):
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    left, right = ({part.strip() for part in text.split(",")} for text in (received, wanted))
    return bool(left & right) or "*" in left | right


@dataclass(slots=True)
class _NodeCheck:
    """What one node's own inputs say, before its ancestors are asked."""

    errors: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[InputSpec, str]] = field(default_factory=list)
    crash: str = ""
    """Why ComfyUI's own check would raise here; it then blames the input through which it came."""
    crash_type: str = ""


def _error(kind: str, message: str, details: str, **extra: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _entry(spec: InputSpec) -> list[Any]:
    return [spec.type, dict(spec.config)]


class _Check:
    """One walk over one graph."""

    def __init__(self, graph: Mapping[str, Any], schemas: Schemas, check: UploadCheck | None) -> None:
        self.graph = graph
        self.schemas = schemas
        self.check_upload = check
        self.checks: dict[str, _NodeCheck] = {}
        self.good: dict[str, bool] = {}

    def node(self, node_id: str) -> _NodeCheck:
        """Check a node's own inputs."""
        node = self.graph[node_id]
        result = _NodeCheck()
        inputs = node.get("inputs")
        if not isinstance(inputs, Mapping):
            result.crash, result.crash_type = f"node {node_id} has no 'inputs'", "KeyError"
            return result
        for spec in input_specs(self.schemas[node["class_type"]]).values():
            if spec.name not in inputs:
                if spec.required:
                    result.errors.append(
                        _error("required_input_missing", "Required input is missing", spec.name, input_name=spec.name)
                    )
            elif isinstance(inputs[spec.name], list):
                self._link(node_id, spec, inputs[spec.name], result)
            else:
                result.errors.extend(self._literal(node["class_type"], spec, inputs[spec.name]))
            if result.crash:
                break
        return result

    def _link(self, node_id: str, spec: InputSpec, value: list[Any], result: _NodeCheck) -> None:
        extra = {"input_name": spec.name, "input_config": _entry(spec)}
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            result.errors.append(_error("bad_linked_input", message, spec.name, **extra, received_value=value))
            return
        source, slot = value
        where = f"input '{spec.name}' of node {node_id} links to"
        if not isinstance(source, str) or source not in self.graph:
            result.crash, result.crash_type = f"{where} node {source!r}, which is not in the graph", "KeyError"
            return
        outputs = self.schemas[self.graph[source]["class_type"]].get("output") or []
        if type(slot) is not int or not 0 <= slot < len(outputs):
            found = f"{where} output {slot!r} of node {source}, which has {len(outputs)}"
            result.crash, result.crash_type = found, "IndexError"
            return
        if not types_fit(outputs[slot], spec.type):
            details = f"{spec.name}, received_type({outputs[slot]}) mismatch input_type({spec.type})"
            message = "Return type mismatch between linked nodes"
            extra |= {"received_type": outputs[slot], "linked_node": value}
            result.errors.append(_error("return_type_mismatch", message, details, **extra))
            return
        result.links.append((spec, source))

    def _literal(self, class_type: str, spec: InputSpec, value: Any) -> Iterator[dict[str, Any]]:
        extra = {"input_name": spec.name, "input_config": _entry(spec), "received_value": value}
        try:
            value = _converted(value, spec.type)
        except (ValueError, TypeError, OverflowError) as problem:
            message = f"Failed to convert an input value to a {spec.type} value"
            details = f"{spec.name}, {value}, {problem}"
            yield _error("invalid_input_type", message, details, **extra, exception_message=str(problem))
            return
        extra["received_value"] = value
        if spec.uploads or (class_type, spec.name) in _UNCHECKED:
            problem_found = self.check_upload(class_type, spec.name, value) if self.check_upload else None
            if problem_found:
                message = "Custom validation failed for node"
                yield _error("custom_validation_failed", message, f"{spec.name} - {problem_found}", **extra)
            return
        yield from _out_of_range(spec, value, extra)
        yield from _not_an_option(spec, value, extra)

    def walk(self, start: str) -> bool:
        """Decide a node and all its ancestors, without recursion; True when they are all right."""
        open_nodes: dict[str, Iterator[tuple[InputSpec, str]]] = {}
        path: list[tuple[str, InputSpec | None]] = [(start, None)]
        while path:
            node_id, through = path[-1]
            if node_id not in open_nodes:
                if node_id in self.good:
                    path.pop()
                    continue
                self.checks[node_id] = self._own(node_id, through)
                open_nodes[node_id] = iter(self.checks[node_id].links)
            for spec, source in open_nodes[node_id]:
                if source in open_nodes:
                    self.checks[source].errors.append(_cycle(node_id, spec, source))
                elif source not in self.good:
                    path.append((source, spec))
                    break
            else:
                del open_nodes[node_id]
                path.pop()
                own = self.checks[node_id]
                self.good[node_id] = not own.errors and all(self.good.get(source, False) for _, source in own.links)
        return self.good[start]

    def _own(self, node_id: str, through: InputSpec | None) -> _NodeCheck:
        result = self.node(node_id)
        if result.crash:
            result.errors = [_crash(result, node_id, through)]
        return result

    def errors_behind(self, output: str) -> Iterator[str]:
        """Ids of the nodes with errors of their own that ``output`` depends on."""
        seen = {output}
        todo = [output]
        while todo:
            node_id = todo.pop()
            if self.checks[node_id].errors:
                yield node_id
            for _, source in self.checks[node_id].links:
                if source not in seen and not self.good.get(source, False):
                    seen.add(source)
                    todo.append(source)


def _out_of_range(spec: InputSpec, value: Any, extra: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not isinstance(value, int | float):
        return
    low, high = spec.config.get("min"), spec.config.get("max")
    if isinstance(low, int | float) and value < low:
        yield _error("value_smaller_than_min", f"Value {value} smaller than min of {low}", spec.name, **extra)
    if isinstance(high, int | float) and value > high:
        yield _error("value_bigger_than_max", f"Value {value} bigger than max of {high}", spec.name, **extra)


def _not_an_option(spec: InputSpec, value: Any, extra: dict[str, Any]) -> Iterator[dict[str, Any]]:
    options = spec.options
    if options is None or value in options or "remote" in spec.config:  # remote: the web page fetches the options
        return
    listed = str(list(options))
    if len(options) > LONGEST_LISTED_ENUM:
        listed = f"(list of length {len(options)})"
        extra = extra | {"input_config": None}
    yield _error("value_not_in_list", "Value not in list", f"{spec.name}: '{value}' not in {listed}", **extra)


def _cycle(node_id: str, spec: InputSpec, source: str) -> dict[str, Any]:
    details = f"input '{spec.name}' of node {node_id} leads back to node {source}"
    return _error("dependency_cycle", "The graph runs in a circle", details, input_name=spec.name, linked_node=[source, 0])


def _crash(result: _NodeCheck, node_id: str, through: InputSpec | None) -> dict[str, Any]:
    extra: dict[str, Any] = {"exception_message": result.crash, "exception_type": result.crash_type, "traceback": []}
    if through is None:
        return _error("exception_during_validation", "Exception when validating node", result.crash, **extra)
    extra |= {"input_name": through.name, "input_config": _entry(through), "linked_node": [node_id, 0]}
    return _error("exception_during_inner_validation", "Exception when validating inner node", result.crash, **extra)


def _refused(kind: Literal["invalid_prompt", "prompt_no_outputs"], message: str, details: str = "") -> Verdict:
    return Verdict(False, _error(kind, message, details), {}, [])


def _unknown_node(graph: Mapping[str, Any], schemas: Schemas) -> Verdict | None:
    for node_id, node in graph.items():
        where = f"Node ID '#{node_id}'"
        if not isinstance(node, Mapping) or "class_type" not in node:
            return _refused("invalid_prompt", "Cannot execute because a node is missing the class_type property.", where)
        if not isinstance(node["class_type"], str) or node["class_type"] not in schemas:
            return _refused("invalid_prompt", f"Cannot execute because node {node['class_type']} does not exist.", where)
    return None


def validate(graph: Mapping[str, Any], schemas: Schemas, check: UploadCheck | None = None) -> Verdict:
    """Judge a graph in API format as ComfyUI would.

    ``schemas`` are the server's own (``/object_info``); ``check`` looks for uploaded files, where the caller can.
    """
    unknown = _unknown_node(graph, schemas)
    if unknown:
        return unknown
    outputs = [node_id for node_id, node in graph.items() if schemas[node["class_type"]].get("output_node")]
    if not outputs:
        return _refused("prompt_no_outputs", "Prompt has no outputs")
    walk = _Check(graph, schemas, check)
    good = [output for output in outputs if walk.walk(output)]
    node_errors: dict[str, Any] = {}
    for output in (output for output in outputs if not walk.good[output]):
        for node_id in walk.errors_behind(output):
            blamed = {"errors": walk.checks[node_id].errors, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
            node_errors.setdefault(node_id, blamed)["dependent_outputs"].append(output)
    if good:
        return Verdict(True, None, node_errors, good)
    own = [error for output in outputs for error in walk.checks[output].errors]
    details = "\n".join(f"{error['message']}: {error['details']}" for error in own)
    return Verdict(False, _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details), node_errors, [])
