"""Emulate nodes that save 3D shapes: each is a cube, in a colour that follows from what it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..conditioning import stable_key
from ..server.files import next_names
from ..shapes import Colour, cube_glb, cube_ply
from .plain_values import Thing, found_in, pictures


def _colour(shape: Any) -> Colour:
    """Return the mean colour of the picture or latent behind a shape; grey if there is none."""
    source = found_in(shape, lambda value: not isinstance(value, Thing))
    frames = pictures(source) if source is not None else None
    if frames is None:
        return (0.6, 0.6, 0.6)
    red, green, blue = (float(part) for part in np.asarray(frames[0, ..., :3]).reshape(-1, 3).mean(0))
    return (red, green, blue)


def _save(context: Context, shape: Any, prefix: str, suffix: str, *, root: Path, kind: str) -> NodeResult:
    folder, name, subfolder, number = next_names(root, prefix, 0, 0)
    file_name = f"{name}_{number:05}_.{suffix}"
    extras = {"prompt": json.dumps(context.prompt), **{key: json.dumps(value) for key, value in context.extra_pnginfo.items()}}
    data = cube_ply(_colour(shape)) if suffix == "ply" else cube_glb(_colour(shape), {**extras, "ryla:emulated": "true"})
    (folder / file_name).write_bytes(data)
    passed = (Thing("FILE_3D", (shape,)), Thing("LOAD3D_MODEL_INFO"), Thing("LOAD3D_CAMERA"), 1024, 1024)
    return NodeResult(passed, {"3d": [{"filename": file_name, "subfolder": subfolder, "type": kind}]})


def _temporary(context: Context) -> str:
    """Return a prefix of the temporary folder that is the same for the same request."""
    return f"preview3d_{stable_key(json.dumps(context.prompt, sort_keys=True) + context.node_id):016x}"


@node("SaveGLB")
def save_glb(context: Context, mesh: Any, filename_prefix: str = "3d/ComfyUI", **_: Any) -> NodeResult:
    """Save a GLB file."""
    return _save(context, mesh, filename_prefix, "glb", root=context.folders.output, kind="output")


@node("Save3DAdvanced")
def save_3d_advanced(context: Context, model_3d: Any, filename_prefix: str = "3d/ComfyUI", **_: Any) -> NodeResult:
    """Save a GLB file."""
    return _save(context, model_3d, filename_prefix, "glb", root=context.folders.output, kind="output")


@node("SaveGaussianSplat")
@node("SavePointCloud")
def save_points(context: Context, model_3d: Any, filename_prefix: str = "3d/ComfyUI", **_: Any) -> NodeResult:
    """Save a PLY file."""
    return _save(context, model_3d, filename_prefix, "ply", root=context.folders.output, kind="output")


@node("Preview3D")
def preview_3d(context: Context, model_file: Any = "", **_: Any) -> NodeResult:
    """Save a GLB file in the temporary folder."""
    return _save(context, model_file, _temporary(context), "glb", root=context.folders.temp, kind="temp")


@node("Preview3DAdvanced")
def preview_3d_advanced(context: Context, model_3d: Any, **_: Any) -> NodeResult:
    """Save a GLB file in the temporary folder."""
    return _save(context, model_3d, _temporary(context), "glb", root=context.folders.temp, kind="temp")


@node("PreviewGaussianSplat")
@node("PreviewPointCloud")
def preview_points(context: Context, model_3d: Any, **_: Any) -> NodeResult:
    """Save a PLY file in the temporary folder."""
    return _save(context, model_3d, _temporary(context), "ply", root=context.folders.temp, kind="temp")
