"""Erase the claims and the events of ended jobs from Modal's dict and queue. Must not touch a job that runs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import modal

from ...names import CLAIMS_DICT, EVENTS_QUEUE
from ...remote.claims import entry
from .calls import DEFAULT_PATIENCE, retry_call


async def forget_entries(jobs: Iterable[str], environment: str | None) -> None:
    """Erase the claims and the events of jobs; what is gone already changes nothing.

    Args:
        jobs: their ids.
        environment: Modal environment; the profile's when absent.

    Raises:
        BackendUnreachableError: Modal does not answer.
    """
    claims = modal.Dict.from_name(CLAIMS_DICT, environment_name=environment, create_if_missing=True)
    events = modal.Queue.from_name(EVENTS_QUEUE, environment_name=environment, create_if_missing=True)
    for job in jobs:
        await retry_call(partial(_forget_claims, claims, job), "Erasing the claims of a job", DEFAULT_PATIENCE)
        await retry_call(partial(events.clear.aio, partition=job), "Erasing the events of a job", DEFAULT_PATIENCE)


async def _forget_claims(claims: Any, job: str) -> None:
    """Remove a job's entries, the last one first: where this is cut off, the next attempt still finds all that are left."""
    count = 0
    while await claims.contains.aio(entry(job, count + 1)):
        count += 1
    for number in range(count, 0, -1):
        try:
            await claims.pop.aio(entry(job, number))
        except KeyError:
            continue
