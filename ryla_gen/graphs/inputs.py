"""List every value of a graph that can be set, with its type and range; set values, checked. Needs no server."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import InvalidInputError
from ..models.node_schemas import node_schemas
from .graph import is_link

Schemas = Mapping[str, Mapping[str, Any]]
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
SHOWN = 12
"""Choices that an error lists; samplers are some forty."""
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload")


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One value of one node."""

    node: str
    input: str
    class_type: str
    title: str
    """What the graph's maker called the node; its class where it has no other name."""
    type: str
    """INT, FLOAT, STRING, BOOLEAN, COMBO; another of ComfyUI's words, or ``*`` where it is not known."""
    value: Any
    """Its value in the graph."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    """What ComfyUI's page counts in; nodes round sizes to it."""
    choices: tuple[Any, ...] = ()
    """What an enum allows; empty where only a server knows (names of model files), and for files to upload."""

    @property
    def key(self) -> str:
        """Name under which it is set, such as ``3.seed``."""
        return f"{self.node}.{self.input}"


def inputs_of(graph: Mapping[str, Any], schemas: Schemas | None = None) -> list[GraphInput]:
    """List what can be set in a graph in the API format, in the graph's own order.

    Args:
        graph: node id → class_type and inputs.
        schemas: a server's node schemas; the packaged ones when absent. Of other classes the values tell the type.

    """
    known = node_schemas() if schemas is None else schemas
    found = []
    for node_id, node in graph.items():
        specs = _specs(known.get(node["class_type"]) or {})
        for name, value in node["inputs"].items():
            if not is_link(value):
                found.append(_graph_input(node_id, node, name, value, specs.get(name)))
    return found


def title_of(node: Mapping[str, Any]) -> str:
    """Return the title that the graph's maker gave a node, else its class."""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return title if isinstance(title, str) and title.strip() else str(node["class_type"])


def pictures_of(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find the pictures that a graph loads: (node id, file name)."""
    for node_id, node in graph.items():
        name = node["inputs"].get("image")
        if isinstance(name, str):
            yield node_id, name


def _specs(schema: Mapping[str, Any]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    sections = schema.get("input")
    blocks = [sections.get(section) for section in ("required", "optional")] if isinstance(sections, Mapping) else []
    return {
        name: (entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {})
        for block in blocks
        for name, entry in (block.items() if isinstance(block, Mapping) else ())
        if isinstance(entry, list | tuple) and entry  # packs write [] too
    }


def _graph_input(
    node_id: str, node: Mapping[str, Any], name: str, value: Any, spec: tuple[Any, Mapping[str, Any]] | None
) -> GraphInput:
    kind, config = spec or (_kind_of(value), {})
    choices: Sequence[Any] = kind if isinstance(kind, list) else config.get("options") or () if kind == "COMBO" else ()
    if any(config.get(flag) for flag in _UPLOADS) or "remote" in config:
        choices = ()
    low, high, step = (config.get(word) if kind in ("INT", "FLOAT") else None for word in ("min", "max", "step"))
    text = "COMBO" if isinstance(kind, list) else str(kind)
    return GraphInput(node_id, name, node["class_type"], title_of(node), text, value, low, high, step, tuple(choices))


def _kind_of(value: Any) -> str:
    kinds = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
    return kinds.get(type(value), "*")


def with_values(graph: Mapping[str, Any], values: Mapping[str, Any], schemas: Schemas | None = None) -> dict[str, Any]:
    """Return a copy of a graph with values put in.

    Args:
        graph: node id → class_type and inputs.
        values: ``"3.seed"`` → value. In front of the last dot stands a node's id, or its title or class where only one
            node has it. Text is read as the target's type.
        schemas: a server's node schemas; the packaged ones when absent.

    Raises:
        InvalidInputError: no such target, several of them, a link in its place, or a value that does not fit.

    """
    known = {target.key: target for target in inputs_of(graph, schemas)}
    made = copy.deepcopy(dict(graph))
    for key, value in values.items():
        node_id, name = find_input(graph, key)
        made[node_id]["inputs"][name] = fitting(known[f"{node_id}.{name}"], value)
    return made


def find_input(graph: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Find the node and the input that a key such as ``3.seed`` or ``KSampler.seed`` names.

    Raises:
        InvalidInputError: it names none, several, or an input that is linked.

    """
    splits = [(key[:at], key[at + 1 :]) for at, sign in enumerate(key) if sign == "." and key[:at] and key[at + 1 :]]
    if not splits:
        raise InvalidInputError(f"{key!r} does not name an input of a graph.", "Write NODE.INPUT, such as 3.seed or KSampler.seed.")
    for node, name in splits:
        if node in graph and name in graph[node]["inputs"]:
            return _check_unlinked(graph, node, name)
    named = [(node_id, name) for node, name in splits for node_id in _nodes_called(graph, node)]
    fitting_ones = [(node_id, name) for node_id, name in named if name in graph[node_id]["inputs"]]
    if len(fitting_ones) == 1:
        return _check_unlinked(graph, *fitting_ones[0])
    if fitting_ones:
        ids = ", ".join(f"{node_id}.{name}" for node_id, name in fitting_ones)
        raise InvalidInputError(f"{len(fitting_ones)} nodes match {key!r}.", f"Name one by its id: {ids}")
    raise _no_slot(graph, key, splits, named)


def _nodes_called(graph: Mapping[str, Any], word: str) -> list[str]:
    by_title = [node_id for node_id, node in graph.items() if title_of(node).lower() == word.lower()]
    return by_title or [node_id for node_id, node in graph.items() if node["class_type"].lower() == word.lower()]


def _check_unlinked(graph: Mapping[str, Any], node_id: str, name: str) -> tuple[str, str]:
    value = graph[node_id]["inputs"][name]
    if is_link(value):
        source = graph.get(value[0])
        owner = f"node {value[0]} ({source['class_type']})" if source else f"node {value[0]}"
        text = f"{node_id}.{name} is linked: {owner} provides its value."
        raise InvalidInputError(text, "Set that node's input, or another one: ryla-gen graph inputs FILE.json")
    return node_id, name


def _no_slot(graph: Mapping[str, Any], key: str, splits: list[tuple[str, str]], named: list[tuple[str, str]]) -> InvalidInputError:
    known = [*((node, name) for node, name in splits if node in graph), *named]
    if known:
        node_id, name = known[0]
        close = get_close_matches(name, list(graph[node_id]["inputs"]), n=3, cutoff=0.4)
        text = f"Node {node_id} ({graph[node_id]['class_type']}) has no input {name!r}."
        return InvalidInputError(text, _suggestion(f"{node_id}.{item}" for item in close))
    words = dict.fromkeys([*graph, *map(title_of, graph.values()), *(node["class_type"] for node in graph.values())])
    node, name = splits[0]
    close = get_close_matches(node, list(words), n=3, cutoff=0.5)
    return InvalidInputError(f"No node of the graph is called {node!r} ({key}).", _suggestion(f"{item}.{name}" for item in close))


def _suggestion(names: Iterator[str]) -> str:
    listed = ", ".join(names)
    return f"{f'Did you mean {listed}? ' if listed else ''}See them all: ryla-gen graph inputs FILE.json"


def fitting(target: GraphInput, value: Any) -> Any:
    """Return a value as a target takes it; text is read as the target's type.

    Raises:
        InvalidInputError: it is of another type, outside the range, or not among the choices.

    """
    match target.type:
        case "INT" | "FLOAT":
            return _as_number(target, value)
        case "BOOLEAN":
            return _truth(target, value)
        case "STRING" if not isinstance(value, str):
            raise _misfit(target, value, "takes text")
        case "COMBO":
            return _choice(target, value)
    if isinstance(value, list | dict) and not isinstance(target.value, type(value)):
        raise _misfit(target, value, f"takes what the graph has there now, such as {target.value!r}")
    return value


def _as_number(target: GraphInput, value: Any) -> int | float:
    whole = target.type == "INT"
    try:
        if isinstance(value, bool):
            raise ValueError
        number: int | float = int(value) if whole and isinstance(value, str | int) else float(value)
        if not math.isfinite(number) or (whole and number != int(number)):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise _misfit(target, value, f"takes {'a whole number' if whole else 'a number'}") from None
    number = int(number) if whole else number
    low, high = target.minimum, target.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        raise _misfit(target, value, f"takes {low} to {high}")
    return number


def _truth(target: GraphInput, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if not isinstance(value, str | int) or word not in (*TRUE, *FALSE):
        raise _misfit(target, value, "takes true or false")
    return word in TRUE


def _choice(target: GraphInput, value: Any) -> Any:
    if not target.choices:  # only a server knows its files
        if not isinstance(value, str | int | float):
            raise _misfit(target, value, "takes a name")
        return value
    found = next((choice for choice in target.choices if choice == value and type(choice) is type(value)), None)
    found = found if found is not None else next((choice for choice in target.choices if str(choice) == str(value)), None)
    if found is None:
        names = [str(choice) for choice in target.choices]
        close = get_close_matches(str(value), names, n=3, cutoff=0.4)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        hint = f"Did you mean {', '.join(close)}?" if close else f"One of: {', '.join(names[:SHOWN])}{more}"
        raise InvalidInputError(f"{target.key} ({target.class_type}) has no option {str(value)[:100]!r}.", hint)
    return found


def _misfit(target: GraphInput, value: Any, takes: str) -> InvalidInputError:
    text = f"{target.key} ({target.class_type}) {takes}, not {str(value)[:100]!r}."
    return InvalidInputError(text, f"It is {str(target.value)[:100]!r} now; see: ryla-gen graph inputs FILE.json")
