"""Find the values of a graph that a person would want as fields (prompt, seed, size, steps, pictures) by following links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .api_format import SEED_INPUTS, TEXT_INPUTS, encodes_text, positive_texts
from .graph import is_link, links
from .inputs import GraphInput, inputs_of, title_of

Place = tuple[str, str]
"""A node's id and one of its inputs."""
PASSED_ON = ("value", "int", "float", "number", "string", "text", "seed", "noise_seed", "width", "height")
"""Inputs of nodes that only hold a value for others (PrimitiveInt, Seed, …)."""
SINGLE = {
    "steps": "Sampling steps.",
    "cfg": "Classifier-free guidance scale. 1 runs the model once a step, anything else twice.",
    "guidance": "Distilled guidance: higher follows the prompt more closely.",
    "denoise": "How much of the picture is redrawn, 0 to 1.",
    "length": "Frames of the video.",
    "batch_size": "Pictures from one run.",
}
"""Inputs that become fields of the same name, and what to say of them."""
FARTHEST = 1000
"""Nodes followed from one input; circles end here."""


@dataclass(frozen=True, slots=True)
class FoundField:
    """One field of the class to be written."""

    name: str
    kind: str
    """prompt, text, texts (several, each with a default of its own), seed, int, float, image, video; bool or choice of locks."""
    places: tuple[Place, ...]
    """What it sets, in the order of the graph."""
    default: Any
    """The graph's own value; None for a field that must be given, and for a seed."""
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    grid: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The inputs it sets, such as ``3.seed``."""
        return tuple(f"{node}.{name}" for node, name in self.places)

    @property
    def annotation(self) -> str:
        """Its type, as Python writes it."""
        words = {
            "prompt": "str",
            "text": "str",
            "texts": "str | None",
            "seed": "Seed",
            "image": "ImageInput",
            "video": "VideoInput",
        }
        return words.get(self.kind, self.kind)


def fields_of_graph(graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]] | None = None) -> list[FoundField]:
    """Find the fields of a graph in the API format.

    Args:
        graph: node id → class_type and inputs.
        schemas: node schemas, which tell ranges; the packaged ones when absent.

    """
    inputs = {(given.node, given.input): given for given in inputs_of(graph, schemas)}
    found = [*_texts(graph, inputs), *_sizes(graph, inputs), *_singles(graph, inputs), *_seeds(graph, inputs), *_media(graph)]
    taken: set[Place] = set()
    kept = []
    for field in found:
        places = tuple(place for place in field.places if place not in taken)
        taken.update(places)
        if places == field.places:
            kept.append(field)
    return kept


def origin(graph: Mapping[str, Any], node_id: str, name: str, kinds: type | tuple[type, ...]) -> Place | None:
    """Find the value behind an input: its own, or that of the node which holds it for others."""
    for _ in range(FARTHEST):
        value = graph[node_id]["inputs"].get(name)
        if isinstance(value, kinds) and not isinstance(value, bool):
            return node_id, name
        if not is_link(value) or value[0] not in graph:
            return None
        node_id = value[0]
        inputs = graph[node_id]["inputs"]
        held = [word for word in (name, *PASSED_ON) if word in inputs]
        if not held:
            return None
        name = held[0]
    return None


def _texts(graph: Mapping[str, Any], inputs: Mapping[Place, GraphInput]) -> Iterator[FoundField]:
    positive = [origin(graph, node, name, str) for node, name in positive_texts(graph)]
    prompt = _each(positive)
    negative = [place for place in _each(_negative_texts(graph)) if place not in prompt]
    if prompt:
        yield FoundField("prompt", "prompt", prompt, None, "What to show.")
    if negative:
        values = {inputs[place].value for place in negative if place in inputs}
        if len(values) == 1:
            yield FoundField("negative_prompt", "text", tuple(negative), values.pop(), "What to avoid.")
        else:
            yield FoundField("negative_prompt", "texts", tuple(negative), None, "What to avoid. Default: the graph's own texts.")


def _negative_texts(graph: Mapping[str, Any]) -> Iterator[Place | None]:
    waiting = [source for node in graph.values() for name, source, _ in links(node["inputs"]) if name == "negative"]
    seen: set[str] = set()
    while waiting:
        node_id = waiting.pop()
        if node_id in seen or node_id not in graph:
            continue
        seen.add(node_id)
        node = graph[node_id]
        if encodes_text(node["class_type"]):
            yield from (origin(graph, node_id, name, str) for name in TEXT_INPUTS if name in node["inputs"])
        elif "latent_image" not in node["inputs"]:
            waiting += [source for name, source, _ in links(node["inputs"]) if name != "positive"]


def _each(places: Any) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(place for place in places if place is not None))


def _sizes(graph: Mapping[str, Any], inputs: Mapping[Place, GraphInput]) -> Iterator[FoundField]:
    """Find width and height of what the samplers start from, and of every node with the same size."""
    latents = list(_latents(graph))
    if not latents:
        return
    # Behind an upscaler the picture's own size is that of the empty one it began with.
    first = next((node for node in latents if not any(links(graph[node]["inputs"]))), latents[-1])
    for name in ("width", "height"):
        main = origin(graph, first, name, int)
        if main is None or main not in inputs:
            return
    values = {name: inputs[origin(graph, first, name, int) or (first, name)].value for name in ("width", "height")}
    for name in ("width", "height"):
        nodes = [node for node in graph if _size(graph, inputs, node) == values]
        places = _each(origin(graph, node, name, int) for node in [first, *nodes])
        field = _number_field(name, "int", places, inputs[places[0]], f"{name.capitalize()} in pixels.")
        step = inputs[places[0]].step or 0
        fits = step > 1 and field.default % step == 0  # ComfyUI silently rounds other sizes down
        yield replace(field, grid=int(step)) if fits else field


def _size(graph: Mapping[str, Any], inputs: Mapping[Place, GraphInput], node: str) -> dict[str, Any] | None:
    found = {}
    for name in ("width", "height"):
        place = origin(graph, node, name, int) if name in graph[node]["inputs"] else None
        if place is None or place not in inputs:
            return None
        found[name] = inputs[place].value
    return found


def _latents(graph: Mapping[str, Any]) -> Iterator[str]:
    """Yield the nodes with a width and a height that samplers start from, the nearest first."""
    waiting = [source for node in graph.values() for name, source, _ in links(node["inputs"]) if name == "latent_image"]
    seen: set[str] = set()
    while waiting:
        node_id = waiting.pop(0)
        if node_id in seen or node_id not in graph:
            continue
        seen.add(node_id)
        inputs = graph[node_id]["inputs"]
        if "width" in inputs and "height" in inputs:
            yield node_id
        waiting += [source for name, source, _ in links(inputs) if name not in ("model", "clip", "vae", "positive", "negative")]


def _singles(graph: Mapping[str, Any], inputs: Mapping[Place, GraphInput]) -> Iterator[FoundField]:
    order = upstream_first(graph)
    for name, doc in SINGLE.items():
        nodes = [node for node in order if name in graph[node]["inputs"]]
        places = [place for place in _each(origin(graph, node, name, (int, float)) for node in nodes) if place in inputs]
        for number, place in enumerate(places, 1):
            given = inputs[place]
            whole = given.type == "INT" or (given.type not in ("FLOAT", "INT") and isinstance(given.value, int))
            more = "" if len(places) == 1 else f" Of {safe_words(title_of(graph[place[0]]))} (node {safe_words(place[0])})."
            yield _number_field(
                name if number == 1 else f"{name}_{number}", "int" if whole else "float", (place,), given, doc + more
            )


def upstream_first(graph: Mapping[str, Any]) -> list[str]:
    """Order the node ids so that a node stands behind what it needs; circles stay where they are."""
    needs = {node_id: {source for _, source, _ in links(node["inputs"]) if source in graph} for node_id, node in graph.items()}
    users: dict[str, list[str]] = {}
    for node_id, sources in needs.items():
        for source in sources:
            users.setdefault(source, []).append(node_id)
    ready = [node_id for node_id, sources in needs.items() if not sources]
    for node_id in ready:
        for user in users.get(node_id, ()):
            needs[user].discard(node_id)
            if not needs[user]:
                ready.append(user)
    return [*ready, *(node_id for node_id, sources in needs.items() if sources)]


def _number_field(name: str, kind: str, places: tuple[Place, ...], given: GraphInput, doc: str) -> FoundField:
    bounds = [int(bound) if kind == "int" and bound is not None else bound for bound in (given.minimum, given.maximum)]
    low, high = bounds
    value = given.value if kind == "int" else float(max(-1e300, min(1e300, given.value)))  # a whole number may be beyond any float
    if (low is not None and value < low) or (high is not None and value > high):
        low = high = None  # a graph that runs all the same knows better than the schema
    return FoundField(name, kind, places, value, doc, low, high)


def _seeds(graph: Mapping[str, Any], inputs: Mapping[Place, GraphInput]) -> Iterator[FoundField]:
    nodes = [(node, name) for node in graph for name in SEED_INPUTS if name in graph[node]["inputs"]]
    places = [place for place in _each(origin(graph, node, name, int) for node, name in nodes) if place in inputs]
    if places:
        yield FoundField(
            "seed", "seed", tuple(places), None, "Seed of the noise. The same seed gives the same result. Random by default."
        )


def _media(graph: Mapping[str, Any]) -> Iterator[FoundField]:
    pictures = [node for node in graph if _loads(graph[node], "image", "image")]
    videos = [(node, name) for node in graph for name in ("file", "video") if _loads(graph[node], "video", name)]
    for kind, places in (("image", [(node, "image") for node in pictures]), ("video", videos)):
        for number, place in enumerate(places, 1):
            name = kind if len(places) == 1 else f"{kind}_{number}"
            title = safe_words(title_of(graph[place[0]]))
            word = "Picture" if kind == "image" else "Video"
            yield FoundField(name, kind, (place,), None, f"{word} for {title} (node {safe_words(place[0])}).")


def _loads(node: Mapping[str, Any], kind: str, name: str) -> bool:
    word = node["class_type"].lower()
    return isinstance(node["inputs"].get(name), str) and "load" in word and kind in word


def safe_words(text: str) -> str:
    """Reduce a foreign text to what is safe in a docstring: no quotes, no backslashes, no line breaks."""
    return " ".join(re.sub(r"[^A-Za-z0-9 _.,:()-]+", " ", text).split())[:60] or "a node"
