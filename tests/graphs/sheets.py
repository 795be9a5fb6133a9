"""Draws graphs as ComfyUI's page saves them, for tests: nodes with sockets and widgets, links by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ryla_gen.graphs.graph import is_link
from ryla_gen.graphs.widgets import AFTER_RUN, entries, has_widget
from ryla_gen.models.node_schemas import node_schemas

From = tuple[Any, int]
"""A node's id and one of its outputs."""


class Sheet:
    """One drawing, or one subgraph."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []

    def add(self, kind: str, values: Any = None, *, outputs: tuple[str, ...] | None = None, **more: Any) -> int:
        """Add a node; ``more``: ``inputs`` (name → where from), ``types`` (name → type), ``widgets`` (names), ``mode``."""
        number = more.pop("id", len(self.nodes) + 1)
        schema = node_schemas().get(kind, {})
        types = {name: wanted if isinstance(wanted, str) else "COMBO" for name, wanted, _ in entries(schema)}
        types |= more.pop("types", {})
        sockets = more.pop("inputs", {})
        widgets = more.pop("widgets", ())
        node: dict[str, Any] = {"id": number, "type": kind, **more}
        given = [{"name": name, "type": types.get(name, "*"), "link": None} for name in sockets]
        for slot, (entry, source) in enumerate(zip(given, sockets.values(), strict=True)):
            if entry["name"] in widgets:
                entry["widget"] = {"name": entry["name"]}
            if source is not None:
                entry["link"] = self.link(*source, number, slot, entry["type"])
        node["inputs"] = given
        node["outputs"] = [{"name": text, "type": text} for text in (outputs or schema.get("output") or ())]
        if values is not None:
            node["widgets_values"] = values
        self.nodes.append(node)
        return int(number)

    def link(self, source: Any, out: int, target: Any, slot: int, kind: str = "*") -> int:
        """Draw a line and return its number."""
        self.links.append([len(self.links) + 1, source, out, target, slot, kind])
        return len(self.links)

    def ui(self, *subgraphs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The file, version 0.4."""
        extra = {"definitions": {"subgraphs": list(subgraphs)}} if subgraphs else {}
        return {"version": 0.4, "nodes": self.nodes, "links": self.links, "groups": [{"title": "a group"}], **extra, **more}

    def subgraph(self, uuid: str, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> dict[str, Any]:
        """The definition of a subgraph: its links are objects, and its ends have the ids -10 and -20."""
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        return {
            "id": uuid,
            "name": "a part",
            "inputNode": {"id": -10},
            "outputNode": {"id": -20},
            "inputs": [{"name": name, "type": "*"} for name in inputs],
            "outputs": [{"name": name, "type": "*"} for name in outputs],
            "nodes": self.nodes,
            "links": [dict(zip(names, link, strict=True)) for link in self.links],
        }


def drawn(api: Mapping[str, Any]) -> dict[str, Any]:
    """The drawing that ComfyUI's page would save of a graph in the API format."""
    sheet = Sheet()
    for node_id, node in api.items():
        given, schema = node["inputs"], node_schemas()[node["class_type"]]
        values: list[Any] = []
        for name, kind, config in entries(schema):
            if has_widget(kind, config):
                value = given.get(name)
                values.append(config.get("default", 0) if is_link(value) else value)
                if kind == "INT" and (name in ("seed", "noise_seed") or config.get("control_after_generate")):
                    values.append("randomize")
                    assert values[-1] in AFTER_RUN
                if config.get("image_upload"):
                    values.append("image")
        sources = {name: (int(value[0]), value[1]) for name, value in given.items() if is_link(value)}
        widgets = [name for name, kind, config in entries(schema) if has_widget(kind, config)]
        sheet.add(node["class_type"], values, id=int(node_id), inputs=sources, widgets=widgets)
    return sheet.ui()
