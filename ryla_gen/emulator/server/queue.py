"""Keep the prompts that wait, the one that runs, and the history. Thread-safe; knows no HTTP and runs nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HISTORY_SIZE = 500
"""Prompts remembered. ComfyUI remembers 10,000; an emulator that lives for days should stay small."""
HISTORY_BYTES = 64 * 2**20
"""Bytes of JSON remembered, so that prompts of ten megabytes do not add up either."""


@dataclass(slots=True)
class QueuedPrompt:
    """One accepted prompt."""

    number: float
    prompt_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: list[str]
    size: int = 0
    """Characters of the request that submitted it."""
    notices: list[dict[str, str]] = field(default_factory=list)
    """What its results say of stand-ins: under ``emulated``, beside the files of each output node."""
    interrupted: threading.Event = field(default_factory=threading.Event)

    @property
    def client_id(self) -> str | None:
        """The client that follows this prompt; None when it named none."""
        client = self.extra_data.get("client_id")
        return None if client is None else str(client)

    def to_data(self) -> list[Any]:
        """Return the prompt as ``/queue`` and ``/history`` show it."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]


class PromptQueue:
    """First in, first out by number; one prompt runs at a time."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._guard = threading.Condition()
        self._pending: list[QueuedPrompt] = []
        self._running: QueuedPrompt | None = None
        self._history: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._closed = False

    def remaining(self) -> int:
        """Count the prompts that wait or run."""
        with self._guard:
            return len(self._pending) + (self._running is not None)

    def put(self, job: QueuedPrompt) -> None:
        """Add a prompt behind all of the same or a smaller number."""
        with self._guard:
            index = next((i for i, other in enumerate(self._pending) if other.number > job.number), len(self._pending))
            self._pending.insert(index, job)
            self._guard.notify()
        self._changed()

    def take(self) -> QueuedPrompt | None:
        """Wait for the next prompt, which then counts as running; None once the queue is closed."""
        with self._guard:
            self._guard.wait_for(lambda: self._pending or self._closed)
            if self._closed:
                return None
            job = self._running = self._pending.pop(0)
        self._changed()
        return job

    def done(self) -> None:
        """End the running prompt."""
        with self._guard:
            self._running = None
        self._changed()

    def close(self) -> None:
        """Wake the worker for good and stop what runs."""
        with self._guard:
            self._closed = True
            if self._running:
                self._running.interrupted.set()
            self._guard.notify_all()

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop the running prompt, if it has this id or no id is asked for."""
        with self._guard:
            if self._running and prompt_id in (None, self._running.prompt_id):
                self._running.interrupted.set()

    def delete(self, prompt_ids: Iterable[str] | None) -> None:
        """Remove waiting prompts by id, or all of them; without a message and without a trace, as ComfyUI does it."""
        with self._guard:
            unwanted = None if prompt_ids is None else set(prompt_ids)
            kept = [job for job in self._pending if unwanted is not None and job.prompt_id not in unwanted]
            changed = len(kept) != len(self._pending)
            self._pending = kept
        if changed:
            self._changed()

    def cancel(self, prompt_id: str) -> bool:
        """Stop a prompt, waiting or running, under one lock; False for one that is neither."""
        with self._guard:
            if self._running and self._running.prompt_id == prompt_id:
                self._running.interrupted.set()
                return True
            kept = [job for job in self._pending if job.prompt_id != prompt_id]
            found = len(kept) != len(self._pending)
            self._pending = kept
        if found:
            self._changed()
        return found

    def to_data(self) -> dict[str, Any]:
        """Return the answer of ``GET /queue``."""
        with self._guard:
            running = [self._running.to_data()] if self._running else []
            return {"queue_running": running, "queue_pending": [job.to_data() for job in self._pending]}

    def remember(self, prompt_id: str, entry: dict[str, Any], size: int = 0) -> None:
        """Add a finished prompt of that many bytes to the history; the oldest ones are removed to make room."""
        with self._guard:
            self._drop(prompt_id)
            self._history[prompt_id] = entry
            self._sizes[prompt_id] = size
            while len(self._history) > HISTORY_SIZE or (len(self._history) > 1 and sum(self._sizes.values()) > HISTORY_BYTES):
                self._drop(next(iter(self._history)))

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        """Remove prompts from the history by id, or all of them."""
        with self._guard:
            for prompt_id in list(self._history) if prompt_ids is None else prompt_ids:
                self._drop(prompt_id)

    def _drop(self, prompt_id: str) -> None:
        self._history.pop(prompt_id, None)
        self._sizes.pop(prompt_id, None)

    def history(self, prompt_id: str | None = None, most: int | None = None, offset: int = -1) -> dict[str, Any]:
        """Return the answer of ``GET /history``: one prompt, or the newest ``most`` of all, or ``most`` from ``offset`` on."""
        with self._guard:
            if prompt_id is not None:
                return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}
            items = list(self._history.items())
        if most is None:
            return dict(items[max(offset, 0) :])
        start = max(len(items) - most, 0) if offset < 0 else offset
        return dict(items[start : start + most])
