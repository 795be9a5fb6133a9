"""Find the values that a subgraph's instance shows for widgets of the nodes inside it.

ComfyUI's page shows the widgets that an input of the subgraph is linked to, and those that ``properties.proxyWidgets`` lists;
the instance's ``widgets_values`` stand in the order of that list. Follows links inwards only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .tracing import DEEPEST, Scope, inside
from .ui import SHEET_INPUT, Drawing, Drawn, DrawnInput

NOTHING: Any = object()
"""Neither a value nor a widget for it."""
AN_INPUT = "-1"
"""The node that files of 2025 name in ``proxyWidgets`` where they mean an input of the subgraph itself."""
LISTING_PAGES = (1, 46)
"""From here on pages keep an instance's own values without ``proxyWidgets``; the page of ComfyUI 0.28.2 reads those inside."""

Own = Callable[[Scope, Drawn], Mapping[str, Any]]
"""The values that a node's own widgets have in the file, by name."""


@dataclass(slots=True)
class _Listed:
    """The values that one instance lists."""

    of_inputs: dict[int, Any] = field(default_factory=dict)
    of_widgets: dict[tuple[str, str], Any] = field(default_factory=dict)


class Promotions:
    """The widgets that a drawing's subgraphs show on their instances."""

    def __init__(self, drawing: Drawing, own: Own) -> None:
        self.drawing = drawing
        self.own = own
        self.left_out: list[str] = []
        """Instances whose own values a newer page saved, and which the page of 0.28.2 does not read."""
        self._listed: dict[tuple[str, ...], _Listed] = {}
        self._first: dict[tuple[str, int], tuple[Drawn, DrawnInput] | None] = {}

    def of_input(self, scope: Scope, slot: int) -> Any:
        """Return the value of a subgraph's input, :data:`NOTHING` where it stands for no widget."""
        if scope.instance is None or slot >= len(scope.sheet.inputs) or len(scope.path) > DEEPEST:
            return NOTHING
        given = self._given_to_input(scope, slot)
        if given is not NOTHING:
            return given
        found = self._first_widget(scope, slot)
        if found is None:
            return NOTHING
        node, socket = found
        if node.type in self.drawing.subgraphs:
            return self.of_input(inside(self.drawing, scope, node), node.inputs.index(socket))
        return self.of_widget(scope, node, socket.name)

    def of_widget(self, scope: Scope, node: Drawn, name: str) -> Any:
        """Return the value of a node's widget: what an instance around it lists, the outermost first, else the node's own."""
        given = self._given_to_widget(scope, node.id, name)
        if given is not NOTHING:
            return given
        if node.type == "PrimitiveNode":
            return node.values[0] if isinstance(node.values, list) and node.values else NOTHING
        return self.own(scope, node).get(name, NOTHING)

    def _given_to_input(self, scope: Scope, slot: int) -> Any:
        if scope.instance is None or scope.outer is None:
            return NOTHING
        given = self._given_to_widget(scope.outer, scope.instance.id, scope.sheet.inputs[slot].name)
        if given is not NOTHING:
            return given
        listed = self._listed_by(scope)
        if slot in listed.of_inputs:
            return listed.of_inputs[slot]
        found = self._first_widget(scope, slot) if listed.of_widgets else None
        return NOTHING if found is None else listed.of_widgets.get((found[0].id, found[1].name), NOTHING)

    def _given_to_widget(self, scope: Scope, node: str, name: str) -> Any:
        found = NOTHING
        while (
            scope.instance is not None and scope.outer is not None
        ):  # an instance shows the widget to the one around it under its name
            found_here = self._listed_by(scope).of_widgets.get((node, name), NOTHING)
            found = found_here if found_here is not NOTHING else found
            node, scope = scope.instance.id, scope.outer
        return found

    def _first_widget(self, scope: Scope, slot: int) -> tuple[Drawn, DrawnInput] | None:
        """Find the first socket inside that a subgraph's input is linked to and that has a widget."""
        key = (scope.instance.type if scope.instance else "", slot)
        if key not in self._first:
            self._first[key] = None  # the answer for a subgraph that contains itself
            if len(scope.path) > DEEPEST or slot >= len(scope.sheet.inputs):
                return None
            self._first[key] = next(
                (found for link in scope.sheet.inputs[slot].links if (found := self._target(scope, link, slot))), None
            )
        return self._first[key]

    def _target(self, scope: Scope, number: str, slot: int) -> tuple[Drawn, DrawnInput] | None:
        link = scope.sheet.links.get(number)
        node = (
            scope.sheet.nodes.get(link.target)
            if link is not None and (link.origin, link.origin_slot) == (SHEET_INPUT, slot)
            else None
        )
        socket = next((item for item in node.inputs if item.link == number), None) if node is not None else None
        if node is None or socket is None:
            return None
        if node.type in self.drawing.subgraphs:
            shows = self._first_widget(inside(self.drawing, scope, node), node.inputs.index(socket)) is not None
        else:
            shows = socket.widget is not None or socket.name in self.own(scope, node)
        return (node, socket) if shows else None

    def _listed_by(self, scope: Scope) -> _Listed:
        if scope.path not in self._listed:
            self._listed[scope.path] = self._read(scope)
        return self._listed[scope.path]

    def _read(self, scope: Scope) -> _Listed:
        """Read an instance's ``widgets_values``; an empty place means that the value inside holds."""
        listed, instance = _Listed(), scope.instance
        values = instance.values if instance is not None else None
        if instance is None or not isinstance(values, list) or not values:
            return listed
        proxies = _proxies(instance)
        if proxies:
            for (node, name), value in zip(proxies, values, strict=False):
                if value is not None and node == AN_INPUT:
                    listed.of_inputs |= {slot: value for slot, port in enumerate(scope.sheet.inputs) if port.name == name}
                elif value is not None:
                    listed.of_widgets[node, name] = value
        elif self.drawing.page >= LISTING_PAGES:
            self.left_out.append(scope.outer.id_of(instance) if scope.outer else instance.id)
        else:
            slots = [slot for slot in range(len(scope.sheet.inputs)) if self._first_widget(scope, slot)]
            listed.of_inputs = {slot: value for slot, value in zip(slots, values, strict=False) if value is not None}
        return listed


def _proxies(instance: Drawn) -> list[tuple[str, str]]:
    """List the widgets of an instance: the id of a node inside, and the widget's name."""
    entries = instance.properties.get("proxyWidgets")
    if isinstance(entries, str):
        try:
            entries = json.loads(entries)
        except (ValueError, RecursionError):
            return []
    if not isinstance(entries, list):
        return []
    pairs = [(entry[0], entry[1]) if isinstance(entry, list) and len(entry) > 1 else (AN_INPUT, "") for entry in entries]
    return [(str(node), str(name)) for node, name in pairs]
