"""Read from a graph what running it needs besides weights: stored LoRAs, their base model, faces. Knows no workflow.

A built-in workflow, a plug-in and a JSON graph are all read here, from the same node classes, so they all get the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..graphs.graph import is_link, links
from ..models.weights_table import all_weights

LORA_INPUT = re.compile(r"^lora(_name)?(_\d+)?$")
"""Inputs that name a LoRA: ``lora_name`` in ComfyUI's own loaders, ``lora_1`` or ``lora_name_1`` in stacking ones."""
STORED_NAME = re.compile(r"^(?P<id>[a-z0-9][a-z0-9._-]{0,63})(/[0-9a-f]{16})?\.safetensors$")
"""``<id>.safetensors``, or ``<id>/<first 16 digits of its hash>.safetensors`` as a pushed LoRA is called on a server."""
CLIP_TYPES = {"flux": "flux", "sdxl": "sdxl", "wan": "wan"}
"""``type`` of a text encoder's loader → base model, where a LoRA's base has the same name."""
FACE_INPUTS = {"ApplyPulidFlux": "image"}
"""Node classes that only log that they see no face, and the input whose picture must show one."""


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
    """Return the base model (flux, sdxl, wan) of the model that a LoRA loader patches; None where the graph does not tell.

    The way goes from the loader's ``model`` input back to the node that loads a file: the table knows the files of our
    workflows. A file that it does not know is judged by the type of the graph's text encoders, where all of them agree.
    """
    bases = {row.name: row.base for row in all_weights() if row.base}
    seen: set[str] = set()
    while node_id in graph and node_id not in seen:  # an untrusted graph may hold a circle
        seen.add(node_id)
        inputs = graph[node_id].get("inputs") or {}
        named = next((bases[value] for value in inputs.values() if isinstance(value, str) and value in bases), None)
        if named is not None:
            return named
        node_id = next((source for name, source, _ in links(inputs) if name == "model"), "")
    classes = [node for node in graph.values() if "CLIPLoader" in str(node.get("class_type"))]
    types = {CLIP_TYPES.get(str((node.get("inputs") or {}).get("type"))) for node in classes}
    return types.pop() if len(types) == 1 else None


def face_files(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the file names of the pictures in which nodes need a face without looking for one themselves, each once."""
    found = [
        name
        for node in graph.values()
        if (wanted := FACE_INPUTS.get(str(node.get("class_type")))) is not None
        for name in _pictures_behind(graph, (node.get("inputs") or {}).get(wanted))
    ]
    return tuple(dict.fromkeys(found))


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
