"""What is known of one prompt while it runs: how far it is, what it saved. Bookkeeping only; speaks with nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SAMPLER_STEPS = 20
"""Weight of a sampler node whose number of steps the graph does not spell out."""

Emit = Callable[..., None]
"""``emit(kind, **fields)`` appends an event to the job's log."""


@dataclass(slots=True)
class Run:
    """What is known of one prompt while it runs."""

    graph: Mapping[str, Any]
    emit: Emit
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    done: set[str] = field(default_factory=set)
    node: str = ""
    part: float = 0.0
    """Share of the current node that is done."""
    files: list[tuple[Mapping[str, Any], asyncio.Task[bytes]]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    server_clock: tuple[float, float] = (0.0, 0.0)
    """Start and end on the server's clock, Unix seconds; 0 for what it did not say."""
    gap: bool = False
    """Whether the connection was lost meanwhile, and pictures sent over it with it."""

    def weight(self, node_id: str) -> float:
        """How long a node takes, in sampling steps: samplers their steps, all others one."""
        inputs = self.graph.get(node_id, {}).get("inputs", {})
        steps = inputs.get("steps")
        if isinstance(steps, int):
            return float(max(steps, 1))
        return float(SAMPLER_STEPS) if "sampler" in inputs or "sigmas" in inputs or "dit" in inputs else 1.0

    def fraction(self) -> float:
        """Share of the whole graph that is done, 0 to 1."""
        total = sum(self.weight(node_id) for node_id in self.graph) or 1.0
        done = sum(self.weight(node_id) for node_id in self.done)
        current = self.weight(self.node) * self.part if self.node and self.node not in self.done else 0.0
        return min(1.0, (done + current) / total)

    def enter(self, node_id: str) -> None:
        """Note that another node runs now, so the one before it is done."""
        if self.node:
            self.done.add(self.node)
        self.node, self.part = node_id, 0.0
