"""Represent ComfyUI graphs as Python objects: nodes, links, and the API format. Must not know a workflow or a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    """One output slot of one node, to be given as another node's input."""

    node_id: str
    slot: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node in a graph. ``node[1]`` is its second output slot; the node itself stands for its first."""

    id: str
    class_type: str
    inputs: Mapping[str, Any]

    def __getitem__(self, slot: int) -> Link:
        return Link(self.id, slot)


@dataclass(slots=True)
class Graph:
    """Nodes by id, in the order in which they were added."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, class_type: str, **inputs: Any) -> Node:
        """Add a node. An input is a plain value, a :class:`Link`, or a :class:`Node` (its first output)."""
        node = Node(str(len(self.nodes) + 1), class_type, inputs)
        self.nodes[node.id] = node
        return node

    def to_api(self) -> dict[str, Any]:
        """Convert to the API format: node id → class_type and inputs, links as ``[node id, slot]``."""
        return {
            node.id: {"class_type": node.class_type, "inputs": {name: _plain(value) for name, value in node.inputs.items()}}
            for node in self.nodes.values()
        }

    @classmethod
    def from_api(cls, api: Mapping[str, Any]) -> Graph:
        """Read a graph in the API format; inputs, links among them, are kept as they are."""
        return cls({key: Node(key, value["class_type"], dict(value.get("inputs") or {})) for key, value in api.items()})

    def class_types(self) -> frozenset[str]:
        """Return every node class the graph uses."""
        return frozenset(node.class_type for node in self.nodes.values())


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return [value.id, 0]
    return [value.node_id, value.slot] if isinstance(value, Link) else value


def is_link(value: Any) -> bool:
    """Whether an input of the API format is a link to another node."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def links(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield the links among a node's inputs: (input name, node id, slot)."""
    for name, value in inputs.items():
        if is_link(value):
            yield name, value[0], value[1]
