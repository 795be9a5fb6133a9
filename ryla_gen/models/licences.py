"""Decide what the licences of model files allow, from the table. Must not read a file or give legal advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .weights_table import Weights

FORBIDDING = ("non-commercial", "research only")
"""Words of a licence that forbids commercial use of the model itself."""
NOT_READ = ("unverified", "third-party list", "see card")
"""Marks in the table for a licence that was not read at its maker's: what it allows stays unknown."""
CONDITIONS = {
    "openrail": "within the use restrictions of its Attachment A",
    "stability ai community": "below 1,000,000 USD of revenue a year",
}
"""Words of a licence → the condition under which it allows commercial use."""
SHOWN = 2
"""Files named in a sentence before "and so many more"."""
WORDS = {True: "yes", False: "no", None: "unknown"}
"""Whether commercial use is allowed → the word for people; ``verdict`` also knows conditions."""


@dataclass(frozen=True, slots=True)
class Term:
    """One licence, and the files under it."""

    licence: str
    """As the table words it; ``licence unknown`` where it has none."""
    commercial_use: bool | None
    """Whether it allows commercial use, be it on a condition; None when it is not known."""
    condition: str | None
    """Under which it does."""
    files: tuple[str, ...]
    """Below ``models``."""

    @property
    def text(self) -> str:
        """One sentence for people."""
        unknown = "whether it allows commercial use is unknown" + (f"; if so, {self.condition}" if self.condition else "")
        allows = "allows commercial use" + (f" {self.condition}" if self.condition else "")
        said = {True: allows, False: "forbids commercial use", None: unknown}[self.commercial_use]
        more = f" and {len(self.files) - SHOWN} more" if len(self.files) > SHOWN else ""
        return f"{self.licence}: {said} ({', '.join(self.files[:SHOWN])}{more})."


def commercial_use(licence: str | None) -> bool | None:
    """Return whether a licence allows commercial use of the model, be it on a condition; None when that is not known.

    Must not guess.
    """
    words = (licence or "").lower()
    if any(word in words for word in FORBIDDING):
        return False
    return True if words and not any(mark in words for mark in NOT_READ) else None


def condition(licence: str | None) -> str | None:
    """Return the condition under which a licence of this name allows commercial use; None where it has none."""
    words = (licence or "").lower()
    return None if commercial_use(licence) is False else next((text for word, text in CONDITIONS.items() if word in words), None)


def verdict(allowed: bool | None, conditions: Iterable[str | None]) -> str:
    """Return whether commercial use is allowed, in a word: "on conditions" where each of these has to be kept."""
    return "on conditions" if allowed and any(conditions) else WORDS[allowed]


def terms(rows: Iterable[Weights]) -> tuple[Term, ...]:
    """Group files by licence: those that forbid commercial use, the unknown, those with a condition, those that allow it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.licence or "", []).append(row.label)
    made = [Term(name or "licence unknown", commercial_use(name), condition(name), tuple(files)) for name, files in found.items()]
    return tuple(sorted(made, key=lambda term: ((False, None, True).index(term.commercial_use), term.condition is None)))


def conditions(rows: Iterable[Weights]) -> list[str]:
    """List the conditions of the licences of these files, each once."""
    return list(dict.fromkeys(term.condition for term in terms(rows) if term.condition))


def together(rows: Iterable[Weights]) -> bool | None:
    """Return whether all files may be used commercially: False if one forbids it, None if one is unknown."""
    allowed = {term.commercial_use for term in terms(rows)}
    return False if False in allowed else True if allowed == {True} else None
