"""Report before a prompt runs what the emulator substitutes, and which nodes it cannot run at all. Pure; runs nothing.

A stand-in never makes a saved file alone: an emulated sampler must be behind it, or a picture, video or sound that was loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...comfy.schema import converted_inputs, file_inputs, is_link
from .stand_ins import Graph, Schemas, Types, carries, inputs_by_output

SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", "SeedVR2VideoUpscaler"})
"""Emulated classes that make pictures of their own."""

SOURCES = frozenset({"LoadImage", "LoadImageMask", "LoadImageOutput", "LoadVideo", "LoadAudio"})
"""Emulated classes that read what the caller gave."""

TEXT_OUTPUTS = frozenset({"PreviewAny", "SaveText"})
"""Output classes that show words: those may be a stand-in's."""

MOST_WORDS, LONGEST_WORD = 8, 30
"""The most words that a notice names, and the most characters of each: a prompt may be a page long."""

_EMBEDDING = re.compile(r"\bembedding:([^\s,:()<>]+)")
"""How a prompt names a textual inversion."""


@dataclass(frozen=True, slots=True)
class NodeCannotRun:
    """A node that the emulator cannot run."""

    node_id: str
    class_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """The parts of a graph that are substituted or cannot run."""

    stood_in: tuple[str, ...]
    """Classes that are stood in for by their types."""
    stops: tuple[NodeCannotRun, ...]

    def error(self) -> dict[str, Any]:
        """Build the error in ComfyUI's format."""
        named = ", ".join(f"{stop.class_type} (node {stop.node_id})" for stop in self.stops)
        nodes = [{"node_id": stop.node_id, "class_type": stop.class_type, "reason": stop.reason} for stop in self.stops]
        message = "The emulator cannot run this graph"
        return {"type": "not_emulated", "message": message, "details": named, "extra_info": {"nodes": nodes}}


def coverage(graph: Graph, schemas: Schemas, outputs: Collection[str], emulated: Collection[str]) -> Coverage:
    """Check every node that the outputs need.

    Args:
        graph: in API format, valid.
        schemas: of its classes.
        outputs: ids of the output nodes that will run.
        emulated: the classes that have an emulation of their own.

    """
    look = _Look(graph, schemas, frozenset(emulated))
    stops: dict[str, NodeCannotRun] = {}
    needed: dict[str, None] = {}
    for output in outputs:
        needed |= dict.fromkeys(look.needs(output))
        if look.kind(output) not in look.emulated:
            stops[output] = NodeCannotRun(output, look.kind(output), "it saves or shows something in a way that is not emulated")
        elif look.kind(output) not in TEXT_OUTPUTS:
            for node_id in look.find_unfounded(output):
                reason = "it would make the result on its own: no emulated sampler or loaded file is behind it"
                stops.setdefault(node_id, NodeCannotRun(node_id, look.kind(node_id), reason))
    stood_in = [look.kind(node_id) for node_id in needed if look.is_stand_in(node_id) and not look.only_loads(node_id)]
    return Coverage(tuple(dict.fromkeys(stood_in)), tuple(stops.values()))


class _Look:
    """One check of one graph."""

    def __init__(self, graph: Graph, schemas: Schemas, emulated: frozenset[str]) -> None:
        self.graph = graph
        self.schemas = schemas
        self.emulated = emulated
        self.types = Types(graph, schemas)
        self._inputs: dict[str, dict[str, Any]] = {}
        self._chosen: dict[str, list[tuple[str, ...]]] = {}

    def kind(self, node_id: str) -> str:
        return str(self.graph[node_id]["class_type"])

    def is_stand_in(self, node_id: str) -> bool:
        return self.kind(node_id) not in self.emulated

    def only_loads(self, node_id: str) -> bool:
        """Whether a node does nothing but name files of weights: what those are stood in for is said of the files."""
        return bool(file_inputs(self.schemas[self.kind(node_id)])) and not any(is_link(v) for v in self.inputs(node_id).values())

    def inputs(self, node_id: str) -> dict[str, Any]:
        if node_id not in self._inputs:
            self._inputs[node_id] = converted_inputs(self.graph[node_id], self.schemas[self.kind(node_id)])
        return self._inputs[node_id]

    def needs(self, output: str) -> Iterator[str]:
        """Yield an output node and everything it depends on."""
        seen = {output}
        todo = [output]
        while todo:
            node_id = todo.pop()
            yield node_id
            sources = [value[0] for value in self.inputs(node_id).values() if is_link(value)]
            todo += [source for source in dict.fromkeys(sources) if source not in seen]
            seen.update(sources)

    def find_unfounded(self, output: str) -> list[str]:
        """Return the stand-ins that would make what an output saves, where nothing emulated is behind them."""
        return [node_id for link in self._carriers(output, -1) for node_id in self._alone(link)]

    def _alone(self, link: Sequence[Any]) -> list[str]:
        found: list[str] = []
        todo = [(str(link[0]), int(link[1]))]
        seen = set(todo)
        while todo:
            node_id, slot = todo.pop()
            kind = self.kind(node_id)
            if kind in SAMPLERS or kind in SOURCES:
                return []
            if self.is_stand_in(node_id) and node_id not in found:
                found.append(node_id)
            links = [(value[0], value[1]) for value in self._carriers(node_id, slot)]
            todo += [place for place in links if place not in seen]
            seen.update(links)
        return found

    def _carriers(self, node_id: str, slot: int) -> list[Any]:
        """Return the links that what an output of a node holds may come from."""
        inputs = self.inputs(node_id)
        if not self.is_stand_in(node_id):
            return [value for value in inputs.values() if is_link(value) and carries(self.types.of_link(value))]
        if node_id not in self._chosen:
            schema = self.schemas[self.kind(node_id)]
            self._chosen[node_id] = inputs_by_output(schema, self.types.of_inputs(inputs, schema))
        return [inputs[name] for name in self._chosen[node_id][slot] if is_link(inputs[name])]


def embeddings_in(graph: Graph) -> list[str]:
    """List the textual inversions that the prompts of a graph ask for."""
    texts = [value for node in graph.values() for value in (node.get("inputs") or {}).values() if isinstance(value, str)]
    return list(dict.fromkeys(name for text in texts for name in _EMBEDDING.findall(text)))


def notices(files: Collection[str], classes: Collection[str]) -> list[dict[str, str]]:
    """Describe a result's stand-ins: ``code`` and ``message`` each.

    Args:
        files: names of weights, LoRAs and embeddings that the emulator does not know.
        classes: node classes without an emulation of their own.

    """
    said: list[dict[str, str]] = []
    if files:
        text = f"The emulator has no file {', '.join(files)}: it used only the name. A ComfyUI server needs the file."
        said.append({"code": "emulated_weights", "message": text})
    if classes:
        text = (
            f"The emulator stood in for {', '.join(classes)} by their types: each passed its input on, or returned a simple value."
        )
        said.append({"code": "emulated_nodes", "message": text})
    return said


def words_notice(words: Sequence[str]) -> dict[str, str]:
    """Describe the words of its prompts that a result does not show: ``code`` and ``message``."""
    named = [repr(word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 1]}…") for word in words[:MOST_WORDS]]
    more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
    text = f"The emulator did not paint: {', '.join(named)}{more}. It stands in for a model; see docs/emulator.md"
    return {"code": "emulated_words", "message": text}
