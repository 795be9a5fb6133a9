"""Find what feeds an input of a drawing: through reroutes, bypassed nodes, set and get nodes, and subgraph borders.

Knows no schema and no value of a widget but a primitive's. Nothing recurses: a chain may have thousands of links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from .api_format import EXPORT_HELP
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
    """The source of an input."""

    node: str | None = None
    """Id of a node, in the API format; None when ``value`` is meant."""
    slot: int = 0
    value: Any = None
    """Value of the page's primitive node, which sets a widget and feeds no socket."""
    lost: bool = False
    """Something was linked, but it is muted, or nothing passes through it."""
    shown: tuple[Scope, int] | None = None
    """The links end at an input of a subgraph's instance that is not linked: the scope inside it, and the input's number."""


def running_nodes(drawing: Drawing) -> Iterator[tuple[Scope, Drawn]]:
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
            raise InvalidInputError("The subgraphs of this drawing contain themselves, or too many others.", EXPORT_HELP)
        is_subgraph = node.type in drawing.subgraphs
        # For an instance inside another subgraph, the page ignores the instance's own mode and checks only the nodes in it.
        if node.mode in (MUTED, BYPASSED) and not (is_subgraph and scope.outer is not None):
            continue
        if is_subgraph:
            inner = inside(drawing, scope, node)
            stack.append(iter([(inner, part) for part in inner.sheet.nodes.values()]))
        elif node.type not in VIRTUAL:
            yield scope, node


def inside(drawing: Drawing, scope: Scope, node: Drawn) -> Scope:
    """Return the scope inside one instance of a subgraph."""
    return Scope(drawing.subgraphs[node.type], (*scope.path, node.id), scope, node)


@dataclass(slots=True)
class _Place:
    """The position of a walk: before an input, or at an output."""

    scope: Scope
    node: Drawn
    slot: int
    wanted: str
    """Type of the input that the walk began at; of the one it went on at behind a bypassed node or a subgraph's wall."""
    is_input: bool

    def key(self) -> tuple[Any, ...]:
        return (self.scope.path, self.node.id, self.slot, self.wanted, self.is_input)


class Tracer:
    """Follows links upstream in one drawing."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self._found: dict[tuple[Any, ...], Source | None] = {}
        """What was found from each place on the way: a thousand nodes may hang on one chain of a thousand reroutes."""
        self._setters: dict[str, dict[str, Drawn]] = {}
        """Sheet, by the type of its instances → the name of a variable → the node that sets it."""

    def source(self, scope: Scope, node: Drawn, slot: int) -> Source | None:
        """Find what feeds an input; None when nothing is linked to it.

        Raises:
            InvalidInputError: the links run in a circle through nodes that only pass on.

        """
        way: dict[tuple[Any, ...], None] = {}
        step: _Place | Source | None = _Place(scope, node, slot, node.inputs[slot].type, is_input=True)
        while isinstance(step, _Place) and (key := step.key()) not in self._found:
            if key in way:
                raise InvalidInputError(f"The links around node {step.scope.id_of(step.node)} form a loop.", EXPORT_HELP)
            way[key] = None
            step = self._up(step) if step.is_input else self._through(step)
        found = self._found[step.key()] if isinstance(step, _Place) else step
        self._found |= dict.fromkeys(way, found)
        return found

    def _up(self, at: _Place) -> _Place | Source | None:
        """Step from an input to the output that feeds it."""
        number = at.node.inputs[at.slot].link if at.slot < len(at.node.inputs) else None
        link = at.scope.sheet.links.get(number) if number is not None else None
        if link is None:
            return None  # the page drops links that lead nowhere
        if link.origin == SHEET_INPUT and at.scope.outer is not None and at.scope.instance is not None:
            return self._out(at.scope, link.origin_slot)
        origin = at.scope.sheet.nodes.get(link.origin)
        return None if origin is None else _Place(at.scope, origin, link.origin_slot, at.wanted, is_input=False)

    def _out(self, scope: Scope, slot: int) -> _Place | Source | None:
        """Step from inside a subgraph to the input of its instance."""
        instance, outer = scope.instance, scope.outer
        if instance is None or outer is None or slot >= len(instance.inputs):
            return None
        socket = instance.inputs[slot]
        if socket.link is None or socket.link not in outer.sheet.links:
            return Source(shown=(scope, slot))
        return _Place(outer, instance, slot, socket.type, is_input=True)

    def _through(self, at: _Place) -> _Place | Source | None:
        """Step from an output to what its node passes on; end at the node when it is a real source."""
        node, scope = at.node, at.scope
        if node.type == "PrimitiveNode":  # the page sets its value even where it is muted
            values = node.values if isinstance(node.values, list) else []
            return Source(value=values[0]) if values else Source(lost=True)
        if node.mode == BYPASSED:
            slot = passing(node, at.slot, at.wanted)
            if slot is None or slot >= len(node.inputs):
                return Source(lost=True)
            found = self._up(_Place(scope, node, slot, node.inputs[slot].type, is_input=True))
            return Source(lost=True) if found is None else found
        if node.mode == MUTED or node.type in NOTES:
            return Source(lost=True)
        if node.type in self.drawing.subgraphs:
            return self._into(at)
        if node.type == GETS:
            return _Place(*self._setter(scope, node), 0, at.wanted, is_input=True)
        if node.type in VIRTUAL:
            return _Place(scope, node, 0, at.wanted, is_input=True)
        return Source(scope.id_of(node), at.slot)

    def _into(self, at: _Place) -> _Place | Source | None:
        """Step from an output of a subgraph's instance to the node inside that feeds it."""
        inner = inside(self.drawing, at.scope, at.node)
        link = inner.sheet.outputs.get(at.slot)
        if link is None:
            return Source(lost=True)
        if link.origin == SHEET_INPUT:  # straight through the subgraph
            return self._out(inner, link.origin_slot) or Source(lost=True)
        origin = inner.sheet.nodes.get(link.origin)
        return Source(lost=True) if origin is None else _Place(inner, origin, link.origin_slot, at.wanted, is_input=False)

    def _setter(self, scope: Scope, node: Drawn) -> tuple[Scope, Drawn]:
        name = _variable(node)
        around: Scope | None = scope
        while around is not None:
            if (found := self._setters_in(around).get(name)) is not None:
                return around, found
            around = around.outer
        text = f"Node {scope.id_of(node)} gets {name!r}, which no SetNode of the drawing sets."
        raise InvalidInputError(text, EXPORT_HELP)

    def _setters_in(self, scope: Scope) -> dict[str, Drawn]:
        key = scope.instance.type if scope.instance else ""
        if key not in self._setters:
            setting = [node for node in scope.sheet.nodes.values() if node.type == SETS and node.mode not in (MUTED, BYPASSED)]
            self._setters[key] = {_variable(node): node for node in reversed(setting)}
        return self._setters[key]


def passing(node: Drawn, slot: int, wanted: str) -> int | None:
    """Return which input a bypassed node passes on as an output: the one across, else the first of the type."""
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
