"""Modal: class methods called by name. One path for all: spawn, follow the job's queue partition, get. Knows no GPU code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

import modal

from ..contract import Options, read_reply, request
from ..errors import (
    AlreadyClaimedError,
    ContractMismatchError,
    GenerationTimeoutError,
    JobCanceledError,
    JobExpiredError,
    JobNotFoundError,
    NotAuthorizedError,
    NotDeployedError,
    RylaGenError,
    before_start,
)
from ..events import Finished, event_from_data
from ..loras.choosing import REMEMBERED_SECONDS, Chooser
from ..loras.library import Library
from ..names import CLAIMS_DICT, CLASS_OF_FAMILY, EVENTS_QUEUE
from ..prices import GPU_USD_PER_SECOND
from ..results import Generation
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import BUILT_IN
from .base import Ticket
from .modal_errors import AMBIGUOUS, translated
from .modal_loras import VolumeStore
from .tickets import TaskTicket

T = TypeVar("T")
log = logging.getLogger("ryla_gen.modal")

QUEUE_SECONDS = 1800.0
"""How long a job may wait for its turn and for a cold container: GPUs can be scarce for many minutes, and waiting costs nothing."""
DEFAULT_GPU = ("L40S",)
"""What a family is deployed on when nothing says otherwise."""
ATTEMPTS = 5
"""Times a call is made when Modal does not answer; with the pauses between, about 15 s away are survived."""
FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""
LAST_EVENTS = 0.5
"""Seconds to wait, when the reply is there, for events that are still on their way."""
REACH_SECONDS = 30.0
"""Seconds in which Modal must answer a call. Its own client tries a first connection for a minute, too long to say nothing."""
POLL_SECONDS = 15.0
"""Longest single wait for a result; a dropped connection is noticed after it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient a backend is, and what it advises."""

    queue_seconds: float = QUEUE_SECONDS
    """How long a job may wait before it starts."""
    reach_seconds: float = REACH_SECONDS
    """How long Modal may take to answer a call."""
    deploy: str = "ryla-gen deploy"
    """The command that deploys the app."""


class ModalBackend:
    """Runs jobs on the deployed app.

    Args:
        settings: app, environment, timeout and workspace.
        terms: how patient to be.
    """

    name = "modal"
    measures_consistency: ClassVar[bool] = True

    def __init__(self, settings: Settings, *, terms: Terms = Terms()) -> None:
        self._settings = settings
        environment = settings.modal_environment
        self._terms = replace(terms, deploy=f"{terms.deploy} --environment {environment}" if environment else terms.deploy)
        self._checked = False
        self._loras = Chooser(Library(VolumeStore(environment)), remember=REMEMBERED_SECONDS)
        self._methods: dict[str, Any] = {}
        self._tickets: WeakSet[ModalTicket] = WeakSet()

    def usd_per_second(self, workflow: Workflow) -> float:
        """The price of the family's first GPU; cores and memory add some percent."""
        chosen = self._settings.modal_families[workflow.family].gpu or DEFAULT_GPU
        name, _, count = chosen[0].partition(":")
        return GPU_USD_PER_SECOND.get(name.rstrip("!"), max(GPU_USD_PER_SECOND.values())) * int(count or 1)

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, measure_consistency: bool = False
    ) -> Ticket:
        """Spawn the workflow's method. After an ambiguous failure it is spawned again: a claimed job never runs twice."""
        with before_start():
            await self._check_workspace()
            await self._loras.names(workflow)  # refuses one for another base model, before anything starts
            method = await self._method(workflow)
        argument = request(workflow, job, Options(measure_consistency=measure_consistency))
        call = await _persistently(lambda: method.spawn.aio(argument), f"Calling {workflow.name}", self._terms)
        limit = max(timeout or self._settings.modal_timeout, timeout or workflow.time_limit())
        ticket = ModalTicket(call, workflow, job, await self._queue(), limit, self._terms)
        self._tickets.add(ticket)
        return ticket

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a call that another process spawned.

        Raises:
            JobNotFoundError: the handle belongs to another backend.
        """
        backend, _, call_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} is not of the modal backend.")
        call = modal.FunctionCall.from_id(call_id)
        limit = max(self._settings.modal_timeout, workflow.time_limit())
        ticket = ModalTicket(call, workflow, job, await self._queue(), limit, self._terms)
        ticket.at_once = True
        self._tickets.add(ticket)
        return ticket

    async def find(self, job: str) -> str | None:
        """Find the handle of a job whose caller died before it heard one: the claim names the call that owns it."""
        try:
            claims = modal.Dict.from_name(CLAIMS_DICT, environment_name=self._settings.modal_environment)
            owner = await claims.get.aio(job)
        except modal.exception.Error as error:
            log.debug("no claim of %s: %s", job, error)
            return None
        return f"{self.name}:{owner}" if owner else None

    async def close(self) -> None:
        """Forget everything; jobs go on."""
        self._methods.clear()
        for ticket in list(self._tickets):
            await ticket.let_go()

    async def _method(self, workflow: Workflow) -> Any:
        """Look the method up by name, once per workflow."""
        name = workflow.name if workflow.name in BUILT_IN else "generate"
        if name not in self._methods:
            cls = CLASS_OF_FAMILY["custom" if name == "generate" else workflow.family]
            found = modal.Cls.from_name(self._settings.modal_app, cls, environment_name=self._settings.modal_environment)
            what = f"Looking for {cls} in the app {self._settings.modal_app}"
            await _persistently(lambda: found.hydrate.aio(), what, self._terms)
            method = _attribute(found(), name)
            if method is None:
                text = f"The deployed app has no method {cls}.{name}: it is older than this package."
                raise NotDeployedError(text, f"Deploy it again: {self._terms.deploy}")
            self._methods[name] = method
        return self._methods[name]

    async def _queue(self) -> Any:
        return modal.Queue.from_name(EVENTS_QUEUE, environment_name=self._settings.modal_environment, create_if_missing=True)

    async def _check_workspace(self) -> None:
        """Compare the token's workspace with MODAL_WORKSPACE: Modal cannot select one by name, only refuse."""
        wanted = self._settings.modal_workspace
        if self._checked or not wanted:
            return
        found = await _persistently(_workspace, "Asking Modal for the token's workspace", self._terms)
        if found and found != wanted:
            text = f"The Modal token belongs to the workspace {found!r}, but MODAL_WORKSPACE is {wanted!r}."
            raise NotAuthorizedError(text, f"Choose the right token: modal profile activate {wanted}", {"workspace": found})
        self._checked = True


class ModalTicket(TaskTicket):
    """One spawned call: its events, its result, its end."""

    def __init__(self, call: Any, workflow: Workflow, job: str, queue: Any, limit: float, terms: Terms) -> None:
        self._call = call
        self._workflow = workflow
        self._queue = queue
        self._limit = limit
        self._terms = terms
        self._canceled = False
        self.at_once = False
        """Whether to ask first without waiting: of an expired result Modal says so only when the wait is over."""
        super().__init__(job)

    @property
    def handle(self) -> str:
        """Backend and function call id."""
        return f"{ModalBackend.name}:{self._call.object_id}"

    async def cancel(self) -> None:
        """Cancel the call, queued or running, and wait until that is settled."""
        if self._task.done():
            return
        self._canceled = True
        await _persistently(lambda: self._call.cancel.aio(), "Cancelling", self._terms)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> Generation:
        reading = asyncio.create_task(self._read_events())
        try:
            generation = await self._replied()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading), LAST_EVENTS)
        finally:
            reading.cancel()
            # Waited for, so that no loop ends while Modal's client still closes what it read from.
            await asyncio.wait([reading], timeout=LAST_EVENTS)
        return generation

    async def _replied(self) -> Generation:
        """Wait for the reply; a call that finds its job claimed hands over to the call that owns it."""
        while True:
            reply = await self._waited()
            try:
                return read_reply(reply, self._workflow)
            except AlreadyClaimedError as error:
                owner = str(error.details.get("handle", "")).removeprefix("modal:")
                if not owner or owner == self._call.object_id:
                    raise
                self._call = modal.FunctionCall.from_id(owner)
            except ContractMismatchError as error:
                raise ContractMismatchError(error.message, f"Deploy the app again: {self._terms.deploy}", error.details) from None

    async def _waited(self) -> dict[str, Any]:
        """Get the call's return value, under the queue limit until it starts and under the run limit from then on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        failures = 0
        while True:
            started = self._log.started_at
            deadline = began + self._terms.queue_seconds if started is None else started + self._limit
            if loop.time() >= deadline:
                await self._give_up(started is not None)
            try:
                wait = 0.0 if self.at_once else max(0.05, min(POLL_SECONDS, self._limit, deadline - loop.time()))
                self.at_once = False
                reply: dict[str, Any] = await self._call.get.aio(timeout=wait)
                return reply
            except (modal.exception.FunctionTimeoutError, modal.exception.OutputExpiredError) as error:
                raise self._failed(error) from None
            except TimeoutError:
                failures = 0  # it answered: the job is not done yet
            except AMBIGUOUS as error:
                failures += 1
                if failures >= ATTEMPTS:
                    raise self._failed(error) from None
                await asyncio.sleep(FIRST_PAUSE * 2 ** (failures - 1))
            except modal.exception.Error as error:
                raise self._failed(error) from None

    async def _give_up(self, started: bool) -> None:
        with contextlib.suppress(RylaGenError):
            await _persistently(lambda: self._call.cancel.aio(), "Cancelling", self._terms)
        if not started:
            text = f"The job waited {self._terms.queue_seconds:g} s for a container and was cancelled; nothing ran."
            raise GenerationTimeoutError(text, "Try again later, or allow more containers.", {"job": self._log.job, "queued": True})
        text = f"The job ran longer than {self._limit:g} s and was cancelled."
        raise GenerationTimeoutError(
            text, "Give it more time: timeout=SECONDS, or MODAL_TIMEOUT (milliseconds).", {"job": self._log.job}
        )

    def _failed(self, error: BaseException) -> RylaGenError:
        found = translated(error, f"The job {self._log.job}", deploy=self._terms.deploy)
        cancelled = "cancel" in str(error).lower() and isinstance(error, modal.exception.RemoteError)
        # Modal tells a cancelled call from a failed one by its words alone; our own record decides first.
        if self._canceled or cancelled:
            return JobCanceledError(f"The job {self._log.job} was cancelled.")
        if isinstance(found, NotDeployedError):
            return JobExpiredError(f"Modal no longer knows the call of the job {self._log.job}.", "Run it again.")
        return found

    async def _read_events(self) -> None:
        """Copy the partition's events into the log. Events are decoration: whatever happens here loses nothing."""
        try:
            patience = self._terms.queue_seconds + self._limit
            async with contextlib.aclosing(self._queue.iterate.aio(partition=self._log.job, item_poll_timeout=patience)) as items:
                async for item in items:
                    event = event_from_data(item) if isinstance(item, dict) else None
                    if isinstance(event, Finished):
                        return
                    if event is not None:
                        self._log.put(event)
        except (modal.exception.Error, OSError, TypeError, ValueError) as error:
            log.debug("no events of %s: %s", self._log.job, error)


def _attribute(instance: Any, name: str) -> Any:
    """The method of a looked-up class; None where Modal, or Python, says that there is none."""
    try:
        return getattr(instance, name, None)
    except modal.exception.Error:
        return None


async def _persistently(call: Callable[[], Awaitable[T]], what: str, terms: Terms) -> T:
    """Make a call that may safely be made twice, until Modal answers or patience ends."""
    deadline = asyncio.get_running_loop().time() + terms.reach_seconds
    for attempt in range(ATTEMPTS):
        try:
            async with asyncio.timeout_at(deadline):
                return await call()
        except AMBIGUOUS as error:
            if attempt == ATTEMPTS - 1 or asyncio.get_running_loop().time() >= deadline:
                raise translated(error, what, deploy=terms.deploy) from None
            await asyncio.sleep(FIRST_PAUSE * 2**attempt)
        except modal.exception.Error as error:
            refusal = translated(error, what, deploy=terms.deploy)
            if not attempt and isinstance(refusal, NotAuthorizedError | NotDeployedError):
                refusal.started = "no"  # a plain no; after an ambiguous attempt even that would prove nothing
            raise refusal from None
    raise AssertionError("the loop returns or raises")


async def _workspace() -> str | None:
    """Name of the workspace that the token belongs to."""
    workspace = await modal.Workspace.from_context().hydrate.aio()
    return str(workspace.name) if workspace.name else None
