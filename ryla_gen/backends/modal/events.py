"""Copy a job's events from its partition of Modal's queue into its log. Must never fail a job: a lost event costs no result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from ...events import Finished, event_from_data
from ...support.cancels import cancels
from ..base import EventLog

log = logging.getLogger("ryla_gen.modal")

FIRST_PAUSE = 0.5
"""Seconds before a broken partition is read again; each further pause is twice as long."""
LONGEST_PAUSE = 15.0


async def copy_events(queue: Any, events: EventLog, patience: float) -> None:
    """Copy the partition's events into the log, until the last one.

    After a failure the partition is read again from its beginning: reading removes nothing, and the log drops what it has.

    Args:
        queue: a ``modal.Queue``.
        events: the log, whose job names the partition.
        patience: seconds without an event after which reading stops.
    """
    pause, before = FIRST_PAUSE, cancels()
    while True:
        try:
            return await _copy_events(queue, events, patience)
        except Exception as error:  # once Modal's client gives up, it raises the exceptions of its transport
            if cancels() > before:
                raise asyncio.CancelledError from None
            log.debug("no events of %s for %g s: %s: %s", events.job, pause, type(error).__name__, error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _copy_events(queue: Any, events: EventLog, patience: float) -> None:
    async with contextlib.aclosing(queue.iterate.aio(partition=events.job, item_poll_timeout=patience)) as items:
        async for item in items:
            event = event_from_data(item) if isinstance(item, dict) else None
            if isinstance(event, Finished):
                return
            if event is not None:
                with contextlib.suppress(TypeError, ValueError):  # an event that cannot be read must not hide the ones after it
                    events.put(event)
