"""Emulate nodes that resize pictures and masks, batch them, and place them side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..latents import Array
from .images import cut_to_aspect, resize
from .latents import resized_planes


def _resize(value: Array, width: int, height: int, method: str, crop: str = "disabled") -> Array:
    """Resize a batch of pictures [B, H, W, C] or of masks [B, H, W]."""
    width, height = max(1, width), max(1, height)
    if value.ndim == 4:
        return resize(cut_to_aspect(value, width / height) if crop == "center" else value, width, height, method)
    planes = cut_to_aspect(value, width / height) if crop == "center" else value
    return np.clip(resized_planes(np.asarray(planes, np.float32), width, height, method), 0.0, 1.0)


def _by_sides(value: Array, width: int, height: int, method: str, crop: str = "disabled") -> Array:
    """Resize to a size of which one side may be 0: it keeps the proportions."""
    if width == height == 0:
        return value
    rows, columns = value.shape[1:3]
    return _resize(value, width or round(columns * height / rows), height or round(rows * width / columns), method, crop)


def _by_factor(value: Array, factor: float, method: str) -> Array:
    return _resize(value, round(value.shape[2] * factor), round(value.shape[1] * factor), method)


def _to_multiple(value: Array, multiple: int, method: str) -> Array:
    """Shrink to sides that a number divides; the rest is cut off."""
    width, height = (side // multiple * multiple for side in (value.shape[2], value.shape[1]))
    if multiple <= 1 or not width or not height:
        return value
    return _resize(value, width, height, method, "center")


@node("ResizeImageMaskNode")
def resize_image_mask(context: Context, input: Array, resize_type: Mapping[str, Any], scale_method: str) -> NodeResult:  # noqa: A002  # ComfyUI's name
    """Resize to a size that is given in one of nine ways."""
    way, given = resize_type["resize_type"], resize_type
    sides = (input.shape[2], input.shape[1])
    if way == "scale by multiplier":
        return NodeResult((_by_factor(input, given["multiplier"], scale_method),))
    if way == "scale longer dimension":
        return NodeResult((_by_factor(input, given["longer_size"] / max(sides), scale_method),))
    if way == "scale shorter dimension":
        return NodeResult((_by_factor(input, given["shorter_size"] / min(sides), scale_method),))
    if way == "scale total pixels":
        factor = math.sqrt(int(given["megapixels"] * 1024 * 1024) / (sides[0] * sides[1]))
        return NodeResult((_by_factor(input, factor, scale_method),))
    if way == "scale to multiple":
        return NodeResult((_to_multiple(input, given["multiple"], scale_method),))
    if way == "match size":
        height, width = given["match"].shape[1:3]
        return NodeResult((_resize(input, width, height, scale_method, given.get("crop", "disabled")),))
    size = (int(given.get("width", 0)), int(given.get("height", 0)))
    return NodeResult((_by_sides(input, *size, scale_method, given.get("crop", "disabled")),))


@node("ResizeImagesByLongerEdge")
def resize_by_longer_edge(context: Context, images: Array, longer_edge: int) -> NodeResult:
    """Resize to a longest side."""
    return NodeResult((_by_factor(images, longer_edge / max(images.shape[1:3]), "lanczos"),))


@node("ResizeImagesByShorterEdge")
def resize_by_shorter_edge(context: Context, images: Array, shorter_edge: int) -> NodeResult:
    """Resize to a shortest side."""
    return NodeResult((_by_factor(images, shorter_edge / min(images.shape[1:3]), "lanczos"),))


@node("ResizeAndPadImage")
def resize_and_pad(
    context: Context, image: Array, target_width: int, target_height: int, padding_color: str, interpolation: str
) -> NodeResult:
    """Fit into a size without cutting, with one colour around the picture."""
    factor = min(target_width / image.shape[2], target_height / image.shape[1])
    small = _resize(image[..., :3], int(image.shape[2] * factor), int(image.shape[1] * factor), interpolation)
    padded = np.full((len(image), target_height, target_width, 3), 1.0 if padding_color == "white" else 0.0, np.float32)
    top, left = (target_height - small.shape[1]) // 2, (target_width - small.shape[2]) // 2
    padded[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return NodeResult((padded,))


def to_batch(items: list[Array]) -> Array:
    """Join batches in one, converted to the size and the channels of the first."""
    first = items[0]
    height, width = first.shape[1:3]
    channels = max(item.shape[3] for item in items) if first.ndim == 4 else 0
    fitted = [_resize(item, width, height, "bilinear", "center") for item in items]
    if channels:
        fitted = [np.pad(item, ((0, 0), (0, 0), (0, 0), (0, channels - item.shape[3])), constant_values=1.0) for item in fitted]
    return np.concatenate(fitted)


@node("BatchImagesNode")
def batch_images(context: Context, images: Mapping[str, Array]) -> NodeResult:
    """Join any number of pictures in one batch."""
    return NodeResult((to_batch([image for image in images.values() if image is not None]),))


@node("BatchMasksNode")
def batch_masks(context: Context, masks: Mapping[str, Array]) -> NodeResult:
    """Join any number of masks in one batch."""
    return NodeResult((to_batch([mask.reshape(-1, *mask.shape[-2:]) for mask in masks.values() if mask is not None]),))


@node("JoinImageWithAlpha")
def join_image_with_alpha(context: Context, image: Array, alpha: Array) -> NodeResult:
    """Make a picture transparent where a mask is white."""
    count = max(len(image), len(alpha))
    planes = resized_planes(
        np.asarray(alpha, np.float32).reshape(-1, *alpha.shape[-2:]), image.shape[2], image.shape[1], "bilinear"
    )
    cover = np.resize(1.0 - planes, (count, *planes.shape[1:]))[..., None]
    return NodeResult((np.concatenate([np.resize(image[..., :3], (count, *image.shape[1:3], 3)), cover], axis=-1),))


@node("SplitImageWithAlpha")
def split_image_with_alpha(context: Context, image: Array) -> NodeResult:
    """Separate the colours from a mask of what is transparent."""
    alpha = image[..., 3] if image.shape[-1] > 3 else np.ones(image.shape[:3], np.float32)
    return NodeResult((image[..., :3], 1.0 - alpha))


@node("ImageStitch")
def image_stitch(
    context: Context,
    image1: Array,
    direction: str,
    match_image_size: bool,
    spacing_width: int = 0,
    spacing_color: str = "white",
    image2: Array | None = None,
) -> NodeResult:
    """Place two pictures side by side or one above the other."""
    if image2 is None:
        return NodeResult((image1,))
    across = direction in ("right", "left")
    count = max(len(image1), len(image2))
    one, two = (np.resize(image[..., :3], (count, *image.shape[1:3], 3)) for image in (image1, image2))
    sides = one.shape[1 if across else 2], two.shape[1 if across else 2]
    if match_image_size:
        two = _by_factor(two, sides[0] / sides[1], "lanczos")
    one, two = _match_sides(one, two, across)
    colour = {"white": (1, 1, 1), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}.get(spacing_color, (0, 0, 0))
    gap = (count, one.shape[1], spacing_width, 3) if across else (count, spacing_width, one.shape[2], 3)
    parts = [one, np.broadcast_to(np.array(colour, np.float32), gap), two]
    return NodeResult((np.concatenate(parts if direction in ("right", "down") else parts[::-1], axis=2 if across else 1),))


def _match_sides(one: Array, two: Array, across: bool) -> tuple[Array, Array]:
    """Pad two batches to the same height (or width), the smaller one in the middle of black."""
    axis = 1 if across else 2
    longest = max(one.shape[axis], two.shape[axis])

    def padded(image: Array) -> Array:
        missing = longest - image.shape[axis]
        return np.pad(image, [(missing // 2, missing - missing // 2) if a == axis else (0, 0) for a in range(4)])

    return padded(one), padded(two)


@node("MaskComposite")
def mask_composite(context: Context, destination: Array, source: Array, x: int, y: int, operation: str) -> NodeResult:
    """Place one mask on another, by one of six rules."""
    result = np.array(destination.reshape(-1, *destination.shape[-2:]), np.float32)
    above = source.reshape(-1, *source.shape[-2:])
    rows, columns = min(above.shape[1], result.shape[1] - y), min(above.shape[2], result.shape[2] - x)
    if rows <= 0 or columns <= 0:
        return NodeResult((result,))
    area, above = result[:, y : y + rows, x : x + columns], np.resize(above, (len(result), *above.shape[1:]))[:, :rows, :columns]
    rules: dict[str, Callable[[], Array]] = {
        "multiply": lambda: area * above,
        "add": lambda: area + above,
        "subtract": lambda: area - above,
        "and": lambda: np.minimum(area.round(), above.round()),
        "or": lambda: np.maximum(area.round(), above.round()),
        "xor": lambda: np.abs(area.round() - above.round()),
    }
    area[:] = np.clip(rules[operation](), 0.0, 1.0)
    return NodeResult((result,))
