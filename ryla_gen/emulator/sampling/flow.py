"""Compute noise levels: what sigma means for each model family, and the schedules from noise to picture.

Pure numbers, written from the published definitions (Karras et al. 2022, Esser et al. 2024, Flux's time shift). Knows no
latents, no samplers, no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Sigmas = npt.NDArray[np.float64]
"""Noise levels, falling; the last one is 0 when the picture is to be finished."""

Kind = Literal["flow", "flux", "eps"]

DISCARD_PENULTIMATE = frozenset({"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"})
"""Samplers for which ComfyUI asks for one step more and leaves out the last level before zero."""


@dataclass(frozen=True)
class ModelSampling:
    """The noise parametrisation of one model family.

    ``flow``: x = (1-σ)·picture + σ·noise with the shift of SD3 and Wan; ``flux``: the same with Flux's exponential shift;
    ``eps``: x = picture + σ·noise with Stable Diffusion's 1000 discrete levels.
    """

    kind: Kind
    shift: float = 1.0
    multiplier: float = 1000.0
    """What ComfyUI multiplies a flow sigma with to get the model's timestep; decides nothing but ``normal``."""
    table: Sigmas = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _table(self.kind, self.shift))

    @property
    def is_flow(self) -> bool:
        """Whether noise and picture are blended (rectified flow) rather than added."""
        return self.kind != "eps"

    @property
    def sigma_min(self) -> float:
        """The smallest level of the model's own table."""
        return float(self.table[0])

    @property
    def sigma_max(self) -> float:
        """The largest level of the model's own table."""
        return float(self.table[-1])

    def level_at(self, time: float) -> float:
        """Return the level at flow time ``time`` (0 picture, 1 noise)."""
        if time <= 0.0:
            return 0.0
        if self.kind == "flux":
            return math.exp(self.shift) / (math.exp(self.shift) + (1.0 / time - 1.0))
        return self.shift * time / (1.0 + (self.shift - 1.0) * time)

    def timestep(self, sigma: float) -> float:
        """Return the model's timestep for a level."""
        if self.kind == "eps":
            return float(np.argmin(np.abs(np.log(self.table) - math.log(sigma))))
        return sigma if self.kind == "flux" else sigma * self.multiplier

    def sigma(self, timestep: float) -> float:
        """Return the level at a timestep; for flows this shifts again, as ComfyUI's ``normal`` schedule does."""
        if self.kind == "eps":
            logs = np.log(self.table)
            return float(np.exp(np.interp(timestep, np.arange(len(logs)), logs)))
        return self.level_at(timestep if self.kind == "flux" else timestep / self.multiplier)

    def levels_at(self, timesteps: Sigmas) -> Sigmas:
        """Invert :meth:`timestep`."""
        if self.kind == "eps":
            return np.exp(np.interp(timesteps, np.arange(len(self.table)), np.log(self.table)))
        return timesteps if self.kind == "flux" else timesteps / self.multiplier

    def percent_to_sigma(self, percent: float) -> float:
        """Return the level at a fraction of the sampling (0 start, 1 end), as the start and end settings of nodes use it."""
        if self.kind == "eps":
            if percent <= 0.0:
                return 999999999.9
            return 0.0 if percent >= 1.0 else self.sigma((1.0 - percent) * 999.0)
        if percent <= 0.0:
            return 1.0
        return 0.0 if percent >= 1.0 else self.level_at(1.0 - percent)


@lru_cache(maxsize=32)
def _table(kind: Kind, shift: float) -> Sigmas:
    if kind == "eps":
        # Stable Diffusion's "scaled linear" betas.
        betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
        kept = np.cumprod(1.0 - betas)
        return np.sqrt((1.0 - kept) / kept)
    if kind == "flux":
        times = np.arange(1, 10001) / 10000.0
        return math.exp(shift) / (math.exp(shift) + (1.0 / times - 1.0))
    times = np.arange(1, 1001) / 1000.0
    return shift * times / (1.0 + (shift - 1.0) * times)


FLUX_DEV = ModelSampling("flux", 1.15)
FLUX_SCHNELL = ModelSampling("flow", 1.0, 1.0)
WAN = ModelSampling("flow", 8.0)
SD3 = ModelSampling("flow", 3.0)
FLUX_2 = ModelSampling("flux", 2.02)
QWEN_IMAGE = ModelSampling("flux", 1.15)
Z_IMAGE = ModelSampling("flow", 3.0, 1.0)
SDXL = ModelSampling("eps")


def flux_shift(max_shift: float, base_shift: float, width: int, height: int) -> float:
    """Compute Flux's shift for a size: linear in the number of 16×16 patches between 256 and 4096 of them."""
    slope = (max_shift - base_shift) / (4096 - 256)
    return (width * height / 256) * slope + base_shift - slope * 256


def simple(sampling: ModelSampling, steps: int) -> Sigmas:
    """Take every n-th level of the model's table, from the top."""
    table = sampling.table
    stride = len(table) / steps
    return np.array([table[-(1 + int(i * stride))] for i in range(steps)] + [0.0])


def ddim_uniform(sampling: ModelSampling, steps: int) -> Sigmas:
    """Take levels at a whole stride from the bottom of the table, as DDIM does."""
    table = sampling.table
    with_zero = math.isclose(float(table[1]), 0.0, abs_tol=1e-5)
    levels: list[float] = [] if with_zero else [0.0]
    stride = max(len(table) // (steps + 1 if with_zero else steps), 1)
    levels.extend(float(table[i]) for i in range(1, len(table), stride))
    return np.array(levels[::-1])


def normal(sampling: ModelSampling, steps: int, *, sgm: bool = False) -> Sigmas:
    """Take equal distances in the model's timestep; ``sgm`` leaves the smallest level out."""
    start, end = sampling.timestep(sampling.sigma_max), sampling.timestep(sampling.sigma_min)
    ends_at_zero = False
    if sgm:
        timesteps = np.linspace(start, end, steps + 1)[:-1]
    else:
        ends_at_zero = math.isclose(sampling.sigma(end), 0.0, abs_tol=1e-5)
        timesteps = np.linspace(start, end, steps + 1 if ends_at_zero else steps)
    levels = [sampling.sigma(float(t)) for t in timesteps]
    return np.array(levels if ends_at_zero else [*levels, 0.0])


def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Sigmas:
    """Compute the levels of Karras et al. 2022, equation 5."""
    ramp = np.linspace(0.0, 1.0, steps)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Take equal distances in log sigma."""
    return np.append(np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), steps)), 0.0)


def polyexponential(steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0) -> Sigmas:
    """Take a power of equal distances in log sigma."""
    ramp = np.linspace(1.0, 0.0, steps) ** rho
    return np.append(np.exp(ramp * (math.log(sigma_max) - math.log(sigma_min)) + math.log(sigma_min)), 0.0)


def laplace(steps: int, sigma_min: float, sigma_max: float, mu: float = 0.0, beta: float = 0.5) -> Sigmas:
    """Compute levels after a Laplace distribution of log sigma; ComfyUI's do not end at zero."""
    x = np.linspace(0.0, 1.0, steps)
    levels = mu - beta * np.sign(0.5 - x) * np.log(1 - 2 * np.abs(0.5 - x) + 1e-5)
    return np.clip(np.exp(levels), sigma_min, sigma_max)


def kl_optimal(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Compute the closed form of Sabour et al. 2024 (Align Your Steps): equal distances in the arc tangent."""
    ramp = np.arange(steps) / max(steps - 1, 1)  # one step is σ_max; ComfyUI divides by zero there
    return np.append(np.tan(ramp * math.atan(sigma_min) + (1 - ramp) * math.atan(sigma_max)), 0.0)


def linear_quadratic(sampling: ModelSampling, steps: int, threshold: float = 0.025) -> Sigmas:
    """Compute Mochi's schedule: half of the steps nearly without progress, then a parabola."""
    if steps == 1:
        return np.array([1.0, 0.0]) * sampling.sigma_max
    first = steps // 2
    excess, rest = first - threshold * steps, steps - first
    square = excess / (first * rest**2)
    slope = threshold / first - 2 * excess / rest**2
    i = np.arange(steps, dtype=np.float64)
    done = np.where(i < first, i * threshold / first, square * i**2 + slope * i + square * first**2)
    return (1.0 - np.append(done, 1.0)) * sampling.sigma_max


def beta(sampling: ModelSampling, steps: int, alpha: float = 0.6, beta_: float = 0.6) -> Sigmas:
    """Compute the levels of Lee et al. 2024: timesteps at the quantiles of a beta distribution, dense at both ends."""
    top = len(sampling.table) - 1
    quantiles = beta_quantile(1.0 - np.linspace(0.0, 1.0, steps, endpoint=False), alpha, beta_)
    picked = np.rint(quantiles * top).astype(int)
    keep = np.append(True, picked[1:] != picked[:-1])
    return np.append(sampling.table[picked[keep]], 0.0)


@lru_cache(maxsize=8)
def _beta_distribution(alpha: float, beta_: float) -> tuple[Sigmas, Sigmas]:
    # The right half is the left one of the mirrored distribution.
    left, x = _beta_half(alpha, beta_)
    right, y = _beta_half(beta_, alpha)
    total = left[-1] + right[-1]
    return np.append(left, total - right[-2::-1]) / total, np.append(x, 1.0 - y[-2::-1])


def _beta_half(alpha: float, beta_: float) -> tuple[Sigmas, Sigmas]:
    """Compute the mass from 0 to points up to ½."""
    # With x = u^p the density is p·u^(pa-1)·(1-u^p)^(b-1): tame at both ends for this p, so that a sum over small steps gives
    # the distribution to better than a level of the 10000 in Flux's table.
    power = max(2.0, 2.0 / alpha)
    u = np.linspace(0.0, 0.5 ** (1 / power), 200_001)
    middle = (u[1:] + u[:-1]) / 2
    mass = power * middle ** (power * alpha - 1) * (1 - middle**power) ** (beta_ - 1) * u[1]
    return np.append(0.0, np.cumsum(mass)), np.append(u[:-1] ** power, 0.5)


def beta_quantile(probability: Sigmas, alpha: float, beta_: float) -> Sigmas:
    """Compute the quantile function of the beta distribution (``scipy.stats.beta.ppf``)."""
    cumulative, x = _beta_distribution(alpha, beta_)
    return np.interp(probability, cumulative, x)


_SCHEDULES: dict[str, Callable[[ModelSampling, int], Sigmas]] = {
    "simple": simple,
    "sgm_uniform": lambda sampling, steps: normal(sampling, steps, sgm=True),
    "karras": lambda sampling, steps: karras(steps, sampling.sigma_min, sampling.sigma_max),
    "exponential": lambda sampling, steps: exponential(steps, sampling.sigma_min, sampling.sigma_max),
    "ddim_uniform": ddim_uniform,
    "beta": beta,
    "normal": normal,
    "linear_quadratic": linear_quadratic,
    "kl_optimal": lambda sampling, steps: kl_optimal(steps, sampling.sigma_min, sampling.sigma_max),
}

SCHEDULERS = tuple(_SCHEDULES)
"""The names a KSampler accepts for its scheduler."""


def schedule(sampling: ModelSampling, scheduler: str, steps: int) -> Sigmas:
    """Return the ``steps + 1`` levels of one scheduler (some give fewer, as in ComfyUI)."""
    if scheduler not in _SCHEDULES:
        raise ValueError(f"the emulator has no scheduler {scheduler!r}; it has {', '.join(SCHEDULERS)}")
    return _SCHEDULES[scheduler](sampling, steps)


def sampling_levels(sampling: ModelSampling, scheduler: str, steps: int, sampler: str, denoise: float = 1.0) -> Sigmas:
    """Return the levels of a KSampler: a denoise below one takes the last ``steps`` of a longer schedule."""
    if denoise <= 0.0:
        return np.zeros(0)
    total = steps if denoise > 0.9999 else int(steps / denoise)
    discard = sampler in DISCARD_PENULTIMATE
    levels = schedule(sampling, scheduler, total + 1 if discard else total)
    if discard:
        levels = np.append(levels[:-2], levels[-1:])
    return levels if denoise > 0.9999 else levels[-(steps + 1) :]


def denoised_tail(sampling: ModelSampling, scheduler: str, steps: int, denoise: float) -> Sigmas:
    """Return the levels of BasicScheduler, which knows no sampler: always the last ``steps``, even of a schedule with more."""
    if denoise <= 0.0:
        return np.zeros(0)
    return schedule(sampling, scheduler, int(steps / min(denoise, 1.0)))[-(steps + 1) :]
