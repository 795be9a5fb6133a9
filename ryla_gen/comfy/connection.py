"""Keep one websocket open while it is wanted: connect, hand every frame on, reconnect after a drop. Must not read a frame."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp

from ..errors import BackendUnreachableError, InternalError, RylaGenError, ServerUnhealthyError
from ..support.retry import RetryPolicy

log = logging.getLogger("ryla_gen.comfy")

RECONNECT = RetryPolicy(first_pause=0.1, longest_pause=2.0)
"""Pauses between attempts to reconnect. Not zero at first: ComfyUI tidies up the old socket by its client id, and the new one
goes deaf when that happens after it came."""
PATIENCE = 6
"""Factor on the limit for a server that accepts a connection and stays silent: it may be loading a model with the GIL held."""
STABLE = 1.0
"""A connection that lived for fewer seconds does not end an outage."""


class Listener(Protocol):
    """The methods of its owner that a connection calls."""

    @property
    def wanted(self) -> bool:
        """Whether messages are awaited, so that a lost connection is made anew."""
        ...

    def on_connect(self) -> None:
        """Handle that the websocket opened."""
        ...

    def receive(self, frame: aiohttp.WSMessage) -> None:
        """Receive one frame."""
        ...

    def on_disconnect(self) -> None:
        """Handle that the websocket closed: messages sent meanwhile are lost."""
        ...

    def give_up(self, error: RylaGenError) -> None:
        """Handle that there will be no further connection."""
        ...


class Connection:
    """One websocket that comes back.

    Args:
        connect: opens it.
        listener: takes what happens.
        gone_after: seconds of refused reconnects after which the server counts as dead.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]], listener: Listener, gone_after: float
    ) -> None:
        self._connect = connect
        self._listener = listener
        self._gone_after = gone_after
        self._run: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Connect. Raises when the first attempt fails, or when the server is gone for good."""
        if self._run is None or self._run.done():
            self._opened = asyncio.get_running_loop().create_future()
            self._run = asyncio.create_task(self._keep(), name="comfy-websocket")
            self._run.add_done_callback(self._pass_fault)
        assert self._opened is not None
        # Shielded: several callers wait for one connection, and one that is canceled must not end it for the others.
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Close the websocket for good."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        self._give_up(BackendUnreachableError("This client was closed.", "", {"sent": True}))

    def _pass_fault(self, task: asyncio.Task[None]) -> None:
        """Pass a fault of ours in the reader to everything that waits for it: silence would hang them."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(as_typed(error, "The reader of the websocket failed"))

    async def _keep(self) -> None:
        """Connect, drain, and connect again while some prompt lives."""
        outage, attempt, first = 0.0, 0, True
        while True:
            try:
                socket = await self._connect()
            except RylaGenError as error:
                patience = PATIENCE if error.details.get("silent") else 1
                waited = time.monotonic() - outage
                if first or not isinstance(error, BackendUnreachableError) or waited > self._gone_after * patience:
                    self._give_up(error if first else _gone_error(error, waited))
                    return
            else:
                since = time.monotonic()
                await self._drain(socket)
                now = time.monotonic()
                if first or now - since > STABLE:
                    outage, attempt = now, 0
                elif now - outage > self._gone_after:
                    self._give_up(_gone_error(None, now - outage))
                    return
                first = False
            # A dropped connection that no prompt needs is not opened again; the next open() does that.
            if not self._listener.wanted:
                self._give_up(
                    BackendUnreachableError("The connection was lost, and nothing is waiting for it.", "", {"sent": False})
                )
                return
            await asyncio.sleep(RECONNECT.pause(attempt))
            attempt += 1

    async def _drain(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        assert self._opened is not None
        if not self._opened.done():
            self._opened.set_result(None)
        self._listener.on_connect()
        try:
            async for frame in socket:
                self._listener.receive(frame)
        finally:
            await socket.close()
        log.debug("the websocket closed (%s)", socket.close_code)
        self._listener.on_disconnect()
        self._opened = asyncio.get_running_loop().create_future()

    def _give_up(self, error: RylaGenError) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # mark it as retrieved: there may be no waiter, and asyncio would complain
        self._listener.give_up(error)


def as_typed(error: BaseException, what: str) -> RylaGenError:
    """Return a typed error for whatever ended a background task, to raise in those that wait for it."""
    if isinstance(error, RylaGenError):
        return error
    typed = InternalError(f"{what}: {type(error).__name__}: {error}", "", {"sent": True, "exception_type": type(error).__name__})
    typed.__cause__ = error
    return typed


def _gone_error(error: RylaGenError | None, waited: float) -> RylaGenError:
    if error is None or isinstance(error, BackendUnreachableError):
        why = error.message if error is not None else "It closes every new connection."
        return ServerUnhealthyError(f"The ComfyUI server has not answered for {waited:.0f} s. {why}", "", {"sent": True})
    return error
