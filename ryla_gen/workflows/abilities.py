"""Read from a graph what running it needs besides weights: stored LoRAs, their base model, faces. Knows no workflow.

A built-in workflow, a plug-in and a JSON graph are all read here, from the same node classes, so they all get the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..comfy.file_names import STORED_NAME
from ..graphs.graph import is_link, links
from ..models.weights_table import all_weights

LORA_INPUT = re.compile(r"^lora(_name)?(_\d+)?$")
"""Inputs that name a LoRA: ``lora_name`` in ComfyUI's own loaders, ``lora_1`` or ``lora_name_1`` in stacking ones."""
CLIP_TYPES = {"flux": "flux", "sdxl": "sdxl", "wan": "wan", "qwen_image": "qwen", "flux2": "flux2"}
"""``type`` of a text encoder's loader → base model of LoRAs."""
SHARED_CLIP_TYPES = {"lumina2": ("qwen", "z_image")}
"""``type`` that several models share → a word in the encoder's file name, and the base model that it tells.

ComfyUI loads Z-Image's encoder (Qwen 3) and Lumina 2's (Gemma 2) by the same type, and goes by the file.
"""
FACE_INPUTS = {"ApplyPulidFlux": "image"}
"""Node classes that only log that they see no face, and the input whose picture must show one."""

MEDIA_LOADERS = re.compile(r"load_?(image|video)|(image|video)_?from_?(url|base64)", re.IGNORECASE)
"""In the names of node classes that bring a picture or a video into a graph, ComfyUI's own and those of packs."""


def reads_media(graph: Mapping[str, Any]) -> bool:
    """Return whether a graph is given a picture or a video, from which it makes another."""
    return any(MEDIA_LOADERS.search(str(node.get("class_type"))) for node in graph.values())


def lora_places(graph: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (node id, input, LoRA id) for every LoRA file of a graph that may be a stored one; none that the weights table has."""
    listed = {row.name for row in all_weights() if row.folder == "loras"}
    for node_id, node in graph.items():
        for name, value in (node.get("inputs") or {}).items():
            if LORA_INPUT.match(str(name)) and isinstance(value, str) and value not in listed:
                stored = STORED_NAME.match(value.replace("\\", "/"))
                if stored:
                    yield node_id, name, stored["id"]


def lora_base(graph: Mapping[str, Any], node_id: str) -> str | None:
    """Return the base model that a LoRA loader patches, with its size where known; None where the graph does not tell.

    That is ``flux`` or ``wan 14B``. The way goes from the loader's ``model`` input back to the node that loads a file: the table
    knows the files of our workflows. A file that it does not know is judged by the type of the graph's text encoders, where all of
    them agree.
    """
    from ..models.loras.keys import variant_named  # here, since it compiles many patterns, and most graphs have no LoRA

    bases = {row.name: f"{row.base} {variant_named(row.name, row.base)}".strip() for row in all_weights() if row.base}
    seen: set[str] = set()
    while node_id in graph and node_id not in seen:  # an untrusted graph may hold a circle
        seen.add(node_id)
        inputs = graph[node_id].get("inputs") or {}
        named = next((bases[value] for value in inputs.values() if isinstance(value, str) and value in bases), None)
        if named is not None:
            return named
        node_id = next((source for name, source, _ in links(inputs) if name == "model"), "")
    classes = [node for node in graph.values() if "CLIPLoader" in str(node.get("class_type"))]
    types = {_encoder_base(node.get("inputs") or {}) for node in classes}
    return types.pop() if len(types) == 1 else None


def _encoder_base(inputs: Mapping[str, Any]) -> str | None:
    """Return the base model that the inputs of a text encoder's loader tell."""
    kind = str(inputs.get("type"))
    word, base = SHARED_CLIP_TYPES.get(kind, ("", None))
    named = any(word in value.lower() for value in inputs.values() if isinstance(value, str))
    return base if base and named else CLIP_TYPES.get(kind)


def face_files(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the file names of the pictures in which nodes need a face without looking for one themselves, each once."""
    found = [
        name
        for node in graph.values()
        if (wanted := FACE_INPUTS.get(str(node.get("class_type")))) is not None
        for name in _pictures_behind(graph, (node.get("inputs") or {}).get(wanted))
    ]
    return tuple(dict.fromkeys(found))


def hidden_colour_files(graph: Mapping[str, Any]) -> frozenset[str]:
    """Return the file names of the pictures whose colours a graph reads and whose transparency no node reads.

    ComfyUI's LoadImage gives the colours, those under a transparent part too, and the transparency beside them as a mask.
    """
    read = {(source, slot) for node in graph.values() for _, source, slot in links(node.get("inputs") or {})}
    loaders = {str(node_id): node for node_id, node in graph.items() if node.get("class_type") == "LoadImage"}
    files = [{str(node["inputs"].get("image")) for key, node in loaders.items() if (key, slot) in read} for slot in (0, 1)]
    return frozenset(files[0] - files[1])


def _pictures_behind(graph: Mapping[str, Any], start: object) -> Iterator[str]:
    """Walk back from a link to the picture files that can reach it, through crops and resizes on the way."""
    waiting = [start[0]] if is_link(start) and isinstance(start, list) else []
    seen: set[str] = set()
    while waiting:
        node_id = waiting.pop()
        if node_id in seen or node_id not in graph:
            continue
        seen.add(node_id)
        inputs = graph[node_id].get("inputs") or {}
        image = inputs.get("image")
        if isinstance(image, str) and PurePosixPath(image).suffix:
            yield image
        else:
            waiting += [source for _, source, _ in links(inputs)]
