"""Finds what really feeds an input of a drawing: through reroutes, bypassed nodes, set and get nodes, subgraphs' walls.

Knows no schema and no value of a widget but a primitive's. Nothing recurses: a chain may have thousands of links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from ..workflows.custom import EXPORT_HELP
from .ui import BYPASSED, MUTED, SHEET_INPUT, Drawing, Drawn, Sheet

REROUTES = frozenset({"Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss"})
NOTES = frozenset({
    "Note", "MarkdownNote", "Label (rgthree)", "Bookmark (rgthree)", "Fast Groups Muter (rgthree)",
    "Fast Groups Bypasser (rgthree)", "Fast Muter (rgthree)", "Fast Bypasser (rgthree)",
})  # fmt: skip
"""Nodes that only the page knows, and that no value passes through."""
GETS, SETS = "GetNode", "SetNode"
VIRTUAL = frozenset({*REROUTES, *NOTES, "PrimitiveNode", GETS, SETS})
"""Nodes that only the page knows."""
DEEPEST = 32
"""Subgraphs inside each other; ComfyUI's page allows 1000, people use three."""
MOST = 20_000
"""Nodes after all subgraphs are expanded: two that hold each other's copies would fill any memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """One use of a sheet: the drawing itself, or one of a subgraph's instances."""

    sheet: Sheet
    path: tuple[str, ...] = ()
    """Ids of the instances around it."""
    outer: Scope | None = None
    instance: Drawn | None = None
    """The node that stands for this subgraph in the scope around it."""

    def id_of(self, node: Drawn) -> str:
        """Return the id that ComfyUI's page gives a node in the API format: ``outer:inner``."""
        return ":".join((*self.path, node.id))


@dataclass(frozen=True, slots=True)
class Source:
    """What feeds an input."""

    node: str | None = None
    """Id of a node, in the API format; None when ``value`` is meant."""
    slot: int = 0
    value: Any = None
    lost: bool = False
    """Something was linked, but it is muted, or nothing passes through it."""


def expanded(drawing: Drawing) -> Iterator[tuple[Scope, Drawn]]:
    """Yield every node that would run, those inside subgraphs with their scope.

    Raises:
        InvalidInputError: a subgraph holds itself, or there are too many.

    """
    count = 0
    stack = [iter([(Scope(drawing.sheet), node) for node in drawing.sheet.nodes.values()])]
    while stack:
        scope, node = next(stack[-1], (None, None))
        if scope is None or node is None:
            stack.pop()
            continue
        count += 1
        if count > MOST or len(scope.path) > DEEPEST:
            raise InvalidInputError("The subgraphs of this drawing hold themselves, or too many others.", EXPORT_HELP)
        if node.mode in (MUTED, BYPASSED):
            continue
        if node.type in drawing.subgraphs:
            inner = inside(drawing, scope, node)
            stack.append(iter([(inner, part) for part in inner.sheet.nodes.values()]))
        elif node.type not in VIRTUAL:
            yield scope, node


def inside(drawing: Drawing, scope: Scope, node: Drawn) -> Scope:
    """The scope inside one instance of a subgraph."""
    return Scope(drawing.subgraphs[node.type], (*scope.path, node.id), scope, node)


@dataclass(slots=True)
class _Place:
    """Where a walk stands: before an input, or at an output."""

    scope: Scope
    node: Drawn
    slot: int
    is_input: bool

    def key(self) -> tuple[Any, ...]:
        return (self.scope.path, self.node.id, self.slot, self.is_input)


class Tracer:
    """Follows links upstream in one drawing."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing

    def source(self, scope: Scope, node: Drawn, slot: int) -> Source | None:
        """Find what feeds an input; None when nothing is linked to it.

        Raises:
            InvalidInputError: the links run in a circle through nodes that only pass on.

        """
        wanted = node.inputs[slot].type
        place = _Place(scope, node, slot, is_input=True)
        seen: set[tuple[Any, ...]] = set()
        while True:
            if place.key() in seen:
                raise InvalidInputError(f"The links around node {scope.id_of(place.node)} run in a circle.", EXPORT_HELP)
            seen.add(place.key())
            step = self._up(place) if place.is_input else self._through(place, wanted)
            if not isinstance(step, _Place):
                return step
            place = step

    def _up(self, at: _Place) -> _Place | Source | None:
        """From an input to the output that feeds it."""
        number = at.node.inputs[at.slot].link if at.slot < len(at.node.inputs) else None
        link = at.scope.sheet.links.get(number) if number is not None else None
        if link is None:
            return None  # the page drops links that lead nowhere
        if link.origin == SHEET_INPUT and at.scope.outer is not None and at.scope.instance is not None:
            outside = outer_slot(at.scope, link.origin_slot)
            if outside is None:
                return None
            return _Place(at.scope.outer, at.scope.instance, outside, is_input=True)
        origin = at.scope.sheet.nodes.get(link.origin)
        return None if origin is None else _Place(at.scope, origin, link.origin_slot, is_input=False)

    def _through(self, at: _Place, wanted: str) -> _Place | Source:
        """From an output to what stands behind it."""
        node, scope = at.node, at.scope
        if node.mode == BYPASSED:
            slot = passing(node, at.slot, wanted)
            return Source(lost=True) if slot is None else _Place(scope, node, slot, is_input=True)
        if node.mode == MUTED or node.type in NOTES:
            return Source(lost=True)
        if node.type in self.drawing.subgraphs:
            inner = inside(self.drawing, scope, node)
            link = inner.sheet.outputs.get(at.slot)
            if link is not None and link.origin == SHEET_INPUT:  # straight through the subgraph
                slot = outer_slot(inner, link.origin_slot)
                return Source(lost=True) if slot is None else _Place(scope, node, slot, is_input=True)
            origin = inner.sheet.nodes.get(link.origin) if link is not None else None
            return _Place(inner, origin, link.origin_slot, is_input=False) if origin and link else Source(lost=True)
        if node.type == "PrimitiveNode":
            values = node.values if isinstance(node.values, list) else []
            return Source(value=values[0]) if values else Source(lost=True)
        if node.type == GETS:
            return _Place(*self._setter(scope, node), 0, is_input=True)
        if node.type in VIRTUAL:
            return _Place(scope, node, 0, is_input=True)
        return Source(scope.id_of(node), at.slot)

    def _setter(self, scope: Scope, node: Drawn) -> tuple[Scope, Drawn]:
        name = _variable(node)
        around: Scope | None = scope
        while around is not None:
            for other in around.sheet.nodes.values():
                if other.type == SETS and _variable(other) == name and other.mode not in (MUTED, BYPASSED):
                    return around, other
            around = around.outer
        text = f"Node {scope.id_of(node)} gets {name!r}, which no SetNode of the drawing sets."
        raise InvalidInputError(text, EXPORT_HELP)


def outer_slot(scope: Scope, slot: int) -> int | None:
    """Which input of a subgraph's instance stands for the subgraph's own: the one of its name.

    Instances may leave out those that stand for widgets; where none is left out, a renamed one is known by its number.
    """
    inputs = scope.instance.inputs if scope.instance else ()
    names = scope.sheet.inputs
    name = names[slot] if slot < len(names) else None
    found = next((at for at, socket in enumerate(inputs) if socket.name == name), None)
    return slot if found is None and len(inputs) == len(names) > slot else found


def passing(node: Drawn, slot: int, wanted: str) -> int | None:
    """Which input a bypassed node passes on as an output: the one across, else the first of the type."""
    given = node.outputs[slot] if slot < len(node.outputs) else wanted
    if wanted in ("*", "") and node.inputs:
        return slot if slot < len(node.inputs) else 0
    types = [socket.type for socket in node.inputs]
    if slot < len(types) and fits(types[slot], given) and fits(types[slot], wanted):
        return slot
    exact = next((at for at, kind in enumerate(types) if kind == wanted), None)
    if exact is not None:
        return exact
    return next((at for at, kind in enumerate(types) if fits(kind, given) and fits(kind, wanted)), None)


def fits(left: str, right: str) -> bool:
    """Whether the page would let two types be linked; both may list types with commas, in any case."""
    if left in ("*", "") or right in ("*", ""):
        return True
    return bool({part.strip().lower() for part in left.split(",")} & {part.strip().lower() for part in right.split(",")})


def _variable(node: Drawn) -> str:
    values = node.values if isinstance(node.values, list) else []
    return str(values[0]) if values else ""
