"""What ComfyUI accepts in silence and does otherwise than was written. Pure; judges nothing that it would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ..workflows.page_inputs import is_page_input
from .schema import InputSpec, input_specs, is_link


def oddities(graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say, a sentence each, what a valid graph in API format will not do as it stands there.

    ComfyUI rounds sizes off the step down (100×100 gives 96×96), turns texts into numbers, cuts 64.7 to 64, and ignores
    inputs that a node does not have, such as misspelt ones.
    """
    for node_id, node in graph.items():
        schema = schemas.get(node.get("class_type"), {})
        specs, hidden = input_specs(schema), (schema.get("input") or {}).get("hidden") or {}
        if not specs:
            continue
        place = f"Node {node_id} ({node['class_type']})"
        for name, value in (node.get("inputs") or {}).items():
            if name in specs:
                yield from (f"{place}: {text}" for text in _odd_value(specs[name], value))
            elif name not in hidden and not is_page_input(node["class_type"], name):
                close = get_close_matches(name, list(specs), n=1)
                yield f"{place} has no input {name!r}; it is ignored{f' (did you mean {close[0]}?)' if close else ''}"


def _odd_value(spec: InputSpec, value: Any) -> Iterator[str]:
    if is_link(value) or spec.type != "INT":
        return
    if isinstance(value, str | float) and not isinstance(value, bool):
        try:
            number = int(value)
        except (ValueError, OverflowError):
            return  # refused anyway
        if number != value:
            yield f"{spec.name}={value!r} is read as {number}"
        value = number
    step, low = spec.config.get("step", 1), spec.config.get("min", 0)
    if isinstance(value, int) and isinstance(step, int) and step > 1 and isinstance(low, int) and (value - low) % step:
        yield f"{spec.name}={value} is off its step of {step}; the node rounds it down to {value - (value - low) % step}"
