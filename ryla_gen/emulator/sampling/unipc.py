"""Sample with UniPC, the unified predictor-corrector of Zhao et al. 2023, for models that predict the picture.

Written in x = picture + σ·noise, where its α is 1 and λ is -log σ. Knows no latents' meaning, no models, no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Denoise = Callable[[Array, float], Array]

ALMOST_ZERO = 0.001
"""The last level in place of 0, whose logarithm the method needs; ComfyUI's value."""


def unipc(
    denoise: Denoise,
    sigmas: npt.NDArray[np.float64],
    step: Callable[[int, Array], None],
    x: Array,
    scale: Callable[[float], float],
) -> Array:
    """Walk the levels with order three; ``scale`` is the paper's B, of -h."""
    levels = [float(s) for s in sigmas]
    if levels[-1] == 0.0:
        levels[-1] = ALMOST_ZERO
    steps = len(levels) - 1
    order = max(1, min(3, steps - 1))
    guesses = [denoise(x, levels[0])]
    step(0, guesses[0])
    for i in range(1, steps + 1):
        now = min(i, order) if i < order else min(order, steps + 1 - i)
        known = list(zip(levels[:i][-now:], guesses[-now:], strict=True))
        base, predicted = _predict(x, known, levels[i], scale)
        if i == steps:
            return predicted
        guess = denoise(predicted, levels[i])
        x = _correct(base, known, levels[i], scale, guess)
        guesses = [*guesses[-2:], guess]
        step(i, guess)
    return x


def _weights(ratios: list[float], hh: float, big_b: float) -> npt.NDArray[np.float64]:
    """Solve R·ρ = b of the paper for the given ratios r_k (the last is the step's own 1 for the corrector)."""
    count = len(ratios)
    rows = np.array([[r**k for r in ratios] for k in range(count)])
    right: list[float] = []
    phi, factorial = math.expm1(hh) / hh - 1.0, 1.0
    for k in range(1, count + 1):
        right.append(phi * factorial / big_b)
        factorial *= k + 1
        phi = phi / hh - 1.0 / factorial
    return np.linalg.solve(rows, np.array(right))


def _ratios(known: list[tuple[float, Array]], target: float) -> list[float]:
    last = known[-1][0]
    h = math.log(last / target)
    return [math.log(last / sigma) / h for sigma, _ in reversed(known[:-1])]


def _predict(x: Array, known: list[tuple[float, Array]], target: float, scale: Callable[[float], float]) -> tuple[Array, Array]:
    """Compute the first-order step and the predictor of full order."""
    sigma, guess = known[-1]
    hh = -math.log(sigma / target)
    base = np.float32(target / sigma) * x - np.float32(math.expm1(hh)) * guess
    ratios = _ratios(known, target)
    if not ratios:
        return base, base
    # The paper's simplification for order two.
    rho = np.array([0.5]) if len(ratios) == 1 else _weights(ratios, hh, scale(hh))
    predicted = base
    for weight, ratio, (_, old) in zip(rho, ratios, reversed(known[:-1]), strict=True):
        predicted = predicted - np.float32(scale(hh) * weight / ratio) * (old - guess)
    return base, predicted


def _correct(base: Array, known: list[tuple[float, Array]], target: float, scale: Callable[[float], float], ahead: Array) -> Array:
    """Repeat the step as corrector, knowing the guess at its end."""
    sigma, guess = known[-1]
    hh = -math.log(sigma / target)
    ratios = [*_ratios(known, target), 1.0]
    rho = np.array([0.5]) if len(ratios) == 1 else _weights(ratios, hh, scale(hh))
    x = base - np.float32(scale(hh) * rho[-1]) * (ahead - guess)
    for weight, ratio, (_, old) in zip(rho, ratios, reversed(known[:-1]), strict=False):
        x = x - np.float32(scale(hh) * weight / ratio) * (old - guess)
    return x
