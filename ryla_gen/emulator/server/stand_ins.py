"""Choose substitutes for node classes without an emulation of their own, by the types of their inputs and outputs.

An output passes on an input of its type; without one it is made from an input of a kindred type, and without that it is plain.
``inputs_by_output`` decides from a graph alone, so that the same is known before anything runs. Computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...comfy.schema import input_specs, is_link

Graph = Mapping[str, Any]
Schemas = Mapping[str, Mapping[str, Any]]

FOLLOWING = ("*", "COMFY_MATCHTYPE_V3")
"""Types of outputs that are what an input is."""
NUMBERS = frozenset({"INT", "FLOAT", "BOOLEAN"})
TEXTS = ("STRING", "COMBO")
SETTINGS = frozenset({
    "INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "MODEL", "CLIP", "VAE", "CONDITIONING", "SIGMAS", "SAMPLER", "NOISE", "GUIDER",
    "CONTROL_NET", "STYLE_MODEL", "CLIP_VISION", "HOOKS", "HOOK_KEYFRAMES", "TIMESTEPS_RANGE", "GLIGEN", "COLOR", "CURVE",
    "AUDIO_ENCODER", "BACKGROUND_REMOVAL", "LATENT_OPERATION", "LORA_MODEL", "MODEL_PATCH", "PHOTOMAKER", "LOAD3D_CAMERA",
})  # fmt: skip
"""Types that steer or hold weights: no picture, sound or shape is in them. All types that end with ``_MODEL`` are such too."""

KINDRED: Mapping[str, tuple[str, ...]] = {
    "IMAGE": ("VIDEO", "LATENT", "MASK"),
    "MASK": ("IMAGE", "VIDEO", "LATENT"),
    "VIDEO": ("IMAGE", "LATENT"),
    "AUDIO": ("LATENT", "VIDEO"),
    "LATENT": ("IMAGE", "VIDEO", "AUDIO"),
}
"""What a type can be made from, best first; types of other names come last."""

SIZED = ("width", "height")
"""A class with these and without a latent among its inputs makes an empty latent, whatever pictures it also takes."""


def carries(kind: str) -> bool:
    """Whether values of a type can hold a picture, a sound or a shape."""
    return kind not in SETTINGS and not kind.endswith("_MODEL")


def types_in(text: Any) -> frozenset[str]:
    """Split the types of one entry: some inputs take several, written with commas."""
    return frozenset(part.strip() for part in text.split(",")) if isinstance(text, str) else frozenset({"COMBO"})


class Types:
    """The types of a graph's values. An output that follows an input (switches, resizing) has the type of what is linked there."""

    def __init__(self, graph: Graph, schemas: Schemas) -> None:
        self.graph = graph
        self.schemas = schemas
        self._known: dict[tuple[str, int], str] = {}

    def of_link(self, link: Sequence[Any]) -> str:
        """Find the type of a node's output."""
        way: dict[tuple[str, int], None] = {}
        place, kind = (str(link[0]), int(link[1])), ""
        while not kind:
            if place in way:  # a cycle, which no valid graph has
                kind = "*"
            elif place in self._known:
                kind = self._known[place]
            else:
                way[place] = None
                kind, place = self._look(*place)
        self._known |= dict.fromkeys(way, kind)
        return kind

    def _look(self, source: str, slot: int) -> tuple[str, tuple[str, int]]:
        """Return a type, or the output that it follows from."""
        node = self.graph[source]
        schema = self.schemas[node["class_type"]]
        kind = str(schema["output"][slot])
        if kind not in FOLLOWING:
            return kind, (source, slot)
        inputs: Mapping[str, Any] = node.get("inputs") or {}
        open_ones = [inputs[name] for name, spec in input_specs(schema).items() if spec.type in FOLLOWING and name in inputs]
        links = [value for value in open_ones if is_link(value)]
        if links:
            return "", (links[0][0], links[0][1])
        return _type_of(open_ones[0]) if open_ones else "*", (source, slot)

    def of_inputs(self, inputs: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, str]:
        """Find the type of each input that a graph gives a node, in the schema's order."""
        specs = input_specs(schema)
        ordered = [*(name for name in specs if name in inputs), *(name for name in inputs if name not in specs)]
        found: dict[str, str] = {}
        for name in ordered:
            value = inputs[name]
            if is_link(value):
                found[name] = self.of_link(value)
            elif value is not None:
                kind = specs[name].type if name in specs else _type_of(value)
                found[name] = kind if isinstance(kind, str) and not kind.startswith("COMFY_") else "COMBO"
        return found


def _type_of(literal: Any) -> str:
    for kind, name in ((bool, "BOOLEAN"), (int, "INT"), (float, "FLOAT")):
        if isinstance(literal, kind):
            return name
    return "STRING"


def inputs_by_output(schema: Mapping[str, Any], types: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Choose for each output of a class the inputs it is made from; none for a plain one.

    Args:
        schema: the class's.
        types: type of each given input (:meth:`Types.of_inputs`).

    """
    outputs = [str(kind) for kind in schema.get("output") or ()]
    names = [str(name) for name in schema.get("output_name") or outputs]
    return [
        _inputs_for(kind, name, outputs[:slot].count(kind), types)
        for slot, (kind, name) in enumerate(zip(outputs, names, strict=False))
    ]


def _inputs_for(kind: str, name: str, place: int, types: Mapping[str, str]) -> tuple[str, ...]:
    wanted = types_in(kind)
    same = [given for given, having in types.items() if wanted & types_in(having)]
    if kind in NUMBERS:  # only the input of the same name: other numbers mean something else
        return (name,) if name in same else ()
    if kind in TEXTS:
        return (name,) if name in same else tuple(same[:1])
    if same:
        return (same[min(place, len(same) - 1)],)
    if kind == "LATENT" and all(side in types for side in SIZED):
        return ()
    if kind in KINDRED:
        kin = [given for kin_type in KINDRED[kind] for given, having in types.items() if kin_type in types_in(having)]
        others = [given for given, having in types.items() if carries(having) and given not in kin]
        return tuple([*kin, *others][:1])
    if kind in SETTINGS or not carries(kind):
        return ()
    if kind in FOLLOWING:
        return tuple(types)[:1]
    return tuple(given for given, having in types.items() if carries(having))
