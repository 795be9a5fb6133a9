"""Denoise by formula: each prompt stands for a distribution of pictures so simple that its perfect denoiser is known exactly.

A prompt's pictures are a mixture of a few paintings (its compositions), each with a little Gaussian variance per coefficient
and a lot in a few broad waves of light and colour. So seeds choose a composition, bend its light and set its grain, and every
sampler and schedule works on it as on a trained network. Knows no nodes, no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import latents
from . import style as looks
from .conditioning import Conditioning, Look, Prompt, ReferenceFace
from .painting import add_caption, paint
from .sampling.flow import FLUX_DEV, FLUX_SCHNELL, SD3, SDXL, WAN, ModelSampling

Array = npt.NDArray[np.float32]

COMPOSITIONS = 8
"""Paintings per prompt that seeds choose among."""

WAVES = 4
"""Broad waves of light per axis."""

LIGHT = (0.10, 0.10, 0.10)
"""Deviation of the broad waves in the luma, blue and red means."""

NEGATIVE_BREADTH = 20.0
"""Variance of what a negative prompt may mean; large, so that guidance fades early."""

VISIBILITY = 3.0
"""How well a source picture shows through noise: half of it is kept where its strength is 1/√3 of the noise's. With it a refining
pass of Flux at denoise 0.35 keeps half of the picture, one at 0.6 an eighth."""

LASTING_GUIDANCE = 0.006
"""The contrast that each unit of cfg leaves in the finished picture."""

GRAIN = 0.035
"""Deviation of every single coefficient."""


@dataclass(frozen=True)
class Model:
    """A loaded diffusion model with everything patched onto it. Nodes make changed copies."""

    name: str
    space: str
    """Which latents it reads: ``sdxl`` (4 channels to the outside), ``flux``, ``wan``, ``sd3``, or ``any``."""
    sampling: ModelSampling
    looks: tuple[Look, ...] = ()
    faces: tuple[ReferenceFace, ...] = field(default=(), compare=False)

    @property
    def is_video(self) -> bool:
        """Whether its latents have a time axis."""
        return self.space == "wan"

    def with_look(self, look: Look) -> Model:
        """Return a copy with one more LoRA; strength 0 changes nothing."""
        return self if look.strength == 0.0 else replace(self, looks=(*self.looks, look))

    def with_face(self, face: ReferenceFace) -> Model:
        """Return a copy that follows one more reference face."""
        return replace(self, faces=(*self.faces, face))

    def with_sampling(self, sampling: ModelSampling) -> Model:
        """Return a copy with another noise schedule."""
        return replace(self, sampling=sampling)


@dataclass(frozen=True)
class Clip:
    """A text encoder."""

    name: str
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Vae:
    """A latent decoder and encoder."""

    name: str
    space: str


ANY = "any"
"""The family of a file whose name says nothing: its latents fit every model and every VAE, still or moving."""

VISIBLE_CHANNELS = {"sdxl": 4}
"""Channels a family's latents show to the outside where that is not the 16 that every emulated latent holds."""

STABLE_DIFFUSION = (
    "sdxl", "sd_xl", "sd-xl", "xl_", "_xl", "pony", "illustrious", "juggernaut", "realvis", "sd15", "sd1.5", "sd_1", "v1-5", "v2-1",
)  # fmt: skip
"""What the names of SDXL's and Stable Diffusion's files contain; both are emulated as SDXL."""

FLOWS_IN_CHECKPOINTS = ("ltx", "ace_step", "stable_audio", "hidream", "lumina", "neta", "hunyuan3d", "hunyuan_3d", "omnigen")
"""What the names of whole checkpoints contain that hold a rectified flow; the others are taken for relatives of SDXL."""


def visible_channels(space: str) -> int:
    """Return how many channels a real latent of that family has."""
    return VISIBLE_CHANNELS.get(space, latents.CHANNELS)


def fits_together(one: str, other: str) -> bool:
    """Whether a model or VAE of one family takes the latents of another; an unknown family adopts what it is given."""
    return ANY in (one, other) or visible_channels(one) == visible_channels(other)


def model_for(file_name: str, *, whole: bool = False) -> Model:
    """Return the emulated model behind a file name: families are told apart by the names people give their files.

    Args:
        file_name: as the graph names it.
        whole: whether it is a checkpoint with everything in it, not a diffusion model alone.

    """
    name = file_name.lower()
    if any(word in name for word in STABLE_DIFFUSION):
        return Model(file_name, "sdxl", SDXL)
    if ("wan" in name or "hunyuan" in name) and "3d" not in name and "image" not in name:
        return Model(file_name, "wan", WAN)
    if "schnell" in name:
        return Model(file_name, "flux", FLUX_SCHNELL)
    if ("flux" in name or "kontext" in name) and not _is_flux_2(name):
        return Model(file_name, "flux", FLUX_DEV)
    if "sd3" in name or "stable-diffusion-3" in name:
        return Model(file_name, "sd3", SD3)
    return Model(file_name, ANY, SDXL if whole and not any(word in name for word in FLOWS_IN_CHECKPOINTS) else SD3)


def vae_for(file_name: str) -> Vae:
    """Return the emulated VAE behind a file name."""
    name = file_name.lower()
    if "wan" in name or "hunyuan" in name:
        return Vae(file_name, "wan")
    if "sdxl" in name or "840000" in name or "sd15" in name:
        return Vae(file_name, "sdxl")
    if "sd3" in name:
        return Vae(file_name, "sd3")
    return Vae(file_name, "flux" if name in ("ae.safetensors", "ae.sft") or ("flux" in name and not _is_flux_2(name)) else ANY)


def _is_flux_2(name: str) -> bool:
    return any(word in name for word in ("flux2", "flux-2", "flux.2"))


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
        self, model: Model, positive: Conditioning, negative: Conditioning | None, cfg: float, source: Array | None = None
    ) -> None:
        """Prepare a guess for one run. ``source`` is the picture that the run starts from, when it starts from one.

        A trained model recognises what lies under the noise. This one cannot, so it is shown it, and keeps as much of it as
        could be seen at the first level.
        """
        self.model = model
        self.source = source
        self._kept = np.float32(0.0)
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
        target = self._mean(self.positive, x.shape, progress)
        if guided and self.negative is not None:
            target = self._guide(target, x.shape, sigma)
        if self.source is not None:
            target = target + self._kept * (self.source - target)
        return self._posterior(x, sigma, target)

    def _begin(self, x: Array, sigma: float) -> None:
        """Decide at the first level how much of the source can be seen, and which composition each picture becomes."""
        seen, level = x, sigma
        if self.source is not None:
            signal = VISIBILITY * self._scale(sigma) ** 2
            self._kept = np.float32(signal / (signal + sigma**2))
            if self._kept > 0.05:
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
        for deviation in LIGHT:
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
            size = shape[2:]
            each = {c: self._painting(prompt, size, c) for c in dict.fromkeys(self._compositions)}
            self._targets[key] = np.stack([each[c] for c in self._compositions])
        return self._targets[key]

    def _painting(self, prompt: Prompt, size: tuple[int, ...], composition: int) -> Array:
        height, width = size[-2:]
        if len(size) == 2:
            return latents.encode_half(self._picture(prompt, width * 4, height * 4, composition, 0.0))
        frames = [self._picture(prompt, width * 4, height * 4, composition, float(t)) for t in range(size[0])]
        return np.stack([latents.encode_half(frame) for frame in frames], axis=1)

    def _picture(self, prompt: Prompt, width: int, height: int, composition: int, time: float) -> Array:
        """Paint one picture with the prompt's and the model's looks, faces and guidance applied."""
        if prompt.zeroed:
            return np.full((height, width, 3), 0.5, np.float32)
        total = sum(share for _, share in prompt.texts) or 1.0
        paintings = [np.float32(share / total) * paint(text, width, height, composition, time) for text, share in prompt.texts]
        picture = np.asarray(sum(paintings[1:], start=paintings[0]), dtype=np.float32)
        picture = looks.with_faces(picture, (*self.model.faces, *prompt.faces))
        picture = looks.with_looks(picture, (*self.model.looks, *prompt.looks))
        if self.model.space == "flux" and self.model.sampling.kind == "flux" and prompt.guidance is not None:
            picture = looks.with_guidance(picture, prompt.guidance)
        return add_caption(picture, (text for text, _ in prompt.texts))  # drawn last, so that no LoRA and no face covers it

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
        scale = min(1.0, 12 / min(width, height))
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        small = latents.encode_half(self._picture(prompt, columns * 4, rows * 4, composition, 0.0))
        return _coarse(small[list(latents.DC)])


def _coarse(planes: Array) -> Array:
    """Compute the means of an 8×8 grid over the planes [C, h, w]."""
    height, width = planes.shape[-2:]
    rows = np.linspace(0, height, min(8, height) + 1).astype(int)[:-1]
    columns = np.linspace(0, width, min(8, width) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(planes, rows, axis=1), columns, axis=2)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))[None, :]
    return np.asarray(sums / counts, dtype=np.float32)
