"""Runs API-format graphs straight through the emulated nodes: no server, no executor."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ryla_gen.emulator.base import Context, Folders
from ryla_gen.emulator.nodes import NODES

Graph = dict[str, dict[str, Any]]
Array = npt.NDArray[np.float32]
FINAL = ("SaveImage", "SaveVideo", "SaveAnimatedWEBP", "SaveWEBM", "PreviewImage", "PreviewAny", "SaveImageWebsocket")


def folders_in(root: Path) -> Folders:
    folders = Folders(root / "input", root / "output", root / "temp", root / "models")
    for path in (folders.input, folders.output, folders.temp, folders.models):
        path.mkdir(parents=True, exist_ok=True)
    return folders


class Runner:
    """One graph, run node by node; keeps outputs, reported files and progress."""

    def __init__(self, graph: Graph, folders: Folders) -> None:
        self.graph, self.folders = graph, folders
        self.outputs: dict[str, tuple[Any, ...]] = {}
        self.ui: dict[str, Any] = {}
        self.steps: list[tuple[int, int]] = []
        self.previews: list[Callable[[], Image.Image]] = []
        self.sent: list[Image.Image] = []

    def run(self) -> Runner:
        for node_id, node in self.graph.items():
            if node["class_type"] in FINAL:
                self.value(node_id)
        return self

    def value(self, node_id: str, slot: int | None = None) -> Any:
        if node_id not in self.outputs:
            node = self.graph[node_id]
            inputs = {key: self.value(*given) if is_link(given) else given for key, given in node["inputs"].items()}
            result = NODES[node["class_type"]].run(self.context(node_id), **inputs)
            self.outputs[node_id] = result.outputs
            if result.ui:
                self.ui[node_id] = result.ui
        return None if slot is None else self.outputs[node_id][slot]

    def context(self, node_id: str) -> Context:
        return Context(node_id, self.folders, self.graph, {"workflow": {"by": "test"}}, self._report, self.sent.append)

    def _report(self, value: int, maximum: int, preview: Callable[[], Image.Image] | None) -> None:
        self.steps.append((value, maximum))
        if preview is not None:
            self.previews.append(preview)

    def files(self) -> list[Path]:
        roots = {"output": self.folders.output, "temp": self.folders.temp}
        return [roots[i["type"]] / i["subfolder"] / i["filename"] for ui in self.ui.values() for i in ui.get("images", ())]


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def flux(prompt: str = "a lighthouse at dusk, red roof", *, size: int = 96, **sampler: Any) -> Graph:
    """A small flux-dev graph; further arguments are inputs of its KSampler."""
    settings = {"seed": 1, "steps": 8, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0} | sampler
    links = {"model": ["1", 0], "positive": ["3", 0], "negative": ["2", 0], "latent_image": ["4", 0]}
    batch = settings.pop("batch_size", 1)
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux1-dev-fp8.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["1", 1]}},
        "3": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["7", 0], "guidance": 3.5}},
        "4": {"class_type": "EmptySD3LatentImage", "inputs": {"width": size, "height": size, "batch_size": batch}},
        "5": {"class_type": "KSampler", "inputs": {**links, **settings}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "test"}},
    }


def pictures(graph: Graph, folders: Folders) -> Array:
    """What VAEDecode of a :func:`flux` graph gives."""
    return np.asarray(Runner(graph, folders).value("6", 0))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def reference(path: Path, colour: tuple[int, int, int] = (30, 60, 200)) -> None:
    """A picture with a head-like disc in its middle."""
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[:] = colour
    y, x = np.mgrid[0:120, 0:120]
    pixels[(x - 60) ** 2 + (y - 55) ** 2 < 900] = (min(255, colour[0] + 60), colour[1], colour[2])
    Image.fromarray(pixels).save(path)
