"""Sampler steps: from noise to picture along a list of sigmas, with a denoiser that somebody else provides.

Every sampler works on x = picture + σ·noise as well as on the rectified flow x = (1-σ)·picture + σ·noise: in both, (x - D)/σ is the
slope dx/dσ. Written from the papers named at each function. Knows no latents' meaning, no models, no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .flow import Sigmas
from .unipc import ALMOST_ZERO, unipc

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
    nearly_noise: float = 0.9999
    """The level in place of a flow's 1 for steps in log-SNR: there is no picture left in 1, and its logarithm is infinite."""

    def look(self, i: int, x: Array) -> Array:
        """Denoise at level ``i`` and report the step."""
        denoised = self.denoise(x, float(self.sigmas[i]))
        self.step(i, denoised)
        return denoised

    def pairs(self) -> list[tuple[int, float, float]]:
        """Each step: its number, its level, the next level."""
        s = self.sigmas
        return [(i, float(s[i]), float(s[i + 1])) for i in range(len(s) - 1)]


Sampler = Callable[[Walk, Array], Array]


def _towards(x: Array, denoised: Array, sigma: float, target: float) -> Array:
    """Follow the straight line through ``x`` and ``denoised`` from ``sigma`` to ``target``."""
    ratio = target / sigma
    return np.asarray(ratio * x + (1.0 - ratio) * denoised, dtype=np.float32)


@dataclass(frozen=True)
class _Descent:
    """One ancestral step: go down to ``down``, shrink by ``scale``, add ``up`` of noise."""

    down: float
    up: float
    scale: float


def _descent(walk: Walk, sigma: float, following: float) -> _Descent:
    """Split a step so that it ends at ``following`` after fresh noise is added (k-diffusion; for flows, ComfyUI's ratio)."""
    if following == 0.0 or walk.eta == 0.0:
        return _Descent(following, 0.0, 1.0)
    if not walk.is_flow:
        up = min(following, walk.eta * math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2))
        return _Descent(math.sqrt(following**2 - up**2), up, 1.0)
    down = following * (1.0 + (following / sigma - 1.0) * walk.eta)
    scale = (1.0 - following) / (1.0 - down)
    return _Descent(down, math.sqrt(max(following**2 - (down * scale) ** 2, 0.0)), scale)


def _renew(walk: Walk, x: Array, descent: _Descent) -> Array:
    if descent.up == 0.0:
        return x
    return np.asarray(descent.scale * x + (descent.up * walk.s_noise) * walk.noise(), dtype=np.float32)


def euler(walk: Walk, x: Array) -> Array:
    """Straight steps (Karras et al. 2022, algorithm 2 without churn)."""
    for i, sigma, following in walk.pairs():
        x = _towards(x, walk.look(i, x), sigma, following)
    return x


def euler_ancestral(walk: Walk, x: Array) -> Array:
    """Straight steps a little too far down, then fresh noise up to the level."""
    for i, sigma, following in walk.pairs():
        descent = _descent(walk, sigma, following)
        x = _towards(x, walk.look(i, x), sigma, descent.down)
        if descent.down > 0.0 or walk.is_flow:  # where a large eta asks for a step down to 0, ComfyUI adds no noise back
            x = _renew(walk, x, descent)
    return x


def heun(walk: Walk, x: Array) -> Array:
    """Two slopes averaged (Karras et al. 2022, algorithm 1)."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        ahead = _towards(x, denoised, sigma, following)
        if following > 0.0:
            second = (ahead - walk.denoise(ahead, following)) / np.float32(following)
            slope = (x - denoised) / np.float32(sigma) + second
            x = np.asarray(x + slope * np.float32((following - sigma) / 2), np.float32)
        else:
            x = ahead
    return x


def _dpm_2(walk: Walk, x: Array, ancestral: bool) -> Array:
    for i, sigma, following in walk.pairs():
        descent = _descent(walk, sigma, following) if ancestral else _Descent(following, 0.0, 1.0)
        denoised = walk.look(i, x)
        if descent.down == 0.0:
            x = denoised
            continue
        middle = math.sqrt(sigma * descent.down)
        halfway = _towards(x, denoised, sigma, middle)
        slope = (halfway - walk.denoise(halfway, middle)) / np.float32(middle)
        x = _renew(walk, x + slope * np.float32(descent.down - sigma), descent)
    return x


def dpm_2(walk: Walk, x: Array) -> Array:
    """DPM-Solver-2 (Lu et al. 2022): the slope in the geometric middle."""
    return _dpm_2(walk, x, ancestral=False)


def dpm_2_ancestral(walk: Walk, x: Array) -> Array:
    """DPM-Solver-2 with renewed noise."""
    return _dpm_2(walk, x, ancestral=True)


def lms(walk: Walk, x: Array) -> Array:
    """Linear multistep of order four over uneven steps: the polynomial through the last slopes, integrated."""
    slopes: list[Array] = []
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        slopes = [(x - denoised) / np.float32(sigma), *slopes[:3]]
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


_ADAMS = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def ipndm(walk: Walk, x: Array) -> Array:
    """Improved pseudo numerical method (Zhang and Chen 2022): Adams-Bashforth weights over the last four slopes."""
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
    """DPM-Solver++(2M) (Lu et al. 2022): second order from the last two guesses, in log sigma."""
    old: Array | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        guess = denoised
        if old is not None and following > 0.0:
            ratio = math.log(walk.sigmas[i - 1] / sigma) / math.log(sigma / following)
            guess = denoised * np.float32(1 + 1 / (2 * ratio)) - old * np.float32(1 / (2 * ratio))
        x = _towards(x, guess, sigma, following)
        old = denoised
    return x


def _half_log_snr(walk: Walk, sigma: float) -> float:
    """log(α/σ): for a flow α is 1-σ."""
    return math.log((1.0 - sigma) / sigma) if walk.is_flow else -math.log(sigma)


def _start_inside(walk: Walk) -> Walk:
    """Log-SNR steps start just below a flow's level 1, as ComfyUI's do."""
    if not walk.is_flow or walk.sigmas[0] < 1.0:
        return walk
    return replace(walk, sigmas=np.append(walk.nearly_noise, walk.sigmas[1:]))


def dpmpp_2m_sde(walk: Walk, x: Array) -> Array:
    """DPM-Solver++(2M) for the stochastic equation, midpoint form."""
    walk = _start_inside(walk)
    old: Array | None = None
    last = 0.0
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if following == 0.0:
            x = denoised
            continue
        start, end = _half_log_snr(walk, sigma), _half_log_snr(walk, following)
        h = end - start
        alpha = following * math.exp(end)
        pull = -math.expm1(-h * (1 + walk.eta))
        x = np.float32(following / sigma * math.exp(-h * walk.eta)) * x + np.float32(alpha * pull) * denoised
        if old is not None:
            x = x + np.float32(0.5 * alpha * pull * h / last) * (denoised - old)
        if walk.eta > 0:
            x = x + np.float32(following * math.sqrt(-math.expm1(-2 * h * walk.eta)) * walk.s_noise) * walk.noise()
        old, last = denoised, h
    return x


def dpmpp_2s_ancestral(walk: Walk, x: Array) -> Array:
    """DPM-Solver++(2S) with renewed noise: a look at the middle of each step in log sigma."""
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        descent = _descent(walk, sigma, following)
        if descent.down == 0.0:
            x = _renew(walk, denoised, descent)
            continue
        if not walk.is_flow:
            middle = math.sqrt(sigma * descent.down)
        elif sigma < 1.0:
            lam = (_half_log_snr(walk, sigma) + _half_log_snr(walk, descent.down)) / 2
            middle = 1.0 / (1.0 + math.exp(lam))
        else:
            middle = 0.9999  # from pure noise the middle in log-SNR is pure noise again; ComfyUI looks here, whatever the shift
        second = walk.denoise(_towards(x, denoised, sigma, middle), middle)
        x = _renew(walk, _towards(x, second, sigma, descent.down), descent)
    return x


def ddpm(walk: Walk, x: Array) -> Array:
    """Ho et al. 2020: one step of the reverse Markov chain per level."""
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
    """Latent consistency (Luo et al. 2023): jump to the picture, add the next level's noise."""
    for i, _, following in walk.pairs():
        x = walk.look(i, x)
        if following > 0.0:
            kept = 1.0 - following if walk.is_flow else 1.0
            x = np.float32(kept) * x + np.float32(following) * walk.noise()
    return x


def res_multistep(walk: Walk, x: Array) -> Array:
    """Refined exponential solver, two guesses (Zhang et al. 2023), in log sigma."""
    old: Array | None = None
    for i, sigma, following in walk.pairs():
        denoised = walk.look(i, x)
        if old is None or following == 0.0:
            x = _towards(x, denoised, sigma, following)
        else:
            h = math.log(sigma / following)
            c2 = math.log(sigma / walk.sigmas[i - 1]) / h
            phi1 = -math.expm1(-h) / h
            phi2 = (phi1 - 1.0) / -h
            x = np.float32(following / sigma) * x + np.float32(h * (phi1 - phi2 / c2)) * denoised + np.float32(h * phi2 / c2) * old
        old = denoised
    return x


def gradient_estimation(walk: Walk, x: Array) -> Array:
    """Permenter and Yuan 2023: lean the slope away from the last one, with their γ of 2."""
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
    """Song et al. 2021: with eta 0 and these levels its step is Euler's."""
    return euler(walk, x)


def uni_pc(walk: Walk, x: Array) -> Array:
    """UniPC (Zhao et al. 2023), B(h) = h."""
    return unipc(walk.denoise, walk.sigmas, walk.step, x, lambda hh: hh)


def uni_pc_bh2(walk: Walk, x: Array) -> Array:
    """UniPC (Zhao et al. 2023), B(h) = e^h - 1."""
    return unipc(walk.denoise, walk.sigmas, walk.step, x, math.expm1)


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpm_2": dpm_2,
    "dpm_2_ancestral": dpm_2_ancestral,
    "lms": lms,
    "dpmpp_2s_ancestral": dpmpp_2s_ancestral,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "dpmpp_2m_sde_gpu": dpmpp_2m_sde,
    "ddpm": ddpm,
    "lcm": lcm,
    "ipndm": ipndm,
    "res_multistep": res_multistep,
    "gradient_estimation": gradient_estimation,
    "ddim": ddim,
    "uni_pc": uni_pc,
    "uni_pc_bh2": uni_pc_bh2,
}

STOCHASTIC = frozenset(
    {"euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "ddpm", "lcm"}
)
"""Samplers that draw noise while they walk."""


def sampler_named(name: str) -> Sampler:
    """The sampler of that name; one with a schema but no emulation raises."""
    if name not in SAMPLERS:
        raise NotImplementedError(f"the emulator does not have the sampler {name!r}; it has {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


def last_level(sampler: Sampler, sigmas: Sigmas) -> float:
    """The level at which a walk stops: UniPC does not reach zero, and ComfyUI scales a flow's picture for what is left."""
    end = float(sigmas[-1])
    return ALMOST_ZERO if end == 0.0 and sampler in (uni_pc, uni_pc_bh2) else end
