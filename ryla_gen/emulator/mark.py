"""Draw the small "emulated" mark into every saved picture and frame. Must not know nodes or files."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = npt.NDArray[np.uint8]


SMALLEST_TEXT = 32
"""Below this many pixels a side letters would cover the picture: a light dot stands for them."""


@lru_cache(maxsize=16)
def _stamp(width: int, height: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], int, int]:
    """Draw the mark's light and shade for a picture size, and return its place from the left and the top."""
    if min(width, height) < SMALLEST_TEXT:
        side = min(2, width, height)
        dot = np.full((side, side, 1), 0.82, np.float32)
        return dot, np.zeros_like(dot), width - side, height - side
    size = int(np.clip(min(width, height) * 0.018, 8, 26))
    font = ImageFont.load_default(size)
    text = "emulated"
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    if right - left > width * 0.6:
        text = "e"
        left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    pad = max(2, size // 4)
    box = (right - left + 2 * pad, bottom - top + 2 * pad)
    letters = Image.new("L", box)
    ImageDraw.Draw(letters).text((pad - left, pad - top), text, fill=255, font=font)
    shade = np.asarray(letters.filter(ImageFilter.GaussianBlur(max(1.0, size / 9))), np.float32) / 255
    margin = max(1, size // 3)
    x, y = max(0, width - box[0] - margin), max(0, height - box[1] - margin)
    light = np.asarray(letters, np.float32) / 255
    fit = (slice(0, height - y), slice(0, width - x))
    strong, soft = light[fit] * np.float32(0.82), np.clip(shade[fit] * 1.5, 0, 1) * np.float32(0.5)
    return strong[..., None].astype(np.float32), soft[..., None].astype(np.float32), x, y


def draw_mark(pixels: Pixels) -> Pixels:
    """Draw the mark into the lower right corner of ``pixels`` [H, W, 3 or 4], in place, and return them."""
    height, width = pixels.shape[:2]
    light, shade, x, y = _stamp(width, height)
    area = pixels[y : y + light.shape[0], x : x + light.shape[1], :3]
    dark = area * (1 - shade)
    area[:] = (dark + (255 - dark) * light).astype(np.uint8)
    if pixels.shape[2] == 4:  # the mark stays visible where the picture is transparent
        cover = pixels[y : y + light.shape[0], x : x + light.shape[1], 3:]
        np.maximum(cover, (light * 255).astype(np.uint8), out=cover)
    return pixels


def to_pixels(image: npt.NDArray[np.float32]) -> Pixels:
    """Convert one picture 0..1 to bytes, clipped as ComfyUI clips it, with the mark."""
    scaled = image * np.float32(255.0)
    np.clip(scaled, 0.0, 255.0, out=scaled)
    return draw_mark(scaled.astype(np.uint8))
