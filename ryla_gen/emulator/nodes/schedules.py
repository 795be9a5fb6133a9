"""Emulate nodes that compute the noise levels of particular model families, or take levels written by hand."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from ..base import Context, NodeResult, node
from ..model import Model
from ..sampling.flow import Sigmas
from ..sampling.run import Latent

MOST_LEVELS = 10_000


def _shift_steps(steps: int, shift: float) -> Sigmas:
    """Compute equal steps of a flow's time with an exponential shift."""
    times = np.linspace(1.0, 0.0, steps + 1)
    with np.errstate(divide="ignore"):
        return np.where(times > 0.0, math.exp(shift) / (math.exp(shift) + (1.0 / times - 1.0)), 0.0)


@node("ManualSigmas")
def manual_sigmas(context: Context, sigmas: str) -> NodeResult:
    """Parse the numbers in a text as levels."""
    return NodeResult((np.array([float(number) for number in re.findall(r"[-+]?(?:\d*\.*\d+)", sigmas)][:MOST_LEVELS]),))


@node("Flux2Scheduler")
def flux2_scheduler(context: Context, steps: int, width: int, height: int) -> NodeResult:
    """Compute FLUX.2's levels: the shift follows from the 16×16 patches and the steps (two lines of its reference code)."""
    patches = round(width * height / 256)
    many = 0.00016927 * patches + 0.45666666
    few = 8.73809524e-05 * patches + 1.89833333
    shift = many if patches > 4300 else few + (many - few) / 190.0 * (steps - 10)
    return NodeResult((_shift_steps(steps, shift),))


@node("LTXVScheduler")
def ltxv_scheduler(
    context: Context,
    steps: int,
    max_shift: float,
    base_shift: float,
    stretch: bool,
    terminal: float,
    latent: Latent | None = None,
) -> NodeResult:
    """Compute LTX-Video's levels: the shift follows from the latent's size (32 pixels and 8 frames a token). The end may rise."""
    tokens = 4096.0 if latent is None else math.prod(np.shape(latent["samples"])[2:]) / (16 * 2)
    slope = (max_shift - base_shift) / (4096 - 1024)
    levels = _shift_steps(steps, tokens * slope + base_shift - slope * 1024)
    if stretch and steps:
        shown = levels > 0.0
        left = 1.0 - levels[shown]
        if left[-1] > 0.0:
            levels[shown] = 1.0 - left * (1.0 - terminal) / left[-1]
    return NodeResult((levels,))


@node("Ideogram4Scheduler")
def ideogram4_scheduler(context: Context, steps: int, width: int, height: int, mu: float, std: float) -> NodeResult:
    """Compute Ideogram's levels: times at the quantiles of a logit-normal distribution, its mean after the size."""
    mean = mu + 0.5 * math.log(width * height / 512**2)
    bounds = [1.0 - 1.0 / (1.0 + math.exp(-log_snr / 2)) for log_snr in (18.0, -15.0)]
    quantiles = [NormalDist().inv_cdf(float(share)) for share in np.linspace(1.0, 0.0, steps + 1)[1:-1]]
    inner = [min(max(1.0 / (1.0 + math.exp(-(mean + std * quantile))), bounds[0]), bounds[1]) for quantile in quantiles]
    return NodeResult((np.array([bounds[1], *inner, 0.0]),))


@node("SDTurboScheduler")
def sd_turbo_scheduler(context: Context, model: Model, steps: int, denoise: float) -> NodeResult:
    """Compute SD-Turbo's levels: every hundredth of the thousand levels it was trained on."""
    first = 10 - int(10 * denoise)
    times = (np.arange(1, 11) * 100 - 1)[::-1][first : first + steps]
    scale = 1.0 if model.sampling.kind != "flux" else 1000.0
    return NodeResult((np.array([*(model.sampling.sigma(float(time) / scale) for time in times), 0.0]),))


@node("VPScheduler")
def vp_scheduler(context: Context, steps: int, beta_d: float, beta_min: float, eps_s: float) -> NodeResult:
    """Compute the variance-preserving schedule (Song et al. 2021, in Karras' form)."""
    times = np.linspace(1.0, eps_s, steps)
    return NodeResult((np.append(np.sqrt(np.expm1(beta_d * times**2 / 2 + beta_min * times)), 0.0),))


@node("ExtendIntermediateSigmas")
def extend_intermediate_sigmas(
    context: Context, sigmas: Sigmas, steps: int, start_at_sigma: float, end_at_sigma: float, spacing: str
) -> NodeResult:
    """Insert more levels between the given ones, within bounds."""
    start = math.inf if start_at_sigma < 0 else start_at_sigma
    part = np.linspace(0.0, 1.0, steps + 1)[1:-1]
    part = {"cosine": np.sin(part * math.pi / 2), "sine": 1.0 - np.cos(part * math.pi / 2)}.get(spacing, part)
    extended: list[float] = []
    for level, following in pairwise(sigmas):
        extended.append(float(level))
        if end_at_sigma <= level <= start:
            extended += [float(value) for value in level + part * (following - level)]
    return NodeResult((np.array([*extended, *sigmas[-1:]]),))
