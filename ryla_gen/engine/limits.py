"""Follow one prompt to its end, and stop it where it waits or runs too long. Must not know a workflow or collect files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..comfy import errors
from ..comfy.client import ComfyClient
from ..comfy.follower import PromptStream
from ..comfy.messages import ExecutionStart, Message, Whereabouts
from ..errors import GenerationTimeoutError, RylaGenError
from .progress import PromptProgress

log = logging.getLogger("ryla_gen")

STOP_SECONDS = 5.0
"""How long a prompt may take to stop, until one that had been silent counts as stuck: samplers look after each step."""
SILENT_SECONDS = 60.0
"""Seconds of silence before a limit that suggest a stuck server; half the limit where that is less."""
ASK_SECONDS = 5.0
"""How long the server may take to say where a prompt is that has used up its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The time limits of one prompt, in seconds."""

    running: float
    """From the start of the graph."""
    waiting: float | None
    """Until the graph starts; None where something else watches the server and its queue."""


class Watched:
    """One submitted prompt of a server.

    Args:
        client: the server.
        run: what is known of the prompt.
        job: its id.
        limits: how long it may take.
        note: takes each message.
        stop: asks the server to stop the prompt, and returns whether that reached it.
    """

    def __init__(
        self,
        client: ComfyClient,
        run: PromptProgress,
        job: str,
        limits: Limits,
        *,
        note: Callable[[Message], None],
        stop: Callable[[str], Coroutine[Any, Any, bool]],
    ) -> None:
        self._client = client
        self._run = run
        self._job = job
        self._limits = limits
        self._note = note
        self._stop = stop
        self._began = time.monotonic()

    async def follow(self, follower: PromptStream) -> None:
        """Read the prompt's messages to its end; stop it when it takes too long or when it is no longer wanted.

        Raises:
            GenerationTimeoutError: it waited or ran too long, and was stopped.
            ServerUnhealthyError: the server is gone, or stuck.
        """
        try:
            await self._read(follower)
        except asyncio.CancelledError:
            # Shielded: a second cancel must not leave the prompt running on the server.
            await asyncio.shield(self._stop(self._job))
            raise

    async def _read(self, follower: PromptStream) -> None:
        try:
            async with asyncio.timeout(None) as clock:
                clock.reschedule(self._deadline())
                async for message in follower:
                    self._run.heard = time.monotonic()
                    self._note(message)
                    clock.reschedule(self._deadline())
        except TimeoutError:
            # The waiting clock ran out, but the start message may have been lost: a running graph gets its whole run limit.
            if not await self._runs_unheard():
                raise await self._too_long(follower) from None
            self._note(ExecutionStart(self._job))
            await self._read(follower)
        except Exception:
            if not follower.ended:  # its messages cannot be handled, so it must not run on unwatched
                await self._stop(self._job)
            raise

    def _deadline(self) -> float | None:
        # Two clocks, one after the other: waiting until the graph starts, running from then on. asyncio uses time.monotonic() too.
        if self._run.started is not None:
            return self._run.started + self._limits.running
        return None if self._limits.waiting is None else self._began + self._limits.waiting

    async def _runs_unheard(self) -> bool:
        """Whether a prompt whose waiting time is over has begun after all, and its start message was lost."""
        where = await self._whereabouts() if self._run.started is None else None
        return where is not None and where.place == "running"

    async def _too_long(self, follower: PromptStream) -> RylaGenError:
        if self._run.started is None:
            return await self._waited_too_long(follower)
        limit, silent = self._limits.running, time.monotonic() - self._run.heard
        stopped = await self._stop(self._job)
        # A hung server is told apart from a slow graph: long silence, and the prompt does not end when told to.
        stuck = silent >= min(limit, SILENT_SECONDS) / 2 and self._limits.waiting is not None
        if stopped and stuck and not await self._ends(follower):
            return errors.stuck_prompt(self._job, self._client.address, silent, limit)
        text = f"The graph ran longer than {limit:g} s and was stopped (at {self._run.fraction():.0%})."
        if not stopped:
            text = (
                f"The graph ran longer than {limit:g} s; the server could not be told to stop it (at {self._run.fraction():.0%})."
            )
        return GenerationTimeoutError(text, "", {"job": self._job, "limit": limit, "stopped": stopped})

    async def _waited_too_long(self, follower: PromptStream) -> RylaGenError:
        where = await self._whereabouts()
        ahead = where.ahead if where is not None and where.place == "pending" else follower.ahead
        stopped = await self._stop(self._job)
        waiting = self._limits.waiting or 0.0
        error = errors.stuck_queue(self._job, self._client.address, waiting, ahead, moved=follower.moved, stopped=stopped)
        # Asked again after the stop: the graph may have started between the first look and the stop.
        after = await self._whereabouts() if stopped else None
        if after is not None and after.place == "absent":
            error.started = "no"  # the graph certainly never started, so another backend may take the job without a second charge
        return error

    async def _ends(self, follower: PromptStream) -> bool:
        """Whether a prompt that was told to stop ends."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                async for _ in follower:
                    pass
            return True
        except TimeoutError:
            where = await self._whereabouts()
            return where is not None and where.place != "running"
        except RylaGenError:
            return True  # the server is gone, and the prompt with it

    async def _whereabouts(self) -> Whereabouts | None:
        """Ask where the server has the prompt; None when it does not say."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return (await self._client.locate([self._job]))[self._job]
        except (RylaGenError, TimeoutError) as error:
            log.debug("the server does not say where the job %s is: %s", self._job, error)
            return None
