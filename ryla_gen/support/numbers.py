"""Distinguish numbers from other plain data, and write numbers for people. Reads no unit out of a text."""

from __future__ import annotations

import math
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; True and False, which Python counts as ints, are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether a value is an int; True and False are none, and neither is 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


def number_or(value: object, default: float) -> float:
    """Return a value as a float, or the default where it is no number."""
    return float(value) if is_number(value) else default


def format_number(value: float | None) -> str:
    """Write a number with two places; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def format_significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, or all that are before the point: ``46.2``, ``1200``, ``0.00005``.

    ``:g`` writes such numbers as ``1.2e+03`` and ``5e-05``.
    """
    if not value:
        return "0"
    text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_seconds(value: float | None) -> str:
    """Write seconds: ``1.23 s``, ``12.3 s``; a dash where there are none."""
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def format_bytes(count: int | None) -> str:
    """Write a number of bytes: ``1.23 GB``, ``4.5 MB``, ``6.7 kB``; a question mark where it is unknown."""
    if count is None:
        return "?"
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
