"""Expand dynamic inputs: the dotted names that one node has, depending on the values that its graph gives it.

ComfyUI's nodes of the newer kind (V3) have inputs that stand for a group: a choice whose options bring inputs of their own
(``resize_type`` and then ``resize_type.width``), a list that grows (``images.image0``, ``images.image1``…), and a slot that brings
inputs once it is linked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .base import InputSpec, input_specs, specs_in

MOST_NAMES = 100
"""ComfyUI's own limit to the names of one growing list."""
MOST_LEVELS = 50
"""Groups within groups that are followed; ComfyUI's own nodes have three."""


def live_specs(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Return every input that a node of this class has, given the values that a graph sets.

    Args:
        schema: the class's ``/object_info`` entry.
        inputs: the node's inputs in API format.

    """
    return expand_specs(input_specs(schema), inputs)


def expand_specs(specs: dict[str, InputSpec], inputs: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Expand the dynamic inputs among ``specs``; return ``specs`` itself where none is dynamic."""
    if not any(spec.dynamic for spec in specs.values()):
        return specs
    found: dict[str, InputSpec] = {}
    todo = [(spec, spec.name, 0) for spec in reversed(specs.values())]
    while todo:
        spec, path, level = todo.pop()
        if not spec.dynamic:
            found[path] = replace(spec, name=path)
            continue
        if spec.type != "COMFY_AUTOGROW_V3" and path in inputs and (chosen := _group(spec, inputs[path])) is not None:
            found[path] = replace(spec, name=path)
            inner = [(item, f"{path}.{item.name}", level + 1) for item in specs_in(chosen)]
            todo += reversed(inner) if level < MOST_LEVELS else ()
        elif spec.type == "COMFY_AUTOGROW_V3":
            found |= {f"{path}.{item.name}": replace(item, name=f"{path}.{item.name}") for item in _grown(spec)}
    return found


def _group(spec: InputSpec, value: Any) -> Any:
    """Return the inputs that a choice or a slot adds; None for a choice that is not among the options."""
    if spec.type == "COMFY_DYNAMICSLOT_V3":
        return spec.config.get("inputs")
    return next((option.get("inputs") or {} for option in choices_of(spec) if option.get("key") == value), None)


def choices_of(spec: InputSpec) -> tuple[Mapping[str, Any], ...]:
    """Return the options of a dynamic choice: ``{"key": …, "inputs": …}`` each."""
    options = spec.config.get("options")
    return tuple(option for option in options if isinstance(option, Mapping)) if isinstance(options, list | tuple) else ()


def _grown(spec: InputSpec) -> Iterator[InputSpec]:
    """Yield the inputs of a growing list: as many as it may have, the first ones required."""
    template = spec.config.get("template")
    template = template if isinstance(template, Mapping) else {}
    model = next(specs_in(template.get("input")), None)
    names, least, most = template.get("names"), template.get("min"), template.get("max")
    if not isinstance(names, list | tuple):
        count = most if isinstance(most, int) else 0
        names = [f"{template.get('prefix', '')}{index}" for index in range(min(count, MOST_NAMES))]
    for index, name in enumerate(names[:MOST_NAMES] if model is not None else ()):
        assert model is not None
        needed = model.required and isinstance(least, int) and index < least
        yield replace(model, name=str(name), required=needed)
