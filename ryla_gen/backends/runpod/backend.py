"""Run jobs on RunPod serverless (an endpoint with worker-comfyui): submit one, or attach to one. Must not send a job twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any
from weakref import WeakSet

from ...contract import USUAL_OPTIONS, Options
from ...engine.output_hooks import OnOutput, installed_hooks
from ...errors import BackendNotConfiguredError, JobNotFoundError, NotAuthorizedError, RylaGenError, before_start
from ...settings import Settings
from ...workflows.base import Workflow
from ..base import Ticket
from .api import RunpodApi
from .errors import KEY_HINT, LOST_HINT
from .files import operation_for, prepare, request_body
from .ticket import DEFAULT_PATIENCE, NAME, PRICE_HINT, RunpodPatience, RunpodRequest, RunpodTicket

SLACK_SECONDS = 30.0
"""Seconds by which RunPod's own limit exceeds ours, so that ours, whose error names the reason, comes first."""
TAKE_BACK_SECONDS = 15.0
"""How long an interrupted caller waits for the id of the job that is to be canceled."""


class RunpodBackend:
    """Runs jobs on one RunPod endpoint.

    Args:
        settings: endpoint, key, address and price.
        patience: how long to wait, and how often to ask.
        on_output: the hook that the client was given.

    Raises:
        BackendNotConfiguredError: no endpoint is named, or the address does not fit.
        NotAuthorizedError: there is no key.
    """

    name = NAME
    measures_consistency = False
    uploads = False

    def __init__(
        self, settings: Settings, *, patience: RunpodPatience = DEFAULT_PATIENCE, on_output: OnOutput | None = None
    ) -> None:
        self._settings = settings
        self._on_output = on_output
        self._patience = patience
        with before_start():
            self._api = _api(settings, patience)
        self._tickets: WeakSet[RunpodTicket] = WeakSet()

    def usd_per_second(self, workflow: Workflow) -> float:
        """Return the configured price. RunPod's API has no prices; an unknown one counts as 0, and every result says so."""
        return self._settings.runpod_usd_per_second or 0.0

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, options: Options = USUAL_OPTIONS
    ) -> Ticket:
        """Send the graph, once.

        Raises:
            InvalidInputError: it is larger than RunPod takes; nothing was sent.
            BackendNotConfiguredError: a budget is set, and the price is unknown.
            BackendUnreachableError: no answer; with ``details["sent"]`` true the job may have been taken.
        """
        settings = self._settings
        if settings.runpod_usd_per_second is None and (settings.max_usd is not None or settings.max_usd_per_day is not None):
            raise BackendNotConfiguredError(
                "A budget is set, but the price of RunPod is not, so the budget cannot be enforced.", PRICE_HINT
            )
        limit = timeout or workflow.time_limit() + settings.runpod_load_seconds
        run_seconds = limit + SLACK_SECONDS
        life = self._queue_seconds + run_seconds
        with before_start():
            await asyncio.to_thread(installed_hooks)  # one that cannot be loaded would leave no result to be passed on
            graph, files = prepare(workflow, job)
            body = await asyncio.to_thread(request_body, graph, files, run_seconds=run_seconds, life_seconds=life)
            operation = operation_for(len(body))
        answer = await self._submit_cancellable(self._api.run(body, operation, job))
        return self._ticket(str(answer["id"]), workflow, job, graph, limit, answer)

    @property
    def _queue_seconds(self) -> float:
        """Seconds that a job may wait for a worker."""
        return self._settings.queue_timeout if self._patience.queue_seconds is None else self._patience.queue_seconds

    async def _submit_cancellable(self, sending: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        """Wait for the answer. A caller that is interrupted meanwhile (Ctrl-C) does not pay: what RunPod took is canceled."""
        task = asyncio.ensure_future(sending)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Without its id a job cannot be canceled, so the answer is awaited even now.
            await asyncio.wait([task], timeout=TAKE_BACK_SECONDS)
            if task.done() and task.exception() is None:
                with contextlib.suppress(RylaGenError):
                    await self._api.cancel(str(task.result()["id"]))
            task.cancel()
            raise

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a job that another process submitted.

        Raises:
            JobNotFoundError: the handle belongs to another backend.
        """
        backend, _, job_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} does not belong to the runpod backend.")
        limit = workflow.time_limit() + self._settings.runpod_load_seconds
        return self._ticket(job_id, workflow, job, prepare(workflow, job)[0], limit, None)

    async def find(self, job: str) -> str | None:
        """Refuse to say: RunPod knows jobs by its own ids only.

        Raises:
            JobNotFoundError: always, with ``details["maybe_taken"]``: it may have been taken all the same.
        """
        text = f"The RunPod id of the job {job} is not known, nor does RunPod find it. It may have been accepted and be paid for."
        raise JobNotFoundError(text, LOST_HINT, {"job": job, "maybe_taken": True})

    async def health(self) -> dict[str, Any]:
        """Return the counts of the endpoint's workers and jobs, for ``doctor``."""
        return await self._api.health()

    async def close(self) -> None:
        """Stop following; jobs go on."""
        for ticket in list(self._tickets):
            await ticket.let_go()
        await self._api.close()

    def _ticket(
        self, job_id: str, workflow: Workflow, job: str, graph: dict[str, Any], limit: float, answer: dict[str, Any] | None
    ) -> RunpodTicket:
        settings = self._settings
        private = settings.allow_private_addresses
        price, endpoint = settings.runpod_usd_per_second, str(settings.runpod_endpoint_id)
        request = RunpodRequest(workflow, job, graph, limit, price, endpoint, self._queue_seconds, private)
        ticket = RunpodTicket(self._api, job_id, request, self._patience, answer, self._on_output)
        self._tickets.add(ticket)
        return ticket


def _api(settings: Settings, patience: RunpodPatience) -> RunpodApi:
    if not settings.runpod_endpoint_id:
        text = "The runpod backend has no endpoint."
        raise BackendNotConfiguredError(text, "Set it: ryla-gen config set runpod.endpoint_id ID, or set RUNPOD_ENDPOINT_ID.")
    if not settings.runpod_api_key:
        raise NotAuthorizedError("RUNPOD_API_KEY is not set.", KEY_HINT)
    return RunpodApi(settings.runpod_url, settings.runpod_endpoint_id, settings.runpod_api_key, retry=patience.retry)
