"""Claims a job for one call before it runs, so that it runs once however often it arrives. Knows no workflow."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ..errors import AlreadyClaimedError, BackendUnreachableError

log = logging.getLogger("ryla_gen.remote")

TRIES = 4
"""Attempts at the Dict, after those that Modal's own client makes for each."""
PAUSE = 0.5
"""Seconds before the second attempt; doubled each time."""


class Store(Protocol):
    """What is needed of a ``modal.Dict``."""

    async def claim(self, job: str, call: str) -> str:
        """Write the claim unless there is one, and return the call that holds it."""
        ...


class ModalClaims:
    """The claims of one app, in its ``modal.Dict``."""

    def __init__(self, name: str) -> None:
        import modal

        self._claims = modal.Dict.from_name(name, create_if_missing=True)

    async def claim(self, job: str, call: str) -> str:
        """Write the claim unless there is one, and return the call that holds it."""
        if await self._claims.put.aio(job, call, skip_if_exists=True):
            return call
        return str(await self._claims.get.aio(job, call))


async def claim(store: Store, job: str, call: str) -> None:
    """Claim a job for a call. The same call may claim again: its container died, and it is run anew.

    Raises:
        AlreadyClaimedError: another call has it; ``details["handle"]`` names that call.
        BackendUnreachableError: nobody can say, so it must not run.
    """
    pause = PAUSE
    for attempt in range(1, TRIES + 1):
        try:
            owner = await store.claim(job, call)
            break
        except Exception as error:  # whatever Modal's client raises: without an answer nothing may run
            log.warning("claiming job %s failed (%s of %s): %s", job, attempt, TRIES, error)
            if attempt == TRIES:
                message = f"The job {job} could not be claimed: {type(error).__name__}: {error}"
                raise BackendUnreachableError(message, "Modal's Dict does not answer. Send the job again.", {"job": job}) from None
            await asyncio.sleep(pause)
            pause *= 2
    if owner != call:
        raise AlreadyClaimedError(f"The job {job} is run by another call.", "", {"job": job, "handle": f"modal:{owner}"})
