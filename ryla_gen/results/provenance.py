"""Say of an output what made it: a model, a model from somebody's picture, or the emulator. Must not decode or sign a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import media
from ..media.origin import (
    BY_MODELS,
    EDITED_BY_MODEL,
    EMULATED,
    EMULATED_TOOL,
    MIXED,
    TOOL,
    Mark,
    mark_of_making,
)
from ..media.provenance import read_mark
from ..workflows.abilities import reads_media
from .notes import is_emulated

if TYPE_CHECKING:
    from . import Generation


def ran_emulated(generation: Generation) -> bool:
    """Whether the emulator made a result: that of this process, or one that stands in for a server."""
    return generation.backend == "emulator" or bool(generation.server.get("emulated"))


def mark_of(graph: Mapping[str, Any], *, emulated: bool) -> Mark:
    """Return the mark of what a graph made. A graph that reads any picture or video counts as an edit of it.

    Args:
        graph: in ComfyUI's API format.
        emulated: whether the emulator ran it, so that no model did.
    """
    return mark_of_making(given=reads_media(graph), emulated=emulated)


def mark_of_sheet(pictures: Iterable[bytes]) -> Mark | None:
    """Return the mark of a sheet, by what its pictures say of themselves; None where none of them says anything.

    Args:
        pictures: the encoded files that are shown on it.
    """
    terms, by_models, by_emulator = set[str | None](), False, True
    for data in pictures:
        term, tool = read_mark(data, media.sniff_media_type(data) or "")
        emulated = (tool or "").endswith(EMULATED_TOOL) or is_emulated(data)
        term = term or (EMULATED if emulated else None)
        terms.add(term)
        by_models |= term in BY_MODELS
        by_emulator &= emulated or term is None
    if terms <= {None}:
        return None
    tool = f"{TOOL}{EMULATED_TOOL}" if by_emulator else TOOL
    if len(terms) == 1:
        return Mark(str(terms.pop()), tool)
    return Mark(EDITED_BY_MODEL if by_models else MIXED, tool)
