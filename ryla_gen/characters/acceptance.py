"""Wait until a backend has the jobs that were sent to it, and then release the lock on their folder. Must not send anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from ..client import AsyncJob
from ..client.fallback import IN_PROCESS


async def release_when_accepted(sent: Sequence[AsyncJob], held: AsyncExitStack) -> None:
    """Release the lock for other processes once the backend has everything that was sent."""
    async with held:
        await asyncio.gather(*(wait_accepted(job) for job in sent))


async def wait_accepted(job: AsyncJob) -> None:
    """Wait for the first event after the one that every job begins with: the backend has it, or it has ended."""
    if job.backend not in IN_PROCESS:
        return  # their submit returns when the backend has the job; its start may be half an hour away
    async for event in job.events():
        if event.seq > 0:
            return
