"""Step from noise to picture along a list of sigmas, with a denoiser given by the caller.

Every sampler works on x = picture + σ·noise as well as on the rectified flow x = (1-σ)·picture + σ·noise: in both, (x - D)/σ is the
slope dx/dσ. Written from the papers named at each function. Knows no latents' meaning, no models, no nodes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from . import guided, stochastic
from .flow import Sigmas
from .unipc import ALMOST_ZERO, unipc
from .walk import Array, Descent, Sampler, Walk, descent_of, middle_of, renew_noise, towards


def euler(walk: Walk, x: Array) -> Array:
    """Sample in straight steps (Karras et al. 2022, algorithm 2 without churn)."""
    for i, sigma, following in walk.pairs():
        x = towards(x, walk.look(i, x), sigma, following)
    return x


def euler_ancestral(walk: Walk, x: Array) -> Array:
    """Sample in straight steps a little too far down, then add fresh noise up to the level."""
    for i, sigma, following in walk.pairs():
        descent = descent_of(walk, sigma, following)
        x = towards(x, walk.look(i, x), sigma, descent.down)
        if descent.down > 0.0 or walk.is_flow:  # where a large eta asks for a step down to 0, ComfyUI adds no noise back
            x = renew_noise(walk, x, descent)
    return x


def heun(walk: Walk, x: Array) -> Array:
    """Sample with the average of two slopes (Karras et al. 2022, algorithm 1)."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        ahead = towards(x, denoised, sigma, following)
        if following > 0.0:
            second = (ahead - walk.denoise(ahead, following)) / np.float32(following)
            slope = (x - denoised) / np.float32(sigma) + second
            x = np.asarray(x + slope * np.float32((following - sigma) / 2), np.float32)
        else:
            x = ahead
    return x


def heunpp2(walk: Walk, x: Array) -> Array:
    """Sample with Heun's method with up to three slopes, weighted by their levels (Zhang et al. 2023)."""
    levels = [float(level) for level in walk.sigmas]
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        slopes = [(x - denoised) / np.float32(sigma)]
        ahead, looks = x, levels[i + 1 : i + 3]
        for level, before in zip(looks, levels[i:], strict=False):
            ahead = ahead + slopes[-1] * np.float32(level - before)
            if level > 0.0:
                slopes.append((ahead - walk.denoise(ahead, level)) / np.float32(level))
        whole = len(slopes) * levels[0]
        shares = [level / whole for level in looks[: len(slopes) - 1]]
        slope = sum((np.float32(s) * d for s, d in zip(shares, slopes[1:], strict=True)), np.float32(1.0 - sum(shares)) * slopes[0])
        x = denoised if following == 0.0 else np.asarray(x + slope * np.float32(following - sigma), np.float32)
    return x


def dpm_3(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver-3 (Lu et al. 2022) over each step in log sigma: looks at a third and at two thirds of it."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if following == 0.0:
            x = denoised
            continue
        h = math.log(sigma / following)
        slope = (x - denoised) / np.float32(sigma)
        second = _slope_inside(walk, x, sigma, h / 3, slope, 0.0 * slope, 1.0)
        third = _slope_inside(walk, x, sigma, 2 * h / 3, slope, second - slope, 2.0)
        x = _exponential(x, following, h, slope, third - slope, 1.5)
    return x


def _exponential(x: Array, level: float, h: float, slope: Array, change: Array, weight: float) -> Array:
    """Move by ``h`` in log sigma to a level, along a slope that changes in proportion."""
    bent = np.float32(level * weight * (math.expm1(h) / h - 1.0)) * change
    return np.asarray(x - np.float32(level * math.expm1(h)) * slope - bent, np.float32)


def _slope_inside(walk: Walk, x: Array, sigma: float, h: float, slope: Array, change: Array, weight: float) -> Array:
    level = sigma * math.exp(-h)
    inside = _exponential(x, level, h, slope, change, weight)
    return np.asarray((inside - walk.denoise(inside, level)) / np.float32(level), np.float32)


def _dpm_2(walk: Walk, x: Array, ancestral: bool) -> Array:
    for i, sigma, following in walk.pairs():
        descent = descent_of(walk, sigma, following) if ancestral else Descent(following, 0.0, 1.0)
        denoised = walk.look(i, x)
        if descent.down == 0.0:
            x = denoised
            continue
        middle = math.sqrt(sigma * descent.down)
        halfway = towards(x, denoised, sigma, middle)
        slope = (halfway - walk.denoise(halfway, middle)) / np.float32(middle)
        x = renew_noise(walk, x + slope * np.float32(descent.down - sigma), descent)
    return x


def dpm_2(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver-2 (Lu et al. 2022): the slope in the geometric middle."""
    return _dpm_2(walk, x, ancestral=False)


def dpm_2_ancestral(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver-2 with renewed noise."""
    return _dpm_2(walk, x, ancestral=True)


def lms(walk: Walk, x: Array) -> Array:
    """Sample with linear multistep over uneven steps: the polynomial through the last slopes, integrated."""
    slopes: list[Array] = []
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        slopes = [(x - denoised) / np.float32(sigma), *slopes[: walk.order - 1]]
        if following == 0.0:
            x = denoised
            continue
        nodes = walk.sigmas[i - len(slopes) + 1 : i + 1][::-1]
        for j, slope in enumerate(slopes):
            others = np.delete(nodes, j)
            lagrange = np.polynomial.Polynomial.fromroots(others) if len(others) else np.polynomial.Polynomial([1.0])
            area = lagrange.integ()
            weight = (area(following) - area(sigma)) / float(np.prod(nodes[j] - others))
            x = x + np.float32(weight) * slope
    return x


def ipndm_v(walk: Walk, x: Array) -> Array:
    """Sample with the pseudo numerical method over uneven steps: Adams-Bashforth of order four, weighted as in :func:`lms`."""
    return lms(replace(walk, order=4), x)


def deis(walk: Walk, x: Array) -> Array:
    """Sample with DEIS (Zhang and Chen 2022) with three slopes, its polynomial taken in σ."""
    return lms(replace(walk, order=3), x)


_ADAMS = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def ipndm(walk: Walk, x: Array) -> Array:
    """Sample with the improved pseudo numerical method (Zhang and Chen 2022): Adams-Bashforth weights over the last four slopes."""
    slopes: list[Array] = []
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        slopes = [(x - denoised) / np.float32(sigma), *slopes[:3]]
        if following == 0.0:
            x = denoised
            continue
        for weight, slope in zip(_ADAMS[len(slopes) - 1], slopes, strict=True):
            x = x + np.float32(weight * (following - sigma)) * slope
    return x


def dpmpp_2m(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2M) (Lu et al. 2022): second order from the last two guesses, in log sigma."""
    old: Array | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        guess = denoised
        if old is not None and following > 0.0:
            ratio = math.log(walk.sigmas[i - 1] / sigma) / math.log(sigma / following)
            guess = denoised * np.float32(1 + 1 / (2 * ratio)) - old * np.float32(1 / (2 * ratio))
        x = towards(x, guess, sigma, following)
        old = denoised
    return x


def dpmpp_2s_ancestral(walk: Walk, x: Array) -> Array:
    """Sample with DPM-Solver++(2S) with renewed noise: a look at the middle of each step in log sigma."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        descent = descent_of(walk, sigma, following)
        if descent.down == 0.0:
            x = renew_noise(walk, denoised, descent)
            continue
        middle = middle_of(walk, sigma, descent.down)
        second = walk.denoise(towards(x, denoised, sigma, middle), middle)
        x = renew_noise(walk, towards(x, second, sigma, descent.down), descent)
    return x


def ddpm(walk: Walk, x: Array) -> Array:
    """Sample with one step of the reverse Markov chain per level (Ho et al. 2020)."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if following == 0.0:
            x = denoised
            continue
        kept, kept_next = 1 / (sigma**2 + 1), 1 / (following**2 + 1)
        alpha = kept / kept_next
        noise = (x - denoised) / np.float32(sigma)
        inner = x * np.float32(math.sqrt(kept)) - noise * np.float32((1 - alpha) / math.sqrt(1 - kept))
        spread = math.sqrt((1 - alpha) * (1 - kept_next) / (1 - kept))
        x = (inner * np.float32(math.sqrt(1 / alpha)) + np.float32(spread) * walk.noise()) * np.float32(math.sqrt(1 + following**2))
    return x


def lcm(walk: Walk, x: Array) -> Array:
    """Sample with latent consistency (Luo et al. 2023): jump to the picture, add the next level's noise."""
    for i, _, following in walk.pairs():
        x = walk.look(i, x)
        if following > 0.0:
            kept = 1.0 - following if walk.is_flow else 1.0
            x = np.float32(kept) * x + np.float32(following) * walk.noise()
    return x


def res_multistep(walk: Walk, x: Array) -> Array:
    """Sample with the refined exponential solver, two guesses (Zhang et al. 2023), in log sigma."""
    old: Array | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if old is None or following == 0.0:
            x = towards(x, denoised, sigma, following)
        else:
            h = math.log(sigma / following)
            c2 = math.log(sigma / walk.sigmas[i - 1]) / h
            phi1 = -math.expm1(-h) / h
            phi2 = (phi1 - 1.0) / -h
            x = np.float32(following / sigma) * x + np.float32(h * (phi1 - phi2 / c2)) * denoised + np.float32(h * phi2 / c2) * old
        old = denoised
    return x


def res_multistep_ancestral(walk: Walk, x: Array) -> Array:
    """Sample as :func:`res_multistep`, with renewed noise: each step goes further down, and noise up to the level is added."""
    old: tuple[Array, float] | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        descent = descent_of(walk, sigma, following)
        if old is None or descent.down == 0.0:
            x = towards(x, denoised, sigma, descent.down)
        else:
            h = math.log(sigma / descent.down)
            bent = (-math.expm1(-h) / h - 1.0) / -h * h * h / old[1]  # h·φ₂ over how far back the last guess is, in steps
            x = towards(x, denoised, sigma, descent.down) + np.float32(bent) * (denoised - old[0])
        x = renew_noise(walk, x, descent)
        old = (denoised, math.log(sigma / descent.down)) if descent.down > 0.0 else None
    return x


def gradient_estimation(walk: Walk, x: Array) -> Array:
    """Lean the slope away from the last one, with a γ of 2 (Permenter and Yuan 2023)."""
    old: Array | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        slope = (x - denoised) / np.float32(sigma)
        if following == 0.0:
            x = denoised
        else:
            lean = slope if old is None else 2.0 * slope - old
            x = x + lean * np.float32(following - sigma)
        old = slope
    return x


def ddim(walk: Walk, x: Array) -> Array:
    """Sample with DDIM (Song et al. 2021): with eta 0 and these levels its step is Euler's."""
    return euler(walk, x)


def uni_pc(walk: Walk, x: Array) -> Array:
    """Sample with UniPC (Zhao et al. 2023), B(h) = h."""
    return unipc(walk.denoise, walk.sigmas, walk.step, x, lambda hh: hh)


def uni_pc_bh2(walk: Walk, x: Array) -> Array:
    """Sample with UniPC (Zhao et al. 2023), B(h) = e^h - 1."""
    return unipc(walk.denoise, walk.sigmas, walk.step, x, math.expm1)


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "euler_cfg_pp": guided.euler_cfg_pp,
    "euler_ancestral": euler_ancestral,
    "euler_ancestral_cfg_pp": guided.euler_ancestral_cfg_pp,
    "heun": heun,
    "heunpp2": heunpp2,
    "exp_heun_2_x0": stochastic.exp_heun_2_x0,
    "exp_heun_2_x0_sde": stochastic.exp_heun_2_x0_sde,
    "dpm_2": dpm_2,
    "dpm_2_ancestral": dpm_2_ancestral,
    "lms": lms,
    "dpm_fast": dpm_3,
    "dpm_adaptive": dpm_3,
    "dpmpp_2s_ancestral": dpmpp_2s_ancestral,
    "dpmpp_2s_ancestral_cfg_pp": guided.dpmpp_2s_ancestral_cfg_pp,
    "dpmpp_sde": stochastic.dpmpp_sde,
    "dpmpp_sde_gpu": stochastic.dpmpp_sde,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_cfg_pp": guided.dpmpp_2m_cfg_pp,
    "dpmpp_2m_sde": stochastic.dpmpp_2m_sde,
    "dpmpp_2m_sde_gpu": stochastic.dpmpp_2m_sde,
    "dpmpp_2m_sde_heun": stochastic.dpmpp_2m_sde_heun,
    "dpmpp_2m_sde_heun_gpu": stochastic.dpmpp_2m_sde_heun,
    "dpmpp_3m_sde": stochastic.dpmpp_3m_sde,
    "dpmpp_3m_sde_gpu": stochastic.dpmpp_3m_sde,
    "ddpm": ddpm,
    "lcm": lcm,
    "ipndm": ipndm,
    "ipndm_v": ipndm_v,
    "deis": deis,
    "res_multistep": res_multistep,
    "res_multistep_cfg_pp": guided.res_multistep_cfg_pp,
    "res_multistep_ancestral": res_multistep_ancestral,
    "res_multistep_ancestral_cfg_pp": guided.res_multistep_ancestral_cfg_pp,
    "gradient_estimation": gradient_estimation,
    "gradient_estimation_cfg_pp": guided.gradient_estimation_cfg_pp,
    "er_sde": stochastic.er_sde,
    "seeds_2": stochastic.seeds_2,
    "seeds_3": stochastic.seeds_3,
    "sa_solver": stochastic.sa_solver,
    "sa_solver_pece": stochastic.sa_solver,
    "ddim": ddim,
    "uni_pc": uni_pc,
    "uni_pc_bh2": uni_pc_bh2,
}
"""Every sampler of ComfyUI 0.28.2. dpm_fast and dpm_adaptive choose levels of their own there; here DPM-Solver-3 walks the given
ones. SA-Solver, and the multistep methods of CFG++, have the nearest method of their order in their place."""

STOCHASTIC = frozenset({
    "euler_ancestral", "euler_ancestral_cfg_pp", "exp_heun_2_x0_sde", "dpm_2_ancestral", "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun",
    "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece",
})  # fmt: skip
"""Samplers that draw noise while they walk."""


def sampler_named(name: str) -> Sampler:
    """Return the sampler of that name; raise for one that has a schema but is not emulated."""
    if name not in SAMPLERS:
        raise NotImplementedError(f"the emulator does not have the sampler {name!r}; it has {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


def last_level(sampler: Sampler, sigmas: Sigmas) -> float:
    """Return the level at which a walk stops: UniPC does not reach zero, and ComfyUI scales a flow's picture for the rest."""
    end = float(sigmas[-1])
    return ALMOST_ZERO if end == 0.0 and sampler in (uni_pc, uni_pc_bh2) else end
