"""Plan a prompt: which nodes run, in which order, and under which names their results are cached.

Pure functions of a graph; nothing here recurses, however deep the graph. Runs nothing and sends nothing.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...comfy.schema import converted_inputs, is_link

_RANK_OUTPUT, _RANK_FEEDS_OUTPUT, _RANK_OTHER = range(3)


def nest_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Nest inputs as a node gets them: ``resize_type`` and ``resize_type.width`` become one mapping with both in it."""
    result: dict[str, Any] = {}
    heads = {name.partition(".")[0] for name in inputs if "." in name}
    for name, value in inputs.items():
        path = name.split(".")
        if path[0] not in heads:
            result[name] = value
            continue
        place = result.setdefault(path[0], {})
        for part in path[1:-1]:
            inner = place.get(part)
            place[part] = place = inner if isinstance(inner, dict) else {} if inner is None else {part: inner}
        last = path[-1]
        if isinstance(place.get(last), dict):
            place[last][last] = value
        else:
            place[last] = value
    return result


def signatures(graph: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], changed: Callable[[str], str]) -> dict[str, str]:
    """Name each node by what it computes: its class, its inputs, its ancestors, but not its id.

    ``inputs`` holds the converted inputs of every node that runs, ancestors first; ``changed`` the fingerprint of a node.
    """
    result: dict[str, str] = {}
    for node_id, values in inputs.items():
        parts = {
            name: ["link", result[value[0]], value[1]] if is_link(value) else ["value", value] for name, value in values.items()
        }
        # Links are named by what their source computes, not by its id: a graph with other ids finds the same cached results.
        text = json.dumps([graph[node_id]["class_type"], parts, changed(node_id)], sort_keys=True, default=repr)
        result[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return result


def _sources(values: Mapping[str, Any]) -> Iterator[str]:
    return (value[0] for value in values.values() if is_link(value))


def needed_inputs(
    graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], outputs: list[str]
) -> dict[str, dict[str, Any]]:
    """Convert the inputs of every node that ``outputs`` need, ancestors first. No recursion, however deep the graph."""
    found: dict[str, dict[str, Any]] = {}
    ordered: dict[str, dict[str, Any]] = {}
    stack = [(output, False) for output in reversed(outputs)]
    while stack:
        node_id, ready = stack.pop()
        if ready:
            ordered[node_id] = found[node_id]
        elif node_id not in found:
            found[node_id] = converted_inputs(graph[node_id], schemas[graph[node_id]["class_type"]])
            # Seen again after its sources: only then do all of them stand before it in the order.
            stack.append((node_id, True))
            stack.extend((source, False) for source in _sources(found[node_id]) if source not in found)
    return ordered


@dataclass(slots=True)
class ExecutionPlan:
    """The nodes that run, and their order: outputs as soon as they can, then what feeds an output, then as found.

    Iterate once, after ``find``.
    """

    inputs: Mapping[str, Mapping[str, Any]]
    outputs: frozenset[str]
    unneeded: Callable[[str], Collection[str]] = lambda _node_id: ()
    """Names of inputs whose sources a node does not need, as far as is known now: a switch needs one branch of two. Asked when the
    plan finds the node, and again when all is there that it needed."""
    done: set[str] = field(default_factory=set)
    blockers: dict[str, set[str]] = field(default_factory=dict)
    blocked: dict[str, list[str]] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    def find(self, starts: list[str], cached: set[str]) -> None:
        """Collect the nodes that must run; behind a cached node nothing must."""
        self.done |= cached
        todo = list(starts)
        while todo:
            node_id = todo.pop()
            if node_id in self.found:
                continue
            self.found[node_id] = len(self.found)
            needed = set() if node_id in self.done else self._missing_sources(node_id)
            self.blockers[node_id] = needed
            for source in needed:
                self.blocked.setdefault(source, []).append(node_id)
            todo.extend(needed)

    def _missing_sources(self, node_id: str) -> set[str]:
        """Return the sources that a node still waits for."""
        without = self.unneeded(node_id)
        inputs = {name: value for name, value in self.inputs[node_id].items() if name not in without}
        return {source for source in _sources(inputs) if source not in self.done}

    def __iter__(self) -> Iterator[str]:
        ready = [self._key(node_id) for node_id, needed in self.blockers.items() if not needed]
        heapq.heapify(ready)
        while ready:
            node_id = heapq.heappop(ready)[2]
            # A switch knows its branch only now, when the condition has been computed: it waits again, for that branch.
            if node_id not in self.done and (more := self._missing_sources(node_id)):
                for other in self._wait(node_id, more):
                    heapq.heappush(ready, self._key(other))
                continue
            yield node_id
            self.done.add(node_id)
            for other in self.blocked.get(node_id, ()):
                self.blockers[other].discard(node_id)
                if not self.blockers[other]:
                    heapq.heappush(ready, self._key(other))

    def _wait(self, node_id: str, sources: set[str]) -> list[str]:
        """Make a node wait for sources that it turned out to need; return what can run because of that."""
        known = set(self.found)
        self.blockers[node_id] = sources
        for source in sources:
            self.blocked.setdefault(source, []).append(node_id)
        self.find(sorted(sources), set())
        return [other for other in self.found if other not in known and not self.blockers[other]]

    def _key(self, node_id: str) -> tuple[int, int, str]:
        rank = _RANK_OTHER
        if node_id in self.outputs:
            rank = _RANK_OUTPUT
        elif any(other in self.outputs for other in self.blocked.get(node_id, ())):
            rank = _RANK_FEEDS_OUTPUT
        return rank, self.found[node_id], node_id
