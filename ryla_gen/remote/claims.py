"""Decides which call may run a job, and stops jobs, by entries of one ``modal.Dict``. Knows no workflow.

The entries of a job are ``<job>``, ``<job>/2``, ``<job>/3`` and so on. Each is written once, by an atomic put that skips what
exists, and the last one decides:

===========  =======================  ==============================================================================
last entry   the job                  what may be written next, and by which side
===========  =======================  ==============================================================================
none         is not claimed           a call id: that call claims the job (worker)
                                      ``canceled``: the job is stopped before it ran (client)
a call id    belongs to that call     nothing: the same call runs again after a restart (worker)
                                      another call id, once the owner is over without a reply: it runs again (worker)
                                      ``canceled``: the job is stopped, and the owner's call is canceled (client;
                                      worker, where its input is canceled by a side that writes no entry)
canceled     is stopped               nothing: every call is refused with ``job_canceled``
===========  =======================  ==============================================================================

When a claim and a stop meet at one entry, one of them is written and the other finds it. A call that is not the last owner and is
not allowed to follow it is refused with ``already_claimed``, which names the owner. Entries live 7 idle days.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Protocol

import modal

from ..errors import AlreadyClaimedError, BackendUnreachableError, JobCanceledError

log = logging.getLogger("ryla_gen.remote")

CANCELED = "canceled"
"""Stands in the place of a call id when the job is stopped."""
TRIES = 4
"""Attempts at the Dict, after those that Modal's own client makes for each."""
PAUSE = 0.5
"""Seconds before the second attempt; doubled each time."""
RAISED = re.compile(r"(Remote error: )?[A-Za-z_][\w.]*\(")
"""How the text of an exception begins that a container raised: it is the exception's ``repr``."""


class ClaimStore(Protocol):
    """The operations that claims need from a ``modal.Dict`` and from Modal's calls."""

    async def put(self, key: str, value: str) -> bool:
        """Write an entry unless it exists; return whether it was written."""
        ...

    async def get(self, key: str) -> str | None:
        """Return the value of an entry; None when there is none."""
        ...

    async def is_lost(self, call: str) -> bool:
        """Whether a call is over without a reply, and no one canceled it."""
        ...


class ModalClaims:
    """The claims of one app, in its ``modal.Dict``.

    Args:
        name: name of the Dict.
        environment: Modal environment; the container's own, or the profile's, when absent.
    """

    def __init__(self, name: str, environment: str | None = None) -> None:
        self._entries = modal.Dict.from_name(name, environment_name=environment, create_if_missing=True)

    async def put(self, key: str, value: str) -> bool:
        """Write an entry unless it exists; return whether it was written."""
        return bool(await self._entries.put.aio(key, value, skip_if_exists=True))

    async def get(self, key: str) -> str | None:
        """Return the value of an entry; None when there is none."""
        value = await self._entries.get.aio(key, None)
        return None if value is None else str(value)

    async def is_lost(self, call: str) -> bool:
        """Whether a call is over without a reply, and no one canceled it."""
        try:
            await modal.FunctionCall.from_id(call).get.aio(timeout=0)
        except (modal.exception.ConnectionError, modal.exception.ServiceError):
            raise  # Modal did not tell which
        except Exception as error:  # the container's own exception, whatever its class: a reply of its kind
            return over_without_reply(error)
        return False


def entry(job: str, number: int) -> str:
    """Return the key of a job's entry, counted from 1."""
    return job if number == 1 else f"{job}/{number}"


async def entries_of(store: ClaimStore, job: str) -> list[str]:
    """Return a job's entries in order; the last one decides."""
    found: list[str] = []
    while (value := await store.get(entry(job, len(found) + 1))) is not None:
        found.append(value)
    return found


async def stop(store: ClaimStore, job: str) -> list[str]:
    """Stop a job for every call that has not taken it yet. May be repeated.

    Returns:
        The calls that own it, or did: the caller cancels them.
    """
    owners: list[str] = []
    # A put that fails means that a call has claimed this entry: remember it for cancellation, and try the next entry.
    while not await store.put(key := entry(job, len(owners) + 1), CANCELED):
        found = await store.get(key)
        if found == CANCELED:
            break
        if found is not None:  # None: the entry has just expired, and its place is free
            owners.append(found)
    return owners


async def claim(store: ClaimStore, job: str, call: str) -> bool:
    """Claim a job for a call, and return whether it may have run before, under this call or another one.

    Raises:
        AlreadyClaimedError: another call has it; ``details["handle"]`` names that call.
        JobCanceledError: it is stopped.
        BackendUnreachableError: the claims cannot be read, so the job must not run.
    """
    pause = PAUSE
    for attempt in range(1, TRIES + 1):
        try:
            return await _claim(store, job, call)
        except (AlreadyClaimedError, JobCanceledError):
            raise
        except Exception as error:  # any exception of Modal's client: without an answer nothing may run
            log.warning("claiming job %s failed (%s of %s): %s", job, attempt, TRIES, error)
            if attempt == TRIES:
                message = f"The job {job} could not be claimed: {type(error).__name__}: {error}"
                raise BackendUnreachableError(message, "Modal's Dict does not answer. Send the job again.", {"job": job}) from None
            await asyncio.sleep(pause)
            pause *= 2
    raise AssertionError("the loop returns or raises")


async def _claim(store: ClaimStore, job: str, call: str) -> bool:
    if await store.put(job, call):
        return False
    while True:
        calls = await entries_of(store, job)
        owner = calls[-1] if calls else None
        if owner == CANCELED:
            raise JobCanceledError(f"The job {job} was canceled, and nothing of it runs any more.", "", {"job": job})
        # Modal restarts a preempted call under the same id: it owns the entry already.
        if owner == call:
            return True
        # A call that lost the job must not take it back, and an owner that still runs keeps it: the job would be paid for twice.
        if owner is not None and (call in calls or not await store.is_lost(owner)):
            raise AlreadyClaimedError(
                f"The job {job} is already run by another call.", "", {"job": job, "handle": f"modal:{owner}"}
            )
        # If another call writes this entry first, the loop reads again and finds that call as the owner.
        if await store.put(entry(job, len(calls) + 1), call):
            return True


def over_without_reply(error: BaseException) -> bool:
    """Whether an exception of ``FunctionCall.get`` says that the call ended by itself: preempted, or its container lost.

    Only the text of Modal's exception tells such a call from a canceled one, and from one whose container raised.
    """
    if isinstance(error, modal.exception.InternalFailure):
        return True
    return _in_words(error) and not canceled_by_hand(error)


def canceled_by_hand(error: BaseException) -> bool:
    """Whether Modal says that the call was canceled: by a caller, or in its dashboard."""
    return _in_words(error) and "cancel" in str(error).lower()


def _in_words(error: BaseException) -> bool:
    """Whether an exception is Modal's own text, and not that of an exception that the container raised."""
    return isinstance(error, modal.exception.RemoteError) and RAISED.match(str(error)) is None
