"""Emulate the empty latents of the many model families, and nodes that cut and join latents.

Every emulated latent is of one form, whatever a family's own has: 8 pixels and 4 frames a number (``latents``). So all of them fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..latents import Array
from ..sampling.run import Latent
from .latents import resized_planes
from .plain_values import empty_latent


def _empty(context: Context, **inputs: Any) -> NodeResult:
    """Return an empty latent of a width and height, with a time axis if a length is given."""
    return NodeResult((empty_latent(inputs),))


for _class_type in (
    "EmptyFlux2LatentImage", "EmptyChromaRadianceLatentImage", "EmptyHiDreamO1LatentImage", "EmptyHunyuanImageLatent",
    "EmptyLTXVLatentVideo", "EmptyMochiLatentVideo", "EmptyCosmosLatentVideo", "EmptyHunyuanVideo15Latent", "EmptyARVideoLatent",
):  # fmt: skip
    node(_class_type)(_empty)


@node("EmptyQwenImageLayeredLatentImage")
def empty_layers(context: Context, width: int, height: int, layers: int, batch_size: int = 1) -> NodeResult:
    """Return an empty latent with a picture for the whole and one for each layer."""
    size = {"width": width, "height": height, "batch_size": batch_size, "length": layers * 4 + 1}
    return NodeResult((empty_latent(size),))


@node("EmptyLatentHunyuan3Dv2")
def empty_shape(context: Context, resolution: int, batch_size: int = 1) -> NodeResult:
    """Return an empty latent for a shape; the resolution changes nothing here."""
    return NodeResult((empty_latent({"width": 128, "height": 128, "batch_size": batch_size}),))


@node("TrimVideoLatent")
def trim_video_latent(context: Context, samples: Latent, trim_amount: int) -> NodeResult:
    """Remove the first frames of a video; the last one always stays."""
    values = np.asarray(samples["samples"])
    first = min(trim_amount, values.shape[2] - 1) if values.ndim == 5 else 0
    return NodeResult(({**samples, "samples": values[:, :, first:] if values.ndim == 5 else values},))


def _axis(values: Array, dim: str) -> int:
    """Return the axis that a letter means: x, y, or t, where a picture has none."""
    return {"x": values.ndim - 1, "y": values.ndim - 2}.get(dim.strip("-"), min(2, values.ndim - 3))


@node("LatentCut")
def latent_cut(context: Context, samples: Latent, dim: str, index: int, amount: int) -> NodeResult:
    """Cut a part of a latent along one axis; a negative place counts from the end."""
    values = np.asarray(samples["samples"])
    axis = _axis(values, dim)
    count = values.shape[axis]
    first = int(np.clip(index + count if index < 0 else index, 0, count - 1))
    part = np.arange(first, min(count, first + max(1, amount)))
    return NodeResult(({**samples, "samples": np.take(values, part, axis=axis)},))


@node("LatentConcat")
def latent_concat(context: Context, samples1: Latent, samples2: Latent, dim: str) -> NodeResult:
    """Concatenate two latents along an axis; a minus before its letter puts the second first."""
    one, two = np.asarray(samples1["samples"]), np.asarray(samples2["samples"])
    axis = _axis(one, dim)
    sizes = [[side for place, side in enumerate(value.shape) if place != axis] for value in (one, two)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"latents of the sizes {list(one.shape)} and {list(two.shape)} cannot be joined along {dim}")
    parts = [two, one] if dim.startswith("-") else [one, two]
    return NodeResult(({**samples1, "samples": np.concatenate(parts, axis=axis)},))


@node("BatchLatentsNode")
def batch_latents(context: Context, latents: Mapping[str, Latent]) -> NodeResult:
    """Join any number of latents in one batch, of the size of the first."""
    given = [latent for latent in latents.values() if latent is not None]
    values = [np.asarray(latent["samples"], np.float32) for latent in given]
    height, width = values[0].shape[-2:]
    fitted = [v if v.shape[-2:] == (height, width) else resized_planes(v, width, height, "bilinear") for v in values]
    return NodeResult(({**given[0], "samples": np.concatenate(fitted)},))
