"""Rewrite nodes whose class was renamed or merged, as newer ComfyUI does before it judges a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models.node_schemas import GRAPH_VERSION
from .base import Schemas
from .releases import Replacement, Rules, rules_of


def rename_classes(graph: Mapping[str, Any], schemas: Schemas, *, version: str = GRAPH_VERSION) -> Mapping[str, Any]:
    """Return the graph with the newer class in place of each that the server knows under another name alone.

    Args:
        graph: node id to class and inputs.
        schemas: the server's own (``/object_info``).
        version: the release of ComfyUI whose rules count.

    """
    found = _find_replacements(graph, schemas, rules_of(version))
    return {**graph, **{node_id: _rewrite(graph[node_id], new) for node_id, new in found.items()}} if found else graph


def stumble(graph: Mapping[str, Any], schemas: Schemas, rules: Rules) -> str:
    """Return the error on which ComfyUI's rewriting of a prompt fails before any check; empty when it succeeds."""
    if rules.replacements is None:
        return ""
    for node_id, node in graph.items():
        inputs = node.get("inputs", {}) if isinstance(node, Mapping) else None
        if not isinstance(inputs, Mapping):
            return f"Node {node_id} has no dictionary of inputs."
    for node_id, new in _find_replacements(graph, schemas, rules).items():
        if "inputs" not in graph[node_id]:
            continue
        if not isinstance(graph[node_id].get("_meta"), Mapping):
            return f"Node {node_id} is replaced by {new.new} and has no '_meta', which ComfyUI copies."
        if lost := [name for name in new.inputs.values() if name not in graph[node_id]["inputs"]]:
            return f"Node {node_id} is replaced by {new.new} and has no input {lost[0]!r}, which ComfyUI copies."
    return ""


def _find_replacements(graph: Mapping[str, Any], schemas: Schemas, rules: Rules) -> dict[str, Replacement]:
    """Find the nodes whose class has been replaced: node id to its replacement."""
    known = rules.replacements or {}
    classes = {node_id: node.get("class_type") for node_id, node in graph.items() if isinstance(node, Mapping)}
    return {
        node_id: known[name]
        for node_id, name in classes.items()
        if isinstance(name, str) and name in known and name not in schemas and known[name].new in schemas
    }


def _rewrite(node: Mapping[str, Any], new: Replacement) -> dict[str, Any]:
    if not isinstance(node.get("inputs"), Mapping):
        return dict(node)
    taken = {name: node["inputs"][old] for name, old in new.inputs.items() if old in node["inputs"]}
    return {**node, "class_type": new.new, "inputs": {**new.values, **taken}}
