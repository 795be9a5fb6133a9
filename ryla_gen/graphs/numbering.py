"""Number the nodes inside subgraphs as ComfyUI's page does: an id that is taken already is replaced.

Must not change the file's data, of which it returns a changed copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..support.numbers import is_whole_number

Renamed = Mapping[int, int]
"""Old id → new id, within one subgraph."""


def renumber(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the drawing with ids that are unique over all its sheets, numbered as the page numbers them when it opens the file."""
    definitions = data.get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    if not isinstance(subgraphs, list):
        return data
    used = {node["id"] for node in _nodes(data) if is_whole_number(node.get("id"))}
    last = _last_id(data)
    renamed: dict[str, dict[int, int]] = {}
    for subgraph in subgraphs:
        changes: dict[int, int] = {}
        for node in _nodes(subgraph):
            number = node.get("id")
            if not is_whole_number(number):
                continue
            if number in used:
                last = _next_free(last, used)
                changes[number] = last
            else:
                last = max(last, number)
            used.add(changes.get(number, number))
        if changes:
            renamed[str(subgraph.get("id"))] = changes
    if not renamed:
        return data
    changed = [_renumber_subgraph(subgraph, renamed) if isinstance(subgraph, Mapping) else subgraph for subgraph in subgraphs]
    nodes = data.get("nodes")
    outer = [_with_proxies(node, renamed) for node in nodes] if isinstance(nodes, list) else nodes
    return {**data, "nodes": outer, "definitions": {"subgraphs": changed}}


def _nodes(sheet: Any) -> list[Mapping[str, Any]]:
    nodes = sheet.get("nodes") if isinstance(sheet, Mapping) else None
    return [node for node in nodes if isinstance(node, Mapping)] if isinstance(nodes, list) else []


def _last_id(data: Mapping[str, Any]) -> int:
    """Return the largest id that the file records as used; version 1 keeps it under ``state``."""
    state = data.get("state")
    said = state.get("lastNodeId") if isinstance(state, Mapping) else data.get("last_node_id")
    return said if is_whole_number(said) else 0


def _next_free(last: int, used: set[int]) -> int:
    last += 1
    while last in used:
        last += 1
    return last


def _renumber_subgraph(subgraph: Mapping[str, Any], renamed: Mapping[str, Renamed]) -> dict[str, Any]:
    """Return a subgraph with the new ids in its nodes, its links and the instances of others inside it."""
    own = renamed.get(str(subgraph.get("id")), {})
    nodes, links = subgraph.get("nodes"), subgraph.get("links")
    made = dict(subgraph)
    if isinstance(nodes, list):
        made["nodes"] = [_with_proxies(_with_id(node, "id", own), renamed) for node in nodes]
    if isinstance(links, list):
        made["links"] = [_with_id(_with_id(link, "origin_id", own), "target_id", own) for link in links]
    return made


def _with_id(item: Any, key: str, renamed: Renamed) -> Any:
    number = item.get(key) if isinstance(item, Mapping) else None
    return {**item, key: renamed[number]} if is_whole_number(number) and number in renamed else item


def _with_proxies(node: Any, renamed: Mapping[str, Renamed]) -> Any:
    """Return an instance whose ``proxyWidgets`` name the nodes inside by their new ids."""
    own = renamed.get(str(node.get("type"))) if isinstance(node, Mapping) else None
    properties = node.get("properties") if own else None
    if not own or not isinstance(properties, Mapping) or not isinstance(properties.get("proxyWidgets"), list):
        return node
    proxies = properties["proxyWidgets"]
    names = {str(old): str(new) for old, new in own.items()}
    changed = [
        [names.get(str(entry[0]), entry[0]), *entry[1:]] if isinstance(entry, list) and entry else entry for entry in proxies
    ]
    return {**node, "properties": {**properties, "proxyWidgets": changed}}
