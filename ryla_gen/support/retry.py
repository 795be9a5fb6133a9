"""Define how often to try something, and how long to wait between two attempts. Plain data: must not wait, and knows no error."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

UNLIMITED = sys.maxsize
"""As many attempts as a clock of the caller's own allows."""
LONGEST_EXPONENT = 100
"""Pauses grow no further after so many attempts: without this, a float overflows when a server is away for some hours."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts with pauses between them that grow up to a limit.

    The loop stays with its caller, because ours differ in what ends it: a deadline, ``Retry-After``, bytes that arrived, a refusal.
    """

    attempts: int = UNLIMITED
    """Times something is tried, the first one included."""
    first_pause: float = 0.5
    """Seconds between the first attempt and the second."""
    factor: float = 2.0
    """Each pause is so many times as long as the one before it."""
    longest_pause: float = math.inf
    """Seconds between two attempts at most."""

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after an attempt; the first one is number 0."""
        return min(self.longest_pause, self.first_pause * self.factor ** min(attempt, LONGEST_EXPONENT))

    def is_last(self, attempt: int) -> bool:
        """Whether no attempt follows this one; the first one is number 0."""
        return attempt >= self.attempts - 1
