"""The arithmetic of evaluations, held against known values and against laws."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen.tools.evaluations.statistics import percentile, share, spread, tries_to_prove


@pytest.mark.parametrize(
    ("successes", "of", "low", "high"),
    [
        (20, 20, 0.8389, 1.0),  # statsmodels.stats.proportion.proportion_confint(..., method="wilson")
        (19, 20, 0.7639, 0.9911),
        (0, 10, 0.0, 0.2775),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(successes: int, of: int, low: float, high: float) -> None:
    found = share(successes, of)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_share_lies_inside_its_interval_and_that_inside_0_and_1(pair: tuple[int, int]) -> None:
    found = share(*pair)
    assert found.rate is not None
    assert 0.0 <= found.low <= found.rate + 1e-12
    assert found.rate - 1e-12 <= found.high <= 1.0


def test_of_nothing_nothing_is_known() -> None:
    assert share(0, 0).rate is None
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)
    assert spread([]).mean is spread([]).p95 is None
    assert spread([3.0]).deviation is None


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95, 0.99])
def test_as_many_tries_prove_a_rate_as_are_said_and_no_fewer(rate: float) -> None:
    needed = tries_to_prove(rate)
    assert share(needed, needed).low > rate
    assert share(needed - 1, needed - 1).low <= rate


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for at in (50, 90, 95, 99):
        assert percentile(values, at / 100) == pytest.approx(cuts[at - 1], rel=1e-6, abs=1e-6)
    found = spread(values)
    assert (found.low, found.high) == (min(values), max(values))
    assert found.deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
