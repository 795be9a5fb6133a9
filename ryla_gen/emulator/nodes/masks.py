"""Emulate nodes that make and change masks (MASK: float32 [B, H, W] in 0..1)."""

from __future__ import annotations

import numpy as np

from ..base import Context, NodeResult, node
from ..latents import Array

CHANNELS = ("red", "green", "blue", "alpha")


@node("SolidMask")
def solid_mask(context: Context, value: float, width: int, height: int) -> NodeResult:
    """Make a mask with one value everywhere."""
    return NodeResult((np.full((1, height, width), value, np.float32),))


@node("MaskToImage")
def mask_to_image(context: Context, mask: Array) -> NodeResult:
    """Convert a mask to a grey picture."""
    planes = mask.reshape(-1, *mask.shape[-2:])
    return NodeResult((np.repeat(planes[..., None], 3, axis=-1),))


@node("ImageToMask")
def image_to_mask(context: Context, image: Array, channel: str) -> NodeResult:
    """Convert one channel of a picture to a mask."""
    index = CHANNELS.index(channel)
    if index >= image.shape[-1]:
        return NodeResult((np.ones(image.shape[:3], np.float32),))
    return NodeResult((image[..., index].copy(),))


@node("ImageColorToMask")
def image_color_to_mask(context: Context, image: Array, color: int) -> NodeResult:
    """Make a mask that is white where a picture has exactly one colour."""
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(int)
    packed = (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]
    return NodeResult(((packed == color).astype(np.float32),))


@node("InvertMask")
def invert_mask(context: Context, mask: Array) -> NodeResult:
    """Invert a mask."""
    return NodeResult((1.0 - mask,))


@node("CropMask")
def crop_mask(context: Context, mask: Array, x: int, y: int, width: int, height: int) -> NodeResult:
    """Crop a part of a mask."""
    planes = mask.reshape(-1, *mask.shape[-2:])
    return NodeResult((planes[:, y : y + height, x : x + width],))


@node("ThresholdMask")
def threshold_mask(context: Context, mask: Array, value: float) -> NodeResult:
    """Make a mask that is white above a value."""
    return NodeResult(((mask > value).astype(np.float32),))


@node("GrowMask")
def grow_mask(context: Context, mask: Array, expand: int, tapered_corners: bool) -> NodeResult:
    """Grow the white parts, or shrink them for a negative number."""
    planes = mask.reshape(-1, *mask.shape[-2:]).copy()
    pick = np.maximum if expand > 0 else np.minimum
    for _ in range(abs(expand)):
        planes = _neighbours(planes, pick, tapered_corners)
    return NodeResult((planes,))


def _neighbours(planes: Array, pick: np.ufunc, tapered: bool) -> Array:
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = planes.shape[1:]
    result = planes
    for dy in range(3):
        for dx in range(3):
            if not tapered or 1 in (dy, dx):
                result = pick(result, padded[:, dy : dy + height, dx : dx + width])
    return result


@node("FeatherMask")
def feather_mask(context: Context, mask: Array, left: int, top: int, right: int, bottom: int) -> NodeResult:
    """Soften a mask's edges."""
    planes = mask.reshape(-1, *mask.shape[-2:]).copy()
    height, width = planes.shape[1:]
    across, down = np.ones(width, np.float32), np.ones(height, np.float32)
    for line, count in ((across, left), (across[::-1], right), (down, top), (down[::-1], bottom)):
        count = min(count, len(line))
        line[:count] *= (np.arange(count, dtype=np.float32) + 1) / max(count, 1)
    return NodeResult((planes * across[None, None, :] * down[None, :, None],))
