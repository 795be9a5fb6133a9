"""Convert ComfyUI's UI format into the API format, as its own page exports it, with the help of node schemas.

Works on plain data; knows no server and no file. What the page decides at random is fixed here, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInputError
from .api_format import EXPORT_HELP
from .graph import is_link, links
from .promoted import NOTHING, Promotions
from .tracing import Scope, Tracer, running_nodes
from .ui import Drawing, Drawn, read_drawing
from .widgets import choose_wildcards, named_values, prompts, with_page_inputs

SHOWN = 8
"""Names that an error lists; more would hide what to do."""
USE_EVERYWHERE = "Anything Everywhere"
"""Beginning of the classes whose links are drawn nowhere."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SUBGRAPH_HELP = "In ComfyUI turn it into a subgraph (or ungroup it) and save again; or: " + EXPORT_HELP


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion."""

    graph: dict[str, Any]
    """The graph in the API format, as ComfyUI's page exports it."""
    notes: tuple[str, ...]
    """What was left out or decided, one sentence each."""
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Node → required inputs whose source is muted, or bypassed without a way through. ComfyUI refuses such a node."""

    def runnable(self, schemas: Mapping[str, Mapping[str, Any]]) -> Converted:
        """Return this without the nodes that cannot run because of what is muted, and without what hangs on them.

        Raises:
            InvalidInputError: nothing is left.

        """
        return _without_lacking(self, schemas) if self.lacking else self


def convert(data: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], *, lenient: bool = False) -> Converted:
    """Convert a drawing.

    Args:
        data: the file's content, in the UI format.
        schemas: the server's node schemas, ``/object_info``.
        lenient: whether nodes of unknown classes may lose their values, for a graph that is only looked at.

    Raises:
        InvalidInputError: it is not a drawing, uses node classes that the schemas lack, or parts that only the page can resolve.

    """
    return _Conversion(read_drawing(data), schemas).run(lenient=lenient)


class _Conversion:
    """One conversion."""

    def __init__(self, drawing: Drawing, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.drawing = drawing
        self.schemas = schemas
        self.tracer = Tracer(drawing)
        self.notes: list[str] = []
        self.lacking: dict[str, tuple[str, ...]] = {}
        self.promotions = Promotions(drawing, lambda scope, node: self._values(scope, node) or {})
        self.values: dict[tuple[str, str], dict[str, Any] | None] = {}
        """The values of a node, by its sheet and its id: all instances of a subgraph have the same nodes inside."""

    def run(self, *, lenient: bool) -> Converted:
        nodes = list(running_nodes(self.drawing))
        if not nodes:
            raise InvalidInputError("Nothing in this drawing would run: all nodes are muted, bypassed or notes.", EXPORT_HELP)
        self._refuse_what_only_the_page_knows([node for _, node in nodes])
        if not lenient:
            self._refuse_unknown([node for scope, node in nodes if self._values(scope, node) is None])
        graph = {scope.id_of(node): self._node(scope, node) for scope, node in nodes}
        for node in graph.values():  # nodes that depend on a node that does not run cannot run either
            node["inputs"] = {name: value for name, value in node["inputs"].items() if not is_link(value) or value[0] in graph}
        self._tell_left_out()
        return Converted(graph, tuple(self.notes), self.lacking)

    def _values(self, scope: Scope, node: Drawn) -> dict[str, Any] | None:
        """Return the values of a node's own widgets, by name."""
        key = (scope.instance.type if scope.instance else "", node.id)
        if key not in self.values:
            self.values[key] = named_values(node, self.schemas.get(node.type))
        return self.values[key]

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

    def _node(self, scope: Scope, node: Drawn) -> dict[str, Any]:
        schema = self.schemas.get(node.type)
        where = scope.id_of(node)
        if schema is None:
            self.notes.append(
                f"Node {where} ({node.type}) is not in the schemas; its values were matched by the names in the drawing."
            )
        values = {name: self.promotions.of_widget(scope, node, name) for name in self._values(scope, node) or {}}
        sources = [(socket, self.tracer.source(scope, node, slot)) for slot, socket in enumerate(node.inputs) if socket.name]
        lacking: list[str] = []
        for socket, source in sources:
            if source is not None and source.node is None and not source.lost and source.shown is None and socket.name in values:
                values[socket.name] = source.value
            if source is not None and source.lost and socket.name not in values and _is_required(schema, socket.name):
                lacking.append(socket.name)
        shown = {socket.name: self.promotions.of_input(*source.shown) for socket, source in sources if source and source.shown}
        for name in prompts(schema or {}):
            if shown.get(name, NOTHING) is NOTHING:  # the page resolves no text that a subgraph's input gives
                self._decide(where, name, values)
        values |= {name: value for name, value in shown.items() if value is not NOTHING and value is not None}
        if schema is not None:
            with_page_inputs(node.type, schema, values)
        inputs: dict[str, Any] = {name: _wrap_list(value) for name, value in values.items()}
        inputs |= {socket.name: [source.node, source.slot] for socket, source in sources if source and source.node is not None}
        if lacking:
            self.lacking[where] = tuple(lacking)
        title = node.title or str((schema or {}).get("display_name") or node.type)  # under the name that the page uses
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}

    def _decide(self, where: str, name: str, values: dict[str, Any]) -> None:
        text = values.get(name)
        if isinstance(text, str) and (fixed := choose_wildcards(text)) != text:
            values[name] = fixed
            self.notes.append(f"Node {where} input {name}: the first of the words in braces was used, and comments were left out.")

    def _tell_left_out(self) -> None:
        for instance in self.promotions.left_out:
            page = ".".join(map(str, self.drawing.page))
            self.notes.append(
                f"Node {instance} lists values of its own, as the page {page} saves them. The page of ComfyUI 0.28.2 does not "
                "read them: the graph has the values inside the subgraph. "
                "Set what you need: ryla-gen graph run FILE.json --set NODE.INPUT=VALUE"
            )
        for node, names in self.lacking.items():
            self.notes.append(f"Node {node} has no {' and no '.join(names)}: {CUT}, so ComfyUI refuses this node.")


CUT = "its source is muted, or bypassed without a way through"
"""Why a required input is empty."""


def _without_lacking(done: Converted, schemas: Mapping[str, Mapping[str, Any]]) -> Converted:
    """Remove the nodes that lack a required input, and then what hangs on them."""
    graph = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in done.graph.items()}
    users: dict[str, list[tuple[str, str]]] = {}
    for node_id, node in graph.items():
        for name, source, _ in links(node["inputs"]):
            users.setdefault(source, []).append((node_id, name))
    waiting, notes = list(done.lacking), [note for note in done.notes if CUT not in note]
    while waiting:
        gone = waiting.pop()
        if gone not in graph:
            continue
        node = graph.pop(gone)
        notes.append(f"Node {gone} ({node['_meta']['title']}) was left out: {CUT}.")
        for user, name in users.get(gone, ()):
            if user in graph:
                graph[user]["inputs"].pop(name, None)
                if _is_required(schemas.get(graph[user]["class_type"]), name):
                    waiting.append(user)
    if not graph:
        raise InvalidInputError("Nothing in this drawing would run: every node depends on a muted one.", EXPORT_HELP)
    return Converted(graph, tuple(notes))


def _is_required(schema: Mapping[str, Any] | None, name: str) -> bool:
    return name in (((schema or {}).get("input") or {}).get("required") or {})


def _wrap_list(value: Any) -> Any:
    """Wrap a list, which would be read as a link; ComfyUI unwraps it."""
    return {"__value__": value} if isinstance(value, list) else value
