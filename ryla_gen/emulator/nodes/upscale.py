"""Emulate SeedVR2's nodes: enlarge a picture or video, keep its content, make it a little crisper, add grain from the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from ..base import Context, NodeResult, node
from ..latents import Array

GRAIN = 0.008
"""Deviation of the grain: the detail that a generative upscaler makes up differs from seed to seed."""


def _settings(context: Context, **settings: Any) -> NodeResult:
    return NodeResult((dict(settings),))


for _loader in ("SeedVR2LoadDiTModel", "SeedVR2LoadVAEModel", "SeedVR2TorchCompileSettings"):
    node(_loader)(_settings)


def target_size(width: int, height: int, resolution: int, max_resolution: int) -> tuple[int, int]:
    """Compute a size with the shortest edge at ``resolution``, the longest at most ``max_resolution`` (0: no limit), both even."""
    scale = resolution / min(width, height)
    if max_resolution > 0:
        scale = min(scale, max_resolution / max(width, height))
    return max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


@node("SeedVR2VideoUpscaler")
def seedvr2_video_upscaler(
    context: Context,
    image: Array,
    dit: dict[str, Any],
    vae: dict[str, Any],
    seed: int,
    resolution: int,
    max_resolution: int,
    batch_size: int,
    uniform_batch_size: bool,
    color_correction: str,
    input_noise_scale: float = 0.0,
    **_: Any,
) -> NodeResult:
    """Enlarge every frame."""
    size = target_size(image.shape[2], image.shape[1], resolution, max_resolution)
    draw = np.random.Generator(np.random.PCG64(seed))
    grain = draw.standard_normal((size[1], size[0], 1), np.float32) * np.float32(GRAIN)
    frames = np.empty((len(image), size[1], size[0], 3), np.float32)
    for index, frame in enumerate(image):
        # The same grain at another place per frame: noise that is new in each frame would boil.
        moved = np.roll(grain, (7 * index, 11 * index), (0, 1)) if index else grain
        np.add(_enlarge(frame[..., :3], size), moved, out=frames[index])
        np.clip(frames[index], 0.0, 1.0, out=frames[index])
        context.progress(index + 1, len(image))
    return NodeResult((frames,))


def _enlarge(frame: Array, size: tuple[int, int]) -> Array:
    pixels = Image.fromarray((np.clip(frame, 0, 1) * 255 + 0.5).astype(np.uint8))
    large = pixels.resize(size, Image.Resampling.LANCZOS)
    crisp = large.filter(ImageFilter.UnsharpMask(radius=max(1.0, 0.6 * size[0] / frame.shape[1]), percent=60, threshold=0))
    return np.asarray(crisp, np.float32) / np.float32(255)
