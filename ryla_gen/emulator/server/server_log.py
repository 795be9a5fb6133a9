"""Keep the newest lines of the emulated server's log, and send them to the clients that asked for them. Writes none itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .sockets import Hub

KEPT = 300
"""Pieces that are kept, as ComfyUI does (``app/logger.py``: ``capacity``)."""
SIZE = {"cols": 80, "rows": 24}
"""Size of the terminal that ComfyUI names beside its log; here there is none."""


class ShownLog:
    """What ``/internal/logs`` shows."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._entries: deque[dict[str, str]] = deque(maxlen=KEPT)
        self._readers: set[str] = set()
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Keep a line; from any thread."""
        entry = {"t": datetime.now().isoformat(), "m": f"{line}\n"}  # local time, as ComfyUI writes it
        with self._lock:
            self._entries.append(entry)
            readers = list(self._readers)
        for client in readers:
            self._hub.send("logs", {"entries": [entry], "size": None}, client)

    def before(self, further: Callable[[str], None]) -> Callable[[str], None]:
        """Return what takes a line for here, and hands it on."""

        def take(line: str) -> None:
            self.add(line)
            further(line)

        return take

    def to_data(self) -> dict[str, Any]:
        """Return what ComfyUI answers when it is asked for its log."""
        with self._lock:
            return {"entries": list(self._entries), "size": SIZE}

    def subscribe(self, client: str, *, enabled: bool) -> None:
        """Send a client what is written from now on, or no longer."""
        with self._lock:
            (self._readers.add if enabled else self._readers.discard)(client)
