"""Estimate what containers cost beside the graphs they ran: their starts, and their waiting for the next job or for their end.

Must not read a journal or settings: times and prices in, seconds and dollars out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdleTime:
    """What the containers of one class did beside running graphs, as far as the gaps between its jobs tell."""

    jobs: int
    starts: int
    """Containers that had to start."""
    idle_seconds: float
    """Seconds they waited for a next job, or for their end."""

    def seconds(self, cold_start: float) -> float:
        """Seconds without a graph, where each start takes so many."""
        return self.starts * cold_start + self.idle_seconds


def idle_between(jobs: Iterable[tuple[float, float]], window: float, now: float) -> IdleTime:
    """Estimate what containers did between the jobs of one class.

    A job goes to the container that became free last, when that was within the window; the gap is then paid. Otherwise a container
    starts; one that nobody needed has waited for the whole window, then it ended. Jobs that overlap had a container each.

    Args:
        jobs: when each graph began and ended, in seconds of one clock, in any order.
        window: seconds that an idle container stays.
        now: the time up to which is counted.

    """
    free: list[float] = []  # when each container that is still up became free, in order
    found = starts = 0
    idle = 0.0
    for began, ended in sorted(jobs):
        over = bisect_left(free, began - window)
        idle, found = idle + over * window, found + 1
        del free[:over]
        at = bisect_right(free, began) - 1
        if at < 0:
            starts += 1
        else:
            idle += began - free.pop(at)
        insort(free, max(began, ended))
    return IdleTime(found, starts, idle + sum(min(window, max(0.0, now - end)) for end in free))


@dataclass(frozen=True, slots=True)
class IdleCost:
    """What the containers of one class cost beside the jobs of this machine: an estimate."""

    name: str
    """The class."""
    jobs: int
    """Jobs whose times it rests on."""
    cold_starts: int
    cold_start_seconds: float
    idle_seconds: float
    usd: float
    """US dollars of both."""


def idle_cost(name: str, idle: IdleTime, cold_start: float, usd_per_second: float) -> IdleCost:
    """Price what the containers of a class did beside running graphs.

    Args:
        name: the class.
        idle: what they did.
        cold_start: seconds that a start takes.
        usd_per_second: the price of a container's second.

    """
    usd = idle.seconds(cold_start) * usd_per_second
    return IdleCost(name, idle.jobs, idle.starts, idle.starts * cold_start, idle.idle_seconds, usd)
