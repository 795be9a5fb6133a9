"""Look up the weights that graphs need, in one data file. Must not download."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..support.counting import count_text
from .licences import commercial_use, condition

TABLE = Path(__file__).with_name("weights.json")
UNPUBLISHED = "nowhere"
"""A row's ``repo`` where its file is published nowhere: people put it into its folder, and it is told by its sha256."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One model file. None means that it was not looked up, not that it does not exist."""

    folder: str
    """Folder below ComfyUI's ``models``."""
    name: str
    """Name inside that folder, as a loader node names it."""
    repo: str
    """Hugging Face repository, or ``github:`` and a release page."""
    revision: str | None
    """Commit of the repository."""
    file: str
    """Path inside the repository."""
    bytes: int | None
    approx_size: str | None
    sha256: str | None
    sha256_source: str | None
    """primary: published by the maker; third_party: an independent list."""
    gated: bool
    """Whether the download needs an account that has accepted the licence."""
    licence: str | None
    nodes: tuple[str, ...]
    """Node classes that load this file without naming it."""
    source: str
    note: str | None
    base: str | None = None
    """Base model that its LoRAs are for (flux, flux2, qwen, sdxl, wan, z_image); None for what no LoRA patches."""

    @property
    def label(self) -> str:
        """Folder and name below ``models``: what reports, records and screens call the file."""
        return f"{self.folder}/{self.name}"

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use of the model itself."""
        return self.commercial_use is False

    @property
    def commercial_use(self) -> bool | None:
        """Whether the licence allows commercial use of the model itself; None when it was not read at its maker's."""
        return commercial_use(self.licence)

    @property
    def condition(self) -> str | None:
        """Condition under which the licence allows commercial use; None where it has none."""
        return condition(self.licence)

    @property
    def pending(self) -> tuple[str, ...]:
        """What is not known of the file until the first sync fixes it: its hash, its commit."""
        commit = self.revision or "://" in self.repo  # an address of its own is no repository
        return tuple(what for what, known in (("hash", self.sha256), ("commit", commit)) if not known)


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))


@cache
def all_weights() -> tuple[Weights, ...]:
    """List every model file of the table."""
    return tuple(Weights(**{**row, "nodes": tuple(row["nodes"])}) for row in _table()["weights"])


def pending(rows: Iterable[Weights]) -> dict[str, list[str]]:
    """List the files whose ``hash`` and whose ``commit`` the first sync has still to fix."""
    rows = list(rows)
    return {what: [row.label for row in rows if what in row.pending] for what in ("hash", "commit")}


def pending_text(files: Mapping[str, list[str]]) -> str:
    """Return how many hashes and commits are pending; empty where all are known."""
    several = {"hash": "hashes", "commit": "commits"}
    return ", ".join(count_text(len(names), what, several[what]) for what, names in files.items() if names)


def weights_for(graph: Mapping[str, Any]) -> tuple[Weights, ...]:
    """Find the files that a graph in API format loads, by the names in its loader nodes and by what its nodes imply."""
    classes = {node.get("class_type") for node in graph.values()}
    named = {value for node in graph.values() for value in (node.get("inputs") or {}).values() if isinstance(value, str)}
    return tuple(row for row in all_weights() if row.name in named or classes.intersection(row.nodes))
