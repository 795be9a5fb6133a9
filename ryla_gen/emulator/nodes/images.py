"""Emulate nodes that make, scale, cut and mix pictures (IMAGE: float32 [B, H, W, 3] in 0..1)."""

from __future__ import annotations

import math

import numpy as np

from ..base import Context, NodeResult, node
from ..latents import Array
from .latents import resized_planes


def resize(images: Array, width: int, height: int, method: str) -> Array:
    """Scale a batch. ComfyUI's bilinear and bicubic do not smooth when they shrink; ours do."""
    if images.shape[1:3] == (height, width):
        return images
    planes = np.moveaxis(np.asarray(images, np.float32), -1, 1)
    return np.clip(np.moveaxis(resized_planes(planes, width, height, method), 1, -1), 0.0, 1.0)


def cut_to_aspect(images: Array, aspect: float) -> Array:
    """Cut the middle of a batch with that width over height."""
    height, width = images.shape[1:3]
    if width / height > aspect:
        left = round((width - height * aspect) / 2)
        return images[:, :, left : width - left]
    top = round((height - width / aspect) / 2)
    return images[:, top : height - top]


@node("EmptyImage")
def empty_image(context: Context, width: int, height: int, batch_size: int = 1, color: int = 0) -> NodeResult:
    """Make pictures of one colour, 0xRRGGBB."""
    rgb = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.float32) / 255
    return NodeResult((np.broadcast_to(rgb, (batch_size, height, width, 3)).copy(),))


@node("ImageScale")
def image_scale(context: Context, image: Array, upscale_method: str, width: int, height: int, crop: str) -> NodeResult:
    """Scale to a size; 0 for one side keeps the proportions, 0 for both changes nothing."""
    if width == 0 and height == 0:
        return NodeResult((image,))
    width = width or max(1, round(image.shape[2] * height / image.shape[1]))
    height = height or max(1, round(image.shape[1] * width / image.shape[2]))
    if crop == "center":
        image = cut_to_aspect(image, width / height)
    return NodeResult((resize(image, width, height, upscale_method),))


@node("ImageScaleBy")
def image_scale_by(context: Context, image: Array, upscale_method: str, scale_by: float) -> NodeResult:
    """Scale by a factor."""
    return NodeResult((resize(image, round(image.shape[2] * scale_by), round(image.shape[1] * scale_by), upscale_method),))


@node("ImageScaleToTotalPixels")
def image_scale_to_total_pixels(
    context: Context, image: Array, upscale_method: str, megapixels: float, resolution_steps: int = 1
) -> NodeResult:
    """Scale to a number of pixels (a megapixel is 1024²), each side a multiple of a step."""
    factor = math.sqrt(megapixels * 1024 * 1024 / (image.shape[1] * image.shape[2]))
    width, height = (round(side * factor / resolution_steps) * resolution_steps for side in (image.shape[2], image.shape[1]))
    return NodeResult((resize(image, max(1, width), max(1, height), upscale_method),))


@node("ImageScaleToMaxDimension")
def image_scale_to_max_dimension(context: Context, image: Array, upscale_method: str, largest_size: int) -> NodeResult:
    """Scale to a longest side."""
    factor = largest_size / max(image.shape[1:3])
    return NodeResult((resize(image, round(image.shape[2] * factor), round(image.shape[1] * factor), upscale_method),))


@node("ImageUpscaleWithModel")
def image_upscale_with_model(context: Context, upscale_model: dict[str, int], image: Array) -> NodeResult:
    """Scale by the factor of an upscaling model."""
    factor = upscale_model["factor"]
    return NodeResult((resize(image, image.shape[2] * factor, image.shape[1] * factor, "lanczos"),))


@node("ImageInvert")
def image_invert(context: Context, image: Array) -> NodeResult:
    """Invert the colours."""
    return NodeResult((1.0 - image,))


@node("ImageBatch")
def image_batch(context: Context, image1: Array, image2: Array) -> NodeResult:
    """Join two batches in one, the second scaled and cut to the size of the first."""
    height, width = image1.shape[1:3]
    if image2.shape[1:3] != (height, width):
        image2 = resize(cut_to_aspect(image2, width / height), width, height, "bilinear")
    return NodeResult((np.concatenate([image1[..., :3], image2[..., :3]]),))


@node("ImageFromBatch")
def image_from_batch(context: Context, image: Array, batch_index: int, length: int) -> NodeResult:
    """Select a part of a batch."""
    first = min(len(image) - 1, batch_index)
    return NodeResult((image[first : first + min(len(image) - first, length)],))


@node("RepeatImageBatch")
def repeat_image_batch(context: Context, image: Array, amount: int) -> NodeResult:
    """Repeat the batch several times."""
    return NodeResult((np.tile(image, (amount, 1, 1, 1)),))


@node("ImageCrop")
def image_crop(context: Context, image: Array, width: int, height: int, x: int, y: int) -> NodeResult:
    """Crop a part, moved inside where it would begin outside."""
    x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return NodeResult((image[:, y : y + height, x : x + width],))


@node("ImageFlip")
def image_flip(context: Context, image: Array, flip_method: str) -> NodeResult:
    """Mirror the pictures: upside down for the x axis."""
    return NodeResult((np.ascontiguousarray(image[:, ::-1] if flip_method.startswith("x") else image[:, :, ::-1]),))


@node("ImageRotate")
def image_rotate(context: Context, image: Array, rotation: str) -> NodeResult:
    """Rotate clockwise by quarters."""
    quarters = int(rotation.split()[0]) // 90 if rotation != "none" else 0
    return NodeResult((np.ascontiguousarray(np.rot90(image, -quarters, axes=(1, 2))),))


@node("ImageBlend")
def image_blend(context: Context, image1: Array, image2: Array, blend_factor: float, blend_mode: str) -> NodeResult:
    """Blend one picture over another, as painting programs blend."""
    if image2.shape != image1.shape:
        height, width = image1.shape[1:3]
        image2 = resize(cut_to_aspect(image2, width / height), width, height, "bicubic")
    blended = _blend(image1, image2, blend_mode)
    return NodeResult((np.clip(image1 * (1 - blend_factor) + blended * blend_factor, 0, 1).astype(np.float32),))


def _blend(below: Array, above: Array, mode: str) -> Array:
    if mode == "multiply":
        return below * above
    if mode == "screen":
        return 1 - (1 - below) * (1 - above)
    if mode == "overlay":
        return np.where(below <= 0.5, 2 * below * above, 1 - 2 * (1 - below) * (1 - above)).astype(np.float32)
    if mode == "soft_light":
        root = np.where(below <= 0.25, ((16 * below - 12) * below + 4) * below, np.sqrt(below))
        light = np.where(above <= 0.5, below - (1 - 2 * above) * below * (1 - below), below + (2 * above - 1) * (root - below))
        return light.astype(np.float32)
    return below - above if mode == "difference" else above


def _blurred(images: Array, radius: int, sigma: float) -> Array:
    """Blur a batch with ComfyUI's kernel, which ends at the radius: its sigma counts in radii, and edges are mirrored."""
    kernel = np.exp(-(np.linspace(-1, 1, 2 * radius + 1) ** 2) / (2 * sigma**2))
    weights = (kernel / kernel.sum()).astype(np.float32)
    grey = bool((images == images[..., :1]).all())  # as every mask is: a third of the work
    blurred = images[..., :1] if grey else images
    for axis in (1, 2):
        around = np.pad(blurred, [(radius, radius) if at == axis else (0, 0) for at in range(4)], "reflect")
        blurred = np.zeros_like(blurred)
        for first, weight in enumerate(weights):
            until = first + blurred.shape[axis]
            blurred += weight * (around[:, first:until] if axis == 1 else around[:, :, first:until])
    return np.repeat(blurred, images.shape[-1], axis=-1) if grey else blurred


@node("ImageBlur")
def image_blur(context: Context, image: Array, blur_radius: int, sigma: float) -> NodeResult:
    """Apply a Gaussian blur."""
    return NodeResult((image if blur_radius == 0 else _blurred(image, blur_radius, sigma),))


@node("ImageSharpen")
def image_sharpen(context: Context, image: Array, sharpen_radius: int, sigma: float, alpha: float) -> NodeResult:
    """Sharpen by adding what a blur would take away."""
    if sharpen_radius == 0:
        return NodeResult((image,))
    # ComfyUI's kernel has a sum of 1 and alpha·10 of the difference.
    return NodeResult((np.clip(image + np.float32(alpha * 10) * (image - _blurred(image, sharpen_radius, sigma)), 0, 1),))


@node("ImageCompositeMasked")
def image_composite_masked(
    context: Context, destination: Array, source: Array, x: int, y: int, resize_source: bool, mask: Array | None = None
) -> NodeResult:
    """Place one picture on another, through a mask."""
    result = destination[..., :3].copy()
    height, width = result.shape[1:3]
    if resize_source:
        source = resize(source, width, height, "bilinear")
    source = np.resize(source[..., :3], (len(result), *source.shape[1:3], 3))
    rows, columns = min(source.shape[1], height - y), min(source.shape[2], width - x)
    if rows <= 0 or columns <= 0:
        return NodeResult((result,))
    cover = np.ones((1, rows, columns, 1), np.float32)
    if mask is not None:
        planes = resized_planes(mask.reshape(-1, *mask.shape[-2:]), source.shape[2], source.shape[1], "bilinear")
        cover = np.resize(planes, (len(result), *planes.shape[1:]))[:, :rows, :columns, None]
    area = result[:, y : y + rows, x : x + columns]
    area[:] = area * (1 - cover) + source[:, :rows, :columns] * cover
    return NodeResult((result,))


@node("ImagePadForOutpaint")
def image_pad_for_outpaint(
    context: Context, image: Array, left: int, top: int, right: int, bottom: int, feathering: int
) -> NodeResult:
    """Add grey around a picture, and return a mask of what is new, soft towards the picture."""
    batch, height, width, _ = image.shape
    padded = np.full((batch, height + top + bottom, width + left + right, 3), 0.5, np.float32)
    padded[:, top : top + height, left : left + width] = image[..., :3]
    mask = np.ones(padded.shape[1:3], np.float32)
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    far = np.full((height, width), np.inf)
    for used, distance in ((top, y), (bottom, height - y), (left, x), (right, width - x)):
        if used:
            far = np.minimum(far, np.broadcast_to(distance, far.shape))
    soft = np.clip((feathering - far) / max(feathering, 1), 0, 1) ** 2 if feathering * 2 < min(height, width) else far * 0.0
    mask[top : top + height, left : left + width] = np.nan_to_num(soft)
    return NodeResult((padded, mask))


@node("GetImageSize")
def get_image_size(context: Context, image: Array, **_: object) -> NodeResult:
    """Return width, height and number of a batch."""
    return NodeResult((image.shape[2], image.shape[1], len(image)))


KONTEXT_SIZES = (
    (672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104), (1024, 1024),
    (1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672),
)  # fmt: skip
"""The sizes FLUX.1-Kontext was trained on (its published list)."""


@node("FluxKontextImageScale")
def flux_kontext_image_scale(context: Context, image: Array) -> NodeResult:
    """Scale to the trained size of the nearest proportions."""
    aspect = image.shape[2] / image.shape[1]
    width, height = min(KONTEXT_SIZES, key=lambda size: abs(size[0] / size[1] - aspect))
    return NodeResult((resize(cut_to_aspect(image, width / height), width, height, "lanczos"),))
