"""Emulate nodes that read pictures. Must not read outside the input folder (ComfyUI's nodes follow any path)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from ..base import Context, Folders, NodeResult, node
from ..latents import Array
from ..server.files import content_hash, inside
from .masks import CHANNELS


def annotated_path(folders: Folders, name: str) -> Path:
    """Resolve the file a loader names: ``name``, or ``name [output]`` for another folder."""
    roots = {"[input]": folders.input, "[output]": folders.output, "[temp]": folders.temp}
    for ending, root in roots.items():
        if name.endswith(ending):
            return inside(root, name[: -len(ending)].strip())
    return inside(folders.input, name)


def input_fingerprint(folders: Folders, **names: Any) -> str:
    """Hash the content of the one file a loader names."""
    path = annotated_path(folders, str(names.get("image") or names.get("file") or ""))
    return content_hash(path) if path.is_file() else ""


def _existing(folders: Folders, name: str) -> Path:
    path = annotated_path(folders, name)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {name!r} in the input folder")
    return path


@node("LoadImage", fingerprint=input_fingerprint)
def load_image(context: Context, image: str, **_: Any) -> NodeResult:
    """Load a picture (all frames of an animation), turned as its EXIF says, and its transparency as a mask."""
    pictures: list[Array] = []
    masks: list[Array] = []
    with Image.open(_existing(context.folders, image)) as file:
        frames = [file] if file.format == "MPO" else ImageSequence.Iterator(file)
        for frame in frames:
            turned = ImageOps.exif_transpose(frame)
            picture = np.asarray(turned.convert("RGB"), np.float32) / np.float32(255)
            if pictures and picture.shape != pictures[0].shape:
                continue
            pictures.append(picture)
            masks.append(_transparency(turned))
    return NodeResult((np.stack(pictures), np.stack(masks)))


def _transparency(image: Image.Image) -> Array:
    if "A" in image.getbands():
        return np.asarray(1 - np.asarray(image.getchannel("A"), np.float32) / 255, np.float32)
    if image.mode == "P" and "transparency" in image.info:
        return np.asarray(1 - np.asarray(image.convert("RGBA").getchannel("A"), np.float32) / 255, np.float32)
    return np.zeros((64, 64), np.float32)  # ComfyUI's default for pictures without transparency


@node("LoadImageOutput", fingerprint=input_fingerprint)
def load_image_output(context: Context, image: str, **_: Any) -> NodeResult:
    """Load a picture of the output folder."""
    return load_image(context, image if image.endswith("]") else f"{image} [output]")


@node("LoadImageMask", fingerprint=input_fingerprint)
def load_image_mask(context: Context, image: str, channel: str, **_: Any) -> NodeResult:
    """Load one channel of a picture as a mask, its transparency inverted."""
    with Image.open(_existing(context.folders, image)) as file:
        turned = ImageOps.exif_transpose(file)
        picture = turned if turned.getbands() == ("R", "G", "B", "A") else turned.convert("RGBA")
        if channel == "alpha" and "A" not in turned.getbands() and "transparency" not in turned.info:
            return NodeResult((np.zeros((1, 64, 64), np.float32),))
        plane = np.asarray(picture.getchannel(CHANNELS.index(channel)), np.float32) / 255
    return NodeResult(((1 - plane if channel == "alpha" else plane)[None],))
