"""ComfyUI's UI format into the API format, as its own page exports it, with the help of the server's node schemas.

Works on plain data; knows no server and no file. What the page would decide by chance is decided here for good, and said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from ..workflows.custom import EXPORT_HELP
from ..workflows.graph import is_link
from .tracing import Scope, Source, Tracer, expanded, outer_slot
from .ui import SHEET_INPUT, Drawing, Drawn, Sheet, read_drawing
from .widgets import decided, named_values, prompts

SHOWN = 8
"""Names that an error lists; more would hide what to do."""
USE_EVERYWHERE = "Anything Everywhere"
"""Beginning of the classes whose links are drawn nowhere."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SUBGRAPH_HELP = "In ComfyUI turn it into a subgraph (or take it apart) and save again; or: " + EXPORT_HELP


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion."""

    graph: dict[str, Any]
    """The graph in the API format."""
    notes: tuple[str, ...]
    """What was left out or decided, one sentence each."""


def convert(data: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], *, lenient: bool = False) -> Converted:
    """Convert a drawing.

    Args:
        data: the file's content, in the UI format.
        schemas: the server's node schemas, ``/object_info``.
        lenient: whether nodes of unknown classes may lose their values, for a graph that is only looked at.

    Raises:
        InvalidInputError: it is no drawing, uses node classes that the schemas lack, or parts that only the page can resolve.

    """
    return _Conversion(read_drawing(data), schemas).run(lenient=lenient)


class _Conversion:
    """One conversion."""

    def __init__(self, drawing: Drawing, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.drawing = drawing
        self.schemas = schemas
        self.tracer = Tracer(drawing)
        self.notes: list[str] = []
        self.lost: dict[str, list[str]] = {}
        """Node → required inputs that hung on something muted or bypassed."""
        self.shown: dict[str, Mapping[int, int]] = {}
        """Subgraph → which of its inputs stand for widgets, and the places of their values in an instance's list."""

    def run(self, *, lenient: bool) -> Converted:
        nodes = list(expanded(self.drawing))
        if not nodes:
            raise InvalidInputError("Nothing in this drawing would run: all nodes are muted, bypassed or notes.", EXPORT_HELP)
        self._refuse_what_only_the_page_knows([node for _, node in nodes])
        values = {scope.id_of(node): named_values(node, self.schemas.get(node.type)) for scope, node in nodes}
        if not lenient:
            self._refuse_unknown([node for scope, node in nodes if values[scope.id_of(node)] is None])
        graph = {scope.id_of(node): self._node(scope, node, values[scope.id_of(node)] or {}) for scope, node in nodes}
        self._drop_what_hangs_on_nothing(graph)
        if not graph:
            raise InvalidInputError("Nothing in this drawing would run: every node hangs on a muted one.", EXPORT_HELP)
        return Converted(graph, tuple(self.notes))

    def _refuse_what_only_the_page_knows(self, nodes: list[Drawn]) -> None:
        for node in nodes:
            if node.type.startswith(("workflow>", "workflow/")):
                text = f"Node {node.id} ({node.title or node.type}) is a group node, the forerunner of subgraphs."
                raise InvalidInputError(text, SUBGRAPH_HELP)
            if _UUID.fullmatch(node.type):
                raise InvalidInputError(
                    f"Node {node.id} ({node.title or node.type}) is a subgraph that the file does not define.", EXPORT_HELP
                )
            if node.type.startswith(USE_EVERYWHERE) and node.type not in self.schemas:
                text = f"Node {node.id} ({node.type}) links to nodes without drawing the links."
                raise InvalidInputError(text, EXPORT_HELP)

    def _refuse_unknown(self, nodes: list[Drawn]) -> None:
        unknown = sorted({node.type for node in nodes})
        if not unknown:
            return
        listed = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
        hint = f"Ask a server that has them: ryla-gen graph convert FILE.json --url http://127.0.0.1:8188. Or: {EXPORT_HELP}"
        raise InvalidInputError(f"The node schemas lack {listed}.", hint, {"unknown": unknown})

    def _node(self, scope: Scope, node: Drawn, values: dict[str, Any]) -> dict[str, Any]:
        schema = self.schemas.get(node.type)
        where = scope.id_of(node)
        if schema is None:
            self.notes.append(
                f"Node {where} ({node.type}) is not in the schemas; its values were taken by the drawing's own names."
            )
        for name in prompts(schema or {}):
            self._decide(where, name, values)
        inputs: dict[str, Any] = {name: _wrapped(value) for name, value in values.items()}
        for slot, socket in enumerate(node.inputs):
            if not socket.name:
                continue
            source = self.tracer.source(scope, node, slot)
            if source is None:
                source = self._promoted(scope, node, slot)
            if source is not None and not (source.node is None and self._is_foreign(node, socket.name)):
                self._connect(where, node, socket.name, source, inputs)
        title = node.title or str((schema or {}).get("display_name") or node.type)  # as the page calls it
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}

    def _decide(self, where: str, name: str, values: dict[str, Any]) -> None:
        text = values.get(name)
        if isinstance(text, str) and (fixed := decided(text)) != text:
            values[name] = fixed
            self.notes.append(f"Node {where} input {name}: of words in braces the first was taken, and comments were left out.")

    def _connect(self, where: str, node: Drawn, name: str, source: Source, inputs: dict[str, Any]) -> None:
        if source.lost:
            if name not in inputs and self._is_required(node, name):
                self.lost.setdefault(where, []).append(name)
        elif source.node is None:
            inputs[name] = _wrapped(source.value)
        else:
            inputs[name] = [source.node, source.slot]

    def _is_foreign(self, node: Drawn, name: str) -> bool:
        """Whether the class has no such input: drawings keep those of older versions of a class."""
        sections = (self.schemas.get(node.type) or {}).get("input")
        return sections is not None and "." not in name and not any(name in (given or {}) for given in sections.values())

    def _is_required(self, node: Drawn, name: str) -> bool:
        schema = self.schemas.get(node.type) or {}
        return name in ((schema.get("input") or {}).get("required") or {})

    def _promoted(self, scope: Scope, node: Drawn, slot: int) -> Source | None:
        """The value that a subgraph's instance shows for a widget inside; the outermost one holds."""
        found: Source | None = None
        number = node.inputs[slot].link
        while number is not None and scope.outer is not None and scope.instance is not None:
            link = scope.sheet.links.get(number)
            if link is None or link.origin != SHEET_INPUT:
                break
            found = self._shown(scope.sheet, scope.instance, link.origin_slot) or found
            outside = outer_slot(scope, link.origin_slot)
            number = None if outside is None else scope.instance.inputs[outside].link
            scope = scope.outer
        return found

    def _shown(self, sheet: Sheet, instance: Drawn, slot: int) -> Source | None:
        """An instance lists values in the order of the inputs that stand for widgets; files of 2025 keep them inside instead."""
        values = instance.values
        if not isinstance(values, list) or not values:
            return None
        if instance.type not in self.shown:
            self.shown[instance.type] = sheet.widget_inputs()
        place = self.shown[instance.type].get(slot)
        value = values[place] if place is not None and place < len(values) else None
        return None if value is None else Source(value=value)

    def _drop_what_hangs_on_nothing(self, graph: dict[str, Any]) -> None:
        """Remove nodes whose required input is gone with a muted or bypassed node, and then what hangs on them."""
        waiting = list(self.lost)
        users: dict[str, list[tuple[str, str]]] = {}
        for node_id, node in graph.items():
            for name, value in node["inputs"].items():
                if is_link(value):
                    users.setdefault(value[0], []).append((node_id, name))
        titles = {node_id: node["_meta"]["title"] for node_id, node in graph.items()}
        drawn = {scope.id_of(node): node for scope, node in expanded(self.drawing)}
        while waiting:
            gone = waiting.pop()
            if graph.pop(gone, None) is None:
                continue
            self.notes.append(
                f"Node {gone} ({titles[gone]}) was left out: what it hangs on is muted, or bypassed without a way through."
            )
            for user, name in users.get(gone, ()):
                if user in graph:
                    graph[user]["inputs"].pop(name, None)
                    if self._is_required(drawn[user], name):
                        waiting.append(user)


def _wrapped(value: Any) -> Any:
    """A list would be read as a link; ComfyUI unwraps this."""
    return {"__value__": value} if isinstance(value, list) else value
