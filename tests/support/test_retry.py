"""Pauses between attempts: they grow, and stop growing."""

from __future__ import annotations

from ryla_gen.support.retry import RetryPolicy


def test_pauses_grow_up_to_the_longest_one() -> None:
    policy = RetryPolicy(attempts=4, first_pause=0.5, factor=2.0, longest_pause=1.5)
    assert [policy.pause(attempt) for attempt in range(policy.attempts)] == [0.5, 1.0, 1.5, 1.5]
    assert [policy.is_last(attempt) for attempt in range(policy.attempts)] == [False, False, False, True]


def test_a_server_that_is_away_for_days_is_still_asked() -> None:
    policy = RetryPolicy(first_pause=0.1, longest_pause=2.0)
    assert policy.pause(100_000) == 2.0
    assert not policy.is_last(100_000)
