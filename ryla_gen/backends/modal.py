"""Modal: class methods called by name. One path for all: spawn, follow the job's queue partition, get. Knows no GPU code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any, ClassVar
from weakref import WeakSet

import modal

from ..contract import Options, read_reply, request
from ..errors import (
    AlreadyClaimedError,
    BackendUnreachableError,
    ContractMismatchError,
    GenerationTimeoutError,
    JobCanceledError,
    JobExpiredError,
    JobNotFoundError,
    NotAuthorizedError,
    NotDeployedError,
    PlainData,
    RylaGenError,
    before_start,
)
from ..loras.choosing import REMEMBERED_SECONDS, Chooser
from ..loras.library import Library
from ..names import APP, CLAIMS_DICT, CLASS_OF_FAMILY, EVENTS_QUEUE
from ..prices import GPU_USD_PER_SECOND
from ..results import Generation
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import BUILT_IN
from .base import Ticket
from .modal_calls import ATTEMPTS, DEFAULT_TERMS, FIRST_PAUSE, Terms, persistently, spawned
from .modal_errors import AMBIGUOUS, raised_inside, translated
from .modal_events import copy_events
from .modal_loras import VolumeStore
from .tickets import TaskTicket, contact_lost

__all__ = ["ModalBackend", "ModalTicket", "Terms"]

log = logging.getLogger("ryla_gen.modal")

DEFAULT_GPU = ("L40S",)
"""What a family is deployed on when nothing says otherwise."""
LAST_EVENTS = 0.5
"""Seconds to wait, when the reply is there, for events that are still on their way."""
POLL_SECONDS = 15.0
"""Longest single wait for a result; a dropped connection is noticed after it."""


class ModalBackend:
    """Runs jobs on the deployed app.

    Args:
        settings: app, environment, timeout and workspace.
        terms: how patient to be.
    """

    name = "modal"
    measures_consistency: ClassVar[bool] = True

    def __init__(self, settings: Settings, *, terms: Terms = DEFAULT_TERMS) -> None:
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
        call = await spawned(method, argument, f"Calling {workflow.name}", self._terms)
        return self._ticket(call, workflow, job, max(timeout or self._settings.modal_timeout, timeout or workflow.time_limit()))

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a call that another process spawned.

        Raises:
            JobNotFoundError: the handle belongs to another backend.
        """
        backend, _, call_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} is not of the modal backend.")
        limit = max(self._settings.modal_timeout, workflow.time_limit())
        ticket = self._ticket(modal.FunctionCall.from_id(call_id), workflow, job, limit)
        ticket.at_once = True
        return ticket

    async def find(self, job: str) -> str | None:
        """Find the handle of a job whose caller died before it heard one: the claim names the call that owns it."""
        try:
            owner = await self._claims().get.aio(job)
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
            await persistently(lambda: found.hydrate.aio(), what, self._terms)
            method = _attribute(found(), name)
            if method is None:
                text = f"The deployed app has no method {cls}.{name}: it is older than this package."
                raise NotDeployedError(text, f"Deploy it again: {self._terms.deploy}")
            self._methods[name] = method
        return self._methods[name]

    def _ticket(self, call: Any, workflow: Workflow, job: str, limit: float) -> ModalTicket:
        environment = self._settings.modal_environment
        queue = modal.Queue.from_name(EVENTS_QUEUE, environment_name=environment, create_if_missing=True)
        ticket = ModalTicket(call, workflow, job, queue, self._claims(), limit, self._terms)
        self._tickets.add(ticket)
        return ticket

    def _claims(self) -> Any:
        return modal.Dict.from_name(CLAIMS_DICT, environment_name=self._settings.modal_environment)

    async def _check_workspace(self) -> None:
        """Compare the token's workspace with MODAL_WORKSPACE: Modal cannot select one by name, only refuse."""
        wanted = self._settings.modal_workspace
        if self._checked or not wanted:
            return
        found = await persistently(_workspace, "Asking Modal for the token's workspace", self._terms)
        if found and found != wanted:
            text = f"The Modal token belongs to the workspace {found!r}, but MODAL_WORKSPACE is {wanted!r}."
            raise NotAuthorizedError(text, f"Choose the right token: modal profile activate {wanted}", {"workspace": found})
        self._checked = True


class ModalTicket(TaskTicket):
    """One spawned call: its events, its result, its end."""

    def __init__(self, call: Any, workflow: Workflow, job: str, queue: Any, claims: Any, limit: float, terms: Terms) -> None:
        self._call = call
        self._workflow = workflow
        self._queue = queue
        self._claims = claims
        self._limit = limit
        self._terms = terms
        self._canceled = False
        self._taken = False
        """Whether a container may have taken the job although nobody heard it start."""
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
        await persistently(lambda: self._call.cancel.aio(), "Cancelling", self._terms)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> Generation:
        reading = asyncio.create_task(copy_events(self._queue, self._log, self._terms.queue_seconds + self._limit))
        try:
            generation = await self._replied()
            await asyncio.wait([reading], timeout=LAST_EVENTS)
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
                hint = error.hint.replace("ryla-gen deploy", self._terms.deploy)  # into the environment where it was found
                raise ContractMismatchError(error.message, hint, error.details) from None

    async def _waited(self) -> PlainData:
        """Get the call's return value, for as long as there is patience."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        failures = early = 0
        while True:
            wait, asked = await self._patience(began), loop.time()
            try:
                reply: PlainData = await self._call.get.aio(timeout=wait)
                return reply
            except (RylaGenError, modal.exception.FunctionTimeoutError, modal.exception.OutputExpiredError) as error:
                raise self._failed(error) from None
            except TimeoutError as error:
                failures = 0  # it answered: the job is not done yet
                # Unless it answers too early: then this is an exception of the container's. Twice, as clocks jump.
                early = early + 1 if loop.time() - asked < wait / 2 else 0
                if early > 1:
                    raise raised_inside(error, f"The job {self._log.job}") from None
            except AMBIGUOUS as error:
                failures += 1
                if failures >= ATTEMPTS:
                    found = self._failed(error)
                    raise (contact_lost(found, self._log.job) if isinstance(found, BackendUnreachableError) else found) from None
                await asyncio.sleep(FIRST_PAUSE * 2 ** (failures - 1))
            except Exception as error:  # the container's own, whatever class it has
                raise self._failed(error) from None

    async def _patience(self, began: float) -> float:
        """Return the seconds that the next question may take; when the job's time is over, give it up."""
        now = asyncio.get_running_loop().time()
        if now >= self._deadline(began) and self._log.started_at is None and not self._taken:
            self._taken = await self._claimed()
        left = self._deadline(began) - now
        if left <= 0:
            await self._give_up()
        wait = 0.0 if self.at_once else max(0.05, min(POLL_SECONDS, self._limit, left))
        self.at_once = False
        return wait

    def _deadline(self, began: float) -> float:
        """The end of the queue limit until the job starts, of the run limit from then on; of both when its start may be lost."""
        if self._log.started_at is not None:
            return self._log.started_at + self._limit
        return began + self._terms.queue_seconds + (self._limit if self._taken else 0.0)

    async def _claimed(self) -> bool:
        """Whether a container has the job, for all that is known: that no event told of its start proves nothing."""
        try:
            return await persistently(lambda: self._claims.get.aio(self._log.job), "Asking for the claim", self._terms) is not None
        except NotDeployedError:
            return False  # there are no claims at all
        except RylaGenError:
            return True

    async def _give_up(self) -> None:
        with contextlib.suppress(RylaGenError):
            await persistently(lambda: self._call.cancel.aio(), "Cancelling", self._terms)
        waited, details = self._terms.queue_seconds, {"job": self._log.job}
        if self._log.started_at is not None:
            text = f"The job ran longer than {self._limit:g} s and was cancelled."
            raise GenerationTimeoutError(text, "Give it more time: timeout=SECONDS, or MODAL_TIMEOUT (milliseconds).", details)
        if self._taken:
            text = f"No event told when the job started, and {waited + self._limit:g} s after it was sent it was cancelled."
            raise GenerationTimeoutError(text, f"See the container's log: modal app logs {APP}", details)
        text = f"The job waited {waited:g} s for a container and was cancelled; nothing ran."
        raise GenerationTimeoutError(text, "Try again later, or allow more containers.", {**details, "queued": True})

    def _failed(self, error: BaseException) -> RylaGenError:
        found = translated(error, f"The job {self._log.job}", deploy=self._terms.deploy)
        cancelled = "cancel" in str(error).lower() and isinstance(error, modal.exception.RemoteError)
        # Modal tells a cancelled call from a failed one by its words alone; our own record decides first.
        if self._canceled or cancelled:
            return JobCanceledError(f"The job {self._log.job} was cancelled.")
        if isinstance(found, NotDeployedError):
            return JobExpiredError(f"Modal no longer knows the call of the job {self._log.job}.", "Run it again.")
        return found


def _attribute(instance: Any, name: str) -> Any:
    """The method of a looked-up class; None where Modal, or Python, says that there is none."""
    try:
        return getattr(instance, name, None)
    except modal.exception.Error:
        return None


async def _workspace() -> str | None:
    """Name of the workspace that the token belongs to."""
    workspace = await modal.Workspace.from_context().hydrate.aio()
    return str(workspace.name) if workspace.name else None
