"""Small locks, made by hand for tests: a graph that needs no model, and one with a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ryla_gen.locks.families import FOLDER, family_lock
from ryla_gen.locks.graph_lock import (
    GraphLock,
    LockedEstimate,
    LockedGpu,
    LockedInput,
    LockedModel,
    LockedOutput,
    lock_text,
)

COLOUR: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "colour"}},
}
"""A picture of one colour."""
COLOUR_INPUT = LockedInput("color", "int", ("1.color",), "Colour.", 7, 0, 0xFFFFFF)

PORTRAIT: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a woman"}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 1,
            "steps": 2,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "portrait"}},
}
"""A picture from a checkpoint."""
PORTRAIT_INPUTS = (
    LockedInput("prompt", "prompt", ("2.text",), "What to show."),
    LockedInput("seed", "seed", ("4.seed",), "Seed of the noise."),
    LockedInput("steps", "int", ("4.steps",), "Steps.", 2, 1, 100),
)


def checkpoint(url: str = "https://huggingface.co/maker/model/resolve/main/tiny.safetensors", **more: Any) -> LockedModel:
    """The one model of the portrait."""
    known = LockedModel("tiny.safetensors", "checkpoints", url, None, "pending", None, "MIT", False, "drawing")
    return replace(known, **more)


def colour_lock(name: str = "colour", **more: Any) -> GraphLock:
    """The lock of a graph without models."""
    return _lock(name, COLOUR, (COLOUR_INPUT,), LockedOutput("2", "SaveImage", "image"), **more)


def portrait_lock(name: str = "portrait", **more: Any) -> GraphLock:
    """The lock of a graph with a checkpoint."""
    given = {"models": (checkpoint(),), **more}
    return _lock(name, PORTRAIT, PORTRAIT_INPUTS, LockedOutput("6", "SaveImage", "image"), **given)


def _lock(name: str, graph: dict[str, Any], inputs: tuple[LockedInput, ...], output: LockedOutput, **more: Any) -> GraphLock:
    family = family_lock("flux")
    image = replace(family, python=replace(family.python, file=f"{name}.requirements.txt"))
    gpu, estimate = LockedGpu("L40S", "for tests"), LockedEstimate(0.0005, "2026-09-01")
    made = GraphLock(name, graph, image, "2025.06", (), (), inputs, (output,), gpu, estimate, graph_source="drawing.json")
    return replace(made, **more)


def write_lock(lock: GraphLock, folder: Path) -> Path:
    """Write a lock and its requirements; the lock's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{lock.name}.lock"
    path.write_text(lock_text(lock), encoding="utf-8")
    text = (FOLDER / "core.requirements.txt").read_text(encoding="utf-8")
    (folder / lock.image.python.file).write_text(text, encoding="utf-8")
    return path
