"""Find the fields and the outputs of a graph that is locked. Asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any

from ...comfy.schema import Schemas, input_specs
from ...comfy.schema.base import is_output
from ...errors import InvalidInputError
from ...graphs.fields import FoundField, fields_of_graph
from ...graphs.graph import is_link
from ...graphs.inputs import GraphInput, inputs_of, title_of
from ...locks.graph_lock import LARGEST, LockedInput, LockedOutput
from ...locks.lock_checks import FIELD

FOUND = "found by following the graph's links"
CHOSEN = "--input"
BY_SCHEMA, BY_LINKS = "an output node by its schema", "no node takes what it gives"
KINDS = {"IMAGE": "image", "MASK": "image", "VIDEO": "video", "AUDIO": "audio", "STRING": "text", "*": "text"}
"""Type of what an output node takes → kind of what it gives."""
VIDEO_WORDS = ("video", "webm", "animated", "mp4")
"""Words in the names of classes that make a video of pictures."""
TYPES = {"INT": "int", "FLOAT": "float", "STRING": "text", "BOOLEAN": "bool", "COMBO": "choice"}
"""Type of a graph's input → type of its field."""
_CHOICE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)=(?P<place>.+)")


def locked_inputs(graph: Mapping[str, Any], schemas: Schemas, chosen: Sequence[str] = ()) -> tuple[LockedInput, ...]:
    """Find the fields of a graph, and those that were chosen by hand.

    Args:
        graph: the API format.
        schemas: node schemas, which tell ranges.
        chosen: ``NAME=NODE.INPUT`` each; one of these takes the place of a field of its name.

    Raises:
        InvalidInputError: a text has another form, or names nothing that can be set.

    """
    listed = {item.key: item for item in inputs_of(graph, schemas)}
    by_hand = [_chosen_input(text, graph, listed) for text in chosen]
    taken = {item.name for item in by_hand} | {place for item in by_hand for place in item.places}
    found = [_found_input(item) for item in fields_of_graph(graph, schemas)]
    return (*(item for item in found if not taken.intersection({item.name, *item.places})), *by_hand)


def locked_outputs(graph: Mapping[str, Any], schemas: Schemas) -> Iterator[LockedOutput]:
    """Yield the nodes that end a graph, in its order."""
    used = {value[0] for node in graph.values() for value in node["inputs"].values() if is_link(value)}
    for node_id, node in graph.items():
        schema = schemas.get(node["class_type"])
        if is_output(schema) if schema is not None else node_id not in used:
            yield LockedOutput(node_id, node["class_type"], _output_kind(node, schema or {}), BY_SCHEMA if schema else BY_LINKS)


def _output_kind(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    name = str(node["class_type"]).lower()
    if any(word in name for word in VIDEO_WORDS):
        return "video"
    specs = input_specs(schema)
    linked = [str(specs[key].type).split(",")[0] for key, value in node["inputs"].items() if is_link(value) and key in specs]
    kinds = [KINDS[kind] for kind in linked if kind in KINDS]
    if kinds:
        return kinds[0]
    return next((word for word in ("image", "audio", "text") if word in name), "file")


def _found_input(field: FoundField) -> LockedInput:
    low, high = (bound if bound is None or abs(bound) <= LARGEST else None for bound in (field.minimum, field.maximum))
    return LockedInput(field.name, field.kind, field.keys, field.doc, field.default, low, high, field.grid, (), FOUND)


def _chosen_input(text: str, graph: Mapping[str, Any], listed: Mapping[str, GraphInput]) -> LockedInput:
    parts = _CHOICE.fullmatch(text)
    if parts is None or not FIELD.fullmatch(name := parts["name"].lower().replace("-", "_")):
        raise InvalidInputError(f"--input {text!r} is not NAME=NODE.INPUT.", "Write it as --input strength=12.strength_model")
    if iskeyword(name):
        raise InvalidInputError(f"--input {text!r}: {name} is a word of Python.", f"Write --input my_{name}={parts['place']}")
    given = listed.get(parts["place"])
    if given is None:
        hint = "List what can be set: ryla-gen graph inputs FILE.json"
        raise InvalidInputError(f"--input {text!r}: the graph has no value {parts['place']}.", hint)
    kind = TYPES.get(given.type, _kind_of(given.value))
    if kind == "choice" and not given.choices:
        kind = "text"
    if kind == "choice" and not all(isinstance(item, str) for item in (*given.choices, given.value)):
        kind = _kind_of(given.value)
    low, high = (_bound(bound, whole=kind == "int") for bound in (given.minimum, given.maximum))
    words = f"{given.input} of {title_of(graph[given.node])} (node {given.node})."
    # A server of somebody else may know the graph's own value.
    choices = tuple(dict.fromkeys((*map(str, given.choices), given.value))) if kind == "choice" else ()
    return LockedInput(name, kind, (given.key,), words[0].upper() + words[1:], given.value, low, high, None, choices, CHOSEN)


def _bound(bound: float | None, *, whole: bool) -> float | None:
    return None if bound is None or abs(bound) > LARGEST else int(bound) if whole else bound


def _kind_of(value: Any) -> str:
    kinds = {bool: "bool", int: "int", float: "float"}
    return kinds.get(type(value), "text")
