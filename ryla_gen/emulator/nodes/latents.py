"""Emulate nodes that make, encode, decode and reshape latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .. import latents
from ..base import Context, NodeResult, node
from ..latents import Array
from ..model import ANY, VIDEO, Vae, fits_together, visible_channels
from ..sampling.run import Latent


@node("EmptyLatentImage")
def empty_latent_image(context: Context, width: int, height: int, batch_size: int = 1) -> NodeResult:
    """Return an empty latent in Stable Diffusion's four channels; every model takes it."""
    return NodeResult(({"samples": np.zeros((batch_size, 4, height // 8, width // 8), np.float32)},))


@node("EmptySD3LatentImage")
def empty_sd3_latent_image(context: Context, width: int, height: int, batch_size: int = 1) -> NodeResult:
    """Return an empty latent in sixteen channels."""
    return NodeResult(({"samples": np.zeros((batch_size, 16, height // 8, width // 8), np.float32)},))


@node("EmptyHunyuanLatentVideo")
def empty_hunyuan_latent_video(context: Context, width: int, height: int, length: int, batch_size: int = 1) -> NodeResult:
    """Return an empty latent with a time axis: one latent frame for the first picture and one for every four after it."""
    shape = (batch_size, 16, (length - 1) // 4 + 1, height // 8, width // 8)
    return NodeResult(({"samples": np.zeros(shape, np.float32)},))


def _readable(samples: Array, space: str | None, vae: Vae) -> Array:
    """Check that this VAE's family made the latents; empty ones are everybody's."""
    if not np.any(samples):
        return np.zeros((samples.shape[0], latents.CHANNELS, *samples.shape[2:]), np.float32)
    if not fits_together(space or vae.space, vae.space):
        have, want = visible_channels(space or vae.space), visible_channels(vae.space)
        size = [samples.shape[0], have, *samples.shape[2:]]
        raise RuntimeError(
            f"Given groups=1, weight of size [512, {want}, 3, 3], expected input{size} to have {want} channels, "
            f"but got {have} channels instead ({vae.name} cannot decode latents of another model family)"
        )
    return samples


@node("VAEDecode")
def vae_decode(context: Context, samples: Latent, vae: Vae) -> NodeResult:
    """Decode pictures from latents; the frames of videos one after the other."""
    values = _readable(np.asarray(samples["samples"], np.float32), samples.get("space"), vae)
    if values.ndim == 5 and vae.space not in (*VIDEO, ANY):
        values = values[:, :, 0]
    if values.ndim == 4:
        return NodeResult((np.stack([latents.decode(latent) for latent in values]),))
    batch, _, count, height, width = values.shape
    frames = 4 * (count - 1) + 1
    pictures = np.empty((batch * frames, height * 8, width * 8, 3), np.float32)
    for b, video in enumerate(values):
        for i, frame in enumerate(latents.decode_video(video)):
            pictures[b * frames + i] = frame
    return NodeResult((pictures,))


@node("VAEDecodeTiled")
def vae_decode_tiled(context: Context, samples: Latent, vae: Vae, **_: Any) -> NodeResult:
    """Decode as VAEDecode does: tiles only save memory."""
    return vae_decode(context, samples, vae)


@node("VAEEncode")
def vae_encode(context: Context, pixels: Array, vae: Vae) -> NodeResult:
    """Encode pictures, cut to a multiple of eight around their middle."""
    height, width = pixels.shape[1] // 8 * 8, pixels.shape[2] // 8 * 8
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    cut = pixels[:, top : top + height, left : left + width, :3]
    samples = latents.encode_video(cut)[None] if vae.space in VIDEO else np.stack([latents.encode(picture) for picture in cut])
    return NodeResult(({"samples": samples, "space": vae.space},))


@node("VAEEncodeTiled")
def vae_encode_tiled(context: Context, pixels: Array, vae: Vae, **_: Any) -> NodeResult:
    """Encode as VAEEncode does: tiles only save memory."""
    return vae_encode(context, pixels, vae)


@node("VAEEncodeForInpaint")
def vae_encode_for_inpaint(context: Context, pixels: Array, vae: Vae, mask: Array, grow_mask_by: int = 6) -> NodeResult:
    """Encode pictures with the masked part greyed out and marked for sampling."""
    size = (pixels.shape[2], pixels.shape[1])
    planes = [np.asarray(Image.fromarray(np.asarray(m, np.float32)).resize(size)) for m in mask.reshape(-1, *mask.shape[-2:])]
    hidden = np.round(np.stack(planes))[..., None]
    latent = vae_encode(context, np.asarray((pixels[..., :3] - 0.5) * (1 - hidden) + 0.5, np.float32), vae).outputs[0]
    return NodeResult(({**latent, "noise_mask": _grown(hidden[..., 0], grow_mask_by)},))


def _grown(mask: Array, by: int) -> Array:
    """Grow the white parts by a few pixels on every side."""
    grown = mask
    for axis in (1, 2):
        shifted = [np.roll(grown, offset, axis) for offset in range(-(by // 2), by - by // 2)]
        grown = np.max(np.stack([grown, *shifted]), axis=0)
    return grown.astype(np.float32)


@node("SetLatentNoiseMask")
def set_latent_noise_mask(context: Context, samples: Latent, mask: Array) -> NodeResult:
    """Sample only where the mask is white."""
    return NodeResult(({**samples, "noise_mask": mask.reshape(-1, *mask.shape[-2:])},))


_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "bislerp": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resized_planes(planes: Array, width: int, height: int, method: str) -> Array:
    """Scale the last two axes."""
    flat = planes.reshape(-1, *planes.shape[-2:])
    out = [np.asarray(Image.fromarray(plane).resize((width, height), _RESAMPLING[method])) for plane in flat]
    return np.stack(out).reshape(*planes.shape[:-2], height, width).astype(np.float32)


@node("LatentUpscale")
def latent_upscale(context: Context, samples: Latent, upscale_method: str, width: int, height: int, crop: str) -> NodeResult:
    """Scale latents to a size; 0 for one side keeps the proportions, 0 for both changes nothing."""
    values = np.asarray(samples["samples"])
    if width == 0 and height == 0:
        return NodeResult((samples,))
    rows, columns = values.shape[-2:]
    width = max(64, width or round(columns * 8 * height / (rows * 8)))
    height = max(64, height or round(rows * 8 * width / (columns * 8)))
    if crop == "center":
        values = _cut_to(values, width / height)
    return NodeResult(({**samples, "samples": resized_planes(values, width // 8, height // 8, upscale_method)},))


def _cut_to(planes: Array, aspect: float) -> Array:
    """Cut the middle of the last two axes with that width over height."""
    rows, columns = planes.shape[-2:]
    if columns / rows > aspect:
        left = round((columns - columns * (aspect / (columns / rows))) / 2)
        return planes[..., left : columns - left]
    top = round((rows - rows * (columns / rows / aspect)) / 2)
    return planes[..., top : rows - top, :]


@node("LatentUpscaleBy")
def latent_upscale_by(context: Context, samples: Latent, upscale_method: str, scale_by: float) -> NodeResult:
    """Scale latents by a factor."""
    values = np.asarray(samples["samples"])
    width, height = round(values.shape[-1] * scale_by), round(values.shape[-2] * scale_by)
    return NodeResult(({**samples, "samples": resized_planes(values, width, height, upscale_method)},))


@node("RepeatLatentBatch")
def repeat_latent_batch(context: Context, samples: Latent, amount: int) -> NodeResult:
    """Repeat the batch several times."""
    values = np.asarray(samples["samples"])
    repeated = {**samples, "samples": np.tile(values, (amount, *[1] * (values.ndim - 1)))}
    if samples.get("batch_index") is not None:
        indices = samples["batch_index"]
        span = max(indices) - min(indices) + 1
        repeated["batch_index"] = [*indices, *(i + span * k for k in range(1, amount) for i in indices)]
    return NodeResult((repeated,))


@node("LatentFromBatch")
def latent_from_batch(context: Context, samples: Latent, batch_index: int, length: int) -> NodeResult:
    """Select a part of a batch; it keeps the noise it would have had in the whole."""
    values = np.asarray(samples["samples"])
    first = min(len(values) - 1, batch_index)
    last = min(len(values), first + length)
    known = samples.get("batch_index") or list(range(len(values)))
    return NodeResult(({**samples, "samples": values[first:last], "batch_index": known[first:last]},))


@node("LatentBatch")
def latent_batch(context: Context, samples1: Latent, samples2: Latent) -> NodeResult:
    """Join two batches in one."""
    one, two = np.asarray(samples1["samples"]), np.asarray(samples2["samples"])
    if one.shape[-2:] != two.shape[-2:]:
        two = resized_planes(two, one.shape[-1], one.shape[-2], "bilinear")
    return NodeResult(({**samples1, "samples": np.concatenate([one, two])},))
