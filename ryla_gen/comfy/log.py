"""Keep the lines of a ComfyUI server's log that concern a request. Must not read a pipe.

ComfyUI reports some things nowhere else: it leaves out the tensors of a LoRA that it does not know, writes a line for each, and
reports success.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

KEPT_LINES = 20_000
"""Lines kept, of those that matter: a LoRA has up to some three thousand tensors, and one request eight LoRAs at most."""
NOT_LOADED = re.compile(r"\blora key not loaded: (\S+)\s*$")
"""ComfyUI's line about a tensor of a LoRA that the model has no place for."""
EXECUTED = re.compile(r"Prompt executed in ")
"""ComfyUI's line at the end of every prompt, after all others of it. Newer versions colour it: a letter stands before it."""


class ServerLog:
    """The last lines of a server that are looked for here, numbered; written on one thread and read on another."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Keep a line, if it is one of those that are looked for."""
        if NOT_LOADED.search(line) or EXECUTED.search(line):
            with self._lock:
                self._lines.append(line)
                self._count += 1

    def mark(self) -> int:
        """Return the number of the next line."""
        return self._count

    def since(self, mark: int) -> list[str]:
        """Return the lines from a number on, as far as they are kept."""
        with self._lock:
            count = min(self._count - mark, len(self._lines))
            return list(self._lines)[len(self._lines) - count :] if count > 0 else []

    async def finished(self, mark: int, *, within: float) -> list[str]:
        """Wait until the end of a prompt is logged, at most ``within`` seconds, and return the lines from a number on.

        A server's messages come another way than its log, and may be faster.
        """
        try:
            async with asyncio.timeout(within):
                while not any(EXECUTED.search(line) for line in self.since(mark)):  # noqa: ASYNC110 - written by other threads
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        return self.since(mark)


def keys_not_loaded(lines: list[str]) -> list[str]:
    """Return the names of the tensors that ComfyUI says it left out."""
    return [found[1] for line in lines if (found := NOT_LOADED.search(line))]


def lora_files(graph: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the LoRA files that a graph in API format loads, with any loader."""
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        name = inputs.get("lora_name") if isinstance(inputs, dict) else None
        if isinstance(name, str):
            yield name
