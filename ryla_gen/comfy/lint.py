"""Report what ComfyUI accepts silently but runs differently than written. Must not judge what it would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ..graphs.page_inputs import is_page_input
from .schema import InputSpec, choices_of, input_specs, is_link, live_specs, unknown_inputs

UNDECLARED = ("control_after_generate",)
"""Inputs that ComfyUI's own export writes although no schema has them."""


def oddities(graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Describe, a sentence each, what a valid graph in API format will not do as it is written.

    ComfyUI rounds sizes off the step down (100×100 gives 96×96), turns texts into numbers, cuts 64.7 to 64, and ignores
    inputs that a node does not have, such as misspelt ones.
    """
    for node_id, node in graph.items():
        schema, inputs = schemas.get(node.get("class_type"), {}), node.get("inputs") or {}
        specs = live_specs(schema, inputs)
        if not specs:
            continue
        place = f"Node {node_id} ({node['class_type']})"
        ignored = dict(ignored_inputs(node, schema))
        for name, value in inputs.items():
            if name in ignored:
                close = f" (did you mean {ignored[name][0]}?)" if ignored[name] else ""
                yield f"{place} has no input {name!r}; it is ignored{close}"
            elif name in specs:
                yield from (f"{place}: {text}" for text in _odd_value(specs[name], value))
        yield from (f"{place}: {text}" for _, text in unknown_choices(schema, inputs))


def ignored_inputs(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield inputs that a server ignores silently, each with the names that may have been meant."""
    known = live_specs(schema, node.get("inputs") or {})
    for name in unknown_inputs(node, schema):
        if name not in UNDECLARED and not is_page_input(str(node.get("class_type")), name):
            yield name, get_close_matches(name, list(known), n=2)


def unknown_choices(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield choices with inputs of their own (``resize_type``) that are missing or not among the options: the node fails later."""
    for spec in {**input_specs(schema), **live_specs(schema, inputs)}.values():
        keys = [option.get("key") for option in choices_of(spec)] if spec.dynamic else []
        if keys and not is_link(inputs.get(spec.name)) and inputs.get(spec.name) not in keys:
            said = (
                f"{spec.name}={inputs[spec.name]!r} is not one of its options" if spec.name in inputs else f"{spec.name} is missing"
            )
            yield spec.name, f"{said}, which no server checks and the node needs ({', '.join(map(str, keys))})"


def _odd_value(spec: InputSpec, value: Any) -> Iterator[str]:
    if is_link(value) or spec.type != "INT":
        return
    if isinstance(value, str | float) and not isinstance(value, bool):
        try:
            number = int(value)
        except (ValueError, OverflowError):
            return  # the server refuses it anyway
        if number != value:
            yield f"{spec.name}={value!r} is read as {number}"
        value = number
    step, low = spec.config.get("step", 1), spec.config.get("min", 0)
    if isinstance(value, int) and isinstance(step, int) and step > 1 and isinstance(low, int) and (value - low) % step:
        yield f"{spec.name}={value} is not a multiple of its step {step}; the node rounds it down to {value - (value - low) % step}"
