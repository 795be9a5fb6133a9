"""Graphs of others that are locked and deployed in tests: what their commands are given, and what they are called with."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from ryla_gen.locks.graph_lock import PENDING, GraphLock, lock_text
from ryla_gen.locks.image_lock import sha256_of
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.locks.model_rows import place_of
from tests.cli.shell import here
from tests.locks.locking import FOLDER
from tests.models.downloads.hub import Hub

PACKS = Path(__file__).with_name("packs")
TEMPLATES = files("comfyui_workflow_templates_json") / "templates"
RES4LYF = "ClownsharkBatwing/RES4LYF@022c873c6d198c67b3312a1804336533a050df18"
IPADAPTER = "cubiq/ComfyUI_IPAdapter_plus@9d076a3df0d2763cef5510ec5ab807f6632c39f5"
HUB = "hf://maker/model"


@dataclass(frozen=True)
class RealGraph:
    """One graph."""

    name: str
    text: str
    """The file that is locked."""
    options: tuple[str, ...]
    """What nothing in the file says."""
    inputs: dict[str, Any]
    """What makes a call cheap."""
    value: tuple[str, str, float]
    """A class, an input of it and its value, by which two versions of the graph differ."""
    media_type: str
    """What it makes."""


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "#607080").save(buffer, "PNG")
    return buffer.getvalue()


SMALL: dict[str, Any] = {"prompt": "a fox", "width": 64, "height": 64, "seed": 7}
Z_IMAGE = RealGraph(
    "z-danrisi",
    (PACKS / "z_image_danrisi.json").read_text(encoding="utf-8"),
    (
        *("--pack", f"ClownsharKSampler_Beta={RES4LYF}", "--pack", f"Sigmas Rescale={RES4LYF}"),
        *("--model", f"z_image_turbo_bf16.safetensors={HUB}/z_image_turbo_bf16.safetensors"),
        *("--model", f"qwen_3_4b.safetensors={HUB}/qwen_3_4b.safetensors"),
        *("--model", f"z-image-turbo-vae.safetensors={HUB}/ae.safetensors"),
    ),
    SMALL | {"steps": 2, "steps_2": 2},
    ("ClownsharKSampler_Beta", "eta", 0.5),
    "image/png",
)
"""RYLA's default graph, with the sampler of RES4LYF."""
WITH_IPADAPTER = RealGraph(
    "ipadapter",
    (PACKS / "ipadapter.json").read_text(encoding="utf-8"),
    (
        *("--pack", f"IPAdapter={IPADAPTER}", "--pack", f"IPAdapterUnifiedLoader={IPADAPTER}"),
        *("--model", f"checkpoints/v1-5-pruned-emaonly-fp16.safetensors={HUB}/v1-5-pruned-emaonly-fp16.safetensors"),
        *("--model", f"ipadapter/ip-adapter-plus_sd15.safetensors={HUB}/ip-adapter-plus_sd15.safetensors"),
        *("--model", f"clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors={HUB}/clip-vit-h.safetensors"),
    ),
    SMALL | {"steps": 2, "image": _picture()},
    ("IPAdapter", "weight", 0.8),
    "image/png",
)
"""A picture as a prompt, by ComfyUI_IPAdapter_plus, whose loader finds two files by itself."""
WAN = RealGraph(
    "wan",
    (TEMPLATES / "video_wan2_2_14B_i2v.json").read_text(encoding="utf-8"),
    ("--input", "seconds=129:161.value"),
    SMALL | {"seconds": 0.25, "image": _picture()},
    ("ModelSamplingSD3", "shift", 5.000000000000001),
    "video/mp4",
)
"""The official template of Wan 2.2 that makes a video of a picture: a drawing with a subgraph, without packs."""


def lock_offline(graph: RealGraph, folder: Path, hub: Hub, value: float | None = None) -> tuple[Path, GraphLock]:
    """Lock a graph by the command without the network, and put a small file behind each of its models' addresses.

    Args:
        graph: the graph.
        folder: where its file and the lock are written.
        hub: where the models come from.
        value: the value of another version.
    """
    file = folder / f"{graph.name}.json"
    *_, own = graph.value
    assert str(own) in graph.text
    file.write_text(graph.text.replace(str(own), str(own if value is None else value)), encoding="utf-8")
    path = folder / f"{graph.name}.lock"
    path.unlink(missing_ok=True)
    assert here("graph", "lock", str(file), "--offline", *graph.options, "-o", str(path)) == 0
    settled(path)
    # What stands in for a model's weights has none of the hashes and commits that this package's own weights know.
    lock = read_graph_lock(path)
    unknown = tuple(replace(item, sha256=PENDING, revision=None, bytes=None) for item in lock.models)
    lock = replace(lock, models=unknown)
    path.write_text(lock_text(lock), encoding="utf-8")
    for model in lock.models:
        repo, _, name = place_of(model.url)
        hub.put(repo, name, small_file(model.label))
    return path, lock


def small_file(label: str) -> bytes:
    """Return what stands in for a model's weights."""
    return label.encode() * 20


def settled(file: Path) -> GraphLock:
    """Answer the one question that a lock made without the network has: the packages of its packs are the shipped ones."""
    lock = read_graph_lock(file)
    if not lock.image.packs:
        assert lock.open == ()
        return lock
    assert {item.kind for item in lock.open} == {"python"}, lock.open
    text = (FOLDER / "core.requirements.txt").read_text(encoding="utf-8")
    file.with_name(lock.image.python.file).write_text(text, encoding="utf-8")
    image = replace(lock.image, python=replace(lock.image.python, sha256=sha256_of(text)))
    lock = replace(lock, open=(), image=image)
    file.write_text(lock_text(lock), encoding="utf-8")
    return lock
