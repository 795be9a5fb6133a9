"""Run jobs on Modal by calling class methods by name: spawn, follow the job's queue partition, get. Must not know GPU code."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import modal

from ...contract import USUAL_OPTIONS, Options, request
from ...costs.prices import GPU_USD_PER_SECOND
from ...engine.loras import REMEMBERED_SECONDS, LoraResolver
from ...engine.output_hooks import OnOutput
from ...errors import HashMismatchError, JobCanceledError, JobNotFoundError, NotAuthorizedError, NotDeployedError, before_start
from ...events import CONTRACT
from ...models.loras.library import Library
from ...names import CLAIMS_DICT, EVENTS_QUEUE
from ...remote.claims import CANCELED, ModalClaims, entries_of
from ...remote.deployed_tags import LOCK_TAG
from ...remote.faults import log_hint
from ...remote.graph_config import class_for, config_for
from ...remote.modal_apps import start_loop
from ...settings import Settings
from ...support.shell_words import path_word
from ...workflows.base import Workflow
from ...workflows.registry import LOCK_SUFFIX, locks_folder
from ..base import Ticket
from .calls import DEFAULT_PATIENCE, ModalPatience, retry_call, spawn_cancellable, stop_job
from .loras import VolumeStore
from .ticket import ModalTicket, Send

__all__ = ["ModalBackend", "ModalPatience", "ModalTicket"]

log = logging.getLogger("ryla_gen.modal")


class ModalBackend:
    """Runs jobs on the deployed app.

    Args:
        settings: app, environment, timeout and workspace.
        patience: how long to wait for Modal.
        on_output: the hook that the client was given, asked here; those that are installed run in the containers.
    """

    name = "modal"
    measures_consistency = True
    uploads = True

    def __init__(
        self, settings: Settings, *, patience: ModalPatience = DEFAULT_PATIENCE, on_output: OnOutput | None = None
    ) -> None:
        start_loop()  # before anything can be canceled: a job's events are read beside its result, and left when that fails
        self._settings = settings
        self._on_output = on_output
        environment = settings.modal_environment
        self._patience = replace(
            patience, deploy=f"{patience.deploy} --environment {environment}" if environment else patience.deploy
        )
        self._checked = False
        self._contract = CONTRACT
        """Version of the contract that requests are written in: an older app refuses a newer one before it runs anything."""
        self._loras = LoraResolver(Library(VolumeStore(environment)), remember=REMEMBERED_SECONDS)
        # One object each for all jobs: Modal's client looks an object up by its name once, at its first use.
        self._events = modal.Queue.from_name(EVENTS_QUEUE, environment_name=environment, create_if_missing=True)
        self._claims = ModalClaims(CLAIMS_DICT, environment)
        self._methods: dict[tuple[str, str, str], Any] = {}
        self._tickets: WeakSet[ModalTicket] = WeakSet()

    def usd_per_second(self, workflow: Workflow) -> float:
        """Return the price of the family's first GPU; cores and memory add some percent."""
        chosen = config_for(workflow, self._settings).gpu
        name, _, count = chosen[0].partition(":")
        return GPU_USD_PER_SECOND.get(name.rstrip("!"), max(GPU_USD_PER_SECOND.values())) * int(count or 1)

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, options: Options = USUAL_OPTIONS
    ) -> Ticket:
        """Spawn the workflow's method. After an ambiguous failure it is spawned again: a claimed job never runs twice."""
        with before_start():
            await self._check_workspace()
            await self._loras.names(workflow)  # refuses a LoRA for another base model, before anything starts
            method = await self._method(workflow)
        patience = self._patience_for(workflow)
        if self._on_output is not None:
            # The container has not asked this client's hook: what it would show is not passed yet, and "succeeded" not yet true.
            options = replace(options, previews=False, webhook=None, webhook_prompt=False)
        argument = request(workflow, job, options)

        async def send(contract: int | None = None) -> str:
            self._contract = contract or self._contract
            written = {**argument, "contract": self._contract}
            return await spawn_cancellable(method, written, f"Calling {workflow.name}", patience, self._claims)

        limit = max(timeout or self._settings.modal_timeout, timeout or workflow.time_limit())
        return self._ticket(await send(), workflow, job, limit, send)

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a call that another process spawned.

        Raises:
            JobNotFoundError: the handle belongs to another backend.
        """
        backend, _, call_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} does not belong to the modal backend.")
        limit = max(self._settings.modal_timeout, workflow.time_limit())
        ticket = self._ticket(call_id, workflow, job, limit)
        ticket.at_once = True
        return ticket

    async def find(self, job: str) -> str | None:
        """Find the handle of a job whose caller died before it received one: the claim names the call that owns it.

        Raises:
            JobCanceledError: it was stopped before any call had it.
            BackendUnreachableError: Modal does not answer.
        """
        try:
            entries = await retry_call(lambda: entries_of(self._claims, job), "Asking for the claim", self._patience)
        except NotDeployedError:
            return None  # the environment does not exist, so nothing in it does
        owners = [item for item in entries if item != CANCELED]
        if entries and not owners:
            raise JobCanceledError(f"The job {job} was canceled before it ran.")
        return f"{self.name}:{owners[-1]}" if owners else None

    async def stop(self, job: str) -> None:
        """Stop a job whose call id no process received: from now on no call of it begins.

        Raises:
            BackendUnreachableError: Modal does not answer; the job may run.
        """
        await stop_job(self._claims, job, (), self._patience)

    async def close(self) -> None:
        """Forget everything; jobs go on."""
        self._methods.clear()
        for ticket in list(self._tickets):
            await ticket.let_go()

    async def _method(self, workflow: Workflow) -> Any:
        """Find the method by name, once per workflow."""
        place = class_for(workflow, self._settings)
        if place not in self._methods:
            (app, cls, name), patience = place, self._patience_for(workflow)
            found = modal.Cls.from_name(app, cls, environment_name=self._settings.modal_environment)
            await retry_call(lambda: found.hydrate.aio(), f"Looking for {cls} in the app {app}", patience)
            await self._check_lock(workflow, app, patience)
            method = _attribute(found(), name)
            if method is None:
                text = f"The deployed app has no method {cls}.{name}: it is older than this package."
                raise NotDeployedError(text, f"Deploy it again: {patience.deploy}")
            self._methods[place] = method
        return self._methods[place]

    async def _check_lock(self, workflow: Workflow, app: str, patience: ModalPatience) -> None:
        """Compare the lock with the one that is live, as the app's tags say: after a rollback it is another.

        Raises:
            HashMismatchError: it is another one, so that fields and pictures would not be those that were asked for.
        """
        ours, environment = workflow.lock_digest(), self._settings.modal_environment
        if workflow.lock is None or not ours:
            return
        tags = await retry_call(lambda: _tags(app, environment), f"Asking for the tags of {app}", patience)
        live = tags.get(LOCK_TAG, ours)
        if live == ours:
            return
        text = f"What is live of {app} has another lock ({live}) than the one here ({ours}): it was rolled back or deployed again."
        kept = path_word(locks_folder() / f"{workflow.lock.name}{LOCK_SUFFIX}")
        hint = f"Deploy the one here: {patience.deploy}. Or take the live one, which is then found by its name: rm -f {kept}"
        raise HashMismatchError(text, hint, {"live": live, "lock": ours})

    def _patience_for(self, workflow: Workflow) -> ModalPatience:
        """Return how long to wait, with the command that deploys the workflow's own app, and the place of its log."""
        command = f"{workflow.deploy_command()} "
        deploy = f"{self._patience.deploy} ".replace("ryla-gen deploy ", command).strip()
        log = log_hint(class_for(workflow, self._settings)[0], self._settings.modal_environment)
        return replace(self._patience, deploy=deploy, log=log)

    def _ticket(self, call: str, workflow: Workflow, job: str, limit: float, send: Send | None = None) -> ModalTicket:
        patience = self._patience_for(workflow)
        ticket = ModalTicket(call, workflow, job, self._events, self._claims, limit, patience, send, self._on_output)
        self._tickets.add(ticket)
        return ticket

    async def _check_workspace(self) -> None:
        """Compare the token's workspace with MODAL_WORKSPACE: Modal cannot select one by name, only refuse."""
        wanted = self._settings.modal_workspace
        if self._checked or not wanted:
            return
        found = await retry_call(_workspace, "Asking Modal for the token's workspace", self._patience)
        if found and found != wanted:
            text = f"The Modal token belongs to the workspace {found!r}, but MODAL_WORKSPACE is {wanted!r}."
            raise NotAuthorizedError(text, f"Switch to the right token: modal profile activate {wanted}", {"workspace": found})
        self._checked = True


def _attribute(instance: Any, name: str) -> Any:
    """Return the method of a looked-up class; None when the class does not have it."""
    try:
        return getattr(instance, name, None)
    except modal.exception.Error:
        return None


async def _tags(app: str, environment: str | None) -> Mapping[str, str]:
    """Return the tags of an app."""
    found = await modal.App.lookup.aio(app, environment_name=environment)
    return dict(await found.get_tags.aio())


async def _workspace() -> str | None:
    """Name of the workspace that the token belongs to."""
    workspace = await modal.Workspace.from_context().hydrate.aio()
    return str(workspace.name) if workspace.name else None
