"""The runpod backend against a look-alike of RunPod's API: what goes wrong there, and that nothing is ever paid twice."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, CustomWorkflow, Generation, Settings, load
from ryla_gen.backends.runpod.backend import RunpodBackend
from ryla_gen.backends.runpod.ticket import RunpodPatience, seconds_of
from ryla_gen.errors import (
    BackendNotConfiguredError,
    BackendUnreachableError,
    FaceNotFoundError,
    GenerationTimeoutError,
    GpuOutOfMemoryError,
    HookFailedError,
    InvalidInputError,
    JobCanceledError,
    JobExpiredError,
    JobNotFoundError,
    ModelNotFoundError,
    NodeFailedError,
    NotAuthorizedError,
    NotDeployedError,
    RefusedError,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowError,
    WorkflowInvalidError,
)
from ryla_gen.events import Finished, Progress, Started
from ryla_gen.results import Output
from ryla_gen.support.retry import RetryPolicy
from ryla_gen.workflows.base import Workflow
from tests.conftest import encoded, portrait
from tests.runpod_loopback import ENDPOINT, KEY, RunpodLoopback
from tests.runpod_loopback.server import Fault, Report
from tests.support.hooks import install, known_here

PNG = encoded(portrait())
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
WORKFLOW = CustomWorkflow(graph=GRAPH)
POLL = RetryPolicy(first_pause=0.01, factor=1.25, longest_pause=0.02)
QUICK = RunpodPatience(poll=POLL, retry=RetryPolicy(attempts=3, first_pause=0.01))
WAIT = 240.0
"""Seconds after which a test gives up waiting for something that should come at once."""


def image(data: bytes = PNG) -> dict[str, Any]:
    return {"filename": "x_00001_.png", "type": "base64", "data": base64.b64encode(data).decode()}


class Scripted:
    """A worker that does what the test says, and waits where it is told to."""

    def __init__(self) -> None:
        self.output: Any = {"images": [image()]}
        self.reports: list[Any] = []
        self.hold = False
        """Whether it works until it is stopped."""
        self.seen: list[dict[str, Any]] = []
        self.fails: Exception | None = None

    async def __call__(self, asked: dict[str, Any], report: Report) -> Any:
        self.seen.append(asked)
        for item in self.reports:
            report(item)
        if self.hold:
            await asyncio.Event().wait()
        return json.loads(json.dumps(self.output))


@pytest.fixture
def worker() -> Scripted:
    return Scripted()


@pytest.fixture
def loopback(worker: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodLoopback]:
    with RunpodLoopback(worker) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def backend(patience: RunpodPatience = QUICK, **settings: Any) -> RunpodBackend:
    return RunpodBackend(Settings.load(backend="runpod", **{"runpod_usd_per_second": 0.5, **settings}), patience=patience)


async def run(workflow: CustomWorkflow = WORKFLOW, job: str = "job-1", **settings: Any) -> Generation:
    made = backend(**settings)
    try:
        async with asyncio.timeout(WAIT):
            ticket = await made.submit(workflow, job=job)
            return await ticket.result()
    finally:
        await made.close()


def fails(kind: type[RylaGenError], work: Callable[[], Awaitable[Any]]) -> RylaGenError:
    async def attempt() -> None:
        await work()

    with pytest.raises(kind) as caught:
        asyncio.run(attempt())
    error = caught.value
    assert type(error) is kind or kind is WorkflowError
    assert error.message
    assert error.hint
    assert KEY not in json.dumps(error.to_data())
    return error


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_times_and_cost_are_runpods_own(loopback: RunpodLoopback) -> None:
    made = asyncio.run(run())
    (held,) = loopback.jobs.values()
    told = held.answer()
    assert made.timings.running == told["executionTime"] / 1000
    assert made.timings.queued == told["delayTime"] / 1000
    assert made.cost.total_usd == made.cost.gpu_usd == made.timings.running * 0.5
    assert made.cost.gpu_seconds == made.timings.running
    assert made.server == {"endpoint": ENDPOINT, "worker": "loopback-worker-1"}
    assert made.warnings == ()


def test_an_unknown_price_is_said_and_never_guessed(loopback: RunpodLoopback) -> None:
    made = asyncio.run(run(runpod_usd_per_second=None))
    assert made.cost.total_usd == 0
    assert [item.code for item in made.warnings] == ["price_unknown"]
    assert "ryla-gen config set runpod.usd_per_second" in made.warnings[0].message


def test_a_budget_needs_a_price(loopback: RunpodLoopback) -> None:
    error = fails(BackendNotConfiguredError, lambda: run(runpod_usd_per_second=None, max_usd=1.0))
    assert "runpod.usd_per_second" in error.hint
    assert loopback.calls == []


def test_the_metadata_that_workers_leave_out_is_written_here(loopback: RunpodLoopback, tmp_path: Path) -> None:
    (saved,) = asyncio.run(run()).save(tmp_path / "x.png")
    assert load(saved) == WORKFLOW


def test_reported_progress_becomes_events(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True
    worker.reports = ["Update 1/4", {"progress": 3, "max": 4, "node_type": "KSampler"}]

    async def work() -> list[Any]:
        made = backend()
        ticket = await made.submit(WORKFLOW, job="job-1")
        events = []
        async for event in ticket.events():
            events.append(event)
            if isinstance(event, Progress):
                await ticket.cancel()
        await made.close()
        return events

    events = asyncio.run(asyncio.wait_for(work(), WAIT))
    assert [type(event) for event in events][1:] == [Started, Progress, Finished]
    assert (events[2].fraction, events[2].step, events[2].steps, events[2].node) == (0.75, 3, 4, "KSampler")


def test_a_bucket_is_asked_without_the_key(loopback: RunpodLoopback, worker: Scripted) -> None:
    loopback.bucket["x.png"] = PNG
    address = loopback.url.removesuffix("/v2") + "/bucket/x.png"
    worker.output = {"images": [{"filename": "x.png", "type": "s3_url", "data": address}]}
    assert asyncio.run(run()).image.size == (256, 256)
    (headers,) = loopback.bucket_headers
    assert "Authorization" not in headers


@pytest.mark.parametrize("address", ["http://example.com/x.png", "file:///etc/passwd", "http://127.0.0.1:9/x.png"])
def test_a_bucket_that_cannot_be_had_is_a_typed_failure(loopback: RunpodLoopback, worker: Scripted, address: str) -> None:
    worker.output = {"images": [{"filename": "x.png", "type": "s3_url", "data": address}]}
    fails(ServerUnhealthyError, run)


def test_a_worker_sends_nobody_to_a_private_address(loopback: RunpodLoopback, worker: Scripted) -> None:
    loopback.bucket["x.png"] = PNG
    for address in (loopback.url.removesuffix("/v2") + "/bucket/x.png", "https://169.254.169.254/latest", "https://[::1]/x"):
        worker.output = {"images": [{"filename": "x.png", "type": "s3_url", "data": address}]}
        error = fails(ServerUnhealthyError, lambda: run(allow_private_addresses=False))
        assert "private network" in error.message
    assert loopback.bucket_headers == []


def test_a_picture_that_a_worker_cut_short_is_kept(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.output = {"images": [{"filename": "x.png", "type": "base64", "data": base64.b64encode(PNG[:200]).decode()}]}
    made = asyncio.run(run())
    assert (made.output.kind, made.output.data) == ("file", PNG[:200])
    assert [notice.code for notice in made.warnings] == ["kept_as_file"]


@pytest.mark.parametrize("times", [10**400, float("1e308"), -5, True, "7", None, [1], {}])
def test_times_of_another_shape_cost_no_result(loopback: RunpodLoopback, times: Any) -> None:
    assert seconds_of(times) in (0.0,)


def test_what_a_worker_warns_of_reaches_the_caller(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.output = {"images": [image()], "errors": ["Failed to fetch image data for y.png"]}
    (notice,) = asyncio.run(run()).warnings
    assert (notice.code, notice.message) == ("worker", "Failed to fetch image data for y.png")


# -- what the worker says went wrong -----------------------------------------------------------------------------------

MISSING = {
    "errors": [
        {
            "type": "value_not_in_list",
            "message": "Value not in list",
            "details": "ckpt_name: 'none.safetensors' not in []",
            "extra_info": {"input_name": "ckpt_name", "input_config": [[]], "received_value": "none.safetensors"},
        }
    ],
    "dependent_outputs": ["9"],
    "class_type": "CheckpointLoaderSimple",
}
REFUSAL = "Workflow validation failed:\n" + "\n".join(f"• Node 4 ({key}): {value}" for key, value in MISSING.items())
NO_NODE = {"error": {"type": "invalid_prompt", "message": "Cannot execute because node Foo does not exist.", "details": ""}}
NODE = "Workflow execution error: Node Type: KSampler, Node ID: 3, Message: "
WORDS: dict[str, tuple[Any, type[RylaGenError]]] = {
    "a missing file": ({"error": REFUSAL}, ModelNotFoundError),
    "a missing node class": (
        {"error": f"Cannot execute because node Foo does not exist.. Raw response: {json.dumps(NO_NODE)}"},
        WorkflowInvalidError,
    ),
    "a refusal without details": ({"error": "Workflow validation failed\n\nThis usually means …"}, WorkflowInvalidError),
    "bullets that nobody can read": ({"error": "Workflow validation failed:\n• Node 4 (errors): [oh no"}, WorkflowInvalidError),
    "a node that raised": ({"error": "Job processing failed", "details": [f"{NODE}mat1 and mat2"]}, NodeFailedError),
    "a node that raised beside one that saved": ({"images": [image()], "errors": [f"{NODE}mat1 and mat2"]}, NodeFailedError),
    "a reason that got lost": ({"error": "Job processing failed"}, NodeFailedError),
    "a full GPU": ({"error": "Job processing failed", "details": [f"{NODE}CUDA out of memory."]}, GpuOutOfMemoryError),
    "no face": ({"error": "Job processing failed", "details": [f"{NODE}Reference Image: No face detected."]}, FaceNotFoundError),
    "nothing saved": ({"error": "Job processing failed", "details": ["No outputs found in history for prompt 1."]}, WorkflowError),
    "no images": ({"status": "success_no_images", "images": []}, WorkflowError),
    "ComfyUI is down": ({"error": "ComfyUI server (127.0.0.1:8188) not reachable after multiple retries."}, ServerUnhealthyError),
    "an exception of the handler": (
        {"error": json.dumps({"error_type": "<class 'OSError'>", "error_message": "x"})},
        ServerUnhealthyError,
    ),
    "an old worker": ({"message": "iVBORw0KGgo", "status": "success"}, ServerUnhealthyError),
    "another worker": ("just a text", ServerUnhealthyError),
    "a result that RunPod lost": (None, ServerUnhealthyError),
    "no base64": ({"images": [{"filename": "x.png", "type": "base64", "data": "§§§"}]}, ServerUnhealthyError),
}


@pytest.mark.parametrize("words", WORDS)
def test_the_workers_words_become_typed_errors(loopback: RunpodLoopback, worker: Scripted, words: str) -> None:
    worker.output, kind = WORDS[words]
    error = fails(kind, run)
    if words == "a missing file":
        assert (error.details["file"], error.details["folder"]) == ("none.safetensors", "checkpoints")
        assert "/runpod-volume/models/checkpoints" in error.hint
    if words == "a node that raised":
        assert (error.details["node_id"], error.details["class_type"]) == ("3", "KSampler")
    assert loopback.count("run") == 1


# -- refusals, and answers that never come -----------------------------------------------------------------------------


def test_a_wrong_key_is_said_with_what_to_do(loopback: RunpodLoopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_WRONG")
    error = fails(NotAuthorizedError, run)
    assert "RUNPOD_API_KEY" in error.hint
    assert "rpa_WRONG" not in str(error)
    assert error.started == "no"


def test_a_missing_key_or_endpoint_is_said_before_anything_is_sent(
    loopback: RunpodLoopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert fails(NotAuthorizedError, run).started == "no"
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.delenv("RUNPOD_ENDPOINT_ID")
    assert fails(BackendNotConfiguredError, run).started == "no"
    assert loopback.calls == []


def test_an_endpoint_that_is_not_there(loopback: RunpodLoopback) -> None:
    error = fails(NotDeployedError, lambda: run(runpod_endpoint_id="nobody"))
    assert "runpod.endpoint_id" in error.hint


@pytest.mark.parametrize("endpoint", ["../other", "a/b", "a?x=1", ""])
def test_an_endpoint_id_is_never_a_path(loopback: RunpodLoopback, endpoint: str) -> None:
    with pytest.raises((BackendNotConfiguredError, InvalidInputError)):
        asyncio.run(run(runpod_endpoint_id=endpoint))
    assert loopback.calls == []


@pytest.mark.parametrize("url", ["http://api.runpod.ai/v2", "http://10.0.0.1/v2", "https://user:word@api.runpod.ai/v2"])
def test_the_key_never_travels_in_the_open(loopback: RunpodLoopback, url: str) -> None:
    fails(BackendNotConfiguredError, lambda: run(runpod_url=url))


def test_the_key_does_not_follow_a_redirect(loopback: RunpodLoopback) -> None:
    with RunpodLoopback(Scripted()) as other:
        loopback.faults["run"] = [Fault(307, {"Location": f"{other.url}/{ENDPOINT}/run"}, "")]
        fails(BackendUnreachableError, run)
        assert other.calls == []


def test_too_many_requests_are_waited_for(loopback: RunpodLoopback) -> None:
    loopback.faults["run"] = [Fault(429), Fault(429, {"Retry-After": "1"})]
    loopback.faults["status"] = [Fault(429)]
    assert asyncio.run(run()).image.size == (256, 256)
    assert loopback.count("run") == 3
    assert len(loopback.jobs) == 1


def test_a_limit_that_does_not_lift_is_told_and_nothing_was_taken(loopback: RunpodLoopback) -> None:
    loopback.faults["run"] = [Fault(429, {"Retry-After": "3600"})]
    error = fails(BackendUnreachableError, run)
    assert (error.started, error.details["status"]) == ("no", 429)
    assert loopback.count("run") == 1


LOST = {
    "before it was taken": Fault(cut="before"),
    "after it was taken": Fault(cut="after"),
    "a gateway that gave up": Fault(504),
    "an inner error": Fault(500),
    "an answer that is not JSON": Fault(200, body="<html>"),
    "an answer without an id": Fault(200, body='{"status": "IN_QUEUE"}'),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_submission_whose_answer_was_lost_is_never_sent_again(loopback: RunpodLoopback, lost: str) -> None:
    loopback.faults["run"] = [LOST[lost]]
    error = fails(BackendUnreachableError, run)
    assert loopback.count("run") == 1
    assert error.started == "unknown"
    assert error.details == {"job": "job-1", "sent": True, "maybe_taken": True}
    assert "job-1" in error.message


def test_whoever_interrupts_a_submission_does_not_pay_for_it(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True
    answered = threading.Event()
    loopback.faults["run"] = [Fault(until=answered)]

    async def work() -> None:
        made = backend()
        sending = asyncio.create_task(made.submit(WORKFLOW, job="job-1"))
        while not loopback.jobs:
            await asyncio.sleep(0.001)
        sending.cancel()
        answered.set()
        await asyncio.wait([sending])
        assert sending.cancelled()
        await made.close()

    asyncio.run(asyncio.wait_for(work(), WAIT))
    assert [held.status for held in loopback.jobs.values()] == ["CANCELLED"]


def test_a_server_that_is_not_there_has_taken_nothing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", KEY)
        nowhere = "http://127.0.0.1:9/v2"
        assert fails(BackendUnreachableError, lambda: run(runpod_url=nowhere, runpod_endpoint_id=ENDPOINT)).started == "no"


def test_a_status_that_stumbles_loses_nothing(loopback: RunpodLoopback) -> None:
    loopback.faults["status"] = [Fault(cut="before"), Fault(502)]
    assert asyncio.run(run()).image.size == (256, 256)
    assert loopback.count("run") == 1


def test_a_status_that_never_answers_leaves_the_job_running(loopback: RunpodLoopback) -> None:
    loopback.faults["status"] = [Fault(503)] * 3
    error = fails(BackendUnreachableError, run)
    assert error.started == "unknown"
    assert loopback.count("cancel") == 0


# -- sizes -------------------------------------------------------------------------------------------------------------


def weighing(size: int) -> CustomWorkflow:
    """A workflow whose request has a picture, and more than so many bytes."""
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}, "2": GRAPH["2"]}
    padding = {"3": {"class_type": "PrimitiveString", "inputs": {"value": "x" * size}}}
    return CustomWorkflow(graph={**graph, **padding}, images={"in.png": PNG})


def test_a_request_over_ten_megabytes_takes_the_larger_door(loopback: RunpodLoopback, worker: Scripted) -> None:
    made = asyncio.run(run(asyncio.run(weighing(10_000_000).resolved())))
    assert made.image.size == (256, 256)
    assert (loopback.count("run"), loopback.count("runsync")) == (0, 1)
    (sent,) = worker.seen
    assert sent["workflow"]["1"]["inputs"]["image"] == sent["images"][0]["name"]


def test_a_request_over_twenty_megabytes_is_refused_before_sending(loopback: RunpodLoopback) -> None:
    workflow = asyncio.run(weighing(20_000_000).resolved())
    error = fails(InvalidInputError, lambda: run(workflow))
    assert error.details["limit_bytes"] == 20_000_000
    assert "MB" in error.message
    assert loopback.calls == []
    with Client(settings=Settings.load(backend=["runpod", "emulator"])) as client:
        made = client.run(workflow)
    assert (made.backend, loopback.calls) == ("emulator", []), "another backend takes more"


def test_a_request_that_runpod_finds_too_large_is_a_typed_refusal(loopback: RunpodLoopback) -> None:
    loopback.run_limit = 100
    error = fails(InvalidInputError, run)
    assert "exceeds limit" in error.message


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_job_over_its_limit_is_cancelled(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True
    workflow = CustomWorkflow(graph=GRAPH, limit=0.05)
    error = fails(GenerationTimeoutError, lambda: run(workflow, runpod_load_seconds=0.0))
    assert "runpod.load_seconds" in error.hint
    assert [held.status for held in loopback.jobs.values()] == ["CANCELLED"]


def test_a_job_that_no_worker_takes_is_cancelled(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True

    async def work() -> None:
        patient, hasty = backend(), backend(RunpodPatience(queue_seconds=0.1, poll=POLL))
        try:
            first = await patient.submit(WORKFLOW, job="job-1")
            await anext(event async for event in first.events() if isinstance(event, Started))
            await (await hasty.submit(WORKFLOW, job="job-2")).result()
        finally:
            await hasty.close()
            await patient.close()

    error = fails(GenerationTimeoutError, work)
    assert error.details == {"job": "job-2", "queued": True}
    assert [held.status for held in loopback.jobs.values()] == ["IN_PROGRESS", "CANCELLED"]


def test_limits_go_along_so_that_a_lost_job_ends_by_itself(loopback: RunpodLoopback) -> None:
    asyncio.run(run(CustomWorkflow(graph=GRAPH, limit=60), runpod_load_seconds=10.0))
    (held,) = loopback.jobs.values()
    assert held.policy == {"executionTimeout": 100_000, "ttl": 1_900_000}


def end(loopback: RunpodLoopback, status: str) -> Fault:
    return Fault(200, body=json.dumps({"id": "x", "status": status}))


@pytest.mark.parametrize(("status", "kind"), [("TIMED_OUT", GenerationTimeoutError), ("CANCELLED", JobCanceledError)])
def test_ends_that_runpod_decides(loopback: RunpodLoopback, status: str, kind: type[RylaGenError]) -> None:
    loopback.faults["status"] = [end(loopback, status)]
    fails(kind, run)


@pytest.mark.parametrize("status", ['"THROTTLED"', "7", "null", '["IN_QUEUE"]', '{"a": 1}'])
def test_a_status_of_an_unknown_kind_is_told_and_not_waited_on_for_ever(
    loopback: RunpodLoopback, worker: Scripted, status: str
) -> None:
    worker.hold = True
    loopback.faults["status"] = [Fault(200, body=f'{{"id": "x", "status": {status}}}')] * 10_000

    async def work() -> None:
        made = backend(RunpodPatience(unknown_seconds=0.1, poll=POLL))
        try:
            async with asyncio.timeout(WAIT):
                ticket = await made.submit(WORKFLOW, job="job-1")
                try:
                    await ticket.result()
                finally:
                    await ticket.cancel()  # whoever lost it can stop it
        finally:
            await made.close()

    error = fails(BackendUnreachableError, work)
    assert [job.status for job in loopback.jobs.values()] == ["CANCELLED"]
    assert "does not know" in error.message
    assert "jobs result job-1" in error.hint and error.details["contact_lost"]  # it may run, and is paid for


def test_the_setting_says_how_long_a_job_waits_for_a_worker(loopback: RunpodLoopback, worker: Scripted) -> None:
    asyncio.run(run(CustomWorkflow(graph=GRAPH, limit=60), runpod_load_seconds=10.0, queue_timeout=600))
    (held,) = loopback.jobs.values()
    assert held.policy["ttl"] == 700_000


def test_a_failure_is_paid_for_and_the_journal_says_what(loopback: RunpodLoopback) -> None:
    broken = "Node ID: 3 (KSampler): it broke"
    failed = {"id": "x", "status": "FAILED", "delayTime": 900, "executionTime": 20_000, "error": broken}
    loopback.faults["status"] = [Fault(200, body=json.dumps(failed))]
    settings = Settings.load(backend="runpod", runpod_usd_per_second=0.001)
    with Client(settings=settings) as client:
        with pytest.raises(RylaGenError) as caught:
            client.run(WORKFLOW)
        (record,) = client.jobs.list()
        assert (record.state, record.gpu_seconds, record.cost_usd) == ("failed", 20.0, pytest.approx(0.02))
        assert client.costs()[0].usd == pytest.approx(0.02)
    assert caught.value.details["cost_usd"] == pytest.approx(0.02)


def test_cancelling_reaches_the_worker(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True

    async def work() -> None:
        made = backend()
        try:
            ticket = await made.submit(WORKFLOW, job="job-1")
            await anext(event async for event in ticket.events() if isinstance(event, Started))
            await asyncio.gather(ticket.cancel(), ticket.cancel())
            assert ticket.state == "canceled"
            await ticket.result()
        finally:
            await made.close()

    fails(JobCanceledError, work)
    assert [held.status for held in loopback.jobs.values()] == ["CANCELLED"]


def test_a_job_that_was_faster_than_its_cancelling_keeps_its_result(loopback: RunpodLoopback) -> None:
    async def work() -> Generation:
        made = backend(RunpodPatience(poll=RetryPolicy(first_pause=0.5, longest_pause=0.5)))
        ticket = await made.submit(WORKFLOW, job="job-1")
        (held,) = loopback.jobs.values()
        while held.status != "COMPLETED":
            await asyncio.sleep(0)
        await ticket.cancel()
        result = await ticket.result()
        await made.close()
        return result

    assert asyncio.run(asyncio.wait_for(work(), WAIT)).image.size == (256, 256)


def test_leaving_leaves_the_job_running_and_another_process_takes_it_up(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True

    async def leave() -> str:
        made = backend()
        ticket = await made.submit(WORKFLOW, job="job-1")
        await made.close()
        return ticket.handle

    handle = asyncio.run(asyncio.wait_for(leave(), WAIT))
    (held,) = loopback.jobs.values()
    assert handle == f"runpod:{held.id}"
    assert held.status in ("IN_QUEUE", "IN_PROGRESS")
    held.status, held.output = "COMPLETED", {"images": [image()]}

    async def take_up() -> Generation:
        made = backend()
        result = await (await made.attach(handle, WORKFLOW, job="job-1")).result()
        await made.close()
        return result

    assert asyncio.run(asyncio.wait_for(take_up(), WAIT)).job == "job-1"


async def attached(handle: str) -> None:
    made = backend()
    try:
        await (await made.attach(handle, WORKFLOW, job="job-1")).result()
    finally:
        await made.close()


def test_a_result_that_is_gone_says_so(loopback: RunpodLoopback) -> None:
    loopback.results_kept = 0.0
    asyncio.run(run_until_gone(loopback))
    (held,) = loopback.jobs.values()
    fails(ResultExpiredError, lambda: attached(f"runpod:{held.id}"))


async def run_until_gone(loopback: RunpodLoopback) -> None:
    made = backend()
    await made.submit(WORKFLOW, job="job-1")
    (held,) = loopback.jobs.values()
    async with asyncio.timeout(WAIT):
        while held.status != "COMPLETED":
            await asyncio.sleep(0)
    await made.close()


def test_a_job_that_runpod_drops_while_it_is_followed(loopback: RunpodLoopback, worker: Scripted) -> None:
    worker.hold = True

    async def work() -> None:
        made = backend()
        try:
            ticket = await made.submit(WORKFLOW, job="job-1")
            await anext(event async for event in ticket.events() if isinstance(event, Started))
            loopback.forget(next(iter(loopback.jobs)))
            await ticket.result()
        finally:
            await made.close()

    fails(JobExpiredError, work)


def test_a_job_that_runpod_knows_only_a_moment_later(loopback: RunpodLoopback) -> None:
    loopback.faults["status"] = [Fault(404), Fault(404)]
    assert asyncio.run(run()).image.size == (256, 256)


@pytest.mark.parametrize("handle", ["modal:fc-1", "runpod:../../other", "runpod:"])
def test_a_handle_that_is_not_one(loopback: RunpodLoopback, handle: str) -> None:
    fails(JobNotFoundError, lambda: attached(handle))
    assert loopback.calls == []


def test_a_job_whose_submission_was_not_answered_cannot_be_found(loopback: RunpodLoopback) -> None:
    async def work() -> None:
        made = backend()
        try:
            await made.find("job-1")
        finally:
            await made.close()

    assert fails(JobNotFoundError, work).details == {"job": "job-1", "maybe_taken": True}
    assert loopback.calls == []


def test_a_job_that_may_have_been_taken_is_journaled_and_not_looked_for_in_vain(loopback: RunpodLoopback) -> None:
    loopback.faults["run"] = [Fault(cut="after")]
    with Client("runpod") as client:
        with pytest.raises(BackendUnreachableError):
            client.run(WORKFLOW)
        (record,) = client.jobs.list()
        assert (record.state, record.handle) == ("failed", None)
        assert record.error is not None
        assert record.error["details"]["maybe_taken"]
        with pytest.raises(JobNotFoundError, match="may have been accepted"):
            client.jobs.get(record.id)
    assert loopback.count("run") == 1


def test_a_chain_does_not_move_on_after_a_job_that_may_have_been_taken(loopback: RunpodLoopback) -> None:
    settings = Settings.load(backend=["runpod", "emulator"])
    with Client(settings=settings) as client:
        loopback.faults["run"] = [Fault(504)]
        with pytest.raises(BackendUnreachableError):
            client.run(WORKFLOW)
        loopback.faults["run"] = [Fault(401)]
        assert client.run(WORKFLOW).backend == "emulator"
    assert loopback.count("run") == 2


# -- hooks on outputs --------------------------------------------------------------------------------------------------


def test_what_a_worker_made_is_asked_about_and_a_refusal_is_paid_for(loopback: RunpodLoopback, tmp_path: Path) -> None:
    source = "from ryla_gen.errors import RefusedError\ndef check(output, workflow): raise RefusedError('No.')\n"
    install(tmp_path / "site", "ryla_hook_of_runpod", source)
    with known_here(tmp_path / "site"):
        error = fails(RefusedError, run)
    (held,) = loopback.jobs.values()
    seconds = held.answer()["executionTime"] / 1000
    told = {"output": "workflow-0-0.png", "hook": "ryla_hook_of_runpod", "gpu_seconds": seconds, "cost_usd": seconds * 0.5}
    assert {key: error.details[key] for key in told} == told


def test_a_hook_that_cannot_be_loaded_sends_nothing(loopback: RunpodLoopback, tmp_path: Path) -> None:
    install(tmp_path / "site", "ryla_needy_hook_of_runpod", "import no_such_package\n")
    with known_here(tmp_path / "site"):
        assert fails(HookFailedError, run).started == "no"
    assert loopback.jobs == {}


def test_a_clients_own_hook_is_asked_here_too(loopback: RunpodLoopback, clean_environment: Path) -> None:
    def refuse(output: Output, workflow: Workflow) -> None:
        raise RefusedError("No.")

    with Client(settings=Settings.load(backend="runpod", runpod_usd_per_second=0.5), on_output=refuse) as client:
        job = client.submit(WORKFLOW)
        assert [event.state for event in job.events() if isinstance(event, Finished)] == ["failed"]
        with pytest.raises(RefusedError):
            job.result()
        [record] = client.jobs.list()
    (held,) = loopback.jobs.values()
    assert (record.state, record.cost_usd) == ("failed", pytest.approx(held.answer()["executionTime"] / 1000 * 0.5))
