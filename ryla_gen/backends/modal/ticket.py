"""Follow one job on Modal: events, reply, limits, cancellation, a second run after a preemption. Must not look up the app."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any, NoReturn, Protocol

import modal

from ...contract import READABLE, read_reply
from ...engine.output_hooks import OnOutput, not_asked
from ...errors import (
    AlreadyClaimedError,
    BackendUnreachableError,
    ContractMismatchError,
    GenerationTimeoutError,
    JobCanceledError,
    JobExpiredError,
    NotDeployedError,
    PlainData,
    PreemptedError,
    RylaGenError,
)
from ...events import CONTRACT, Queued
from ...remote.claims import CANCELED, ModalClaims, canceled_by_hand, entries_of, over_without_reply
from ...remote.modal_apps import CLOSE_SECONDS
from ...remote.modal_errors import AMBIGUOUS, from_modal_error, remote_exception
from ...results import Generation
from ...support.cancels import cancels, end
from ...workflows.base import Workflow
from ..tickets import TaskTicket, contact_lost
from .calls import RETRY, ModalPatience, retry_call, stop_job
from .events import copy_events

log = logging.getLogger("ryla_gen.modal")

LAST_EVENTS = 0.5
"""Seconds to wait, when the reply is there, for events that are still on their way."""
POLL_SECONDS = 15.0
"""Longest single wait for a result; a dropped connection is noticed after it."""


class Send(Protocol):
    """Sends the request of a job once more, in the contract of an older app when one is named, and returns the call's id."""

    async def __call__(self, contract: int | None = None) -> str:
        """Send it."""
        ...


class _WithoutReply(Exception):  # noqa: N818 - it never leaves this module
    """The call is over and returned nothing."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.by_hand = by_hand
        """Whether Modal reports that it was canceled."""


class ModalTicket(TaskTicket):
    """One job, by the call that runs it: the one that was spawned for it, or the one that owns it.

    Args:
        call: id of the call to follow first.
        workflow: what it runs.
        job: id of the job.
        queue: where its events are.
        claims: where its owner is written.
        limit: seconds that it may run.
        patience: how long to wait for Modal.
        send: sends its request again; None in a process that only looks after a job of another one.
        on_output: the hook that the client was given.
    """

    def __init__(
        self,
        call: str,
        workflow: Workflow,
        job: str,
        queue: Any,
        claims: ModalClaims,
        limit: float,
        patience: ModalPatience,
        send: Send | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        super().__init__(job, on_output)
        self._first = call
        self._follow(call)
        self._workflow = workflow
        self._queue = queue
        self._claims = claims
        self._limit = limit
        self._patience = patience
        self._send = send
        self._over: set[str] = set()
        """Calls that ended without a reply."""
        self._canceled = False
        self._stop_unheard = False
        """Whether a cancel did not reach Modal: another call of the job may still begin."""
        self._taken = False
        """Whether a container may have taken the job although no start event arrived."""
        self.at_once = False
        """Whether to ask first without waiting: of an expired result Modal says so only when the wait is over."""

    @property
    def handle(self) -> str:
        """Backend and the id of the first call, which is the one in the journal: from it the owner is found again."""
        return f"modal:{self._first}"

    async def cancel(self) -> None:
        """Stop the job, queued or running, whichever call it belongs to, and wait until it has ended here."""
        if self._has_ended and not self._stop_unheard:
            return
        # Set before the entry is written: whatever ends the call from now on is reported as canceled, not as a fault.
        self._canceled = self._stop_unheard = True
        await self._stop()
        self._stop_unheard = False
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _stop(self) -> None:
        await stop_job(self._claims, self._log.job, [self._id], self._patience)

    def _follow(self, call: str) -> None:
        self._id = call  # kept separately: Modal's object has its id only after the first answer
        self._call: Any = modal.FunctionCall.from_id(call)

    async def _work(self) -> Generation:
        reading = asyncio.create_task(copy_events(self._queue, self._log, self._patience.queue_seconds + self._limit))
        try:
            generation = await self._follow_claim()
            await asyncio.wait([reading], timeout=LAST_EVENTS)
        finally:
            self._send = None  # it holds the pictures of the request
            await end(reading, CLOSE_SECONDS)  # so that no loop ends while Modal's client is still closing its stream
        missed = await asyncio.to_thread(not_asked, generation.server.get("on_output"))
        return replace(generation, warnings=generation.warnings + missed) if missed else generation

    async def _follow_claim(self) -> Generation:
        """Wait for the reply, of whichever call the job comes to belong to."""
        while True:
            try:
                return read_reply(await self._get_with_retries(), self._workflow)
            except AlreadyClaimedError as error:
                self._follow(self._owner(error))
            except _WithoutReply as lost:
                self._follow(await self._next_call(lost))
            except ContractMismatchError as error:
                self._follow(await self._send_in_contract_of(error))

    def _owner(self, error: AlreadyClaimedError) -> str:
        """Return the call that owns the job, as named by the refusal of another call."""
        owner = str(error.details.get("handle", "")).removeprefix("modal:")
        if owner == CANCELED:  # an app of contract 1 reports this entry as if it were a call
            raise self._canceled_error()
        if owner in self._over:  # Modal reports the same for a call that was preempted
            raise self._preemption_error("The deployed app cannot run a job again. Deploy it again: " + self._patience.deploy)
        if not owner or owner == self._id:
            raise error
        return owner

    async def _next_call(self, lost: _WithoutReply) -> str:
        """Return the call that runs the job after its own ended without a reply; when it has none, send the job once more.

        The job is not sent again when its owner stopped it, nor when that cannot be found out: it would be paid for twice.
        """
        self._over.add(self._id)
        try:
            what = "Asking for the claim"
            entries = await retry_call(lambda: entries_of(self._claims, self._log.job), what, self._patience)
        except RylaGenError as error:
            raise self._preemption_error(f"It is not known whether it was canceled: {error.message}") from None
        last = entries[-1] if entries else None
        # A cancel that raced with the end of the call counts: its caller wants no second run.
        if last == CANCELED or self._canceled:
            raise self._canceled_error()
        # Another call owns the job by now, so follow that one.
        if last is not None and last not in self._over:
            return last
        # Sent again once only, by the process that sent it, and only after a container had claimed it. Each run may cost money,
        # so everything else is left to the caller.
        if lost.by_hand or self._send is None or last is None or len(self._over) > 1:
            await self._end_without_reply(lost, begun=last is not None)
        log.warning("the container of the job %s was lost; the job is sent again", self._log.job)
        # Readers of the events see that the job waits again, instead of a progress that stands still.
        self._log.add(Queued, position=0)
        try:
            return await self._send()
        except RylaGenError as error:
            raise self._preemption_error(f"It could not be sent again: {error.message}") from None

    async def _end_without_reply(self, lost: _WithoutReply, *, begun: bool) -> NoReturn:
        """End a job that is not sent again. Its sender stops it, so that no other call of it runs later for no one."""
        if self._send is not None or lost.by_hand:
            with contextlib.suppress(RylaGenError):
                await self._stop()
        if lost.by_hand:
            raise self._canceled_error()
        raise self._preemption_error("It was not sent again." if begun else "It had not started, and nothing ran.")

    async def _send_in_contract_of(self, error: ContractMismatchError) -> str:
        """Send the request again in the contract of an older app, which refused it before it ran anything."""
        theirs = error.details.get("contract")
        # Only once: the comparison holds only for the refusal of a request in our own version.
        if self._send is not None and theirs in READABLE and theirs != CONTRACT == error.details.get("theirs"):
            log.info("the deployed app uses version %s of the contract; deploy it again: %s", theirs, self._patience.deploy)
            return await self._send(theirs)
        hint = error.hint.replace("ryla-gen deploy", self._patience.deploy)  # into the environment where it was found
        raise ContractMismatchError(error.message, hint, error.details) from None

    async def _get_with_retries(self) -> PlainData:
        """Get the call's return value, for as long as there is patience."""
        loop, before = asyncio.get_running_loop(), cancels()
        failures = early = 0
        while True:
            if cancels() > before:  # what it was told while it asked
                raise asyncio.CancelledError
            wait, asked = await self._wait_budget(), loop.time()
            try:
                reply: PlainData = await self._call.get.aio(timeout=wait)
                return reply
            except (RylaGenError, modal.exception.FunctionTimeoutError, modal.exception.OutputExpiredError) as error:
                raise self._fail(error) from None
            except TimeoutError as error:
                failures = 0  # the server answered: the job is not done yet
                # A TimeoutError long before ``wait`` is over was raised by the container. Two in a row, as clocks may jump once.
                early = early + 1 if loop.time() - asked < wait / 2 else 0
                if early > 1:
                    raise remote_exception(error, f"The job {self._log.job}", self._patience.log) from None
            except modal.exception.AuthError as error:  # of the token here, which says nothing about the job
                raise contact_lost(self._fail(error), self._log.job) from None
            except AMBIGUOUS as error:
                failures += 1
                if failures >= RETRY.attempts:
                    found = self._fail(error)
                    raise (contact_lost(found, self._log.job) if isinstance(found, BackendUnreachableError) else found) from None
                await asyncio.sleep(RETRY.pause(failures - 1))
            except Exception as error:  # the container's own, whatever class it has
                if canceled_by_hand(error) or over_without_reply(error):
                    raise _WithoutReply(canceled_by_hand(error)) from None
                raise self._fail(error) from None

    async def _wait_budget(self) -> float:
        """Return the seconds that the next question may take; when the job's time is over, give it up."""
        now = asyncio.get_running_loop().time()
        # Events may be lost. Before a job that seems to wait is given up, ask whether a container runs it already.
        if now >= self._deadline() and self._log.started_at is None and not self._taken:
            self._taken = await self._may_be_claimed()
        # Computed again: a claim that was just found extends the deadline by the run limit.
        left = self._deadline() - now
        if left <= 0:
            await self._abandon()
        wait = 0.0 if self.at_once else max(0.05, min(POLL_SECONDS, self._limit, left))
        self.at_once = False
        return wait

    def _deadline(self) -> float:
        """Return when the queue limit ends, or the run limit once the job has started; both together when its start may be lost."""
        if self._log.started_at is not None:
            return self._log.started_at + self._limit
        return self._log.queued_at + self._patience.queue_seconds + (self._limit if self._taken else 0.0)

    async def _may_be_claimed(self) -> bool:
        """Whether a container may have the job. A missing start event proves nothing: events can be lost."""
        try:
            return await retry_call(lambda: self._claims.get(self._log.job), "Asking for the claim", self._patience) is not None
        except NotDeployedError:
            return False  # an app of contract 1 has no claims at all
        except RylaGenError:
            return True

    async def _abandon(self) -> None:
        ended = "was canceled"
        try:
            await self._stop()
        except RylaGenError as error:
            ended = f"could not be canceled ({error.message}), and may run on"
        waited, details = self._patience.queue_seconds, {"job": self._log.job}
        if self._log.started_at is not None:
            text = f"The job ran longer than {self._limit:g} s and {ended}."
            raise GenerationTimeoutError(text, "Give it more time: timeout=SECONDS, or MODAL_TIMEOUT (milliseconds).", details)
        if self._taken:
            text = f"No event said when the job started, and {waited + self._limit:g} s after it was sent it {ended}."
            raise GenerationTimeoutError(text, self._patience.log, details)
        text = f"The job waited {waited:g} s for a container and {ended}"
        text += "; nothing ran." if ended == "was canceled" else "."
        raise GenerationTimeoutError(text, "Try again later, or allow more containers.", {**details, "queued": True})

    def _fail(self, error: BaseException) -> RylaGenError:
        if self._canceled:
            return self._canceled_error()
        found = from_modal_error(error, f"The job {self._log.job}", deploy=self._patience.deploy, log=self._patience.log)
        if isinstance(found, NotDeployedError):
            return JobExpiredError(f"Modal no longer knows the call of the job {self._log.job}.", "Run it again.")
        return found

    def _canceled_error(self) -> JobCanceledError:
        return JobCanceledError(f"The job {self._log.job} was canceled.")

    def _preemption_error(self, why: str) -> PreemptedError:
        return PreemptedError(f"The container of the job {self._log.job} was lost. {why}", "", {"job": self._log.job})
