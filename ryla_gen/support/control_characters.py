"""Replace characters of a foreign text that would steer a terminal or reverse the direction of its text."""

from __future__ import annotations

import re

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks, embeddings, overrides and isolates of text direction (Unicode Standard Annex 9): with them a line reads as another."""
CLASS = f"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{BIDI}"
"""What stands for them inside a regular expression's brackets: C0 without line feed and tab, DEL, C1, line separators, BIDI."""
_CONTROLS = re.compile(f"[{CLASS}]")


def escape_controls(text: str) -> str:
    """Return a text with its control characters written as JSON writes them; line ends and tabs stay."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
