"""Check whether a server's queue moves: HTTP answers even when the thread that runs prompts is dead. Must not restart it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ..errors import RylaGenError, ServerUnhealthyError
from .client import ComfyClient
from .errors import RESTART
from .queue import Queue
from .server import PROBE_SECONDS, run_probe

WATCH_SECONDS = 10.0
"""How long a queue is watched for a sign of life: sampling steps and ends of prompts come more often, on any GPU."""
LOOK_SECONDS = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a queue, and what to do about it."""

    moves: bool
    message: str
    hint: str = ""
    """What to do."""


async def examine_queue(client: ComfyClient, *, seconds: float = WATCH_SECONDS) -> Health:
    """Run the smallest graph where nothing runs, and watch the queue and the log where something does.

    Args:
        client: the server.
        seconds: how long to watch.

    Raises:
        RylaGenError: the server does not answer.
    """
    first = await client.queue()
    if not first.running and not first.pending:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await run_probe(client)
            return Health(moves=True, message="empty, and the smallest graph runs")
        except TimeoutError:
            first = await client.queue()  # another client's prompt may have come first
        except ServerUnhealthyError as error:
            return Health(moves=False, message=f"empty, but the smallest graph does not run: {error.message}", hint=error.hint)
        except RylaGenError as error:  # the prompt was refused, which says nothing about the queue
            return Health(moves=True, message=f"empty; the smallest graph could not be tried: {error.message}")
    return await _watch(client, first, seconds)


async def _watch(client: ComfyClient, first: Queue, seconds: float) -> Health:
    counts = f"{len(first.running)} running, {len(first.pending)} waiting"
    said, end = await _log_lines(client), time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(min(LOOK_SECONDS, seconds))
        queue = await client.queue()
        if queue.running != first.running or set(first.pending) - set(queue.pending) or await _log_lines(client) != said:
            return Health(moves=True, message=counts)
    nothing = f"nothing moved for {seconds:g} s"
    if first.running:
        text = f"{counts}: the prompt {first.running[0]} counts as running, but {nothing}, neither in the queue nor in the log."
        return Health(
            moves=False,
            message=text,
            hint=f"{RESTART} A model that is being loaded also makes no progress: check again in a minute.",
        )
    return Health(moves=False, message=f"{counts}: prompts are waiting, none is running, and {nothing}.", hint=RESTART)


async def _log_lines(client: ComfyClient) -> list[tuple[str, str]]:
    """Read the server's log without the arrivals of prompts: those are logged even when the thread that runs them is dead."""
    try:
        return [piece for piece in await client.log() if "got prompt" not in piece[1]]
    except RylaGenError:
        return []
