"""Describe what a picture of a graph shows: a box for each node, a line and its colour for each link. Places nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..models.node_schemas import node_schemas
from .graph import is_link
from .inputs import title_of

COLOURS = {
    "MODEL": "#8b6fd0",
    "CLIP": "#bd9200",
    "VAE": "#e05555",
    "CONDITIONING": "#dd7f23",
    "LATENT": "#cf60c1",
    "IMAGE": "#3c8fd8",
    "MASK": "#4fa05a",
    "VIDEO": "#26988c",
    "AUDIO": "#5aa02c",
    "CONTROL_NET": "#2f9e8f",
    "CLIP_VISION": "#5f8fa8",
    "CLIP_VISION_OUTPUT": "#9a7b4f",
    "NOISE": "#7d8a99",
    "GUIDER": "#3aa3b8",
    "SAMPLER": "#a0a02c",
    "SIGMAS": "#8fae4a",
}
"""Colours of ComfyUI's page, made darker or lighter until they are readable on white and on black."""
OTHER = "#7d8794"
MOST_VALUES = 8
"""Values that a box shows; nodes with more are set up once and looked up."""
LONGEST_VALUE = 34
"""Characters of a value in a box."""
HIDDEN = ("control_after_generate", "upload", "choose file to upload")
"""Inputs that only ComfyUI's page knows."""


@dataclass(frozen=True, slots=True)
class Value:
    """A line of a box."""

    name: str
    text: str
    """Short, in one line."""
    whole: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A link."""

    source: str
    slot: int
    target: str
    input: str
    type: str
    """What flows here, such as MODEL; ``*`` where it is not known."""

    @property
    def colour(self) -> str:
        """The colour of what flows here."""
        return COLOURS.get(self.type, OTHER)


@dataclass(frozen=True, slots=True)
class Box:
    """A node."""

    id: str
    class_type: str
    title: str
    """Empty where it says nothing beside the class."""
    values: tuple[Value, ...]
    hidden: int
    """Values that are not shown."""


@dataclass(frozen=True, slots=True)
class GraphPicture:
    """Everything a drawing shows."""

    boxes: dict[str, Box]
    edges: tuple[Edge, ...]


def picture_of(graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]] | None = None) -> GraphPicture:
    """Describe the picture of a graph in the API format; links that lead nowhere are left out."""
    known = node_schemas() if schemas is None else schemas
    boxes = {node_id: _box(node_id, node, known.get(node["class_type"]) or {}) for node_id, node in graph.items()}
    edges = [
        Edge(value[0], value[1], node_id, name, _type(graph, known, node, name, value))
        for node_id, node in graph.items()
        for name, value in node["inputs"].items()
        if is_link(value) and value[0] in graph
    ]
    return GraphPicture(boxes, tuple(edges))


def _box(node_id: str, node: Mapping[str, Any], schema: Mapping[str, Any]) -> Box:
    title = title_of(node)
    values = [_value(name, value) for name, value in node["inputs"].items() if not is_link(value) and name not in HIDDEN]
    same = _letters(title) in (_letters(node["class_type"]), _letters(str(schema.get("display_name") or "")))
    return Box(node_id, node["class_type"], "" if same else title, tuple(values[:MOST_VALUES]), max(0, len(values) - MOST_VALUES))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _value(name: str, value: Any) -> Value:
    if isinstance(value, Mapping) and "__value__" in value:
        value = value["__value__"]
    whole = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    text = " ".join(whole.split())
    return Value(name, text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…", whole)


def _type(
    graph: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], node: Mapping[str, Any], name: str, link: list[Any]
) -> str:
    outputs = (known.get(graph[link[0]]["class_type"]) or {}).get("output") or []
    given = outputs[link[1]] if 0 <= link[1] < len(outputs) else "*"
    if not isinstance(given, str) or given == "*":
        sections = (known.get(node["class_type"]) or {}).get("input") or {}
        entry = next((sections[part][name] for part in ("required", "optional") if name in (sections.get(part) or {})), ["*"])
        given = entry[0] if isinstance(entry, list | tuple) and entry else "*"
    return given if isinstance(given, str) and not given.startswith("COMFY_") else "*"
