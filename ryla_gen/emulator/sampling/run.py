"""Run one sampling: noise from a seed, a sampler's steps over an emulated model, masks, progress and previews.

Knows no node's inputs; ``nodes.sampling`` turns those into the arguments here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from .. import latents
from ..base import Context
from ..conditioning import Conditioning, KnownPart
from ..denoiser import Denoiser, DepthEstimator
from ..model import ANY, Model, fits_together, visible_channels
from ..targets import unpainted_words
from .flow import ModelSampling, Sigmas
from .samplers import ddim, last_level
from .walk import Array, Sampler, Walk

Latent = dict[str, Any]
"""ComfyUI's LATENT: ``samples`` [B, C, (T,) h, w], and here ``space``, the model family the samples belong to."""

PREVIEW_SIZE = 512
"""Longest side of a preview in pixels, ComfyUI's."""


@dataclass(frozen=True)
class Noise:
    """ComfyUI's NOISE: a seed, or none at all."""

    seed: int
    disabled: bool = False

    def draw(self, latent: Latent, shape: tuple[int, ...]) -> Array:
        """Draw one tensor for the whole batch from one generator, item after item, as ComfyUI does."""
        if self.disabled:
            return np.zeros(shape, np.float32)
        generator = np.random.Generator(np.random.PCG64(self.seed))
        indices = latent.get("batch_index")
        if indices is None:
            return generator.standard_normal(shape, np.float32)
        drawn = [generator.standard_normal(shape[1:], np.float32) for _ in range(max(indices) + 1)]
        return np.stack([drawn[i] for i in indices])


@dataclass(frozen=True)
class Guider:
    """ComfyUI's GUIDER: a model with the prompts that steer it."""

    model: Model
    positive: Conditioning
    negative: Conditioning | None = None
    cfg: float = 1.0


def fitting_samples(model: Model, latent: Latent) -> Array:
    """Return the latent as this model holds it; empty ones fit every model, others must be of its family."""
    samples = np.asarray(latent["samples"], dtype=np.float32)
    if not np.any(samples):
        shape = (samples.shape[0], latents.CHANNELS, *samples.shape[2:])
        if model.is_video and len(shape) == 4:
            shape = (*shape[:2], 1, *shape[2:])
        samples = np.zeros(shape, np.float32)
    else:
        _same_channels(model, str(latent.get("space", model.space)), samples.shape)
    if samples.ndim == 5 and not model.is_video and model.space != ANY:
        raise ValueError(f"{model.name} makes single pictures, but the latent is a video of {samples.shape[2]} frames")
    if samples.ndim == 4 and model.is_video:
        samples = samples[:, :, None]
    return samples


def _same_channels(model: Model, space: str, shape: tuple[int, ...]) -> None:
    if not fits_together(space, model.space):
        have, want = visible_channels(space), visible_channels(model.space)
        size = [shape[0], have, *shape[2:]]
        raise RuntimeError(
            f"Given groups=1, weight of size [320, {want}, 3, 3], expected input{size} to have {want} channels, "
            f"but got {have} channels instead ({model.name} cannot read latents of another model family)"
        )


def sample(
    context: Context, guider: Guider, noise: Noise, sampler: Sampler, sigmas: Sigmas, latent: Latent, **options: Any
) -> Latent:
    """Walk the levels and return the new latent. ``options`` are fields of :class:`~.samplers.Walk`."""
    finished, _ = sample_both(context, guider, noise, sampler, sigmas, latent, **options)
    return finished


def sample_both(
    context: Context, guider: Guider, noise: Noise, sampler: Sampler, sigmas: Sigmas, latent: Latent, **options: Any
) -> tuple[Latent, Latent]:
    """Sample as :func:`sample`, and also return the last guess at the finished picture."""
    start = fitting_samples(guider.model, latent)
    kept = {key: value for key, value in latent.items() if key != "samples"} | {"space": guider.model.space}
    if len(sigmas) < 2:
        return {**kept, "samples": start}, {**kept, "samples": start}
    drawn = noise.draw(latent, start.shape)
    # ComfyUI's ddim keeps what a mask protects under noise of its own.
    around = Noise(noise.seed + 1).draw({}, start.shape) if sampler is ddim else drawn
    walk, last = _walk(context, guider, noise, sigmas, latent, start, around, options)
    x = sampler(walk, _start(guider.model.sampling, float(sigmas[0]), drawn, start))
    _note_unpainted(context, guider, latent)
    end = last_level(sampler, sigmas)
    if guider.model.sampling.is_flow and 0.0 < end < 1.0:
        # What is left of the noise is kept on the scale of the picture, so that a second stage can go on.
        x = x / np.float32(1.0 - end)
    return {**kept, "samples": np.asarray(x, np.float32)}, {**kept, "samples": last[-1]}


def _note_unpainted(context: Context, guider: Guider, latent: Latent) -> None:
    """Report the words that the pictures of this run do not show; of depths and sounds nobody expects any."""
    model = guider.model
    if model.measures_depth or "seconds" in latent:
        return
    given = "noise_mask" in latent or any(prompt.known is not None for prompt in guider.positive)
    context.note_unpainted(unpainted_words(model, guider.positive, given=model.is_video and given))


def _add_noise(sampling: ModelSampling, sigma: float, noise: Array, picture: Array) -> Array:
    """Mix picture and noise at one level."""
    if sampling.is_flow:
        return np.asarray(np.float32(sigma) * noise + np.float32(1.0 - sigma) * picture, np.float32)
    return np.asarray(np.float32(sigma) * noise + picture, np.float32)


def _start(sampling: ModelSampling, sigma: float, noise: Array, picture: Array) -> Array:
    """Build the start of a walk: from the very top ComfyUI starts as if the noise had swallowed the picture's variance."""
    if sampling.is_flow or sigma < sampling.sigma_max * (1 - 1e-5):
        return _add_noise(sampling, sigma, noise, picture)
    return _add_noise(sampling, math.sqrt(1.0 + sigma**2), noise, picture)


def _walk(
    context: Context,
    guider: Guider,
    noise: Noise,
    sigmas: Sigmas,
    latent: Latent,
    start: Array,
    around: Array,
    options: dict[str, Any],
) -> tuple[Walk, list[Array]]:
    last: list[Array] = []
    steps = len(sigmas) - 1

    def step(index: int, denoised: Array) -> None:
        last[:] = [denoised]
        context.progress(index + 1, steps, lambda: preview(denoised))

    sampling = guider.model.sampling
    mask = None if latent.get("noise_mask") is None else fitted_mask(latent["noise_mask"], start.shape)
    denoise = _guess_of(guider, noise, sigmas, start, mask)
    unguided: Callable[[Array, float], Array] | None = getattr(denoise, "guess_unguided", None)
    if mask is not None:
        softness = guider.model.differential
        at = partial(_mask_at, sampling, sigmas, mask, softness) if softness is not None else lambda _: mask
        denoise = _with_mask(denoise, sampling, at, start, around)
        unguided = None if unguided is None else _with_mask(unguided, sampling, at, start, around)
    fresh = np.random.Generator(np.random.PCG64([noise.seed, 1]))
    walk = Walk(
        denoise,
        sigmas,
        lambda: fresh.standard_normal(start.shape, np.float32),
        sampling.is_flow,
        step,
        unguided=unguided,
        nearly_noise=sampling.percent_to_sigma(1e-4),
        **options,
    )
    return walk, last


def _guess_of(guider: Guider, noise: Noise, sigmas: Sigmas, start: Array, mask: Array | None) -> Callable[[Array, float], Array]:
    """Build the guess of one run, which knows the picture it starts from, and the frames that a mask keeps."""
    model = guider.model
    if model.measures_depth:
        return DepthEstimator(start)
    source = start if np.any(start) and not noise.disabled else None
    known = KnownPart(start, mask) if mask is not None and model.is_video and mask.shape[2] > 1 else None
    levels = None if mask is None or model.differential is None else _levels_of(model.sampling, sigmas, mask)
    return Denoiser(model, guider.positive, guider.negative, guider.cfg, source, known, levels)


def _levels_of(sampling: ModelSampling, sigmas: Sigmas, mask: Array) -> Array:
    """Return the level at which each place begins to change under differential diffusion."""
    start, end = _times_of(sampling, sigmas)
    times = np.asarray(end + mask * (start - end), np.float64)
    return sampling.levels_at(times).astype(np.float32)


def _mask_at(sampling: ModelSampling, sigmas: Sigmas, mask: Array, softness: float, sigma: float) -> Array:
    """Return the mask of one level under differential diffusion (Levin and Fried 2023): white where the change has begun."""
    start, end = _times_of(sampling, sigmas)
    begun = (mask >= (sampling.timestep(sigma) - end) / (start - end)).astype(np.float32)
    return np.asarray(softness * begun + (1 - softness) * mask if 0.0 < softness < 1.0 else begun, np.float32)


def _times_of(sampling: ModelSampling, sigmas: Sigmas) -> tuple[float, float]:
    """Return the model's timesteps at the first and the last level that is not 0."""
    return sampling.timestep(float(sigmas[0])), sampling.timestep(max(sampling.sigma_min, float(sigmas[-1])))


def _with_mask(
    denoise: Callable[[Array, float], Array],
    sampling: ModelSampling,
    mask_at: Callable[[float], Array],
    picture: Array,
    noise: Array,
) -> Callable[[Array, float], Array]:
    """Return a guess that changes the picture only where the mask of a level is white."""

    def masked(x: Array, sigma: float) -> Array:
        mask = mask_at(sigma)
        blended = x * mask + _add_noise(sampling, sigma, noise, picture) * (1 - mask)
        return np.asarray(denoise(blended, sigma) * mask + picture * (1 - mask), np.float32)

    return masked


def fitted_mask(mask: Array, shape: tuple[int, ...]) -> Array:
    """Resize a mask [B, H, W], or one [B, 1, T, H, W] with a plane for each frame, to latents of ``shape``."""
    planes = np.asarray(mask, np.float32).reshape(-1, *np.shape(mask)[-2:])
    size = (shape[-1], shape[-2])
    small = np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR), np.float32) for p in planes])
    if np.ndim(mask) == 5 and len(shape) == 5:
        return np.resize(small, (shape[0], 1, shape[2], *small.shape[1:]))
    small = np.resize(small, (shape[0], *small.shape[1:]))
    return small[:, None, None] if len(shape) == 5 else small[:, None]


def preview(denoised: Array) -> Image.Image:
    """Draw a small picture of the current guess (of a video, of its middle)."""
    first = denoised[0]
    if first.ndim == 4:
        first = first[:, first.shape[1] // 2]
    image = Image.fromarray(np.asarray(latents.decode_small(first) * 255 + 0.5, np.uint8))
    image.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
    return image
