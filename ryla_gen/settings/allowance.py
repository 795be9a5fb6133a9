"""Define what a program may spend by its own word: plain values that no file and no variable holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """US dollars that all jobs of one program may cost together, whatever the day."""

    tag: str
    """Word that each of its jobs gets, and by which they are counted."""
    usd: float
    """Most US dollars for all of them."""
    hint: str
    """How a person allows more."""
