"""Understand the commands by their names in earlier versions, and name the new ones. The table goes with 0.4.

Loads no command: the words are replaced before the command line is read, so no help and no completion names an old one.
"""

from __future__ import annotations

from collections.abc import Sequence

OLD_COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("warm",): ("deploy", "warm"),
    ("cool",): ("deploy", "cool"),
    ("funnel",): ("jobs", "funnel"),
    ("workflows", "check"): ("doctor", "--workflows"),
    ("graph", "slots"): ("graph", "inputs"),
    ("jobs", "status"): ("jobs", "show"),
    ("jobs", "wait"): ("jobs", "watch", "--quiet"),
}
"""First words of a command line → the words that took their place."""
GONE = "0.4.0"
"""Version in which the old words stop working."""


def renamed(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Return a command line in the words of today, and one line about it: empty where nothing changed."""
    for end in (2, 1):
        old = tuple(arguments[:end])
        if new := OLD_COMMANDS.get(old):
            text = f"ryla-gen {' '.join(old)} is now: ryla-gen {' '.join(new)}; the old name stops working in {GONE}."
            return [*new, *arguments[end:]], text
    return list(arguments), ""
