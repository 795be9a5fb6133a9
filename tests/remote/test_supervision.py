"""What looks after ComfyUI in a container must not fail in silence: the jobs that wait on it would wait for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ryla_gen.comfy.server import ComfyServer
from ryla_gen.emulator.server import Emulator
from ryla_gen.remote.supervisor import Session


class Blind(ComfyServer):
    """A server whose process cannot be waited for, and whose end is told."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__([], folder=folder)
        self.url = url  # of the emulator that stands in
        self.killed = asyncio.Event()

    async def wait(self) -> int:
        """Fail as no test of the types can foresee."""
        raise RuntimeError("no such child")

    async def kill(self) -> None:
        """Note that it was ended."""
        self.killed.set()


async def test_when_the_watch_over_comfyui_fails_comfyui_is_ended_and_says_why(tmp_path: Path) -> None:
    with Emulator() as emulator:
        server = Blind(emulator.url, tmp_path)
        session = Session(server, stall=60)
        session.watch()
        async with asyncio.timeout(60):
            await server.killed.wait()
        assert session.over
        assert session.why == "its watch failed: RuntimeError: no such child"
        await session.close()
