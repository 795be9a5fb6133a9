"""Servers that tests cut off: a RunPod worker that waits to be told, and a wire to a server that can be cut and mended."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from typing import Any, Self

from tests.conftest import encoded, portrait
from tests.runpod_loopback.server import Fault, Report

AWAY = Fault(status=503, headers={"Retry-After": "3600"})
"""RunPod's answer to a question while it is away for so long that nobody waits."""


class Worker:
    """A worker of RunPod's that gives one picture, or the answer it was told to give."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        """Held jobs go on once this is set; it is, to begin with."""
        self.ready.set()
        self.answer: dict[str, Any] | None = None
        """Given in place of a picture."""

    async def __call__(self, asked: dict[str, Any], report: Report) -> dict[str, Any]:
        """Work."""
        while not self.ready.is_set():
            await asyncio.sleep(0.01)
        data = base64.b64encode(encoded(portrait())).decode()
        picture = {"images": [{"filename": "x_00001_.png", "type": "base64", "data": data}]}
        return dict(self.answer) if self.answer is not None else picture


class Wire:
    """A port that leads to another one, until it is cut: then connections break, and new ones break at once."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._whole = True
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Break every connection, and keep no new one."""
        self._whole = False
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Carry again."""
        self._whole = True

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, near: asyncio.StreamReader, near_end: asyncio.StreamWriter) -> None:
        if not self._whole:
            near_end.transport.abort()
            return
        far, far_end = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends |= {near_end, far_end}
        await asyncio.wait({asyncio.create_task(self._pump(near, far_end)), asyncio.create_task(self._pump(far, near_end))})
        self._ends -= {near_end, far_end}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
