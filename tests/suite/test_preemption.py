"""A container that Modal takes away: the job goes on elsewhere, or runs once more, or says that it was preempted; never twice."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import modal as modal_client
import pytest

from ryla_gen import Client, FluxDev
from ryla_gen.backends.modal.backend import ModalBackend
from ryla_gen.errors import JobCanceledError, PreemptedError
from ryla_gen.events import Event, Finished, Progress, Queued, Started
from ryla_gen.names import EVENTS_QUEUE
from ryla_gen.remote.claims import CANCELED
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.state import Container

from .test_contract_suite import SLOW
from .test_modal_caller import runs_of
from .test_stopping import entries, eventually, nothing_runs, started

SEEDS = itertools.count(9000)


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


def long() -> FluxDev:
    """Takes several seconds, under a seed of its own."""
    return SLOW.changed(width=1536, height=1536, seed=next(SEEDS))


def container_of(loopback: Loopback) -> Container:
    """The container that runs something."""
    return eventually(lambda: next((item for item in loopback.containers if item.exit_code is None and item.running), None))


def published(job: str) -> list[dict[str, object]]:
    """All events in a job's partition."""
    return list(modal_client.Queue.from_name(EVENTS_QUEUE).iterate(partition=job, item_poll_timeout=0))


@pytest.mark.parametrize("ends", [False, True], ids=["the input is restarted", "the input is over"])
def test_a_preempted_job_gives_its_result_and_is_saved_once(modal: Loopback, client: Client, ends: bool) -> None:
    modal.knobs.interrupted_ends = ends
    job = client.submit(long())
    events: list[Event] = []
    for event in job.events():
        events.append(event)
        if isinstance(event, Progress) and sum(isinstance(item, Started) for item in events) == 1:
            taken = container_of(modal)
            modal.preempt(taken)
            break
    assert job.result(timeout=120).job == job.id
    assert eventually(lambda: taken.exit_code is not None)
    assert job.result().server["container"] != taken.id
    assert runs_of(modal, job.id) == 3, "one run of three pictures was finished"
    assert len(entries(job.id)) == (2 if ends else 1)
    eventually(lambda: "finished" in [event["type"] for event in published(job.id)])  # it may arrive after the reply
    told = [event["type"] for event in published(job.id)]
    assert told.count("started") == 2
    assert told.count("finished") == 1, "the container that had to stop published no end"
    assert published(job.id)[-1]["state"] == "succeeded"
    numbers = [event["seq"] for event in published(job.id)]
    assert numbers == sorted(set(numbers)), "the numbers go on"
    seen = [type(event) for event in job.events()]
    assert seen.count(Started) == 2
    assert seen.index(Queued, seen.index(Started)) < len(seen) - 1 - seen[::-1].index(Started)
    assert seen[-1] is Finished
    assert client.jobs.list()[0].state == "succeeded"


def test_a_second_start_restarts_the_clock_of_the_caller(modal: Loopback, client: Client) -> None:
    job = client.submit(long(), timeout=None)
    ticket = job._job._ticket
    started(job)
    first = ticket._log.started_at
    assert first is not None
    modal.preempt(container_of(modal))
    eventually(lambda: ticket._log.started_at not in (None, first))  # between them none, for as long as no container has it
    second = ticket._log.started_at
    assert second > first
    assert ticket._deadline() == second + ticket._limit
    assert job.result(timeout=120).job == job.id


@pytest.mark.parametrize("ends", [False, True], ids=["the input is restarted", "the input is over"])
def test_a_job_that_its_owner_cancels_as_the_container_goes_does_not_come_back(modal: Loopback, client: Client, ends: bool) -> None:
    modal.knobs.interrupted_ends = ends
    job = client.submit(long())
    started(job)
    modal.preempt(container_of(modal))
    job.cancel()
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    assert entries(job.id)[-1] == CANCELED
    nothing_runs(modal)
    assert runs_of(modal, job.id) == 0


def test_who_only_looks_after_a_preempted_job_is_told_so(modal: Loopback, client: Client) -> None:
    modal.knobs.interrupted_ends = True
    script = "from ryla_gen import Client, FluxDev; import sys; print(Client('modal').submit(FluxDev(**eval(sys.argv[1]))).id)"
    fields = {name: value for name, value in long().to_plain().items() if name in ("prompt", "steps", "batch_size", "seed")}
    done = subprocess.run([sys.executable, "-c", script, repr(fields)], capture_output=True, text=True, timeout=600, check=True)
    job = client.jobs.get(done.stdout.strip())
    started(job)
    modal.preempt(container_of(modal))
    with pytest.raises(PreemptedError) as caught:
        job.result(timeout=60)
    assert (caught.value.code, caught.value.http_status) == ("preempted", 503)
    nothing_runs(modal)
    assert runs_of(modal, job.id) == 0
    assert client.jobs.list()[-1].state == "failed"


def test_a_job_is_sent_again_once_and_not_for_ever(modal: Loopback, client: Client) -> None:
    modal.knobs.interrupted_ends = True
    job = client.submit(long())
    for number in (1, 2):
        eventually(lambda wanted=number: [event["type"] for event in published(job.id)].count("started") == wanted)
        modal.preempt(container_of(modal))
    with pytest.raises(PreemptedError, match="was not sent again"):
        job.result(timeout=60)
    nothing_runs(modal)
    assert runs_of(modal, job.id) == 0
    assert entries(job.id)[-1] == CANCELED, "no further call of it runs for no one"


def test_a_job_whose_container_was_lost_for_good_runs_once_more(modal: Loopback, client: Client) -> None:
    job = client.submit(long())
    for number in (1, 2, 3):  # so often the loopback hands an input out before it gives up
        eventually(lambda wanted=number: [event["type"] for event in published(job.id)].count("started") == wanted)
        modal.kill_container(container_of(modal))
    assert job.result(timeout=120).job == job.id
    assert len(entries(job.id)) == 2
    assert runs_of(modal, job.id) == 3


def test_an_app_that_is_gone_when_the_job_is_sent_again_is_a_preemption(modal: Loopback, client: Client) -> None:
    modal.knobs.interrupted_ends = True
    job = client.submit(long())
    started(job)
    from grpclib import Status

    modal.knobs.refuse["FunctionMap"] = Status.NOT_FOUND
    modal.preempt(container_of(modal))
    with pytest.raises(PreemptedError, match="could not be sent again"):
        job.result(timeout=60)


def test_the_prompt_of_a_container_that_has_to_stop_is_stopped(modal: Loopback, client: Client) -> None:
    job = client.submit(long())
    started(job)
    container = container_of(modal)
    modal.preempt(container)
    eventually(lambda: container.exit_code is not None)
    assert container.exit_code != -signal.SIGKILL, "it ended by itself"
    assert container.left_behind == [], "and its ComfyUI with it"
    job.cancel()


def test_the_backend_finds_the_call_that_owns_a_job_now(modal: Loopback, client: Client) -> None:
    import asyncio

    modal.knobs.interrupted_ends = True
    job = client.submit(long())
    started(job)
    modal.preempt(container_of(modal))
    second = eventually(lambda: len(entries(job.id)) == 2 and entries(job.id)[1])
    assert asyncio.run(ModalBackend(client.settings).find(job.id)) == f"modal:{second}"
    with Client("modal") as other:
        assert other.jobs.get(job.id)._job._ticket.handle == job.handle
        assert other.jobs.get(job.id).result(timeout=120).job == job.id
    job.result(timeout=120)
