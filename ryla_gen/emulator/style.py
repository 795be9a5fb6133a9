"""Apply LoRAs, reference faces and guidance to a painting. Pixels in, pixels out; knows no latents, no nodes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from .conditioning import Look, ReferenceFace

Array = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def with_looks(picture: Array, looks: Iterable[Look]) -> Array:
    """Shift a painting towards the style of each LoRA; strength 0 leaves it untouched."""
    for look in looks:
        if look.strength != 0.0:
            picture = np.clip(picture + np.float32(look.strength) * (_apply_style(picture, look.key) - picture), 0.0, 1.0)
    return picture


@lru_cache(maxsize=16)
def _style(key: int) -> tuple[Array, Array, Array, float]:
    """Draw the look of one LoRA: a rotation of the colours, a shadow and a light tint, and a tone curve."""
    draw = np.random.Generator(np.random.PCG64(key))
    angle = draw.uniform(0.25, 0.55) * (1 if draw.random() < 0.5 else -1)
    axis = np.full(3, 3**-0.5)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) * np.cos(angle) + (1 - np.cos(angle)) * np.outer(axis, axis) + np.sin(angle) * cross
    hue = draw.uniform(0, 2 * np.pi)
    phases = hue + np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])
    shadow = 0.16 * (1 + np.cos(phases + np.pi))
    light = 0.72 + 0.28 * (1 + np.cos(phases)) / 2
    return (
        rotation.astype(np.float32),
        shadow.astype(np.float32),
        light.astype(np.float32),
        float(draw.uniform(0.8, 1.3)),
    )


def _apply_style(picture: Array, key: int) -> Array:
    rotation, shadow, light, gamma = _style(key)
    turned = np.clip(picture @ rotation.T, 0.0, 1.0) ** np.float32(gamma)
    toned = shadow + turned * (light - shadow)
    return np.asarray(0.75 * toned + 0.25 * np.round(toned * 6) / 6, dtype=np.float32)


def with_guidance(picture: Array, guidance: float) -> Array:
    """Apply Flux's guidance: stronger means a little more contrast and colour (3.5, its default, changes nothing)."""
    if guidance == 3.5:
        return picture
    boost = np.float32(np.clip(1.0 + 0.035 * (guidance - 3.5), 0.8, 1.3))
    luma = (picture @ LUMA)[..., None]
    vivid = luma + boost * (picture - luma)
    return np.clip(0.5 + (0.5 + 0.5 * boost) * (vivid - 0.5), 0.0, 1.0).astype(np.float32)


def thumbnail(image: Array, longest: int = 96) -> Array:
    """Make a small copy of a picture 0..1."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)


def is_flat(image: Array) -> bool:
    """Whether a picture is too even to show a face: luminance deviation below 4 of 255, our own bound."""
    return float((image @ LUMA).std()) * 255 < 4.0


def with_faces(picture: Array, faces: Iterable[ReferenceFace]) -> Array:
    """Move a painting towards each reference: its colours everywhere, its features where the head is."""
    for face in faces:
        if face.identity != 0.0 or face.placement != 0.0:
            picture = _with_face(picture, face)
    return picture


def _with_face(picture: Array, face: ReferenceFace) -> Array:
    height, width = picture.shape[:2]
    identity = np.float32(1 - np.exp(-1.1 * max(face.identity, 0.0)))
    placement = np.float32(1 - np.exp(-1.1 * max(face.placement, 0.0)))
    picture = picture + np.float32(0.45) * identity * (_toned(picture, face.thumbnail) - picture)
    head = cover(face.thumbnail, width, height)
    # A head fills the middle of a portrait; the edge of the oval fades out so that no seam shows.
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    distance = np.hypot(x / 0.62, (y + 0.08) / 0.74)
    oval = np.clip((1.15 - distance) / 0.45, 0.0, 1.0)
    oval = (oval * oval * (3 - 2 * oval))[..., None]
    share = oval * (np.float32(0.5) * identity + np.float32(0.35) * placement)
    return np.asarray(np.clip(picture + share * (head - picture), 0.0, 1.0), dtype=np.float32)


def with_control(picture: Array, hint: Array, strength: float) -> Array:
    """Draw the shapes of a control picture into a painting: its lines as lines, else its lights and darks; 0 changes nothing."""
    if strength == 0.0:
        return picture
    share = np.float32(1 - np.exp(-1.2 * abs(strength)))
    light = hint[..., :3] @ LUMA
    own = (picture @ LUMA)[..., None]
    if _is_drawn(light):
        soft = _blurred(light, 0.006)
        shade = np.clip(light + 0.5 * soft, 0, 1)[..., None] * share
        return np.asarray(np.clip(picture * (1 - np.float32(0.9) * shade), 0.0, 1.0), dtype=np.float32)
    spread = max(float(light.std()), 0.02)
    wanted = np.float32(own.mean()) + ((light - light.mean()) * np.float32(max(float(own.std()), 0.2) / spread))[..., None]
    return np.asarray(np.clip(picture + share * (np.clip(wanted, 0, 1) - own), 0.0, 1.0), dtype=np.float32)


def _is_drawn(light: Array) -> bool:
    """Whether a control picture is light lines on black, as edges and poses are."""
    return float((light < 0.1).mean()) > 0.6


def _blurred(plane: Array, reach: float) -> Array:
    pixels = Image.fromarray((np.clip(plane, 0, 1) * 255).astype(np.uint8))
    return np.asarray(pixels.filter(ImageFilter.GaussianBlur(max(0.5, reach * min(plane.shape)))), np.float32) / np.float32(255)


def with_palette(picture: Array, other: Array, share: float) -> Array:
    """Move a painting towards another picture's colours."""
    return np.asarray(np.clip(picture + np.float32(share) * (_toned(picture, other) - picture), 0.0, 1.0), dtype=np.float32)


def _toned(picture: Array, other: Array) -> Array:
    """Give a picture the mean and the spread of another one's colours."""
    wanted = other.reshape(-1, 3)
    mean, spread = picture.reshape(-1, 3).mean(0), picture.reshape(-1, 3).std(0) + np.float32(0.02)
    return np.asarray((picture - mean) * ((wanted.std(0) + np.float32(0.02)) / spread) + wanted.mean(0), dtype=np.float32)


def cover(small: Array, width: int, height: int) -> Array:
    """Scale a picture to fill a size and cut what stands out."""
    if small.shape[:2] == (height, width):
        return small
    scale = max(width / small.shape[1], height / small.shape[0])
    size = (max(width, round(small.shape[1] * scale)), max(height, round(small.shape[0] * scale)))
    large = Image.fromarray((small * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(large.crop((left, top, left + width, top + height)), dtype=np.float32) / np.float32(255)
