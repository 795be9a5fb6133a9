"""Replaces the generated parts of files that are otherwise written by hand, between two comments. Knows no file's language.

A part stands between a line with ``begin generated: NAME`` and one with ``end generated: NAME``, whatever makes them comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def with_parts(text: str, parts: Mapping[str, str]) -> str:
    """Return a file's text with these parts in it.

    Args:
        text: the file as it is.
        parts: name of a part → its lines, indented as they will stand.

    Raises:
        LookupError: the file has no such part.

    """
    for name, lines in parts.items():
        mark = rf"generated: {re.escape(name)}\b[^\n]*\n"
        pattern = re.compile(rf"(?P<begin>^[^\n]*begin {mark}).*?(?P<end>^[^\n]*end generated: {re.escape(name)}\b)", re.S | re.M)
        if len(pattern.findall(text)) != 1:
            raise LookupError(f"the part {name!r} stands there {len(pattern.findall(text))} times, not once")
        body = lines.rstrip("\n") + "\n" if lines.strip() else ""
        text = pattern.sub(lambda found, body=body: f"{found['begin']}{body}{found['end']}", text)
    return text
