"""A picture is sent again only when its job is known to have ended by a machine's fault: what runs, or is done, is asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ryla_gen import AsyncClient, Client
from ryla_gen.characters import AsyncCharacters, CharacterJob, Characters
from ryla_gen.characters.retry import may_retry
from ryla_gen.characters.store import JobFolder
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import (
    ERRORS,
    BackendUnreachableError,
    NotAuthorizedError,
    RylaGenError,
    ServerUnhealthyError,
    StorageFailedError,
)
from tests.cli.shell import SMALL as SMALL_OPTIONS
from tests.cli.shell import environment, ryla
from tests.runpod_loopback import RunpodLoopback
from tests.runpod_loopback.server import Fault

from .elsewhere import AWAY, Wire, Worker

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1}
SECONDS = 240
NODE_FAILED = {"error": "Node Type: KSampler, Node ID: 3, Message: a tensor is nan"}
WORKER_DIED = {"error": "the worker ran away"}


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def endpoint(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodLoopback]:
    with RunpodLoopback(worker) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def runner(endpoint: RunpodLoopback) -> Iterator[Characters]:
    with Client("runpod") as client:
        yield Characters(client)


def cut_off(runner: Characters, endpoint: RunpodLoopback, worker: Worker, fault: Fault = AWAY) -> CharacterJob:
    """A job that RunPod works at, and that nobody hears of any more."""
    worker.ready.clear()
    endpoint.faults["status"] = [fault]
    job = runner.submit_base_images("a fox", seed=7, count=1, fields=SMALL)
    with pytest.raises((BackendUnreachableError, NotAuthorizedError)) as lost:
        job.result(SECONDS)
    assert f"ryla-gen character resume {job.id[:8]}" in lost.value.hint
    assert lost.value.details["contact_lost"] is True
    assert job.state != "failed", "nobody knows that"
    return job


@pytest.mark.parametrize("fault", [AWAY, Fault(status=401)], ids=["no answer", "token refused"])
def test_a_job_that_nobody_heard_of_is_asked_for_again_and_not_paid_twice(
    runner: Characters, endpoint: RunpodLoopback, worker: Worker, fault: Fault
) -> None:
    job = cut_off(runner, endpoint, worker, fault)
    worker.ready.set()
    found = runner.resume(job.id)
    assert len(found.result(SECONDS).pictures) == 1
    assert ([len(part.jobs) for part in found.parts], endpoint.count("run")) == ([1], 1)


def test_contact_that_is_lost_again_and_again_sends_nothing(runner: Characters, endpoint: RunpodLoopback, worker: Worker) -> None:
    job = cut_off(runner, endpoint, worker)
    for ask in (runner.resume, runner.retry, runner.resume):
        endpoint.faults["status"] = [AWAY] * 4
        with pytest.raises(BackendUnreachableError):
            ask(job.id).result(SECONDS)
    endpoint.faults.clear()
    worker.ready.set()
    assert len(runner.retry(job.id).result(SECONDS).pictures) == 1
    assert endpoint.count("run") == 1


def test_a_job_that_nobody_heard_of_can_be_cancelled(runner: Characters, endpoint: RunpodLoopback, worker: Worker) -> None:
    job = cut_off(runner, endpoint, worker)
    assert runner.cancel(job.id).state == "canceled"
    assert [held.status for held in endpoint.jobs.values()] == ["CANCELLED"]


def test_a_job_that_the_backend_no_longer_knows_is_made_again(runner: Characters, endpoint: RunpodLoopback, worker: Worker) -> None:
    job = cut_off(runner, endpoint, worker)
    worker.ready.set()
    endpoint.jobs.clear()
    assert len(runner.resume(job.id).result(SECONDS).pictures) == 1
    assert endpoint.count("run") == 2


async def test_a_pod_that_was_away_for_a_while_is_asked_for_the_picture_again() -> None:
    with Emulator() as server:
        port = urlsplit(server.start()).port or 0
        async with Wire(port) as wire, AsyncClient(url=wire.url) as client:
            runner = AsyncCharacters(client)
            server.knobs.delay_per_node = 1.0
            job = await runner.submit_base_images("a fox", seed=7, count=1, fields=SMALL)
            wire.cut()
            with pytest.raises(RylaGenError, match="1 of 1 picture missing") as lost:
                await job.result(SECONDS)
            assert lost.value.code in ("server_unhealthy", "backend_unreachable")
            server.knobs.delay_per_node = 0
            wire.mend()
            found = await runner.resume(job.id)
            assert len((await found.result(SECONDS)).pictures) == 1
            assert ([len(part.jobs) for part in found.parts], server.stats.prompts) == ([1], 1)


@pytest.mark.parametrize(("answer", "sent"), [(NODE_FAILED, 1), (WORKER_DIED, 2)], ids=["of the request", "of a machine"])
def test_only_the_fault_of_a_machine_is_mended_unasked_and_only_once(
    runner: Characters, endpoint: RunpodLoopback, worker: Worker, answer: dict[str, str], sent: int
) -> None:
    worker.answer = answer
    job = runner.submit_base_images("a fox", count=1, fields=SMALL)
    for ask in (lambda: job, lambda: runner.resume(job.id), lambda: runner.resume(job.id)):
        with pytest.raises(RylaGenError, match="1 of 1 picture missing"):
            ask().result(SECONDS)
    assert endpoint.count("run") == sent
    worker.answer = None
    assert len(runner.retry(job.id).result(SECONDS).pictures) == 1
    assert endpoint.count("run") == sent + 1


def test_a_job_that_ran_into_its_time_limit_is_left_to_a_person(
    runner: Characters, endpoint: RunpodLoopback, worker: Worker
) -> None:
    worker.ready.clear()
    job = runner.submit_base_images("a fox", count=1, fields=SMALL)
    while not endpoint.jobs:
        time.sleep(0.01)
    (held,) = endpoint.jobs.values()
    held.status = "TIMED_OUT"
    for ask in (lambda: job, lambda: runner.resume(job.id)):
        with pytest.raises(TimeoutError):
            ask().result(SECONDS)
    assert endpoint.count("run") == 1


def unkept(runner: Characters, endpoint: RunpodLoopback, worker: Worker, home: Path) -> tuple[CharacterJob, Path]:
    """A job whose picture was made, and which this machine's disk did not take; what is in its way."""
    worker.ready.clear()
    sent = runner.submit_base_images("a fox", count=1, fields=SMALL)
    job = runner.resume(sent.id)
    obstacle = home / "characters" / job.id / "base-1.png"
    obstacle.mkdir()
    worker.ready.set()
    for follower in (sent, job):  # each saves the picture: the obstacle stays until both have met it
        with pytest.raises(StorageFailedError):
            follower.result(SECONDS)
    obstacle.rmdir()
    assert endpoint.count("run") == 1, "the disk is at fault, and the picture is paid for"
    return job, obstacle


@pytest.mark.parametrize("ask", ["resume", "retry"])
def test_a_picture_that_this_machine_could_not_keep_is_fetched_again(
    runner: Characters, endpoint: RunpodLoopback, worker: Worker, clean_environment: Path, ask: str
) -> None:
    job, file = unkept(runner, endpoint, worker, clean_environment)
    assert [item.path for item in getattr(runner, ask)(job.id).result(SECONDS).pictures] == [file]
    assert endpoint.count("run") == 1


def test_a_person_can_have_a_picture_made_again_whose_result_is_gone(
    runner: Characters, endpoint: RunpodLoopback, worker: Worker, clean_environment: Path
) -> None:
    job, _ = unkept(runner, endpoint, worker, clean_environment)
    endpoint.jobs.clear()
    assert len(runner.retry(job.id).result(SECONDS).pictures) == 1
    assert endpoint.count("run") == 2


def test_only_these_faults_are_a_machines() -> None:
    mended = {code for code, kind in ERRORS.items() if may_retry(kind("what happened"), 1)}
    assert mended == {"server_unhealthy", "backend_unreachable", "out_of_memory", "job_expired", "result_expired"}
    assert not may_retry(ServerUnhealthyError("what happened"), 2)
    assert not may_retry(BackendUnreachableError("what happened", "", {"maybe_taken": True}), 1)


async def test_a_job_is_handed_in_when_runpod_has_it_not_when_a_worker_begins(endpoint: RunpodLoopback, worker: Worker) -> None:
    worker.ready.clear()
    async with AsyncClient("runpod") as client:
        job = await AsyncCharacters(client).submit_base_images("a fox", count=3, fields=SMALL)  # two wait in the queue
        async with asyncio.timeout(SECONDS):
            await job.handed_in()
        assert job.state != "succeeded"
        async with JobFolder(client.settings.home, job.id).lock(patience=SECONDS):
            assert endpoint.count("run") == 3


def test_detach_returns_before_a_worker_begins_and_status_looks_at_once(endpoint: RunpodLoopback, worker: Worker) -> None:
    worker.ready.clear()
    line = ["character", "base", "a fox", "--count", "2", *SMALL_OPTIONS, "--backend", "runpod"]
    made = ryla(*line, "--detach")
    assert made.returncode == 0
    looked = ryla("character", "status", made.stdout.decode().strip(), "--backend", "runpod")
    assert (looked.returncode, endpoint.count("run")) == (0, 2)


HOLDER = """
import asyncio, sys
from pathlib import Path
from ryla_gen.characters.store import JobFolder
async def hold():
    async with JobFolder(Path(sys.argv[1]), sys.argv[2]).lock():
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


def test_who_waits_in_vain_is_told_which_process_works_on_the_job(runner: Characters, clean_environment: Path) -> None:
    job = runner.submit_base_images("a fox", count=1, fields=SMALL)
    job.result(SECONDS)

    async def wait() -> None:
        async with JobFolder(clean_environment, job.id).lock(patience=0.2):
            raise AssertionError("two processes hold one job")

    command = [sys.executable, "-c", HOLDER, str(clean_environment), job.id]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageFailedError, match=f"is in use by process {holder.pid}") as busy:
            asyncio.run(wait())
        assert busy.value.hint.startswith("Wait")
    finally:
        holder.kill()
        holder.communicate(timeout=SECONDS)
