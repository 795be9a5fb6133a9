"""ComfyUI's UI format as typed objects: sheets of nodes and links, subgraphs among them. Reads both spellings; converts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInputError
from ..workflows.custom import EXPORT_HELP

ACTIVE, MUTED, BYPASSED = 0, 2, 4
"""Modes of a node, as litegraph numbers them; the other numbers mean events and run like ACTIVE."""
SHEET_INPUT, SHEET_OUTPUT = "-10", "-20"
"""Ids under which links name the two ends of a subgraph."""
MAX_NODES = 20_000
"""Nodes in all sheets of a file; the largest one among ComfyUI's templates has some 200."""


@dataclass(frozen=True, slots=True)
class Socket:
    """One input of a drawn node."""

    name: str
    type: str
    link: str | None
    """Id of the link that ends here."""
    widget: str | None
    """Name of the widget that the input stands for; None for a socket only."""


@dataclass(frozen=True, slots=True)
class Link:
    """One line of the drawing."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """One node of the drawing."""

    id: str
    type: str
    title: str
    """What the maker called it; empty for nothing."""
    mode: int
    inputs: tuple[Socket, ...]
    outputs: tuple[str, ...]
    """Types of the outputs."""
    values: Any
    """``widgets_values``: a list in the order of the widgets, or a dictionary by name."""
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The drawing itself, or the definition of a subgraph."""

    name: str
    nodes: Mapping[str, Drawn]
    links: Mapping[str, Link]
    inputs: tuple[str, ...] = ()
    """Names of a subgraph's inputs."""
    outputs: Mapping[int, Link] = field(default_factory=dict)
    """A subgraph's output → the link that feeds it."""

    def widget_inputs(self) -> dict[int, int]:
        """Number the subgraph's inputs that feed a widget inside: input → its place among them."""
        slots = set()
        for node in self.nodes.values():
            for socket in node.inputs:
                link = self.links.get(socket.link or "") if socket.widget is not None else None
                if link is not None and link.origin == SHEET_INPUT:
                    slots.add(link.origin_slot)
        return {slot: place for place, slot in enumerate(sorted(slots))}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole file."""

    sheet: Sheet
    subgraphs: Mapping[str, Sheet]
    """Node type that stands for a subgraph → its definition."""


def is_ui(data: Any) -> bool:
    """Whether this is the UI format."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list)


def read_drawing(data: Mapping[str, Any]) -> Drawing:
    """Read the UI format.

    Raises:
        InvalidInputError: its form is not that of ComfyUI's page.

    """
    try:
        definitions = _list(_dict(data.get("definitions")).get("subgraphs"))
        subgraphs = {str(item["id"]): _sheet(item) for item in definitions}
        drawing = Drawing(_sheet(data), subgraphs)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        text = f"This looks like ComfyUI's UI format, but is damaged ({type(error).__name__}: {error})."
        raise InvalidInputError(text, EXPORT_HELP) from None
    if sum(len(sheet.nodes) for sheet in (drawing.sheet, *subgraphs.values())) > MAX_NODES:
        raise InvalidInputError(f"The drawing has more than {MAX_NODES} nodes.", EXPORT_HELP)
    return drawing


def _sheet(data: Mapping[str, Any]) -> Sheet:
    nodes = [_node(item) for item in _list(data["nodes"])]
    links = dict(_link(item) for item in _list(data.get("links")) if item)
    return Sheet(
        str(data.get("name") or ""),
        {node.id: node for node in nodes},
        links,
        tuple(str(item.get("name") or "") for item in _list(data.get("inputs"))) if "inputNode" in data else (),
        {link.target_slot: link for link in links.values() if link.target == SHEET_OUTPUT},
    )


def _link(item: Any) -> tuple[str, Link]:
    """Version 0.4 writes a list, version 1 and subgraphs an object."""
    if isinstance(item, Mapping):
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        number, origin, out, target, into = (item[key] for key in keys)
    else:
        number, origin, out, target, into = item[:5]
    return str(number), Link(str(origin), int(out), str(target), int(into))


def _node(item: Mapping[str, Any]) -> Drawn:
    inputs = tuple(_socket(entry) for entry in _list(item.get("inputs")))
    outputs = tuple(_type(entry.get("type")) for entry in _list(item.get("outputs")))
    kind = str(item["type"])
    title = str(item.get("title") or "")
    mode = int(item.get("mode") or 0)
    return Drawn(str(item["id"]), kind, title, mode, inputs, outputs, item.get("widgets_values"), _dict(item.get("properties")))


def _socket(entry: Mapping[str, Any]) -> Socket:
    link, widget = entry.get("link"), entry.get("widget")
    name = str(entry.get("name") or "")
    marked = str(widget.get("name") or name) if isinstance(widget, Mapping) else None
    return Socket(name, _type(entry.get("type")), None if link is None else str(link), marked)


def _type(value: Any) -> str:
    """A type as text; litegraph also writes 0 and -1 for any, and a list of options for an enum."""
    if isinstance(value, str):
        return value
    return "COMBO" if isinstance(value, list) else "*"


def _list(value: Any) -> list[Any]:
    if isinstance(value, Mapping):  # version 0.4 of some packs writes {"0": …}
        return list(value.values())
    if value is not None and not isinstance(value, list):
        raise TypeError(f"a list is expected, not {type(value).__name__}")
    return value or []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
