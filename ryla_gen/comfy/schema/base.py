"""Read node schemas: the inputs of a class, which of them name files, and what a literal becomes.

Pure. Schemas of foreign servers may hold anything: what cannot be read is passed over, so that the rest can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schemas = Mapping[str, Mapping[str, Any]]
"""Node class name to its ``/object_info`` entry."""

UploadCheck = Callable[[str, str, Any], str | None]
"""``check(class_type, input_name, value)`` for inputs that name an uploaded file; returns what is wrong, or None."""

MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".onnx", ".pkl")
"""What the name of a weights file ends with; the first eight but one are ComfyUI's own list."""

NO_FILES = ("none", "None", "[None]", "pixel_space")
"""Options that stand in lists of weights files without being one; a server without such files lists nothing else."""

ANYTHING = "*"
"""The type that takes and gives everything; also of an input whose own entry cannot be read."""

_UPLOAD_FLAGS = ("image_upload", "video_upload", "audio_upload", "file_upload")
_DYNAMIC = ("COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3", "COMFY_DYNAMICSLOT_V3")


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
            options = self.config.get("options")
            return list(options) if isinstance(options, list | tuple) else []
        return None

    @property
    def uploads(self) -> bool:
        """True for an input that names an uploaded file; its list is never enforced."""
        return any(self.config.get(flag) for flag in _UPLOAD_FLAGS)

    @property
    def dynamic(self) -> bool:
        """True for one that stands for a group of inputs with names of their own: ``name.inner``."""
        return isinstance(self.type, str) and self.type in _DYNAMIC


def readable_schemas(told: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the node classes of ``/object_info`` that have a schema; a graph cannot use the others."""
    return {name: schema for name, schema in told.items() if isinstance(schema, Mapping)}


def input_specs(schema: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Return every input of a node class that a graph may set, required ones first.

    A dynamic input stands here under its own name alone; ``live_specs`` has those it becomes in one graph.
    """
    return {spec.name: spec for spec in specs_in(schema.get("input") if isinstance(schema, Mapping) else None)}


def specs_in(sections: Any) -> Iterator[InputSpec]:
    """Yield every input of a schema's ``input`` block; a dynamic one is not required by itself."""
    for section in ("required", "optional") if isinstance(sections, Mapping) else ():
        entries = sections.get(section)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            kind, config = _entry(entry)
            spec = InputSpec(str(name), kind, config, section == "required" and kind is not None)
            if kind is None:  # an entry of an unknown form, such as []: accept anything
                spec = InputSpec(str(name), ANYTHING, config, False)
            yield InputSpec(spec.name, spec.type, spec.config, False) if spec.dynamic else spec


def _entry(entry: Any) -> tuple[Any, Mapping[str, Any]]:
    """Type and configuration; no type where the entry has another form."""
    if not isinstance(entry, list | tuple) or not entry or not isinstance(entry[0], str | list):
        return None, {}
    return entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}


def hidden_inputs(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the inputs that the server fills in itself."""
    sections = schema.get("input") if isinstance(schema, Mapping) else None
    hidden = sections.get("hidden") if isinstance(sections, Mapping) else None
    return tuple(map(str, hidden)) if isinstance(hidden, Mapping | list) else ()


def is_output(schema: Mapping[str, Any]) -> bool:
    """Whether a class ends a graph: it saves or shows something."""
    return isinstance(schema, Mapping) and schema.get("output_node") is True


def outputs_of(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Return the types of a class's outputs."""
    outputs = schema.get("output") if isinstance(schema, Mapping) else None
    return outputs if isinstance(outputs, list | tuple) else ()


def file_inputs(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the inputs that choose a weights file of the server: enums that are empty or list such files."""
    return tuple(spec.name for spec in input_specs(schema).values() if not spec.uploads and _lists_models(spec.options))


def upload_inputs(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the inputs that choose an uploaded file."""
    return tuple(spec.name for spec in input_specs(schema).values() if spec.uploads)


def _lists_models(options: Sequence[Any] | None) -> bool:
    if options is None:
        return False
    files = [option for option in options if option not in NO_FILES]
    return not files or any(isinstance(option, str) and option.endswith(MODEL_SUFFIXES) for option in files)


def is_link(value: Any) -> bool:
    """Whether a value is a well-formed link: ``[node id, output slot]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def unwrap(value: Any) -> Any:
    """Unwrap a literal from the wrapping by which ComfyUI tells a list from a link."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def convert(value: Any, kind: Any) -> Any:
    """Convert a literal to what a node with that input type receives.

    Raises:
        ValueError, TypeError, OverflowError: it cannot be converted.

    """
    value = unwrap(value)
    if kind == "INT":
        return int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "STRING":
        return str(value)
    if kind == "BOOLEAN":
        return bool(value)
    return value
