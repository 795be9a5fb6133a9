"""Write a number with its noun, so that one file is not "1 files". Knows no nouns of its own."""

from __future__ import annotations


def count_text(count: int, one: str, several: str = "") -> str:
    """Return ``1 file``, ``2 files``.

    Args:
        count: how many.
        one: the noun for one.
        several: the noun for any other number; with an s behind it when absent.
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"
