"""Emulate nodes that begin or end a video with given pictures, and the encoder that only looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import latents
from ..base import Context, NodeResult, node
from ..conditioning import Conditioning, KnownPart
from ..latents import Array
from ..model import Vae, fits_together, visible_channels
from .edits import with_known
from .images import cut_to_aspect, resize

PIXELS, FRAMES = 8, 4
"""Pixels a side, and frames, for each number of an emulated latent (``latents``)."""


@node("CLIPVisionLoader")
def clip_vision_loader(context: Context, clip_name: str) -> NodeResult:
    """Load an encoder of pictures."""
    return NodeResult(({"name": clip_name},))


@node("CLIPVisionEncode")
def clip_vision_encode(context: Context, clip_vision: Any, image: Array, crop: str) -> NodeResult:
    """Look at a picture; what is seen changes nothing here."""
    return NodeResult(({"seen": image},))


@node("WanImageToVideo")
@node("WanFirstLastFrameToVideo")
def wan_first_last_frame_to_video(
    context: Context,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    width: int,
    height: int,
    length: int,
    batch_size: int,
    start_image: Array | None = None,
    end_image: Array | None = None,
    **_: Any,
) -> NodeResult:
    """Begin a video with pictures and end it with others; each may be absent."""
    return _between(positive, negative, vae, (batch_size, length, height, width), start_image, end_image)


@node("Wan22ImageToVideoLatent")
def wan22_image_to_video_latent(
    context: Context, vae: Vae, width: int, height: int, length: int, batch_size: int, start_image: Array | None = None
) -> NodeResult:
    """Return a latent for a video that begins with pictures, if any: a mask keeps them."""
    if start_image is not None and not fits_together(vae.space, "wan22"):
        raise RuntimeError(
            f"The expanded size of the tensor (48) must match the existing size ({visible_channels(vae.space)}) at non-singleton "
            f"dimension 1 ({vae.name} is not the VAE of Wan 2.2's 5B model)"
        )
    size = (batch_size, length, height // 16 * 16, width // 16 * 16)
    known = _given(size, start_image, None)
    if start_image is None:
        return NodeResult(({"samples": known.samples},))
    return NodeResult(({"samples": known.samples, "space": vae.space, "noise_mask": known.free},))


def _between(
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    size: tuple[int, int, int, int],
    start: Array | None,
    end: Array | None,
) -> NodeResult:
    """Give the prompts the first and the last pictures of a video of (batch, frames, height, width)."""
    known = _given(size, start, end)
    latent = {"samples": np.zeros_like(known.samples)}
    if start is None and end is None:
        return NodeResult((positive, negative, latent))
    return NodeResult((with_known(positive, known), with_known(negative, known), latent))


def _given(size: tuple[int, int, int, int], start: Array | None, end: Array | None) -> KnownPart:
    """Encode pictures as the first and the last frames of a video; everything between them is free."""
    batch, length, height, width = size
    count = (length - 1) // FRAMES + 1
    shape = (count, height // PIXELS, width // PIXELS)
    samples = np.zeros((1, latents.CHANNELS, *shape), np.float32)
    free = np.ones((1, 1, *shape), np.float32)
    firsts = [] if start is None else list(_fitted(start[:length], width, height)[::FRAMES])
    lasts = [] if end is None else list(_fitted(end[-length:], width, height)[::-1][::FRAMES])
    places = [*zip(range(count), firsts, strict=False), *((count - 1 - index, picture) for index, picture in enumerate(lasts))]
    for time, picture in places:
        if 0 <= time < count:
            samples[0, :, time], free[0, :, time] = latents.encode(picture), 0.0
    return KnownPart(np.repeat(samples, batch, axis=0), np.repeat(free, batch, axis=0))


def _fitted(pictures: Array, width: int, height: int) -> Array:
    """Scale pictures to fill the size of a video's frames, and cut what stands out."""
    width, height = width // PIXELS * PIXELS, height // PIXELS * PIXELS
    return resize(cut_to_aspect(pictures[..., :3], width / height), width, height, "bilinear")
