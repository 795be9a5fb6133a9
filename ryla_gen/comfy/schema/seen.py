"""Reduce a node's inputs to those that reach the node, with their literals converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...models.node_schemas import GRAPH_VERSION
from .base import convert, hidden_inputs, input_specs
from .dynamic import live_specs
from .releases import rules_of


def converted_inputs(node: Mapping[str, Any], schema: Mapping[str, Any], *, version: str = GRAPH_VERSION) -> dict[str, Any]:
    """Return the inputs a node will see: literals converted to their types, links as they are.

    Inputs that the schema does not know are left out and defaults are not filled in, as ComfyUI does it.
    """
    given = node.get("inputs") or {}
    specs = live_specs(schema, given)
    takes_all = _takes_all(str(node.get("class_type")), version)
    return {
        name: value if isinstance(value, list) or name not in specs else convert(value, specs[name].type)
        for name, value in given.items()
        if name in specs or takes_all
    }


def unknown_inputs(node: Mapping[str, Any], schema: Mapping[str, Any], *, version: str = GRAPH_VERSION) -> Iterator[str]:
    """Yield the names of inputs that a graph sets and the node does not have; ComfyUI ignores them."""
    given = node.get("inputs") or {}
    known = {
        *live_specs(schema, given),
        *hidden_inputs(schema),
        *(spec.name for spec in input_specs(schema).values() if spec.dynamic),
    }
    takes_all = _takes_all(str(node.get("class_type")), version)
    return iter(()) if takes_all else (name for name in given if name not in known)


def _takes_all(class_type: str, version: str) -> bool:
    own = rules_of(version).own_checks.get(class_type)
    return own is not None and own.unknown
