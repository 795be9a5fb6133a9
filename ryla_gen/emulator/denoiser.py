"""Denoise by formula: each prompt stands for a distribution of pictures so simple that its perfect denoiser is known exactly.

A prompt's pictures are a mixture of a few paintings (its compositions), each with a little Gaussian variance per coefficient
and a lot in a few broad waves of light and colour. So seeds choose a composition, bend its light and set its grain, and every
sampler and schedule works on it as on a trained network. Knows no nodes, no files.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import latents
from .conditioning import Conditioning, KnownPart, Prompt
from .model import Model
from .painting.edits import depth_map
from .targets import Targets, fitted, freedom

Array = npt.NDArray[np.float32]

COMPOSITIONS = 8
"""Paintings per prompt that seeds choose among."""

WAVES = 4
"""Broad waves of light per axis."""

LIGHT = (0.10, 0.10, 0.10)
"""Deviation of the broad waves in the luma, blue and red means."""

LIGHT_OF_EDITS = 0.3
"""The part of that deviation which is left where a given picture is edited or completed: its light is known."""

NEGATIVE_BREADTH = 20.0
"""Variance of what a negative prompt may mean; large, so that guidance fades early."""

VISIBILITY = 3.0
"""How well a source picture shows through noise: half of it is kept where its strength is 1/√3 of the noise's. With it a refining
pass of Flux at denoise 0.35 keeps half of the picture, one at 0.6 an eighth."""

LASTING_GUIDANCE = 0.006
"""The contrast that each unit of cfg leaves in the finished picture."""

GRAIN = 0.035
"""Deviation of every single coefficient."""


@lru_cache(maxsize=64)
def _wave_rows(size: int) -> Array:
    """Return the lowest cosine waves along an axis, orthonormal."""
    count = min(WAVES, size)
    n = (np.arange(size) + 0.5) / size
    rows = [np.cos(math.pi * k * n) * math.sqrt((1 if k == 0 else 2) / size) for k in range(count)]
    return np.stack(rows).astype(np.float32)


def _add_waves(residual: Array, gains: tuple[float, ...], out: Array) -> None:
    """Add ``gain`` times the part of ``residual`` that lies in the broad waves of the mean channels."""
    down, across = _wave_rows(residual.shape[-2]), _wave_rows(residual.shape[-1])
    for channel, gain in zip(latents.DC, gains, strict=True):
        plane = residual[:, channel]
        waves = down @ plane @ across.T
        if plane.ndim == 4:  # [B, T, h, w]: light does not flicker, so the waves are those of the whole clip
            waves = np.broadcast_to(waves.mean(1, keepdims=True), waves.shape)
        out[:, channel] += np.float32(gain) * (down.T @ waves @ across)


class Denoiser:
    """One sampling run's model: knows the prompts, the size, and which composition each picture of the batch has become."""

    def __init__(
        self,
        model: Model,
        positive: Conditioning,
        negative: Conditioning | None,
        cfg: float,
        source: Array | None = None,
        known: KnownPart | None = None,
        first_levels: Array | None = None,
    ) -> None:
        """Prepare a guess for one run.

        A trained model recognises what lies under the noise. This one cannot, so it is shown it, and keeps as much of it as
        could be seen at the first level.

        Args:
            model: whose guess it is.
            positive: the prompts to follow.
            negative: the prompts to lead away from.
            cfg: how far.
            source: the picture that the run starts from, if any.
            known: the part of the result that is given; else a prompt may give one.
            first_levels: for each place the level at which it begins to change, where that is not the first one of the run.

        """
        self.known = known or next((prompt.known for prompt in positive if prompt.known is not None), None)
        self._paintings = Targets(model)
        follows = self.known is not None or (model.edits and any(prompt.references for prompt in positive))
        self._light = tuple(deviation * (LIGHT_OF_EDITS if follows else 1.0) for deviation in LIGHT)
        self.model = model
        self.source = source
        self.first_levels = first_levels
        self._kept: Array = np.zeros((), np.float32)
        self.positive = positive
        # As in ComfyUI, the negative prompt is not even looked at when it could change nothing.
        self.negative = None if math.isclose(cfg, 1.0) else negative
        self.cfg = cfg
        self._targets: dict[tuple[int, int], Array] = {}
        self._compositions: tuple[int, ...] | None = None
        self._negative_colour: Array | None = None

    def __call__(self, x: Array, sigma: float) -> Array:
        """Return the guided best guess at the picture behind ``x`` [B, 16, (T,) h, w]."""
        return self._guess(x, sigma, guided=True)

    def guess_unguided(self, x: Array, sigma: float) -> Array:
        """Return the best guess of the prompt alone, as if cfg were 1."""
        return self._guess(x, sigma, guided=False)

    def _guess(self, x: Array, sigma: float, *, guided: bool) -> Array:
        progress = self._progress(sigma)
        if self._compositions is None:
            self._begin(x, sigma)
        painted = target = self._mean(self.positive, x.shape, progress)
        if guided and self.negative is not None:
            target = self._guide(target, x.shape, sigma)
        if self.source is not None:
            target = target + self._kept * (self.source - target)
        guess = self._posterior(x, sigma, target)
        if self.known is None:
            return guess
        guess = painted + freedom(self.known) * (guess - painted)
        return np.asarray(self.known.samples + self.known.free * (guess - self.known.samples), dtype=np.float32)

    def _begin(self, x: Array, sigma: float) -> None:
        """Decide at the first level how much of the source can be seen, and which composition each picture becomes."""
        self.known = self._paintings.known = None if self.known is None else fitted(self.known, x.shape)
        seen, level = x, sigma
        if self.source is not None:
            levels = sigma if self.first_levels is None else self.first_levels
            signal = VISIBILITY * ((1.0 - levels) if self.model.sampling.is_flow else 1.0) ** 2
            self._kept = np.asarray(signal / (signal + levels**2), np.float32)
            if float(np.min(self._kept)) > 0.05:
                seen, level = self.source, 0.0
        self._compositions = tuple(self._choose(seen[i : i + 1], level) for i in range(len(x)))

    def _progress(self, sigma: float) -> float:
        """Return how far the sampling is, 0 at pure noise, 1 at the picture, as start and end settings count."""
        levels = self.model.sampling.table
        return 1.0 - float(np.searchsorted(levels, sigma)) / len(levels)

    def _scale(self, sigma: float) -> float:
        return 1.0 - sigma if self.model.sampling.is_flow else 1.0

    def _posterior(self, x: Array, sigma: float, target: Array) -> Array:
        """Compute the mean of pictures given ``x``, for a Gaussian around ``target``."""
        scale = self._scale(sigma)
        residual = x - np.float32(scale) * target
        grain = GRAIN**2 * scale / (scale**2 * GRAIN**2 + sigma**2 + 1e-12)
        guess = np.asarray(target + np.float32(grain) * residual, dtype=np.float32)
        cells = math.prod(residual.shape[2:]) / WAVES**2
        gains = []
        for deviation in self._light:
            variance = deviation**2 * cells
            gains.append(variance * scale / (scale**2 * variance + sigma**2 + 1e-12) - grain)
        _add_waves(residual, tuple(gains), guess)
        return guess

    def _guide(self, target: Array, shape: tuple[int, ...], sigma: float) -> Array:
        """Apply classifier-free guidance: away from the mean colour of the negative prompt's paintings.

        The negative's distribution is broad, so once the picture shows, both sides agree on it: guidance acts early and fades. The
        broad waves, in which the early path is never forgotten, are left out; a little contrast stays to the end.
        """
        assert self.negative is not None
        scale = self._scale(sigma)
        doubt = sigma**2 / (NEGATIVE_BREADTH * scale**2 + sigma**2)
        away = target.copy()
        colour = self._mean_colour(self.negative, shape)
        for channel, value in zip(latents.DC, colour, strict=True):
            away[:, channel] -= value
        steady = np.float32((self.cfg - 1.0) * (doubt + LASTING_GUIDANCE))
        guided = np.asarray(target + steady * away, dtype=np.float32)
        _add_waves(away, (-(self.cfg - 1.0) * doubt,) * 3, guided)
        return guided

    def _mean_colour(self, conditioning: Conditioning, shape: tuple[int, ...]) -> Array:
        """Compute the mean luma and colour differences of the prompts' first compositions."""
        if self._negative_colour is None:
            coarse = [self._coarse_target(prompt, shape[-1], shape[-2], 0) for prompt in conditioning or (Prompt(),)]
            self._negative_colour = np.mean(coarse, axis=(0, 2, 3))
        return self._negative_colour

    def _mean(self, conditioning: Conditioning, shape: tuple[int, ...], progress: float) -> Array:
        active = [p for p in conditioning if p.start <= progress <= p.end or len(conditioning) == 1]
        total = sum(p.strength for p in active) or 1.0
        parts = [np.float32(p.strength / total) * self._target(p, shape) for p in active]
        return np.asarray(sum(parts[1:], start=parts[0]), dtype=np.float32) if parts else np.zeros(shape, np.float32)

    def _target(self, prompt: Prompt, shape: tuple[int, ...]) -> Array:
        """Return the mean pictures of one prompt for the whole batch, painted once per run."""
        assert self._compositions is not None
        key = (id(prompt), shape[0])
        if key not in self._targets:
            chosen = [(composition, 0 if self.known is None else item) for item, composition in enumerate(self._compositions)]
            each = {one: self._paintings.latent(prompt, shape[2:], *one) for one in dict.fromkeys(chosen)}
            self._targets[key] = np.stack([each[one] for one in chosen])
        return self._targets[key]

    def _choose(self, x: Array, sigma: float) -> int:
        """Choose the composition that ``x`` resembles most; in pure noise, the one its broad shapes lean towards."""
        prompt = self.positive[0] if self.positive else Prompt()
        height, width = x.shape[-2:]
        plane = x[0][list(latents.DC)]
        if plane.ndim == 4:
            plane = plane[:, 0]
        seen = _coarse(plane)
        candidates = [self._coarse_target(prompt, width, height, c) for c in range(COMPOSITIONS)]
        scale = self._scale(sigma)
        if scale / max(sigma, 1e-6) > 0.3:
            return int(np.argmin([np.sum((seen / scale - c) ** 2) for c in candidates]))
        middle = np.mean(candidates, axis=0)
        directions = [c - middle for c in candidates]
        return int(np.argmax([np.sum(seen * d) / (np.linalg.norm(d) + 1e-6) for d in directions]))

    def _coarse_target(self, prompt: Prompt, width: int, height: int, composition: int) -> Array:
        return _coarse(self._paintings.coarse(prompt, width, height, composition)[list(latents.DC)])


class DepthEstimator:
    """A model that measures depth in one step: whatever the level, its guess is how far each place of a picture is."""

    def __init__(self, pictures: Array) -> None:
        """Measure the pictures [B, 16, h, w] of one run."""
        self._depths = np.stack([latents.encode(depth_map(latents.decode(picture))) for picture in pictures])

    def __call__(self, x: Array, sigma: float) -> Array:
        """Return the depths: dark is near, as Lotus gives them."""
        return self._depths


def _coarse(planes: Array) -> Array:
    """Compute the means of an 8×8 grid over the planes [C, h, w]."""
    height, width = planes.shape[-2:]
    rows = np.linspace(0, height, min(8, height) + 1).astype(int)[:-1]
    columns = np.linspace(0, width, min(8, width) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(planes, rows, axis=1), columns, axis=2)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))[None, :]
    return np.asarray(sums / counts, dtype=np.float32)
