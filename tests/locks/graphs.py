"""Graphs, drawings and locks for tests, made small."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ryla_gen.locks.graph_lock import lock_text
from ryla_gen.tools.locking.lock_options import LockOptions
from ryla_gen.tools.locking.locking import Locked, lock_graph

HUB = "https://huggingface.co"


def picture_graph(**values: Any) -> dict[str, Any]:
    """Return a graph of core nodes that loads nothing."""
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": 255, **values}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    return {"1": {"class_type": "EmptyImage", "inputs": inputs}, "2": save}


def checkpoint_graph(checkpoint: str = "model.safetensors") -> dict[str, Any]:
    """Return a whole graph around one checkpoint."""
    text = {"clip": ["1", 1]}
    sampling = {"seed": 5, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", **text}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", **text}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {**sampling, **links}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
    }


def drawing(*nodes: Mapping[str, Any], links: list[Any] | None = None, page: str = "1.40.0") -> dict[str, Any]:
    """Return a drawing of nodes."""
    return {"nodes": [dict(node) for node in nodes], "links": links or [], "version": 0.4, "extra": {"frontendVersion": page}}


def loader(checkpoint: str, *models: Mapping[str, Any], mode: int = 0, number: int = 1) -> dict[str, Any]:
    """Draw a loader of a checkpoint, with what it says of its models."""
    outputs = [{"name": name, "type": name, "links": []} for name in ("MODEL", "CLIP", "VAE")]
    properties = {"cnr_id": "comfy-core", "ver": "0.28.2", "models": [dict(model) for model in models]}
    node = {"id": number, "type": "CheckpointLoaderSimple", "mode": mode, "inputs": [], "outputs": outputs}
    return {**node, "properties": properties, "widgets_values": [checkpoint]}


def model(name: str, folder: str = "checkpoints", repo: str = "owner/repo", **more: str) -> dict[str, str]:
    """Return an entry of a drawing's ``properties.models``."""
    return {"name": name, "url": f"{HUB}/{repo}/resolve/main/{name}", "directory": folder, **more}


def write_graph(folder: Path, graph: Mapping[str, Any], name: str = "portrait.json") -> Path:
    """Write a graph into a file."""
    path = folder / name
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def locked(folder: Path, graph: Mapping[str, Any], name: str = "portrait.json", **options: Any) -> Locked:
    """Lock a graph."""
    return lock_graph(write_graph(folder, graph, name), LockOptions(**options))


def write_lock_files(folder: Path, made: Locked) -> Path:
    """Write a lock with its requirements."""
    path = folder / f"{made.lock.name}.lock"
    path.write_text(lock_text(made.lock), encoding="utf-8")
    path.with_name(made.lock.image.python.file).write_text(made.requirements, encoding="utf-8")
    return path
