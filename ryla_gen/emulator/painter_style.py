"""The finish: brush wobble, vignette, and the styles a prompt names. Pixels in, pixels out."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .painter_canvas import Array, Canvas
from .painter_words import Scene

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def finish(canvas: Canvas, scene: Scene) -> Array:
    """Make it look painted, then graded."""
    image = np.clip(canvas.image, 0.0, 1.0)
    image = _wobbled(canvas, image, 0.0022 if "oil" not in scene.styles else 0.006)
    image = _bloom(canvas, image)
    for style in scene.styles:
        image = _styled(canvas, image, style)
    image = _vignette(canvas, image, 0.22 if "cinematic" in scene.styles else 0.03 if scene.is_plain else 0.13)
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def _wobbled(canvas: Canvas, image: Array, amount: float) -> Array:
    """Move pixels a little along soft noise, as a brush leaves edges, and vary the tone along it."""
    across, down = canvas.noise(0.03, 2), canvas.noise(0.03, 2)
    y = np.clip(
        np.arange(canvas.height, dtype=np.float32)[:, None] + down * np.float32(amount * canvas.unit), 0, canvas.height - 1.001
    )
    x = np.clip(
        np.arange(canvas.width, dtype=np.float32)[None, :] + across * np.float32(amount * canvas.unit), 0, canvas.width - 1.001
    )
    row, column = y.astype(np.int32), x.astype(np.int32)
    low, left = (y - row)[..., None], (x - column)[..., None]
    flat, at = image.reshape(-1, 3), row * canvas.width + column
    upper = flat[at] * (1 - left) + flat[np.minimum(at + 1, len(flat) - 1)] * left
    below = np.minimum(at + canvas.width, len(flat) - 1)
    lower = flat[below] * (1 - left) + flat[np.minimum(below + 1, len(flat) - 1)] * left
    moved = upper + low * (lower - upper)
    stroke = canvas.noise(0.012, 2, stretch=3.0)
    return np.asarray(moved * (1 + 0.018 * (across + stroke))[..., None], np.float32)


def _bloom(canvas: Canvas, image: Array) -> Array:
    """Light areas shine a little into their surroundings."""
    small = Image.fromarray((np.clip(image[::4, ::4], 0, 1) * 255).astype(np.uint8))
    soft = small.filter(ImageFilter.GaussianBlur(max(0.6, 0.006 * canvas.unit))).resize(
        (canvas.width, canvas.height), Image.Resampling.BILINEAR
    )
    light = np.asarray(soft, np.float32) * np.float32(1 / 255)
    return np.asarray(image + 0.16 * light * light * (1 - np.clip(image, 0, 1)), np.float32)


def _vignette(canvas: Canvas, image: Array, strength: float) -> Array:
    far = (canvas.x[None, :] / canvas.right) ** 2 + (canvas.y[:, None] / canvas.bottom) ** 2
    return np.asarray(image * (1 - np.float32(strength) * np.clip(far - 0.35, 0, 2))[..., None], np.float32)


def _styled(canvas: Canvas, image: Array, style: str) -> Array:
    luma = (image @ _LUMA)[..., None]
    if style == "cinematic":  # teal shadows, warm lights, a little contrast
        cool, warm = np.array([-0.035, 0.005, 0.035], np.float32), np.array([0.04, 0.012, -0.035], np.float32)
        image = image + cool * (1 - luma) + warm * luma
        return np.asarray(0.5 + 1.07 * (image - 0.5), np.float32)
    if style == "grey":
        return np.asarray(np.repeat(0.5 + 1.15 * (luma - 0.5), 3, axis=-1), np.float32)
    if style == "sepia":
        toned = luma * np.array([1.10, 0.95, 0.74], np.float32) + 0.03
        return np.asarray(image * 0.3 + toned * 0.7, np.float32)
    if style == "neon":
        magenta, cyan = np.array([1.0, 0.30, 0.85], np.float32), np.array([0.15, 0.75, 1.0], np.float32)
        share = np.clip(0.5 + canvas.x[None, :, None] * 0.8, 0, 1)
        return np.asarray(image * 0.80 + luma * (magenta + share * (cyan - magenta)) * 0.36, np.float32)
    if style in ("vivid", "bright"):
        lifted = image + (0.06 if style == "bright" else 0.0)
        return np.asarray(luma + 1.28 * (lifted - luma), np.float32)
    if style == "pastel":
        return np.asarray(0.22 + 0.78 * (luma + 0.85 * (image - luma)), np.float32)
    if style == "dark":
        return np.asarray(image * (0.55 + 0.35 * luma), np.float32)
    return _drawn(canvas, image, style)


def _drawn(canvas: Canvas, image: Array, style: str) -> Array:
    """Styles that change edges and surfaces."""
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    if style == "pencil":
        grey = np.asarray(pixels.convert("L"), np.float32)
        soft = np.asarray(pixels.convert("L").filter(ImageFilter.GaussianBlur(0.008 * canvas.unit + 0.6)), np.float32)
        line = np.clip(grey / (soft + 3), 0.3, 1.0) ** 2.2
        paper = np.clip(0.55 + 0.45 * grey / 255, 0, 1) * line + 0.02 * canvas.noise(0.006, 1)
        return np.repeat(paper[..., None], 3, -1).astype(np.float32) * np.array([1.0, 0.98, 0.94], np.float32)
    if style == "watercolour":
        flat = (
            np.asarray(
                pixels.filter(ImageFilter.ModeFilter(5)) if canvas.unit < 300 else pixels.filter(ImageFilter.MedianFilter(5)),
                np.float32,
            )
            / 255
        )
        paper = 0.94 + 0.05 * canvas.noise(0.01, 2)[..., None]
        wash = np.clip(0.86 + 0.22 * canvas.noise(0.2, 4), 0.5, 1.05)[..., None]
        return np.asarray(paper - (paper - flat) * 0.82 * wash, np.float32)
    if style == "pixel":
        size = max(2, round(canvas.unit / 96))
        small = (
            pixels.resize((max(1, canvas.width // size), max(1, canvas.height // size)), Image.Resampling.BOX)
            .quantize(32)
            .convert("RGB")
        )
        return np.asarray(small.resize((canvas.width, canvas.height), Image.Resampling.NEAREST), np.float32) / np.float32(255)
    return image
