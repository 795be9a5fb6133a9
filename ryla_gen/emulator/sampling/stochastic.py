"""Sample with exponential and stochastic solvers, which step in log-SNR (λ = log α/σ) and may renew noise on the way.

With α of 1 for Stable Diffusion and 1-σ for flows they are the same for both. Written from the papers named at each function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .walk import Array, Walk, half_log_snr, started_inside

INTEGRATION_POINTS = 200
"""Points at which ER-SDE-Solver integrates its noise scale; its paper's code takes as many."""


def dpmpp_2m_sde(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2M) for the stochastic equation, in the midpoint's form or Heun's."""
    walk = started_inside(walk)
    old: Array | None = None
    last = 0.0
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if following == 0.0:
            x = denoised
            continue
        start, end = half_log_snr(walk, sigma), half_log_snr(walk, following)
        h = end - start
        alpha = following * math.exp(end)
        pull = -math.expm1(-h * (1 + walk.eta))
        x = np.float32(following / sigma * math.exp(-h * walk.eta)) * x + np.float32(alpha * pull) * denoised
        if old is not None:
            share = 1.0 - pull / (h * (1 + walk.eta)) if walk.heun else 0.5 * pull
            x = x + np.float32(share * alpha * h / last) * (denoised - old)
        if walk.eta > 0:
            x = x + np.float32(following * math.sqrt(-math.expm1(-2 * h * walk.eta)) * walk.s_noise) * walk.noise()
        old, last = denoised, h
    return x


def dpmpp_2m_sde_heun(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2M) for the stochastic equation, Heun's form."""
    return dpmpp_2m_sde(replace(walk, heun=True), x)


@dataclass(frozen=True)
class _Step:
    """One step between two levels above zero."""

    number: int
    sigma: float
    following: float
    h: float
    """Its length in λ."""

    def level(self, walk: Walk, part: float) -> float:
        """Return the noise level a part of the way along."""
        if part >= 1.0:
            return self.following
        middle = half_log_snr(walk, self.sigma) + part * self.h
        return 1.0 / (1.0 + math.exp(middle)) if walk.is_flow else math.exp(-middle)


def _alpha(walk: Walk, sigma: float) -> float:
    return 1.0 - sigma if walk.is_flow else 1.0


def _steps(walk: Walk) -> Iterator[_Step]:
    for i, sigma, following in walk.pairs():
        h = half_log_snr(walk, following) - half_log_snr(walk, sigma) if following > 0.0 else 0.0
        yield _Step(i, sigma, following, h)


def _move(walk: Walk, x: Array, guess: Array, step: _Step, part: float) -> Array:
    """Compute the exact solution a part of the way along for a guess that does not change, without noise."""
    h, level = part * step.h, step.level(walk, part)
    kept = level / step.sigma * math.exp(-h * walk.eta)
    return np.float32(kept) * x - np.float32(_alpha(walk, level) * math.expm1(-h * (1 + walk.eta))) * guess


def _spread(walk: Walk, length: float) -> float:
    """Return how much noise of unit scale comes in over a length of λ."""
    return math.sqrt(-math.expm1(-2 * length * walk.eta)) * walk.s_noise


def dpmpp_3m_sde(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++ for the stochastic equation with three guesses: a parabola through them in λ."""
    walk = started_inside(walk)
    guesses: list[Array] = []
    lengths: list[float] = []
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        x = _move(walk, x, denoised, step, 1.0)
        alpha, whole = _alpha(walk, step.following), step.h * (1 + walk.eta)
        phi_2 = math.expm1(-whole) / whole + 1.0
        if guesses:
            x = x + np.float32(alpha * phi_2) * _slope(denoised, guesses, lengths, step.h)
        if len(guesses) > 1:
            near, far = lengths[0] / step.h, lengths[1] / step.h
            change = (denoised - guesses[0]) / np.float32(near) - (guesses[0] - guesses[1]) / np.float32(far)
            bend = change / np.float32(near + far)
            x = np.asarray(x - np.float32(alpha * (phi_2 / whole - 0.5)) * bend, np.float32)
        if walk.eta > 0:
            x = x + np.float32(step.following * _spread(walk, step.h)) * walk.noise()
        guesses, lengths = [denoised, *guesses[:1]], [step.h, *lengths[:1]]
    return x


def _slope(denoised: Array, guesses: list[Array], lengths: list[float], h: float) -> Array:
    """Return how fast the guess changes now, per step: from the last guess, or from the parabola through the last two."""
    near = lengths[0] / h
    first = (denoised - guesses[0]) / np.float32(near)
    if len(guesses) == 1:
        return np.asarray(first, np.float32)
    far = lengths[1] / h
    return np.asarray(first + (first - (guesses[0] - guesses[1]) / np.float32(far)) * np.float32(near / (near + far)), np.float32)


def dpmpp_sde(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2S) for the stochastic equation: a look inside each step, both halves with renewed noise."""
    walk = started_inside(walk)
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        inside = _renewing(walk, x, denoised, step, walk.r)
        second = walk.denoise(inside, step.level(walk, walk.r))
        part = np.float32(1.0 / (2.0 * walk.r))
        x = _renewing(walk, x, denoised + part * (second - denoised), step, 1.0)
    return x


def _renewing(walk: Walk, x: Array, guess: Array, step: _Step, part: float) -> Array:
    """Compute a part of a step as an ancestral one, in σ/α."""
    level = step.level(walk, part)
    alpha = _alpha(walk, level)
    begin, end = step.sigma / _alpha(walk, step.sigma), level / alpha
    up = min(end, walk.eta * math.sqrt(end**2 * (begin**2 - end**2) / begin**2))
    ratio = math.sqrt(end**2 - up**2) / begin
    moved = np.float32(alpha / _alpha(walk, step.sigma) * ratio) * x + np.float32(alpha * (1.0 - ratio)) * guess
    return moved + np.float32(alpha * up * walk.s_noise) * walk.noise() if up > 0.0 else moved


def seeds_2(walk: Walk, x: Array) -> Array:
    """Sample with SEEDS-2 (Gonzalez et al. 2023): exponential solver, one look inside each step, the noise of both parts."""
    walk = started_inside(walk)
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        level = step.level(walk, walk.r)
        first = walk.noise() if walk.eta > 0 else np.zeros_like(x)
        inside = _move(walk, x, denoised, step, walk.r) + np.float32(level * _spread(walk, walk.r * step.h)) * first
        second = walk.denoise(inside, level)
        part = np.float32(1.0 / (2.0 * walk.r))
        x = _move(walk, x, denoised + part * (second - denoised), step, 1.0)
        if walk.eta > 0:
            x = x + np.float32(step.following) * _joined_noise(walk, first, walk.r * step.h, (1 - walk.r) * step.h)
    return x


def _joined_noise(walk: Walk, first: Array, before: float, after: float) -> Array:
    """Draw the noise of two parts of a step at its end: what came in first has faded meanwhile."""
    faded = np.float32(math.exp(-after * walk.eta) * _spread(walk, before))
    return np.asarray(faded * first + np.float32(_spread(walk, after)) * walk.noise(), np.float32)


def seeds_3(walk: Walk, x: Array) -> Array:
    """Sample with SEEDS-3: looks at a third and at two thirds of each step."""
    walk = started_inside(walk)
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        third = step.h / 3
        levels = (step.level(walk, 1 / 3), step.level(walk, 2 / 3))
        noise = walk.noise() if walk.eta > 0 else np.zeros_like(x)
        inside = _move(walk, x, denoised, step, 1 / 3) + np.float32(levels[0] * _spread(walk, third)) * noise
        change = walk.denoise(inside, levels[0]) - denoised
        noise = _joined_noise(walk, noise, third, third) if walk.eta > 0 else noise
        inside = _move(walk, x, denoised, step, 2 / 3) + np.float32(2.0 * _bent(walk, step, 2 / 3)) * change
        inside = inside + np.float32(levels[1]) * noise
        change = walk.denoise(inside, levels[1]) - denoised
        x = _move(walk, x, denoised, step, 1.0) + np.float32(1.5 * _bent(walk, step, 1.0)) * change
        if walk.eta > 0:
            faded = np.float32(math.exp(-third * walk.eta)) * noise
            fresh = np.float32(_spread(walk, third)) * walk.noise()
            x = np.asarray(x + np.float32(step.following) * (faded + fresh), np.float32)
    return x


def _bent(walk: Walk, step: _Step, part: float) -> float:
    """Return what a change of the guess in proportion to λ adds a part of the way along: α·φ₂."""
    whole = part * step.h * (1 + walk.eta)
    return _alpha(walk, step.level(walk, part)) * (math.expm1(-whole) / whole + 1.0)


def exp_heun_2_x0_sde(walk: Walk, x: Array) -> Array:
    """Sample with Heun's method in λ (Zhang and Chen 2023, predicting the picture): the second look is at the end of each step."""
    walk = started_inside(walk)
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        noise = np.float32(step.following * _spread(walk, step.h)) * walk.noise() if walk.eta > 0 else np.zeros_like(x)
        ahead = _move(walk, x, denoised, step, 1.0) + noise
        x = ahead + np.float32(_bent(walk, step, 1.0)) * (walk.denoise(ahead, step.following) - denoised)
    return x


def exp_heun_2_x0(walk: Walk, x: Array) -> Array:
    """Sample as :func:`exp_heun_2_x0_sde`, without noise."""
    return exp_heun_2_x0_sde(replace(walk, eta=0.0), x)


def er_sde(walk: Walk, x: Array) -> Array:
    """Sample with ER-SDE-Solver-3 (Cui et al. 2023) with its fifth noise scale, in σ/α."""
    walk = started_inside(walk)
    old: tuple[Array, float] | None = None
    last_slope: tuple[Array, float] | None = None
    for step in _steps(walk):
        denoised = walk.look(step.number, x)
        if step.following == 0.0:
            x = denoised
            continue
        alpha = _alpha(walk, step.following)
        begin, end = step.sigma / _alpha(walk, step.sigma), step.following / alpha
        ratio = _noise_scale(end) / _noise_scale(begin)
        x = np.float32(alpha / _alpha(walk, step.sigma) * ratio) * x + np.float32(alpha * (1.0 - ratio)) * denoised
        if old is not None:
            points = end + np.arange(INTEGRATION_POINTS) * (begin - end) / INTEGRATION_POINTS
            width = (begin - end) / INTEGRATION_POINTS
            slope = (denoised - old[0]) / np.float32(begin - old[1])
            x = x + np.float32(alpha * (end - begin + _noise_scale(end) * np.sum(1.0 / _noise_scale(points)) * width)) * slope
            if last_slope is not None:
                bend = (slope - last_slope[0]) / np.float32((begin - last_slope[1]) / 2)
                area = np.sum((points - begin) / _noise_scale(points)) * width
                x = x + np.float32(alpha * ((end - begin) ** 2 / 2 + _noise_scale(end) * area)) * bend
            last_slope = (slope, old[1])
        x = x + np.float32(alpha * walk.s_noise * math.sqrt(max(end**2 - begin**2 * ratio**2, 0.0))) * walk.noise()
        old = (denoised, begin)
    return x


def _noise_scale(level: Any) -> Any:
    """Return the scale of its noise at a level, or at many."""
    return level * (np.exp(np.power(level, 0.3)) + 10.0)


def sa_solver(walk: Walk, x: Array) -> Array:
    """Sample with the stochastic multistep method of SA-Solver's order, in its place; noise only over the middle of the walk."""
    levels = walk.sigmas
    quiet = replace(walk, eta=0.0)
    middle = levels[(levels > 0.2 * levels[0]) & (levels < 0.8 * levels[0])]
    return dpmpp_3m_sde(walk if len(middle) else quiet, x)
