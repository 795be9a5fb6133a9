"""Convert pictures to sixteen numbers per 8×8 pixels and back by cosine transforms, in place of a VAE.

As a real VAE it loses fine detail and keeps the look. Luma at half size keeps 10 of the 16 coefficients of each 4×4 block,
chroma at quarter size 3 of the 4 of each 2×2 block: 10 + 3 + 3 = 16 channels, the number Flux and Wan use. Knows no models,
no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

CHANNELS = 16
DC = (0, 10, 13)
"""The channels that hold the mean luma, blue and red difference of a block."""

_KEPT = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
# Factors that scale each diagonal of coefficients of our paintings to about unit variance, as the channels of a trained VAE are.
_GAIN = (1.0, 3.0, 6.0, 8.0)
_CHROMA_GAIN = (3.0, 9.0, 9.0)


@lru_cache(maxsize=1)
def _luma_basis() -> tuple[Array, Array]:
    """Compute the analysis and synthesis matrices between the 16 pixels of a 4×4 block and its 10 scaled coefficients."""
    n = np.arange(4)
    rows = [math.sqrt((1 if k == 0 else 2) / 4) * np.cos(math.pi * (2 * n + 1) * k / 8) for k in range(4)]
    basis = np.stack([np.outer(rows[u], rows[v]).ravel() for u, v in _KEPT])
    gain = np.array([_GAIN[u + v] for u, v in _KEPT])[:, None]
    return (basis * gain).astype(np.float32), (basis / gain).T.astype(np.float32)


def halve(plane: Array) -> Array:
    """Return the mean of each 2×2 pixels."""
    return np.asarray((plane[0::2, 0::2] + plane[1::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 1::2]) * np.float32(0.25))


def double(plane: Array) -> Array:
    """Double the size without changing any 2×2 mean: each pixel splits along the slope between its neighbours."""
    return _double_rows(np.ascontiguousarray(_double_rows(plane).T)).T


def _double_rows(plane: Array) -> Array:
    out = np.empty((plane.shape[0] * 2, plane.shape[1]), np.float32)
    slope = np.empty_like(plane)
    np.subtract(plane[2:], plane[:-2], out=slope[1:-1])
    slope[0] = plane[min(1, len(plane) - 1)] - plane[0]
    slope[-1] = plane[-1] - plane[max(len(plane) - 2, 0)]
    slope *= np.float32(0.125)
    np.subtract(plane, slope, out=out[0::2])
    np.add(plane, slope, out=out[1::2])
    return out


def split_colour(image: Array) -> tuple[Array, Array, Array]:
    """Convert RGB 0..1 to luma and the two colour differences (ITU-R BT.601), all around 0."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (luma - 0.5).astype(np.float32), ((blue - luma) * 0.564).astype(np.float32), ((red - luma) * 0.713).astype(np.float32)


def join_colour(luma: Array, blue: Array, red: Array) -> Array:
    """Invert :func:`split_colour`, clipped to 0..1."""
    image = np.empty((*luma.shape, 3), np.float32)
    luma = luma + np.float32(0.5)
    np.add(luma, red * np.float32(1.402), out=image[..., 0])
    np.subtract(luma, blue * np.float32(0.344) + red * np.float32(0.714), out=image[..., 1])
    np.add(luma, blue * np.float32(1.772), out=image[..., 2])
    return np.clip(image, 0.0, 1.0, out=image)


def encode(image: Array) -> Array:
    """Encode one RGB picture [H, W, 3] in 0..1, sides multiples of 8, to its latent [16, H/8, W/8]."""
    luma, blue, red = split_colour(image)
    return encode_planes(halve(luma), halve(halve(blue)), halve(halve(red)))


def encode_half(image: Array) -> Array:
    """Encode a picture that was painted at half the size in the first place (sides multiples of 4); see :func:`encode`."""
    luma, blue, red = split_colour(image)
    return encode_planes(luma, halve(blue), halve(red))


def encode_planes(luma: Array, blue: Array, red: Array) -> Array:
    """Encode luma at half size and chroma at quarter size as one latent."""
    height, width = luma.shape[0] // 4, luma.shape[1] // 4
    latent = np.empty((CHANNELS, height, width), np.float32)
    blocks = luma.reshape(height, 4, width, 4).transpose(1, 3, 0, 2).reshape(16, height * width)
    latent[:10] = (_luma_basis()[0] @ blocks).reshape(10, height, width)
    for first, plane in ((10, blue), (13, red)):
        a, b, c, d = plane[0::2, 0::2], plane[0::2, 1::2], plane[1::2, 0::2], plane[1::2, 1::2]
        latent[first] = (a + b + c + d) * (0.5 * _CHROMA_GAIN[0])
        latent[first + 1] = (a - b + c - d) * (0.5 * _CHROMA_GAIN[1])
        latent[first + 2] = (a + b - c - d) * (0.5 * _CHROMA_GAIN[2])
    return latent


def decode_planes(latent: Array) -> tuple[Array, Array, Array]:
    """Decode one latent to luma at half size and chroma at quarter size."""
    _, height, width = latent.shape
    blocks = _luma_basis()[1] @ latent[:10].reshape(10, height * width)
    luma = blocks.reshape(4, 4, height, width).transpose(2, 0, 3, 1).reshape(height * 4, width * 4)
    planes = []
    for first in (10, 13):
        mean, across, down = (latent[first + k] * np.float32(0.5 / _CHROMA_GAIN[k]) for k in range(3))
        plane = np.empty((height * 2, width * 2), np.float32)
        plane[0::2, 0::2], plane[0::2, 1::2] = mean + across + down, mean - across + down
        plane[1::2, 0::2], plane[1::2, 1::2] = mean + across - down, mean - across - down
        planes.append(plane)
    return luma, planes[0], planes[1]


def decode(latent: Array) -> Array:
    """Decode one latent [16, h, w] to its RGB picture [8h, 8w, 3] in 0..1."""
    luma, blue, red = decode_planes(latent)
    return join_colour(double(luma), double(double(blue)), double(double(red)))


def decode_small(latent: Array) -> Array:
    """Decode a quick preview at a quarter of the picture's size."""
    luma, blue, red = decode_planes(latent)
    return join_colour(halve(luma), blue, red)


def decode_video(latent: Array) -> Iterator[Array]:
    """Decode one video latent [16, T, h, w] to its 4·(T-1)+1 frames, sliding between the frames the latent holds."""
    count = latent.shape[1]
    for index in range(4 * (count - 1) + 1):
        # Frame 0 is latent frame 0; latent frame k stands for pictures 4k-3 … 4k, as in Wan's causal VAE.
        position = index / 4
        low = int(position)
        part = np.float32(position - low)
        frame = latent[:, low]
        yield decode(frame if part == 0 else frame + part * (latent[:, low + 1] - frame))


def encode_video(frames: Array) -> Array:
    """Encode frames [N, H, W, 3] as a video latent: every fourth frame, beginning with the first."""
    return np.stack([encode(frame) for frame in frames[::4][: (len(frames) - 1) // 4 + 1]], axis=1)
