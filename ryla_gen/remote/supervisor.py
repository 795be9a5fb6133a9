"""Keep one ComfyUI working: notice when it dies or hangs, end what is left of it, start it again. Must not retry a job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..comfy.client import ComfyClient
from ..comfy.server import ComfyServer
from ..engine import Engine
from ..errors import RylaGenError, ServerUnhealthyError

log = logging.getLogger("ryla_gen.remote")

LOOK = 1.0
"""Seconds between two looks for progress, at most."""
RELEASE_LOOK = 0.5
"""Seconds between two checks whether a stopped prompt has freed the GPU."""


class Session:
    """One life of ComfyUI: from a start to its death."""

    def __init__(self, server: ComfyServer, stall: float) -> None:
        self.client = ComfyClient(server.url)
        self.engine = Engine(self.client, backend="modal")
        self.why = ""
        """What ended it; empty while it lives."""
        self._server = server
        self._stall = stall
        self._busy = 0
        self._sign = time.monotonic()
        self._watch: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def over(self) -> bool:
        """Whether ComfyUI is gone."""
        return bool(self.why)

    def watch(self) -> None:
        """Begin to look after it."""
        self._watch = asyncio.create_task(self._look_after(), name="comfyui-watch")

    def sign(self) -> None:
        """Record a sign of progress: a step, a start, an end."""
        self._sign = time.monotonic()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark ComfyUI as having work for as long as the block runs, so that silence counts as a hang."""
        if not self._busy:
            self.sign()
        self._busy += 1
        try:
            yield
        finally:
            # Counted, not a flag: requests and the release of a stopped prompt may overlap.
            self._busy -= 1
            self.sign()

    def release(self, prompt_id: str) -> None:
        """Watch that a stopped prompt frees the GPU: until it does, silence counts against ComfyUI."""
        task = asyncio.create_task(self._release(prompt_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self, why: str) -> None:
        """End ComfyUI, and every prompt it had; ending twice is the same as once."""
        if not self.over:
            self.why = why
            log.warning("ComfyUI ends: %s", why)
        # Killed, not asked to stop: a hung ComfyUI may not react to SIGTERM, and it holds the GPU.
        await self._server.kill()
        await self.client.close()

    async def close(self) -> None:
        """Stop looking after it and let ComfyUI end in peace."""
        self.why = self.why or "the container stops"
        tasks = [task for task in (self._watch, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()
        await self._server.stop()

    async def _look_after(self) -> None:
        try:
            await self._watch_server()
        except Exception as error:  # without its watch a hung ComfyUI would hold its jobs for ever
            log.exception("the watch over ComfyUI failed")
            await self.end(f"its watch failed: {type(error).__name__}: {error}")

    async def _watch_server(self) -> None:
        ended = asyncio.create_task(self._server.wait())
        try:
            while not self.over:
                done, _ = await asyncio.wait({ended}, timeout=min(LOOK, self._stall / 4))
                silent = time.monotonic() - self._sign
                if done:
                    await self.end(f"it ended by itself (exit code {ended.result()})")
                # Only while a request runs: an idle ComfyUI is silent, too.
                elif self._busy and silent > self._stall:
                    await self.end(f"it made no progress for {silent:.0f} s while something should run")
        finally:
            ended.cancel()

    async def _release(self, prompt_id: str) -> None:
        try:
            with self.busy(), contextlib.suppress(RylaGenError):
                while not self.over and prompt_id in (await self.client.queue()).running:  # noqa: ASYNC110 - no event announces it
                    await asyncio.sleep(RELEASE_LOOK)
        except Exception as error:  # it no longer answers what it runs, and it may hold the GPU
            log.exception("the end of %s could not be followed", prompt_id)
            await self.end(f"its queue cannot be read: {type(error).__name__}: {error}")


class Supervisor:
    """Keeps ComfyUI available: every call of :meth:`session` returns one that works.

    Args:
        server: the process.
        stall: seconds without progress, while something should run, after which it counts as wedged.
    """

    def __init__(self, server: ComfyServer, *, stall: float) -> None:
        self._server = server
        self._stall = stall
        self._session: Session | None = None
        self._lock = asyncio.Lock()

    async def session(self) -> Session:
        """Return the living session; start ComfyUI anew when the last one is over. One that was started before is taken as it is.

        Raises:
            ServerUnhealthyError: it does not start.
        """
        async with self._lock:
            if self._session is None or self._session.over:
                if self._session is not None:
                    await self._session.end(self._session.why)  # nothing of the old one may hold the GPU
                if not self._server.alive:
                    seconds = await self._server.start()
                    log.info("ComfyUI is ready after %.1f s", seconds)
                self._session = Session(self._server, self._stall)
                self._session.watch()
            return self._session

    async def stop(self) -> None:
        """End ComfyUI."""
        async with self._lock:
            if self._session is not None:
                await self._session.close()
            await self._server.stop()

    def unhealthy(self, message: str, error: RylaGenError | None = None) -> ServerUnhealthyError:
        """Describe a death, with the end of ComfyUI's log."""
        told = error.details if error is not None else {}
        why = self._session.why if self._session is not None else ""
        return ServerUnhealthyError(f"{message} ({why or 'no reason known'})", "", {**told, "log": self._server.tail})
