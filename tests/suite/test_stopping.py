"""Stop means stop on Modal: whichever call owns a job, and whoever has heard of which call, a stopped job does not run on."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import modal as modal_client
import pytest
from modal_proto import api_pb2

from ryla_gen import AsyncClient, Client, Flux, FluxDev
from ryla_gen.backends.modal.backend import ModalBackend, ModalPatience
from ryla_gen.errors import (
    AlreadyClaimedError,
    BackendUnreachableError,
    GenerationTimeoutError,
    JobCanceledError,
    RylaGenError,
)
from ryla_gen.names import CLAIMS_DICT
from ryla_gen.remote.claims import CANCELED, ModalClaims, claim, entries_of, entry, stop
from tests.cli.shell import ryla
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.state import Call

from .test_contract_suite import LONG, SMALL
from .test_modal_caller import color, runs_of

SEEDS = itertools.count(5000)
TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED


@pytest.fixture
def modal(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared app, with this process as its client and all knobs as they were."""
    with connected(modal_app):
        yield modal_app
    modal_app.knobs.reset()


@pytest.fixture
def client(modal: Loopback) -> Iterator[Client]:
    with Client("modal") as made:
        yield made


@pytest.fixture(params=[False, True], ids=["every request is new", "requests are remembered"])
def twice(modal: Loopback, request: pytest.FixtureRequest) -> Loopback:
    """An answer to the next spawn is lost, so that it is sent twice; the service may remember the first by its key, or not."""
    modal.knobs.remember_requests = request.param
    modal.knobs.lose_answer_of["FunctionMap"] = 1
    return modal


def long() -> FluxDev:
    """A workflow that is stopped before its end, under a seed of its own: ComfyUI would answer the same one again at once."""
    return LONG.changed(seed=next(SEEDS))


def eventually(true: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
    return value


def entries(job: str) -> list[str]:
    """The claims of a job, as they stand in Modal's Dict."""
    found, claims = list[str](), modal_client.Dict.from_name(CLAIMS_DICT)
    while (value := claims.get(entry(job, len(found) + 1))) is not None:
        found.append(value)
    return found


def reply_of(call: Call) -> Any:
    """What a call returned."""
    return modal_client.FunctionCall.from_id(call.id).get(timeout=100)


def started(job: Any) -> None:
    """Wait until a job's graph runs."""
    next(event for event in job.events() if event.type == "started")


def nothing_runs(loopback: Loopback) -> None:
    """Wait until no container holds an input, and send one job through, behind which nothing of an earlier one waits."""
    eventually(lambda: not any(container.running for container in loopback.containers if container.exit_code is None))
    with Client("modal") as client:
        client.run(color(int(time.monotonic() * 1000) % 10**6))


@pytest.mark.parametrize("way", ["the job", "its id", "its handle"])
def test_a_job_that_was_sent_twice_is_cancelled_wherever_it_runs(twice: Loopback, client: Client, way: str) -> None:
    before = len(twice.calls)
    job = client.submit(long())
    started(job)
    sent = twice.calls[before:]
    assert len(sent) == (1 if twice.knobs.remember_requests else 2)
    if way == "the job":
        job.cancel()
    else:
        with Client("modal") as other:
            other.jobs.get(job.id if way == "its id" else job.handle).cancel()
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    assert entries(job.id)[0] in [call.id for call in sent]
    assert entries(job.id)[1:] == [CANCELED]
    owner = next(call for call in sent if call.id == entries(job.id)[0])
    eventually(lambda: owner.outputs)
    assert owner.outputs[0].result.status == TERMINATED
    nothing_runs(twice)
    assert runs_of(twice, job.id) == 0
    assert client.jobs.list()[-1].state == "canceled"


def test_a_job_of_another_process_is_cancelled_before_modal_has_answered_for_its_call(modal: Loopback, client: Client) -> None:
    job = client.submit(long())
    started(job)
    modal.knobs.delay["FunctionCallFromId"] = 1.0
    with Client("modal") as other:
        found = other.jobs.get(job.id)
        assert found.handle == job.handle
        found.cancel()
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    assert entries(job.id)[1:] == [CANCELED]


def test_a_timeout_stops_a_job_that_was_sent_twice_wherever_it_runs(twice: Loopback, client: Client) -> None:
    before = len(twice.calls)
    with pytest.raises(GenerationTimeoutError, match="and was canceled") as caught:
        client.run(long(), timeout=0.5)
    job = caught.value.details["job"]
    owner = next(call for call in twice.calls[before:] if call.id == entries(job)[0])
    assert eventually(lambda: owner.outputs)[0].result.status == TERMINATED
    nothing_runs(twice)
    assert runs_of(twice, job) == 0


@pytest.mark.parametrize("way", ["the queue limit", "cancel"])
def test_what_is_stopped_before_a_container_took_it_is_refused_there(modal: Loopback, client: Client, way: str) -> None:
    busy = [client.submit(long()) for _ in range(5)]
    started(busy[0])
    client._client._backends["modal"] = ModalBackend(client.settings, patience=ModalPatience(queue_seconds=1.0))
    modal.knobs.lose_answer_of["FunctionMap"] = 1
    before = len(modal.calls)
    waiting = client.submit(Flux(**SMALL))
    if way == "cancel":
        waiting.cancel()
    with pytest.raises(GenerationTimeoutError if way == "the queue limit" else JobCanceledError):
        waiting.result(timeout=100)
    first, second = modal.calls[before:]
    assert entries(waiting.id) == [CANCELED]
    for job in busy:
        job.cancel()
    assert reply_of(first)["error"]["code"] == "job_canceled"
    assert second.outputs[0].result.status == TERMINATED
    assert runs_of(modal, waiting.id) == 0


async def test_ctrl_c_while_an_answer_is_lost_stops_every_call_of_the_job(modal: Loopback) -> None:
    modal.knobs.delay_answer["FunctionMap"] = 0.5
    modal.knobs.lose_answer_of["FunctionMap"] = 1
    before = len(modal.calls)
    async with AsyncClient("modal") as client:
        running = asyncio.create_task(client.run(long()))
        while len(modal.calls) == before:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (record,) = client.jobs.list()
    assert record.state == "canceled"
    for call in modal.calls[before:]:
        while not call.outputs:
            await asyncio.sleep(0.02)
    found = await entries_of(ModalClaims(CLAIMS_DICT), record.id)
    assert found[-1] == CANCELED
    assert runs_of(modal, record.id) == 0


@pytest.mark.parametrize("again", ["at once", "when its call has ended"])
def test_a_stop_that_modal_does_not_answer_is_no_stop(modal: Loopback, client: Client, again: str) -> None:
    from grpclib import Status

    job = client.submit(long())
    started(job)
    client._client._backends["modal"]._patience = ModalPatience(reach_seconds=1.0)
    modal.knobs.refuse["DictUpdate"] = Status.FAILED_PRECONDITION
    with pytest.raises(RylaGenError) as caught:
        job.cancel()
    assert not isinstance(caught.value, JobCanceledError), "it may run on under a call that was not heard of"
    if again != "at once":
        with pytest.raises(JobCanceledError):
            job.result(timeout=100)
        eventually(lambda: not any(container.running for container in modal.containers if container.exit_code is None))
        assert CANCELED not in entries(job.id), "the container could not write it either"
    modal.knobs.reset()
    job.cancel()
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    assert entries(job.id)[-1] == CANCELED


def test_a_call_that_is_cancelled_by_hand_stops_the_job_for_all_other_calls(modal: Loopback, client: Client) -> None:
    job = client.submit(long())
    started(job)
    owner = entries(job.id)[0]
    modal_client.FunctionCall.from_id(owner).cancel()  # in Modal's dashboard, or by a client that writes no claims
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    eventually(lambda: entries(job.id) == [owner, CANCELED])
    reply = modal_client.Cls.from_name("ryla-comfyui", "Flux")().flux.remote({"inputs": SMALL, "job": job.id})
    assert reply["error"]["code"] == "job_canceled"


def test_a_stopped_job_is_found_as_such(modal: Loopback, client: Client) -> None:
    client.run(color(73))
    asyncio.run(stop(ModalClaims(CLAIMS_DICT), "a-job-that-no-call-has"))
    with pytest.raises(JobCanceledError):
        asyncio.run(ModalBackend(client.settings).find("a-job-that-no-call-has"))
    assert asyncio.run(ModalBackend(client.settings).find("a-job-that-never-was")) is None


async def test_of_a_claim_and_a_stop_at_the_same_time_exactly_one_wins_two_hundred_times(modal: Loopback) -> None:
    ours, theirs = ModalClaims(CLAIMS_DICT), ModalClaims(CLAIMS_DICT)
    seen = {"ran": 0, "canceled": 0}

    async def taken(job: str) -> bool:
        try:
            await claim(theirs, job, "fc-racer")
        except JobCanceledError:
            return False
        return True

    for number in range(200):
        job = f"race-{number}-{time.monotonic_ns()}"
        sides = (taken(job), stop(ours, job)) if number % 2 else (stop(ours, job), taken(job))
        first, second = await asyncio.gather(*sides)
        ran, owners = (first, second) if number % 2 else (second, first)
        assert owners == (["fc-racer"] if ran else []), "the stop knows the call that runs, or the call does not run"
        assert await entries_of(ours, job) == (["fc-racer", CANCELED] if ran else [CANCELED])
        with pytest.raises(JobCanceledError):
            await claim(theirs, job, "fc-racer")  # restarted after the stop: never again
        seen["ran" if ran else "canceled"] += 1
    assert sum(seen.values()) == 200
    assert min(seen.values()) > 0, f"both orders were seen: {seen}"


async def test_a_claim_whose_answer_is_lost_is_still_the_own_one(modal: Loopback) -> None:
    claims = ModalClaims(CLAIMS_DICT)
    job = f"lost-{time.monotonic_ns()}"
    modal.knobs.lose_answer_of["DictUpdate"] = 1
    assert await claim(claims, job, "fc-mine")
    modal.knobs.lose_answer_of["DictUpdate"] = 1
    assert await stop(claims, job) == ["fc-mine"]
    assert await entries_of(claims, job) == ["fc-mine", CANCELED]


async def test_of_a_claim_nobody_can_read_nothing_runs(modal: Loopback) -> None:
    from grpclib import Status

    claims = ModalClaims(CLAIMS_DICT)
    await claims.get("x")
    modal.knobs.refuse["Dict*"] = Status.FAILED_PRECONDITION
    with pytest.raises(BackendUnreachableError, match="could not be claimed"):
        await claim(claims, "unread", "fc-mine")


async def test_a_call_of_a_running_owner_is_refused_with_its_handle(modal: Loopback) -> None:
    async with AsyncClient("modal") as client:
        job = await client.submit(long())
        async with aclosing(job.events()) as events:
            async for event in events:
                if event.type == "started":
                    break
        claims = ModalClaims(CLAIMS_DICT)
        with pytest.raises(AlreadyClaimedError) as caught:
            await claim(claims, job.id, "fc-other")
        assert caught.value.details["handle"] == job.handle
        await job.cancel()


@pytest.mark.parametrize("moment", ["delay_answer", "delay"], ids=["taken and not heard of", "not sent yet"])
def test_a_job_whose_sender_was_killed_is_cancelled_by_its_id(modal: Loopback, client: Client, moment: str) -> None:
    busy = [client.submit(long()) for _ in range(5)]  # so that it waits for a place, at least at first
    started(busy[0])
    asked, sent = modal.counts["FunctionMap"], len(modal.calls)
    getattr(modal.knobs, moment)["FunctionMap"] = 3600.0
    fields = {name: getattr(long(), name) for name in ("prompt", "width", "height", "steps", "batch_size")}
    script = f"from ryla_gen import Client, FluxDev; Client('modal').submit(FluxDev(**{fields}))"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    try:
        eventually(lambda: modal.counts["FunctionMap"] > asked and (moment == "delay" or len(modal.calls) > sent))
    finally:
        process.kill()
        process.communicate(timeout=600)
    modal.knobs.reset()
    record = client.jobs.list()[0]
    assert (record.state, record.handle) == ("queued", None)
    assert ryla("jobs", "cancel", record.id, **modal.env).returncode == 0
    assert client.jobs.list()[0].state == "canceled"
    assert entries(record.id)[-1] == CANCELED
    for job in busy:
        job.cancel()
    for call in modal.calls[sent:]:
        eventually(lambda call=call: call.outputs)
        assert call.outputs[0].result.status == TERMINATED or reply_of(call)["error"]["code"] == "job_canceled"
    nothing_runs(modal)
    assert runs_of(modal, record.id) == 0
