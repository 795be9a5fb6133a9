"""Look up the committed locks of the built-in families, and the node packs that stand in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..names import CLASS_OF_FAMILY
from .base import NodePack
from .image_lock import ImageLock, read_lock

FOLDER = Path(__file__).parents[1] / "remote" / "locks"
"""Where they are, with the requirements of the images beside them."""


@cache
def family_lock(family: str) -> ImageLock:
    """Return the lock of a family; the one of ``custom`` for a name that is none."""
    return read_lock(FOLDER / f"{family if family in CLASS_OF_FAMILY else 'custom'}.lock")


@cache
def node_packs() -> tuple[NodePack, ...]:
    """Return every node pack that a family's image has, each once."""
    found = {pack.name: pack for family in CLASS_OF_FAMILY for pack in family_lock(family).packs}
    return tuple(found.values())


def packs_for(classes: frozenset[str]) -> tuple[NodePack, ...]:
    """Find the node packs that provide these node classes; none for a graph of core nodes alone."""
    return tuple(pack for pack in node_packs() if classes.intersection(pack.nodes))
