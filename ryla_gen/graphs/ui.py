"""Read ComfyUI's UI format, in both of its spellings, as typed objects: sheets, nodes, links, subgraphs. Converts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import InvalidInputError
from .api_format import EXPORT_HELP
from .numbering import renumber

ACTIVE, MUTED, BYPASSED = 0, 2, 4
"""Modes of a node, as litegraph numbers them; the other numbers mean events and run like ACTIVE."""
SHEET_INPUT, SHEET_OUTPUT = "-10", "-20"
"""Ids under which links name the two ends of a subgraph."""
MAX_NODES = 20_000
"""Nodes in all sheets of a file; the largest one among ComfyUI's templates has some 200."""


@dataclass(frozen=True, slots=True)
class DrawnInput:
    """One input of a drawn node."""

    name: str
    type: str
    link: str | None
    """Id of the link that ends here."""
    widget: str | None
    """Name of the widget that the input stands for; None for a socket only."""


@dataclass(frozen=True, slots=True)
class DrawnLink:
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
    inputs: tuple[DrawnInput, ...]
    outputs: tuple[str, ...]
    """Types of the outputs."""
    values: Any
    """``widgets_values``: a list in the order of the widgets, or a dictionary by name."""
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """One input of a subgraph, as its definition lists it."""

    name: str
    type: str
    links: tuple[str, ...]
    """Ids of the links that leave it inside, the first one first: what that one reaches gives the input its value."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The drawing itself, or the definition of a subgraph."""

    name: str
    nodes: Mapping[str, Drawn]
    links: Mapping[str, DrawnLink]
    inputs: tuple[Port, ...] = ()
    """A subgraph's own inputs."""
    outputs: Mapping[int, DrawnLink] = field(default_factory=dict)
    """A subgraph's output → the link that feeds it."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole file."""

    sheet: Sheet
    subgraphs: Mapping[str, Sheet]
    """Node type that stands for a subgraph → its definition."""
    page: tuple[int, ...] = ()
    """Version of ComfyUI's page that saved the file; empty where it does not say."""


def is_ui(data: Any) -> bool:
    """Whether this is the UI format."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list)


def read_drawing(data: Mapping[str, Any]) -> Drawing:
    """Read the UI format.

    Raises:
        InvalidInputError: its form is not that of ComfyUI's page.

    """
    try:
        data = renumber(data)
        definitions = _list(_dict(data.get("definitions")).get("subgraphs"))
        subgraphs = {str(item["id"]): _sheet(item) for item in definitions}
        sheet, *inner = (_with_whole_instances(part, subgraphs) for part in (_sheet(data), *subgraphs.values()))
        drawing = Drawing(sheet, dict(zip(subgraphs, inner, strict=True)), _page(data))
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
        _ports(_list(data.get("inputs")), links) if "inputNode" in data else (),
        {link.target_slot: link for link in links.values() if link.target == SHEET_OUTPUT},
    )


def _ports(items: list[Any], links: Mapping[str, DrawnLink]) -> tuple[Port, ...]:
    drawn: dict[int, list[str]] = {}
    for key, link in links.items():
        if link.origin == SHEET_INPUT:
            drawn.setdefault(link.origin_slot, []).append(key)
    listed = [[str(link) for link in _list(item.get("linkIds"))] for item in items]
    return tuple(
        Port(str(item.get("name") or ""), _type(item.get("type")), tuple(dict.fromkeys([*listed[slot], *drawn.get(slot, ())])))
        for slot, item in enumerate(items)
    )


def _with_whole_instances(sheet: Sheet, subgraphs: Mapping[str, Sheet]) -> Sheet:
    """Add to every instance of a subgraph all inputs of the definition, in its order: files may leave out those of widgets."""
    nodes = {
        key: replace(node, inputs=_instance_inputs(node.inputs, subgraphs[node.type].inputs)) if node.type in subgraphs else node
        for key, node in sheet.nodes.items()
    }
    return replace(sheet, nodes=nodes)


def _instance_inputs(given: tuple[DrawnInput, ...], ports: tuple[Port, ...]) -> tuple[DrawnInput, ...]:
    """Match inputs to ports by name, as the page does; if the file has all inputs, match a renamed one by its number."""
    named: dict[str, list[DrawnInput]] = {}
    for socket in given:
        named.setdefault(socket.name, []).append(socket)
    names = {port.name for port in ports}
    found: list[DrawnInput] = []
    for number, port in enumerate(ports):
        same = named.get(port.name) or []
        best = next((socket for socket in same if socket.type == port.type), same[0] if same else None)
        if best is not None:
            same.remove(best)
        elif len(given) == len(ports) and given[number].name not in names:
            best = given[number]
        found.append(
            DrawnInput(port.name, port.type, None, port.name) if best is None else replace(best, name=port.name, type=port.type)
        )
    return tuple(found)


def _page(data: Mapping[str, Any]) -> tuple[int, ...]:
    parts = str(_dict(data.get("extra")).get("frontendVersion") or "").split(".")
    return tuple(int(part) for part in parts[:3]) if all(part.isdecimal() and len(part) < 7 for part in parts[:3]) else ()


def _link(item: Any) -> tuple[str, DrawnLink]:
    """Read a link: version 0.4 writes a list, version 1 and subgraphs an object."""
    if isinstance(item, Mapping):
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        number, origin, out, target, into = (item[key] for key in keys)
    else:
        number, origin, out, target, into = item[:5]
    return str(number), DrawnLink(str(origin), int(out), str(target), int(into))


def _node(item: Mapping[str, Any]) -> Drawn:
    inputs = tuple(_socket(entry) for entry in _list(item.get("inputs")))
    outputs = tuple(_type(entry.get("type")) for entry in _list(item.get("outputs")))
    kind = str(item["type"])
    title = str(item.get("title") or "")
    mode = int(item.get("mode") or 0)
    return Drawn(str(item["id"]), kind, title, mode, inputs, outputs, item.get("widgets_values"), _dict(item.get("properties")))


def _socket(entry: Mapping[str, Any]) -> DrawnInput:
    link, widget = entry.get("link"), entry.get("widget")
    name = str(entry.get("name") or "")
    marked = str(widget.get("name") or name) if isinstance(widget, Mapping) else None
    return DrawnInput(name, _type(entry.get("type")), None if link is None else str(link), marked)


def _type(value: Any) -> str:
    """Return a type as text; litegraph also writes 0 and -1 for any, and a list of options for an enum."""
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
