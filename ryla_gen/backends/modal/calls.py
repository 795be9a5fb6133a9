"""Call Modal: retry until it answers, stop a job, cancel a call whose caller is interrupted. Must not know an event or a result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import modal

from ...errors import NotAuthorizedError, NotDeployedError, PlainData, RylaGenError
from ...names import APP
from ...remote.claims import ClaimStore, stop
from ...remote.faults import log_hint
from ...remote.modal_errors import AMBIGUOUS, from_modal_error
from ...support.cancels import cancels
from ...support.retry import RetryPolicy

T = TypeVar("T")

QUEUE_SECONDS = 1800.0
"""How long a job may wait for its turn and for a cold container: GPUs can be scarce for many minutes, and waiting costs nothing."""
REACH_SECONDS = 30.0
"""Seconds in which Modal must answer a call. Its own client tries a first connection for a minute, too long to say nothing."""
UPLOAD_BYTES_PER_SECOND = 125_000
"""The slowest uplink that is waited for: 1 Mbit/s, the least that Britain's universal service grants a home (SI 2018/445)."""
TAKE_BACK_SECONDS = 8.0
"""How long an interrupted caller waits to hear which call is to be canceled; the plain client waits 10 s for all of it."""
RETRY = RetryPolicy(attempts=5, first_pause=0.5)
"""How often a call is made when Modal does not answer; with the pauses between, an outage of about 15 s is survived."""


@dataclass(frozen=True, slots=True)
class ModalPatience:
    """How long to wait for Modal, and which command to advise."""

    queue_seconds: float = QUEUE_SECONDS
    """How long a job may wait before it starts."""
    reach_seconds: float = REACH_SECONDS
    """How long Modal may take to answer a call."""
    deploy: str = "ryla-gen deploy"
    """The command that deploys the app."""
    log: str = log_hint(APP)
    """Where the log of its containers is."""


DEFAULT_PATIENCE = ModalPatience()


async def retry_call(call: Callable[[], Awaitable[T]], what: str, patience: ModalPatience) -> T:
    """Make a call that may safely be made twice, until Modal answers or patience ends.

    Args:
        call: makes it.
        what: what is being done, for messages: "Canceling".
        patience: ``reach_seconds`` limits all attempts together.

    """
    deadline, before = asyncio.get_running_loop().time() + patience.reach_seconds, cancels()
    for attempt in range(RETRY.attempts):
        try:
            async with asyncio.timeout_at(deadline):
                return await call()
        # No answer: the call may have arrived, which is why only repeatable calls come here.
        except AMBIGUOUS as error:
            if cancels() > before:
                raise asyncio.CancelledError from None
            if RETRY.is_last(attempt) or asyncio.get_running_loop().time() >= deadline:
                raise from_modal_error(error, what, deploy=patience.deploy, log=patience.log) from None
            await asyncio.sleep(RETRY.pause(attempt))
        except modal.exception.Error as error:
            refusal = from_modal_error(error, what, deploy=patience.deploy, log=patience.log)
            if not attempt and isinstance(refusal, NotAuthorizedError | NotDeployedError):
                refusal.started = "no"  # a refusal is final only at the first attempt: after an ambiguous one the call may exist
            raise refusal from None
    raise AssertionError("the loop returns or raises")


async def stop_job(claims: ClaimStore, job: str, calls: Iterable[str], patience: ModalPatience) -> None:
    """Stop a job: no call of it begins from now on, and the calls that own it are canceled, with those that are named.

    Args:
        claims: where it is written down; see ``remote.claims``.
        job: its id.
        calls: the calls that the caller knows of. After a lost answer another one may own the job.
        patience: how long to wait for Modal.

    Raises:
        BackendUnreachableError: Modal does not answer; the job may still run.
    """
    owners: list[str] = []
    failure: RylaGenError | None = None
    try:
        owners = await retry_call(lambda: stop(claims, job), "Stopping the job", patience)
    except RylaGenError as error:
        failure = error  # the calls that are known are canceled all the same
    # The entry first, then the calls: otherwise another call of the job could claim it in between.
    await asyncio.gather(*(_cancel(call, patience) for call in {*calls, *owners}))
    if failure is not None:
        raise failure


async def _cancel(call: str, patience: ModalPatience) -> None:
    with contextlib.suppress(NotDeployedError):  # a call that Modal no longer knows runs nothing
        await retry_call(lambda: modal.FunctionCall.from_id(call).cancel.aio(), "Canceling", patience)


async def spawn_cancellable(method: Any, argument: PlainData, what: str, patience: ModalPatience, claims: ClaimStore) -> str:
    """Send a request and return the id of Modal's call. The time limit of the upload grows with its size.

    A caller that is interrupted meanwhile (Ctrl-C) does not pay: the job is stopped, and the call that Modal took is canceled.
    """
    generous = replace(patience, reach_seconds=patience.reach_seconds + upload_seconds(argument))
    task = asyncio.ensure_future(retry_call(lambda: method.spawn.aio(argument), what, generous))
    try:
        # Shielded: Modal may have taken the call already, and its id is needed to cancel it.
        return str((await asyncio.shield(task)).object_id)
    except asyncio.CancelledError:
        undoing = asyncio.create_task(_take_back(task, str(argument["job"]), patience, claims))
        await asyncio.wait([undoing], timeout=TAKE_BACK_SECONDS)
        undoing.cancel()
        task.cancel()
        raise


async def _take_back(task: asyncio.Future[Any], job: str, patience: ModalPatience, claims: ClaimStore) -> None:
    """Stop a job whose call is on its way: first by its entry, which any call of it finds; then the call that Modal names."""
    with contextlib.suppress(RylaGenError):
        await stop_job(claims, job, (), patience)
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        with contextlib.suppress(RylaGenError):
            await _cancel(task.result().object_id, patience)


def upload_seconds(data: object) -> float:
    """Return the seconds that sending a request's pictures and videos may take."""
    return _bytes_in(data) / UPLOAD_BYTES_PER_SECOND


def _bytes_in(data: object) -> int:
    if isinstance(data, bytes | str):
        return len(data)
    if isinstance(data, Mapping):
        return sum(_bytes_in(item) for item in data.values())
    return sum(_bytes_in(item) for item in data) if isinstance(data, list) else 0
