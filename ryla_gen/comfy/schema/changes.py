"""Compare the node classes of two releases of ComfyUI: classes gone, inputs new, gone or changed.

Pure. Compares what decides whether a graph is accepted and what it does; tooltips and the page's widgets do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .base import InputSpec, Schemas, input_specs, outputs_of

ChangeKind = Literal["class gone", "input gone", "input new", "input changed", "outputs changed"]

COMPARED = ("default", "min", "max", "step")
"""Parts of an input's configuration that are compared, beside its type and options."""
LISTED = 6
"""Options that are named at most."""


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One difference of a node class."""

    kind: ChangeKind
    class_type: str
    input: str = ""
    """Name of the input; empty where it is about the whole class."""
    text: str = ""
    """What is different, in words."""

    def __str__(self) -> str:
        """Return the change in one line."""
        name = f"{self.class_type}.{self.input}" if self.input else self.class_type
        return f"{name}: {self.kind}{f': {self.text}' if self.text else ''}"


def class_changes(before: Schemas, after: Schemas, classes: Iterable[str]) -> Iterator[ClassChange]:
    """Yield what is different of some classes; of one that neither has, nothing.

    Args:
        before: the schemas of the release that is left.
        after: those of the other one.
        classes: names of the classes.

    """
    for name in sorted(classes):
        if name in before and name not in after:
            yield ClassChange("class gone", name)
        elif name in before:
            yield from _changes_of_class(name, before, after)


def _changes_of_class(name: str, before: Schemas, after: Schemas) -> Iterator[ClassChange]:
    old, new = input_specs(before[name]), input_specs(after[name])
    for item in dict.fromkeys([*old, *new]):
        if item not in new:
            yield ClassChange("input gone", name, item)
        elif item not in old:
            yield ClassChange("input new", name, item, _new_text(new[item]))
        elif text := "; ".join(_differences(old[item], new[item])):
            yield ClassChange("input changed", name, item, text)
    if outputs_of(before[name]) != outputs_of(after[name]):
        yield ClassChange(
            "outputs changed", name, "", f"{_list_text(outputs_of(before[name]))} → {_list_text(outputs_of(after[name]))}"
        )


def _new_text(spec: InputSpec) -> str:
    default = f", default {spec.config['default']!r}" if "default" in spec.config else ""
    return f"{_type_text(spec)}, {'required' if spec.required else 'optional'}{default}"


def _differences(old: InputSpec, new: InputSpec) -> Iterator[str]:
    if _type_text(old) != _type_text(new):
        yield f"type {_type_text(old)} → {_type_text(new)}"
    if old.required != new.required:
        yield "now required" if new.required else "now optional"
    if gone := [item for item in old.options or () if item not in (new.options or ())]:
        yield f"options gone: {_list_text(gone)}"
    if more := [item for item in new.options or () if item not in (old.options or ())]:
        yield f"options new: {_list_text(more)}"
    for part in COMPARED:
        if old.config.get(part) != new.config.get(part):
            yield f"{part} {old.config.get(part)!r} → {new.config.get(part)!r}"


def _type_text(spec: InputSpec) -> str:
    """The type, the same for both dialects of enums."""
    return "COMBO" if spec.options is not None else str(spec.type)


def _list_text(items: Iterable[Any]) -> str:
    names = list(map(str, items))
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
