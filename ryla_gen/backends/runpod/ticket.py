"""One job of RunPod's: polled to its end, and read into a result. Submits nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from ...comfy.messages import clean
from ...errors import (
    BackendUnreachableError,
    GenerationTimeoutError,
    JobExpiredError,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
)
from ...events import Progress, Started
from ...results import Cost, Generation, Timings
from ...results.output_files import output_notices
from ...workflows.base import Notice, Workflow
from ..tickets import TaskTicket, contact_lost
from .api import DEFAULT_PACE, Pace, RunpodApi
from .errors import ended, node_failed, saved_nothing
from .files import OUTPUT_LIMIT, decoded, listed, outputs_of, progress_of

NAME = "runpod"
"""What handles and results call the backend."""
FRESH_SECONDS = 10.0
"""How long RunPod may take to know a job that it has just taken."""
BUCKET_SECONDS = 600.0
"""How long a file of a result may take to come out of its bucket: a third of the time that RunPod keeps the result."""
PRICE_HINT = "Set the price of a GPU second: ryla-gen config set runpod.usd_per_second 0.00053"
FACE_UNCHECKED = "The reference image was not checked for a face: PuLID only logs that there is none, and then paints a stranger."
LONGEST = 7 * 86_400_000
"""Milliseconds that RunPod keeps a job at most; a longer time of one is none."""
FINAL = frozenset({"COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED"})
RUNNING = frozenset({"IN_PROGRESS", "RUNNING"})
WAITING = frozenset({"IN_QUEUE"})


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient a backend is, and how often it asks: polling is what RunPod offers."""

    queue_seconds: float | None = None
    """How long a job may wait before it starts, instead of the setting ``queue_timeout``."""
    unknown_seconds: float = 60.0
    """How long RunPod may call a job something that this package does not know, until its caller is told."""
    first_wait: float = 0.2
    """Seconds before the second look."""
    growth: float = 1.25
    """Each wait is this much longer than the one before: a result is noticed at most a quarter of its age late."""
    longest_wait: float = 2.0
    """Seconds between two looks at most. RunPod allows 200 looks a second: 400 jobs at once."""
    pace: Pace = DEFAULT_PACE
    """How patient single questions are."""


DEFAULT_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, and on which terms."""

    workflow: Workflow
    job: str
    graph: dict[str, Any]
    limit: float
    """Seconds it may run, from the moment a worker took it."""
    usd_per_second: float | None
    endpoint_id: str
    waiting: float
    """Seconds it may wait for a worker."""
    private_addresses: bool = False
    """Whether a file of the result may lie at an address of this machine or of a private network."""


class RunpodTicket(TaskTicket):
    """One job of RunPod's: polled to its end.

    Args:
        api: the endpoint.
        job_id: RunPod's id.
        order: what was asked for.
        terms: how often to look.
        answer: RunPod's answer to the submission; None for a job that another process submitted.
    """

    def __init__(self, api: RunpodApi, job_id: str, order: Order, terms: Terms, answer: dict[str, Any] | None) -> None:
        super().__init__(order.job)
        self._api = api
        self._id = job_id
        self._order = order
        self._terms = terms
        self._answer = answer
        self._began = time.monotonic()
        self._told: dict[str, Any] | None = None

    @property
    def handle(self) -> str:
        """Backend and RunPod's id."""
        return f"{NAME}:{self._id}"

    async def cancel(self) -> None:
        """Cancel the job, queued or running; a job that was faster ends as it ended."""
        if self._task.done():
            return
        answer = await self._api.cancel(self._id)
        if answer is None or str(answer.get("status")) not in FINAL - {"CANCELLED"}:
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> Generation:
        try:
            answer = await self._followed()
        except BackendUnreachableError as lost:
            raise contact_lost(lost, self._order.job) from None
        error = node_failed(answer, self._order.job)
        if answer["status"] != "COMPLETED" and not saved_nothing(answer):
            error = ended(answer, self._order.job)
        if error is None:
            return await self._generation(answer)
        running = seconds_of(answer.get("executionTime"))  # a failure is paid for as well
        error.details |= {"gpu_seconds": running, "cost_usd": running * (self._order.usd_per_second or 0.0)}
        raise error

    async def _followed(self) -> dict[str, Any]:
        """Ask, with growing waits, until the job has ended or its time is up; the one place that polls."""
        loop, terms = asyncio.get_running_loop(), self._terms
        began, wait, seen, answer = loop.time(), terms.first_wait, "", self._answer
        fresh = began + FRESH_SECONDS if answer else began
        known = began
        """When RunPod last said something of the job that is known here."""
        while True:
            answer = answer or await self._api.status(self._id)
            if answer is None and loop.time() >= fresh:
                raise self._gone(seen)
            fresh = fresh if answer is self._answer or answer is None else began
            status = str((answer or {}).get("status"))
            if answer is not None and status in FINAL:
                return answer
            if answer is not None and status in RUNNING:
                self._tell(answer)
            known = loop.time() if status in RUNNING | WAITING else known
            if answer is not None and loop.time() - known >= terms.unknown_seconds:
                raise self._unknown(status)
            started = self._log.started_at
            deadline = began + self._order.waiting if started is None else started + self._order.limit
            if loop.time() >= deadline:
                await self._give_up(started is not None)
            wait = terms.first_wait if status != seen else min(wait * terms.growth, terms.longest_wait)
            seen, answer = (status if answer else seen), None
            await asyncio.sleep(max(0.0, min(wait, deadline - loop.time())))

    def _tell(self, answer: dict[str, Any]) -> None:
        if self._log.started_at is None:
            self._log.add(Started, cold_start=0.0)
        found = progress_of(answer.get("output"))
        if found and found != self._told:
            self._told = found
            self._log.add(Progress, **found)

    def _unknown(self, status: str) -> BackendUnreachableError:
        text = f"RunPod calls the job {self._order.job} {clean(status, 100)!r}, which this package does not know."
        return BackendUnreachableError(text, "", {"handle": self.handle, "status": clean(status, 100)})

    def _gone(self, seen: str) -> RylaGenError:
        if self._answer is None and not seen:
            kept = "it keeps results for 30 minutes, those of requests over 10 MB for 1 minute"
            text = f"RunPod no longer knows the job {self._order.job}: {kept}."
            return ResultExpiredError(text, "", {"handle": self.handle})
        text = f"RunPod dropped the job {self._order.job} before it ended."
        return JobExpiredError(text, "Run it again.", {"handle": self.handle})

    async def _give_up(self, started: bool) -> None:
        with contextlib.suppress(RylaGenError):  # RunPod ends it by itself at the limits that were sent with it
            await self._api.cancel(self._id)
        details = {"job": self._order.job, "queued": not started}
        if not started:
            text = f"The job waited {self._order.waiting:g} s for a RunPod worker and was canceled; nothing ran."
            hint = (
                "Try again later, or allow the endpoint more workers or other GPUs, "
                "or a longer wait: ryla-gen config set queue_timeout SECONDS"
            )
            raise GenerationTimeoutError(text, hint, details)
        text = f"The job ran longer than {self._order.limit:g} s and was canceled."
        hint = "Give it more time: timeout=SECONDS, or for slow starts: ryla-gen config set runpod.load_seconds SECONDS"
        raise GenerationTimeoutError(text, hint, details)

    async def _generation(self, answer: dict[str, Any]) -> Generation:
        order = self._order
        files = (
            []
            if answer["status"] != "COMPLETED"
            else [(name, await self._bytes(kind, data)) for name, kind, data in listed(answer)]
        )
        outputs, seed = await asyncio.to_thread(outputs_of, files, order.workflow, order.graph, order.job)
        self._tell({**answer, "output": {"fraction": 1.0}})
        queued, running = seconds_of(answer.get("delayTime")), seconds_of(answer.get("executionTime"))
        usd = running * (order.usd_per_second or 0.0)
        return Generation(
            workflow=order.workflow,
            outputs=outputs,
            seed=seed,
            job=order.job,
            backend=NAME,
            timings=Timings(queued=queued, running=running, total=max(time.monotonic() - self._began, queued + running)),
            cost=Cost(total_usd=usd, gpu_usd=usd, gpu_seconds=running),
            warnings=order.workflow.notices() + tuple(self._notices(answer)) + output_notices(outputs),
            graph=order.graph,
            server={"endpoint": order.endpoint_id, "worker": answer.get("workerId")},
        )

    async def _bytes(self, kind: str, data: str) -> bytes:
        """One file of the result: out of the answer, or out of the bucket that the worker put it into."""
        if kind == "base64":
            return await asyncio.to_thread(decoded, data)
        from ...media.sources import fetch  # its own connection: no key goes to a bucket

        try:
            return await fetch(data, OUTPUT_LIMIT, BUCKET_SECONDS, private=self._order.private_addresses)
        except RylaGenError as error:
            text = f"The worker put the file into a bucket from which it cannot be downloaded: {error.message}"
            hint = (
                "Check that the bucket's links can be read; RunPod keeps the result for 30 minutes: ryla-gen jobs result ID -o FILE"
            )
            raise ServerUnhealthyError(text, hint) from None

    def _notices(self, answer: dict[str, Any]) -> list[Notice]:
        found = [Notice("face_unchecked", FACE_UNCHECKED)] if self._order.workflow.face_pictures() else []
        if self._order.usd_per_second is None:
            found.append(Notice("price_unknown", f"The cost is not known: RunPod's API does not report it. {PRICE_HINT}"))
        errors = answer["output"].get("errors") if isinstance(answer.get("output"), dict) else None
        return found + [Notice("worker", str(text)[:500]) for text in (errors if isinstance(errors, list) else [])[:20]]


def seconds_of(milliseconds: object) -> float:
    """A time of RunPod's in seconds; 0 for what is none."""
    known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and 0 <= milliseconds < LONGEST
    return float(milliseconds) / 1000 if known else 0.0  # type: ignore[arg-type]
