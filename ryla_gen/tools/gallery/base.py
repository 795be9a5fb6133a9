"""Define one picture or video of a gallery, with what made it. Plain values that are safe to show; opens no file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...support.numbers import is_number

MOST_FIELDS = 60
"""Fields of a note that are shown: workflows have some twenty; a note may come from anywhere."""
LONGEST_VALUE = 2_000
"""Characters of one value that are shown. The prompt, which people search, is shown whole."""
SAFE_INTEGER = 2**53
"""Integers from here on lose digits in JavaScript; they are written as text."""
NOT_STORED = "given, not stored"
"""In place of a reference picture: neither it nor its hash is shown."""


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One file of a gallery."""

    path: Path
    """Absolute, as the folder was named: links in it are not followed."""
    kind: Literal["image", "video"]
    media_type: str
    moving: bool
    """Whether a picture file moves (animated WebP or GIF)."""
    bytes: int
    workflow: str
    made_at: str
    """ISO 8601 UTC: when the job was submitted, or else when the file was written."""
    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    steps: int | None = None
    fields: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """The other fields, as they may be shown."""
    job: str | None = None
    seconds: float | None = None
    """From the start of the graph to its end, by the journal."""
    cost_usd: float | None = None
    """US dollars of the whole job, by the journal."""
    files: int = 1
    """Files that the job made, which share its cost."""
    backend: str | None = None
    gpu: str | None = None
    tags: tuple[str, ...] = ()
    command: str = ""
    """Line for a POSIX shell that makes it again."""
    python: str = ""
    """Python that makes it again."""
    needs: tuple[str, ...] = ()
    """Pictures that must be given again, because they are not stored."""

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON; the seed as text, as it may be beyond JavaScript's numbers."""
        data = asdict(self)
        return {**data, "path": str(self.path), "seed": None if self.seed is None else str(self.seed)}


@dataclass(frozen=True, slots=True)
class Collection:
    """The files found in a folder."""

    folder: Path
    items: tuple[GalleryItem, ...] = ()
    """The newest first."""
    skipped: int = 0
    """Pictures and videos that say nothing about how they were made."""
    unreadable: tuple[str, ...] = ()
    """Files and folders that could not be read, with the reason."""


def whole(value: Any) -> int | None:
    """Return a whole number from 0 to 2⁶⁴−1, or None."""
    if not is_number(value) or (isinstance(value, float) and not value.is_integer()):
        return None
    return int(value) if 0 <= value < 2**64 else None


def words(value: Any) -> str:
    """Return a text, or nothing where something else stands in its place. A data URL holds a picture: it is no text."""
    return value if isinstance(value, str) and value[:5].lower() != "data:" else ""


def visible_fields(inputs: Mapping[str, Any], hidden: frozenset[str] = frozenset()) -> dict[str, str | int | float | bool]:
    """Return the fields that may be shown: numbers, choices and short texts; of a picture only that there was one.

    Args:
        inputs: a request's fields, from a note that anybody may have written.
        hidden: fields that are shown elsewhere.

    """
    found: dict[str, str | int | float | bool] = {}
    for name, value in inputs.items():
        plain = _plain(value)
        if name not in hidden and plain is not None and len(found) < MOST_FIELDS:
            found[str(name)[:80]] = plain
    return found


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < SAFE_INTEGER else str(value)[:LONGEST_VALUE]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value[:LONGEST_VALUE] if value and value[:5].lower() != "data:" else None
    if isinstance(value, Mapping) and "sha256" in value:
        return NOT_STORED
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "id" in item for item in value):
        return ", ".join(f"{item['id']} × {item.get('strength', 1)}" for item in value)[:LONGEST_VALUE]
    return None
