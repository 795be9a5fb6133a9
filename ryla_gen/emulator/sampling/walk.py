"""Provide the parts of samplers: the state of a run, straight steps, and ancestral ones that renew noise.

Every sampler works on x = picture + σ·noise as well as on the rectified flow x = (1-σ)·picture + σ·noise: in both, (x - D)/σ is the
slope dx/dσ. Knows no latents' meaning, no models, no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .flow import Sigmas

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Walk:
    """Everything a sampler needs besides its start."""

    denoise: Callable[[Array, float], Array]
    """The model: the best guess at the picture from ``x`` at one noise level."""
    sigmas: Sigmas
    noise: Callable[[], Array]
    """Fresh unit noise for the samplers that add some."""
    is_flow: bool
    """Rectified flow: noise and picture are blended, so adding noise must scale the picture down."""
    step: Callable[[int, Array], None]
    """Called once per step with its number from 0 and the current guess at the picture."""
    eta: float = 1.0
    """How much of the noise an ancestral sampler renews."""
    s_noise: float = 1.0
    """Scale of that noise."""
    r: float = 0.5
    """Where a sampler with one look inside each step has it, as a part of the step."""
    order: int = 4
    """How many slopes a multistep sampler looks back at."""
    heun: bool = False
    """Whether DPM-Solver++(2M) for the stochastic equation corrects in Heun's form instead of the midpoint's."""
    unguided: Callable[[Array, float], Array] | None = None
    """The guess without guidance, for the samplers of CFG++; as ``denoise`` where there is none."""
    nearly_noise: float = 0.9999
    """The level in place of a flow's 1 for steps in log-SNR: there is no picture left in 1, and its logarithm is infinite."""

    def look(self, i: int, x: Array) -> Array:
        """Denoise at level ``i`` and report the step."""
        denoised = self.denoise(x, float(self.sigmas[i]))
        self.step(i, denoised)
        return denoised

    def pairs(self) -> list[tuple[int, float, float]]:
        """Return each step: its number, its level, the next level."""
        s = self.sigmas
        return [(i, float(s[i]), float(s[i + 1])) for i in range(len(s) - 1)]


Sampler = Callable[[Walk, Array], Array]


def towards(x: Array, denoised: Array, sigma: float, target: float) -> Array:
    """Follow the straight line through ``x`` and ``denoised`` from ``sigma`` to ``target``."""
    ratio = target / sigma
    return np.asarray(ratio * x + (1.0 - ratio) * denoised, dtype=np.float32)


@dataclass(frozen=True)
class Descent:
    """One ancestral step: go down to ``down``, shrink by ``scale``, add ``up`` of noise."""

    down: float
    up: float
    scale: float


def descent_of(walk: Walk, sigma: float, following: float) -> Descent:
    """Split a step so that it ends at ``following`` after fresh noise is added (k-diffusion; for flows, ComfyUI's ratio)."""
    if following == 0.0 or walk.eta == 0.0:
        return Descent(following, 0.0, 1.0)
    if not walk.is_flow:
        up = min(following, walk.eta * math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2))
        return Descent(math.sqrt(following**2 - up**2), up, 1.0)
    down = following * (1.0 + (following / sigma - 1.0) * walk.eta)
    scale = (1.0 - following) / (1.0 - down)
    return Descent(down, math.sqrt(max(following**2 - (down * scale) ** 2, 0.0)), scale)


def renew_noise(walk: Walk, x: Array, descent: Descent) -> Array:
    """Add the fresh noise of an ancestral step, at its end."""
    if descent.up == 0.0:
        return x
    return np.asarray(descent.scale * x + (descent.up * walk.s_noise) * walk.noise(), dtype=np.float32)


def half_log_snr(walk: Walk, sigma: float) -> float:
    """Return log(α/σ): for a flow α is 1-σ."""
    return math.log((1.0 - sigma) / sigma) if walk.is_flow else -math.log(sigma)


def started_inside(walk: Walk) -> Walk:
    """Log-SNR steps start just below a flow's level 1, as ComfyUI's do."""
    if not walk.is_flow or walk.sigmas[0] < 1.0:
        return walk
    return replace(walk, sigmas=np.append(walk.nearly_noise, walk.sigmas[1:]))


def middle_of(walk: Walk, sigma: float, down: float) -> float:
    """Return the level in the middle of an ancestral step, in log-SNR."""
    if not walk.is_flow:
        return math.sqrt(sigma * down)
    if sigma < 1.0:
        return 1.0 / (1.0 + math.exp((half_log_snr(walk, sigma) + half_log_snr(walk, down)) / 2))
    return 0.9999  # from pure noise the middle in log-SNR is pure noise again; ComfyUI looks here, whatever the shift
