"""Read a server's ``/queue`` by its shape. Must not ask the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .messages import PlainData


@dataclass(frozen=True, slots=True)
class Queue:
    """The prompts that the server runs and will run."""

    running: tuple[str, ...]
    """Prompt ids; at most one with a stock server."""
    pending: tuple[str, ...]
    """Prompt ids, the next one first."""


def read_queue(body: PlainData) -> Queue:
    """Read the ids of the prompts that run and wait."""
    # The pending list is the server's heap: only its first entry is in order.
    return Queue(_ids(body.get("queue_running")), _ids(body.get("queue_pending")))


def entries_of(body: PlainData) -> list[list[Any]]:
    """Read the entries that run or wait: number, id, graph and further data each."""
    return [entry for key in ("queue_running", "queue_pending") for entry in _entries(body.get(key))]


def graphs_of(body: PlainData) -> list[PlainData]:
    """Read the graphs that run or wait, in API format."""
    return [entry[2] for entry in entries_of(body) if len(entry) > 2 and isinstance(entry[2], dict)]


def _entries(entries: object) -> list[list[Any]]:
    return [entry for entry in entries if isinstance(entry, list) and len(entry) > 1] if isinstance(entries, list) else []


def _ids(entries: object) -> tuple[str, ...]:
    items = _entries(entries)
    numbered = [(entry[0], entry[1]) for entry in items if isinstance(entry[0], int | float) and isinstance(entry[1], str)]
    return tuple(prompt_id for _, prompt_id in sorted(numbered))
