"""Poll one RunPod job to its end and read its result. Must not submit anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Literal

from ...comfy.messages import clean
from ...engine.output_hooks import OnOutput, check_outputs, installed_hooks
from ...errors import (
    BackendUnreachableError,
    GenerationTimeoutError,
    JobExpiredError,
    RefusedError,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
)
from ...events import Progress, Started
from ...results import Cost, Generation, Timings, file_texts
from ...results.notes import is_emulated
from ...results.output_files import output_notices
from ...results.provenance import mark_of
from ...support.retry import RetryPolicy
from ...workflows.base import Notice, Workflow
from ..tickets import TaskTicket, contact_lost
from .api import RETRY, RunpodApi
from .errors import end_error, node_failed, saved_nothing
from .files import OUTPUT_LIMIT, decode, list_files, outputs_of, progress_of

NAME = "runpod"
"""What handles and results call the backend."""
POLL = RetryPolicy(first_pause=0.2, factor=1.25, longest_pause=2.0)
"""Pauses between two questions about a job: a result is noticed at most a quarter of its age late, and RunPod's limit of 200
questions a second allows 400 jobs at once."""
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
class RunpodPatience:
    """How long to wait for RunPod, and how often to ask: it offers only polling."""

    queue_seconds: float | None = None
    """How long a job may wait before it starts, instead of the setting ``queue_timeout``."""
    unknown_seconds: float = 60.0
    """How long RunPod may call a job something that this package does not know, until its caller is told."""
    poll: RetryPolicy = POLL
    """Pauses between two questions about a job."""
    retry: RetryPolicy = RETRY
    """How often a single question is asked when RunPod does not answer it."""


DEFAULT_PATIENCE = RunpodPatience()


@dataclass(frozen=True, slots=True)
class RunpodRequest:
    """A request and its limits."""

    workflow: Workflow
    job: str
    graph: dict[str, Any]
    limit: float
    """Seconds it may run, from the moment a worker took it."""
    usd_per_second: float | None
    endpoint_id: str
    queue_seconds: float
    """Seconds it may wait for a worker."""
    private_addresses: bool = False
    """Whether a file of the result may lie at an address of this machine or of a private network."""


class RunpodTicket(TaskTicket):
    """One RunPod job: polled to its end.

    ==================================  =====================================================  ==============================
    RunPod's answer                     what happens                                           where the job is then
    ==================================  =====================================================  ==============================
    ``IN_QUEUE``                        nothing                                                waiting: limit ``queue_seconds``
    ``IN_PROGRESS``, ``RUNNING``        event of its start, once; its progress                 running: limit ``limit``
    ``COMPLETED``                       the result is read, or the error in it                 ended
    ``FAILED``, ``TIMED_OUT`` …         error; the result if a node only saved nothing         ended
    any other status                    nothing, for ``unknown_seconds``; then error           as it was; then ended
    it does not know the job            nothing, ``FRESH_SECONDS`` long after it took it       as it was
    … later, or it knew the job before  error: the result, or the job, expired                 ended
    any, after the limit                the job is canceled, error                             ended
    no answer, ``retry`` in vain        error that says the job may go on                      as it was, out of contact
    ==================================  =====================================================  ==============================

    ``_place`` reads the first column; ``_poll`` does what the second one says.

    Args:
        api: the endpoint.
        job_id: RunPod's id.
        request: what was asked for.
        patience: how often to ask.
        answer: RunPod's answer to the submission; None for a job that another process submitted.
        on_output: the hook that the client was given.
    """

    def __init__(
        self,
        api: RunpodApi,
        job_id: str,
        request: RunpodRequest,
        patience: RunpodPatience,
        answer: dict[str, Any] | None,
        on_output: OnOutput | None = None,
    ) -> None:
        super().__init__(request.job, on_output)
        self._api = api
        self._id = job_id
        self._request = request
        self._patience = patience
        self._answer = answer
        self._began = time.monotonic()
        self._last_progress: dict[str, Any] | None = None

    @property
    def handle(self) -> str:
        """Backend and RunPod's id."""
        return f"{NAME}:{self._id}"

    async def cancel(self) -> None:
        """Cancel the job, queued or running; a job that was faster ends as it ended."""
        if self._has_ended:
            return
        answer = await self._api.cancel(self._id)
        # A job that ended before the cancel arrived keeps its result, which is paid for.
        if answer is None or str(answer.get("status")) not in FINAL - {"CANCELLED"}:
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> Generation:
        try:
            answer = await self._poll()
        except BackendUnreachableError as lost:
            raise contact_lost(lost, self._request.job) from None
        error = node_failed(answer, self._request.job)
        # worker-comfyui reports a graph without saved files as a failure, although nothing went wrong.
        if answer["status"] != "COMPLETED" and not saved_nothing(answer):
            error = end_error(answer, self._request.job)
        if error is None:
            try:
                return await self._read_result(answer)
            except RefusedError as refused:
                error = refused
        running = seconds_of(answer.get("executionTime"))  # a failure is paid for as well
        error.details |= {"gpu_seconds": running, "cost_usd": running * (self._request.usd_per_second or 0.0)}
        raise error

    async def _poll(self) -> dict[str, Any]:
        """Poll with growing pauses until the job has ended or its time is up; the one place that polls."""
        loop, poll = asyncio.get_running_loop(), self._patience.poll
        began, repeated, seen, answer = loop.time(), 0, "", self._answer
        fresh_until = began + FRESH_SECONDS if answer else began
        known_at = began
        """When RunPod last gave the job a status that is known here."""
        while True:
            answer = answer or await self._api.status(self._id)
            status = "" if answer is None else str(answer.get("status"))
            place = _place(status)
            if answer is None:
                # RunPod may not find a job for some seconds after it took it, so only a later "not found" counts.
                if loop.time() >= fresh_until:
                    raise self._no_longer_known(seen)
            else:
                if place == "ended":
                    return answer
                if place == "running":
                    self._record_progress(answer)
                # A status of a newer API is tolerated for a while; the job may well go on meanwhile.
                known_at = loop.time() if place in ("running", "waiting") else known_at
                if loop.time() - known_at >= self._patience.unknown_seconds:
                    raise self._unknown_status(status)
                # From the first answer to a question on, RunPod knows the job: when it no longer does, the job is gone.
                fresh_until = fresh_until if answer is self._answer else began
            deadline = self._deadline(began)
            if loop.time() >= deadline:
                await self._abandon(self._log.started_at is not None)
            # A change of status is often followed by another one soon: begin with short pauses again.
            repeated = repeated + 1 if answer is not None and status == seen else 0
            seen, answer = status or seen, None
            await asyncio.sleep(max(0.0, min(poll.pause(repeated), deadline - loop.time())))

    def _deadline(self, began: float) -> float:
        """Return when the current limit ends: the queue limit until the job starts, the run limit from then on."""
        started = self._log.started_at
        return began + self._request.queue_seconds if started is None else started + self._request.limit

    def _record_progress(self, answer: dict[str, Any]) -> None:
        if self._log.started_at is None:
            self._log.add(Started, cold_start=0.0)
        found = progress_of(answer.get("output"))
        if found and found != self._last_progress:
            self._last_progress = found
            self._log.add(Progress, **found)

    def _unknown_status(self, status: str) -> BackendUnreachableError:
        text = f"RunPod calls the job {self._request.job} {clean(status, 100)!r}, which this package does not know."
        return BackendUnreachableError(text, "", {"handle": self.handle, "status": clean(status, 100)})

    def _no_longer_known(self, seen: str) -> RylaGenError:
        if self._answer is None and not seen:
            kept = "it keeps results for 30 minutes, those of requests over 10 MB for 1 minute"
            text = f"RunPod no longer knows the job {self._request.job}: {kept}."
            return ResultExpiredError(text, "", {"handle": self.handle})
        text = f"RunPod dropped the job {self._request.job} before it ended."
        return JobExpiredError(text, "Run it again.", {"handle": self.handle})

    async def _abandon(self, started: bool) -> None:
        with contextlib.suppress(RylaGenError):  # RunPod ends the job itself at the limits that were sent with it
            await self._api.cancel(self._id)
        details = {"job": self._request.job, "queued": not started}
        if not started:
            text = f"The job waited {self._request.queue_seconds:g} s for a RunPod worker and was canceled; nothing ran."
            hint = (
                "Try again later, or allow the endpoint more workers or other GPUs, "
                "or a longer wait: ryla-gen config set queue_timeout SECONDS"
            )
            raise GenerationTimeoutError(text, hint, details)
        text = f"The job ran longer than {self._request.limit:g} s and was canceled."
        hint = "Give it more time: timeout=SECONDS, or for slow starts: ryla-gen config set runpod.load_seconds SECONDS"
        raise GenerationTimeoutError(text, hint, details)

    async def _read_result(self, answer: dict[str, Any]) -> Generation:
        request = self._request
        files = (
            []
            if answer["status"] != "COMPLETED"
            else [(name, await self._read_file(kind, data)) for name, kind, data in list_files(answer)]
        )
        hooks = await asyncio.to_thread(installed_hooks)
        outputs, seed = await asyncio.to_thread(outputs_of, files, request.workflow, request.graph, request.job)
        texts = file_texts(request.workflow, seed, request.job, request.graph)
        mark = mark_of(request.graph, emulated=any(is_emulated(data) for _, data in files))
        outputs = await check_outputs(outputs, request.workflow, hooks, texts, mark)
        self._record_progress({**answer, "output": {"fraction": 1.0}})
        queued, running = seconds_of(answer.get("delayTime")), seconds_of(answer.get("executionTime"))
        usd = running * (request.usd_per_second or 0.0)
        return Generation(
            workflow=request.workflow,
            outputs=outputs,
            seed=seed,
            job=request.job,
            backend=NAME,
            timings=Timings(queued=queued, running=running, total=max(time.monotonic() - self._began, queued + running)),
            cost=Cost(total_usd=usd, gpu_usd=usd, gpu_seconds=running),
            warnings=request.workflow.notices() + tuple(self._notices(answer)) + output_notices(outputs),
            graph=request.graph,
            server={"endpoint": request.endpoint_id, "worker": answer.get("workerId")},
        )

    async def _read_file(self, kind: str, data: str) -> bytes:
        """Read one file of the result: from the answer, or from the bucket that the worker put it into."""
        if kind == "base64":
            return await asyncio.to_thread(decode, data)
        from ...media.sources import fetch  # a separate connection: the key must not go to a bucket

        try:
            return await fetch(data, OUTPUT_LIMIT, BUCKET_SECONDS, private=self._request.private_addresses)
        except RylaGenError as error:
            text = f"The worker put the file into a bucket from which it cannot be downloaded: {error.message}"
            hint = (
                "Check that the bucket's links can be read; RunPod keeps the result for 30 minutes: ryla-gen jobs result ID -o FILE"
            )
            raise ServerUnhealthyError(text, hint) from None

    def _notices(self, answer: dict[str, Any]) -> list[Notice]:
        found = [Notice("face_unchecked", FACE_UNCHECKED)] if self._request.workflow.face_pictures() else []
        if self._request.usd_per_second is None:
            found.append(Notice("price_unknown", f"The cost is not known: RunPod's API does not report it. {PRICE_HINT}"))
        errors = answer["output"].get("errors") if isinstance(answer.get("output"), dict) else None
        return found + [Notice("worker", str(text)[:500]) for text in (errors if isinstance(errors, list) else [])[:20]]


def _place(status: str) -> Literal["absent", "waiting", "running", "ended", "unknown"]:
    """Return where a job is, by RunPod's status of it; an empty status means that RunPod does not know the job."""
    if not status:
        return "absent"
    if status in FINAL:
        return "ended"
    if status in RUNNING:
        return "running"
    return "waiting" if status in WAITING else "unknown"


def seconds_of(milliseconds: object) -> float:
    """Convert one of RunPod's times to seconds; 0 for anything that is not a time."""
    known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and 0 <= milliseconds < LONGEST
    return float(milliseconds) / 1000 if known else 0.0  # type: ignore[arg-type]
