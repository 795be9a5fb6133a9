"""Walk a graph from its outputs to its sources, as ComfyUI does, and collect what it would answer.

Nothing here recurses, so that a hostile graph (a chain of ten thousand nodes, a circle) costs time in proportion to its size.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...models.node_schemas import GRAPH_VERSION
from .base import InputSpec, Schemas, UploadCheck, input_specs, is_output, outputs_of
from .dynamic import expand_specs
from .releases import OwnCheck, Rules, rules_of
from .renaming import rename_classes, stumble
from .values import CheckFailedError, Error, entry, error, judge_itself, judge_literal, types_fit

LONGEST_NAMED_CIRCLE = 100
"""Nodes of a circle that its errors name."""

_Steps = Generator[str, bool, tuple[bool, list[Error]]]
"""The check of one node: asks for the verdict on other nodes as it goes, and ends with its own."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer that ComfyUI would give to this graph."""

    ok: bool
    """True when at least one output can run; ``node_errors`` may still name outputs that were dropped."""
    error: dict[str, Any] | None
    """ComfyUI's ``{type, message, details, extra_info}``; None when accepted. Type ``http_500``: it would fail to answer."""
    node_errors: dict[str, Any]
    """Node id to ``{errors, dependent_outputs, class_type}``."""
    outputs: list[str]
    """Ids of the output nodes that passed."""


class _Judge:
    """One walk over one graph."""

    def __init__(self, graph: Mapping[str, Any], schemas: Schemas, check: UploadCheck | None, rules: Rules) -> None:
        self.graph = graph
        self.schemas = schemas
        self.check = check
        self.rules = rules
        self.specs: dict[str, dict[str, InputSpec]] = {}
        """Class to its inputs, read once."""
        self.judged: dict[str, tuple[bool, list[Error]]] = {}
        self.behind: dict[str, list[str]] = {}
        """Node to the nodes that it asked about."""

    def output(self, start: str) -> bool:
        """Check an output node and everything that it depends on."""
        if start not in self.judged:
            self._run(start)
        return self.judged[start][0]

    def _run(self, start: str) -> None:
        path: dict[str, _Steps] = {start: self._node(start)}
        answer: bool | None = None
        fault: CheckFailedError | None = None
        while path:
            node_id, steps = next(reversed(path.items()))
            try:
                asked = steps.throw(fault) if fault is not None else steps.send(answer)  # type: ignore[arg-type]
            except StopIteration as end:
                self._close(node_id, *end.value)
                answer, fault = self.judged[node_id][0], None
                del path[node_id]
            except CheckFailedError as problem:
                del path[node_id]
                if not path:
                    extra = {"exception_type": problem.kind, "traceback": []}
                    text = "Exception when validating node"
                    self.judged[node_id] = (False, [error("exception_during_validation", text, str(problem), **extra)])
                fault = problem
            else:
                answer, fault = None, None
                if asked in self.judged:
                    answer = self.judged[asked][0]
                elif asked in path:
                    self._circle([*path][[*path].index(asked) :])
                    answer = False
                else:
                    path[asked] = self._node(asked)

    def _close(self, node_id: str, good: bool, errors: list[Error]) -> None:
        """Keep a node's own verdict, beside what a circle through it has left there."""
        before, found = self.judged.get(node_id, (True, []))
        self.judged[node_id] = (before and good, found + errors)

    def _circle(self, nodes: list[str]) -> None:
        """Blame a circle on its nodes. Releases that end in a recursion error there refuse the prompt and name none."""
        named = nodes[:LONGEST_NAMED_CIRCLE]
        details = " -> ".join(f"{node_id} ({self.graph[node_id]['class_type']})" for node_id in [*named, nodes[0]])
        for node_id in nodes:
            extra = {"node_id": node_id, "cycle_nodes": named}
            self.judged[node_id] = (False, [error("dependency_cycle", "Dependency cycle detected", details, **extra)])

    def _node(self, node_id: str) -> _Steps:
        node = self.graph[node_id]
        inputs, class_type = node.get("inputs"), node["class_type"]
        if isinstance(inputs, list | str):  # ComfyUI's `name in inputs` finds nothing; newer releases fail earlier
            inputs = {}
        if not isinstance(inputs, Mapping):
            raise CheckFailedError(f"node {node_id} has no 'inputs'", "TypeError" if "inputs" in node else "KeyError")
        if class_type not in self.specs:
            self.specs[class_type] = input_specs(self.schemas[class_type])
        specs = expand_specs(self.specs[class_type], inputs)
        grouped = specs is not self.specs[class_type]
        own = self.rules.own_checks.get(class_type)
        values = dict(inputs) if own else {}
        good, errors = True, []
        for spec in specs.values():
            if spec.name not in inputs:
                errors += [_missing(spec, grouped=grouped)] if spec.required else []
            elif isinstance(inputs[spec.name], list):
                good &= yield from self._link(node_id, spec, inputs[spec.name], errors)
            else:
                covered = own.covers(spec.name) if own else spec.uploads and spec.options is not None
                values[spec.name], wrong = judge_literal(spec, inputs[spec.name], self.rules, covered=covered)
                if wrong:
                    errors.append(wrong)
                elif covered and own is None:
                    errors += self._upload(class_type, spec, values[spec.name])
        if own is not None:
            errors += self._itself(own, class_type, specs, values)
        return good and not errors, errors

    def _upload(self, class_type: str, spec: InputSpec, value: Any) -> list[Error]:
        """Check the name of an uploaded file in a node of a pack, whose own function is not known."""
        found = self.check(class_type, spec.name, value) if self.check else None
        return [_custom(spec.name, found)] if found else []

    def _itself(self, own: OwnCheck, class_type: str, specs: Mapping[str, InputSpec], values: Mapping[str, Any]) -> list[Error]:
        linked = {name for name, value in values.items() if _counts_as_link(value, specs.get(name))}
        given = {
            name: None if name in linked else value
            for name, value in values.items()
            if own.covers(name) and (name in specs or name in linked or own.unknown)
        }
        found = judge_itself(own, class_type, given, self.check)
        return [_custom(name, found) for name in given] if found else []

    def _link(self, node_id: str, spec: InputSpec, value: list[Any], errors: list[Error]) -> Generator[str, bool, bool]:
        """Check a link and the node behind it; False when that node has an error."""
        about = {"input_name": spec.name}
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            extra = {**about, "input_config": entry(spec), "received_value": value}
            errors.append(error("bad_linked_input", message, spec.name, **extra))
            return True
        source: str = value[0]
        received = self._type_behind(node_id, spec, value)
        if not types_fit(received, spec.type):
            details = f"{spec.name}, received_type({received}) mismatch input_type({spec.type})"
            extra = {**about, "input_config": entry(spec), "received_type": received, "linked_node": value}
            errors.append(error("return_type_mismatch", "Return type mismatch between linked nodes", details, **extra))
            return True
        self.behind.setdefault(node_id, []).append(source)
        try:
            return (yield source)
        except CheckFailedError as problem:
            reason = {"exception_message": str(problem), "exception_type": problem.kind, "traceback": [], "linked_node": value}
            text, extra = "Exception when validating inner node", {**about, "input_config": entry(spec), **reason}
            self.judged[source] = (False, [error("exception_during_inner_validation", text, str(problem), **extra)])
            return False

    def _type_behind(self, node_id: str, spec: InputSpec, value: list[Any]) -> Any:
        """Return the type of the output that a link names; index it as a Python tuple, so a negative slot counts from the end."""
        source, slot = value
        where = f"input '{spec.name}' of node {node_id} links to"
        try:
            known = source in self.graph
        except TypeError:
            raise CheckFailedError(f"{where} {source!r}, which is not a node id", "TypeError") from None
        if not known:
            raise CheckFailedError(f"{where} node {source!r}, which is not in the graph", "KeyError")
        outputs = outputs_of(self.schemas[self.graph[source]["class_type"]])
        try:
            return outputs[slot]
        except (IndexError, TypeError) as problem:
            text = f"{where} output {slot!r} of node {source}, which has {len(outputs)}"
            raise CheckFailedError(text, type(problem).__name__) from None

    def errors_behind(self, output: str) -> Iterator[str]:
        """Yield the ids of the nodes with errors of their own that an output depends on."""
        seen, todo = {output}, [output]
        while todo:
            node_id = todo.pop()
            good, errors = self.judged.get(node_id, (True, []))
            if errors:
                yield node_id
            found = dict.fromkeys(self.behind.get(node_id, ())) if not good else {}
            todo += [source for source in found if source not in seen]
            seen.update(found)


def _counts_as_link(value: Any, spec: InputSpec | None) -> bool:
    """Whether ComfyUI takes a value for a link when it gathers what a class's own function gets."""
    if spec is not None and spec.config.get("rawLink"):
        return False
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)


def _missing(spec: InputSpec, *, grouped: bool) -> Error:
    details = spec.name.rpartition(".")[2] if grouped else spec.name
    return error("required_input_missing", "Required input is missing", details, input_name=spec.name)


def _custom(name: str, found: str) -> Error:
    return error("custom_validation_failed", "Custom validation failed for node", f"{name} - {found}", input_name=name)


def _refusal(kind: str, message: str, details: str = "", **extra: Any) -> Verdict:
    return Verdict(False, error(kind, message, details, **extra), {}, [])


def _unreadable(graph: Mapping[str, Any], schemas: Schemas, rules: Rules) -> Verdict | None:
    """Return the verdict on a graph with an unknown node class or an entry that is not a node; None when there is neither."""
    for node_id, node in graph.items():
        where = f"Node ID '#{node_id}'"
        named = isinstance(node, Mapping) or (isinstance(node, str | list) and rules.missing_class == "invalid_prompt")
        if not named:
            return _failing(f"{where} is not a node.")
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        if isinstance(class_type, str) and class_type in schemas:
            continue
        if isinstance(class_type, list | dict):
            return _failing(f"{where} has a class_type that is not a text.")
        if rules.missing_class == "missing_node_type":
            return _missing_class(node_id, node, where)
        if "class_type" not in node:
            return _refusal("invalid_prompt", "Cannot execute because a node is missing the class_type property.", where)
        return _refusal("invalid_prompt", f"Cannot execute because node {class_type} does not exist.", where)
    return None


def _missing_class(node_id: str, node: Mapping[str, Any], where: str) -> Verdict:
    meta = node.get("_meta", {})
    if not isinstance(meta, Mapping):
        return _failing(f"{where} has a '_meta' that is not a dictionary.")
    title, class_type = meta.get("title"), node.get("class_type")
    text = f"Node '{title or class_type}' not found. The custom node may not be installed."
    if "class_type" not in node:
        text = f"Node '{title or f'ID #{node_id}'}' has no class_type. The workflow may be corrupted or a custom node is missing."
    extra = {"node_id": node_id, "class_type": class_type, "node_title": title or class_type}
    return _refusal("missing_node_type", text, where, **extra)


def _failing(problem: str) -> Verdict:
    return _refusal("http_500", "ComfyUI fails on this graph instead of judging it.", problem)


def validate(
    graph: Mapping[str, Any], schemas: Schemas, check: UploadCheck | None = None, *, version: str = GRAPH_VERSION
) -> Verdict:
    """Validate a graph in API format as ComfyUI would.

    Args:
        graph: node id to class and inputs.
        schemas: the server's own (``/object_info``).
        check: looks for uploaded files, where the caller can.
        version: the release of ComfyUI whose rules count.

    """
    rules = rules_of(version)
    if problem := stumble(graph, schemas, rules):
        return _failing(problem)
    graph = rename_classes(graph, schemas, version=version)
    unknown = _unreadable(graph, schemas, rules)
    if unknown:
        return unknown
    outputs = [node_id for node_id, node in graph.items() if is_output(schemas[node["class_type"]])]
    if not outputs:
        return _refusal("prompt_no_outputs", "Prompt has no outputs")
    walk = _Judge(graph, schemas, check, rules)
    good = [output for output in outputs if walk.output(output)]
    node_errors: dict[str, Any] = {}
    for output in (output for output in outputs if not walk.judged[output][0]):
        for node_id in walk.errors_behind(output):
            blamed = {"errors": walk.judged[node_id][1], "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
            node_errors.setdefault(node_id, blamed)["dependent_outputs"].append(output)
    if good:
        return Verdict(True, None, node_errors, good)
    own = [item for output in outputs for item in walk.judged[output][1]]
    details = "\n".join(f"{item['message']}: {item['details']}" for item in own)
    return Verdict(False, error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details), node_errors, [])
