"""Look at a character job until it is known where each of its pictures is. Must not send or change anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import AsyncCharacterJob

FIRST_LOOK, FURTHER_LOOK = 3.0, 0.5
"""Seconds to wait for the first news, and for each further one."""


async def look_at(job: AsyncCharacterJob) -> None:
    """Wait until nothing new has been heard for a moment, or the end: enough to say where each picture is."""
    await job.handed_in()
    updates = job.updates()
    await anext(updates)  # what is known now
    patience = FIRST_LOOK
    try:
        while not job.done:
            await asyncio.wait_for(anext(updates), patience)
            patience = FURTHER_LOOK if any(part.state != "queued" for part in job.plan.parts) else FIRST_LOOK
    except (TimeoutError, StopAsyncIteration):
        return
