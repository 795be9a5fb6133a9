"""Sample with CFG++ (Chung et al. 2024): each step follows the guess without guidance, and guidance shifts its end.

What guidance adds to a guess is added with the picture's own scale (α: 1, or 1-σ for flows), not with the step's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .walk import Array, Walk, descent_of, half_log_snr, middle_of, renew_noise, started_inside, towards


def _guesses(walk: Walk, i: int, x: Array) -> tuple[Array, Array]:
    """Return the guided guess, which is reported, and the one without guidance."""
    guided = walk.look(i, x)
    return guided, guided if walk.unguided is None else walk.unguided(x, float(walk.sigmas[i]))


def euler_ancestral_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with Euler's steps and renewed noise."""
    for i, sigma, following in walk.pairs():
        guided, free = _guesses(walk, i, x)
        descent = descent_of(walk, sigma, following)
        alpha = 1.0 - descent.down if walk.is_flow else 1.0
        x = towards(x, free, sigma, descent.down) + np.float32(alpha) * (guided - free)
        x = renew_noise(walk, x, descent)
    return x


def euler_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with Euler's steps."""
    return euler_ancestral_cfg_pp(replace(walk, eta=0.0), x)


def dpmpp_2s_ancestral_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with a second look at the middle of each step in log sigma, and renewed noise."""
    for i, sigma, following in walk.pairs():
        guided, free = _guesses(walk, i, x)
        descent = descent_of(walk, sigma, following)
        alpha = 1.0 - descent.down if walk.is_flow else 1.0
        gain = np.float32(alpha) * (guided - free)
        if descent.down > 0.0:
            middle = middle_of(walk, sigma, descent.down)
            inside = towards(x, free, sigma, middle)
            free = walk.denoise(inside, middle) if walk.unguided is None else walk.unguided(inside, middle)
        x = towards(x, free, sigma, descent.down) + gain
        x = renew_noise(walk, x, descent)
    return x


def _multistep(walk: Walk, x: Array, lean: float) -> Array:
    """Sample with second order from the last two guesses in log-SNR; ``lean`` is how much of the change counts."""
    walk = started_inside(walk)
    old: tuple[Array, float] | None = None  # the last guess, and how long its step was
    for i, sigma, following in walk.pairs():
        guided, free = _guesses(walk, i, x)
        descent = descent_of(walk, sigma, following)
        if descent.down == 0.0:
            x = guided
            continue
        h = half_log_snr(walk, descent.down) - half_log_snr(walk, sigma)
        ahead = free if old is None else free + np.float32(lean * h / (2.0 * old[1])) * (free - old[0])
        alpha = 1.0 - descent.down if walk.is_flow else 1.0
        x = towards(x, ahead, sigma, descent.down) + np.float32(alpha) * (guided - free)
        x = renew_noise(walk, x, descent)
        old = (free, h)
    return x


def dpmpp_2m_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2M)."""
    return _multistep(replace(walk, eta=0.0), x, 1.0)


def res_multistep_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with the second-order multistep method, in place of the refined exponential solver."""
    return _multistep(replace(walk, eta=0.0), x, 1.0)


def res_multistep_ancestral_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample as :func:`res_multistep_cfg_pp`, with renewed noise."""
    return _multistep(walk, x, 1.0)


def gradient_estimation_cfg_pp(walk: Walk, x: Array) -> Array:
    """Sample with the multistep method leaning twice as far, in place of gradient estimation, which leans its slope further."""
    return _multistep(replace(walk, eta=0.0), x, 2.0)
