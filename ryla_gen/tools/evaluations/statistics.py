"""Calculate an evaluation's statistics: shares with their uncertainty, percentiles. Pure; knows no job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

Z_95 = 1.959963984540054
"""Standard deviations that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of successes, with its 95 % confidence interval."""

    of: int
    """How many were tried."""
    successes: int
    rate: float | None
    """0 to 1; None when nothing was tried."""
    low: float
    high: float

    def to_data(self) -> dict[str, float | int | None]:
        """Return it as plain data."""
        return asdict(self)


def share(successes: int, of: int) -> Share:
    """Return a share with its Wilson score interval, which holds for small numbers and for shares near 1 too.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209–212.
    """
    if not of:
        return Share(0, 0, None, 0.0, 1.0)
    rate, square = successes / of, Z_95**2
    middle = (rate + square / (2 * of)) / (1 + square / of)
    reach = Z_95 / (1 + square / of) * math.sqrt(rate * (1 - rate) / of + square / (4 * of * of))
    return Share(of, successes, rate, max(0.0, middle - reach), min(1.0, middle + reach))


def tries_to_prove(rate: float) -> int:
    """Return how many tries without a failure put the lower end of the interval above a rate."""
    return math.floor(Z_95**2 * rate / (1 - rate)) + 1


def percentile(values: Sequence[float], share_below: float) -> float | None:
    """Return the value below which a share (0 to 1) of the others lies, between neighbours in proportion; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    at = (len(ordered) - 1) * share_below
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of measured values."""

    count: int
    mean: float | None
    deviation: float | None
    """Standard deviation of the sample; None of fewer than two."""
    low: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    high: float | None

    def to_data(self) -> dict[str, float | int | None]:
        """Return it as plain data."""
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Describe values; of nothing, everything but the count is None."""
    values, count = sorted(values), len(values)
    mean = math.fsum(values) / count if count else None
    deviation = (
        math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)) if mean is not None and count > 1 else None
    )
    low, p50, p90, p95, p99, high = (percentile(values, at) for at in (0.0, 0.5, 0.9, 0.95, 0.99, 1.0))
    return Spread(count, mean, deviation, low, p50, p90, p95, p99, high)
