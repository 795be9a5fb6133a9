"""Read standard input line by line without holding the process: a blocked read must not outlive a signal. Parses nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

PIECE = 1 << 16
"""Bytes of one read; a pipe holds as many."""


class InputLines:
    """The lines of standard input; what else reads it finds it empty.

    The SDK's own reader blocks in a thread that Python joins when it ends, so that a signal would not end the process. Here
    a daemon thread reads the bare descriptor, which no lock of the interpreter guards.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._descriptor = os.dup(0)
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        threading.Thread(target=self._read, name="mcp-input", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._queue.get()) is not None:
            yield line

    def _read(self) -> None:
        line = bytearray()  # a picture in a line comes in hundreds of pieces
        while data := self._piece():
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._put((bytes(line) + end).decode("utf-8", "replace"))
                line.clear()
            line += rest
        self._put(None)

    def _piece(self) -> bytes:
        try:
            return os.read(self._descriptor, PIECE)
        except OSError:
            return b""

    def _put(self, line: str | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
