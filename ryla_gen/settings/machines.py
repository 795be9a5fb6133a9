"""Collect what is set of each Modal class: the families', and those of locked graphs. Reads no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from ..names import CLASS_OF_FAMILY
from .base import GRAPHS

FAMILIES = "modal.families."
"""Beginning of the keys of a family, before its name."""


@dataclass(frozen=True, slots=True)
class FamilySettings:
    """The machine of one Modal class; None keeps the deployed value."""

    gpu: tuple[str, ...] | None = None
    """GPUs in order of preference."""
    min_containers: int | None = None
    """Containers kept warm."""
    max_containers: int | None = None
    """Most containers at once."""
    buffer_containers: int | None = None
    """Idle containers more than the requests ask for, while there are requests."""
    scaledown_window: int | None = None
    """Seconds that an idle container stays."""
    snapshot: str | None = None
    """Snapshot that its containers start from: ``cpu``, ``gpu`` or ``off``."""


def families_of(values: Mapping[str, Any]) -> Mapping[str, FamilySettings]:
    """Return what every family's class runs on, by family."""
    return MappingProxyType(
        {
            family: FamilySettings(**{item.name: values[f"{FAMILIES}{family}.{item.name}"] for item in fields(FamilySettings)})
            for family in CLASS_OF_FAMILY
        }
    )


def graphs_of(values: Mapping[str, Any]) -> Mapping[str, FamilySettings]:
    """Return what a locked graph's class runs on, by the lock's name; only those of which something is set."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if key.startswith(GRAPHS):
            graph, name = key.removeprefix(GRAPHS).split(".")
            found.setdefault(graph, {})[name] = value
    return MappingProxyType({graph: FamilySettings(**given) for graph, given in found.items()})
