"""Jobs found again: in the same client, in another process, and by their handle on another machine; what they cost then."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import AsyncClient, Client, CustomWorkflow, Flux, FluxDev, InstantID, load
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BackendUnreachableError, JobCanceledError, JobExpiredError, JobNotFoundError, NodeFailedError
from ryla_gen.events import Started
from ryla_gen.history import Record

SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256}
GREY = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 8421504}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "theirs"}},
}
Move = Callable[[], None]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Move:
    """Go to another machine: a home whose journal knows nothing."""
    return lambda: monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))


def row(client: Client, job: str) -> Record:
    """What the journal says of a job."""
    found = client.history.get(job)
    assert found is not None
    return found


def submitted(client: Client, **more: Any) -> str:
    """Hand in a job that runs when this returns, and say its id."""
    job = client.submit(Flux(**SMALL, **more))
    next(event for event in job.events() if isinstance(event, Started))
    return job.id


async def test_a_living_job_is_given_again_as_it_is(server: Emulator) -> None:
    server.knobs.delay_per_node = 0.1
    async with AsyncClient(url=server.url) as client:
        job = await client.submit(Flux(**SMALL, seed=3))
        for name in (job.id, job.id[:13], job.handle):
            assert await client.jobs.get(name) is job
        assert (await job.result()).seed == 3
    assert server.stats.prompts == 1


@pytest.mark.parametrize("backend", ["comfyui", "emulator"])
def test_looking_for_a_living_job_leaves_its_journal_alone(backend: str, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    server.knobs.hold_nodes = True
    monkeypatch.setenv("COMFYUI_POD_URL", server.url)
    monkeypatch.setattr("ryla_gen.emulator.server.Emulator", lambda **_: server)  # the embedded one, which can be held so
    with Client(backend) as client:
        job = client.submit(Flux(**SMALL, seed=3))
        found = client.jobs.get(job.id)
        server.knobs.hold_nodes = False
        assert found.result().seed == job.result().seed == 3
        assert (row(client, job.id).state, row(client, job.id).error) == ("succeeded", None)


@pytest.mark.parametrize("moment", ["waiting", "running", "finished"])
def test_a_handle_is_enough_on_another_machine(moment: str, server: Emulator, elsewhere: Move) -> None:
    server.knobs.delay_per_node = 0.1
    with Client(url=server.url) as client:
        before = submitted(client) if moment == "waiting" else ""
        job = client.submit(FluxDev(**SMALL, steps=2, seed=9))
        if moment == "finished":
            job.result()
    elsewhere()
    with Client(url=server.url) as client:
        assert client.jobs.list() == []
        found = client.jobs.get(job.handle)
        assert (found.id, found.workflow) == (job.id, FluxDev(**SMALL, steps=2, seed=9))
        assert found.result().seed == 9
        known = row(client, job.id)
        assert (known.state, known.handle, known.workflow, known.seed) == ("succeeded", job.handle, "flux_dev", 9)
        assert client.jobs.get(job.id).result().seed == 9
    assert server.stats.prompts == (2 if before else 1)


def test_a_face_stays_a_hash_on_another_machine(server: Emulator, face: bytes, elsewhere: Move) -> None:
    with Client(url=server.url) as client:
        generation = client.instantid(**SMALL, steps=2, seed=4, reference_image=face)
        noted = row(client, generation.job).inputs
    elsewhere()
    with Client(url=server.url) as client:
        again = client.jobs.get(f"comfyui:{generation.job}")
        assert isinstance(again.workflow, InstantID)
        assert again.result().output.data == generation.output.data
        assert row(client, generation.job).inputs == noted


async def test_a_prompt_that_somebody_else_sent_is_a_graph(server: Emulator, tmp_path: Path) -> None:
    from ryla_gen.comfy.client import ComfyClient

    theirs = str(uuid.uuid4())
    async with ComfyClient(server.url) as sender, sender.follow(theirs) as follower:
        await sender.submit(GREY, prompt_id=theirs)
        assert [message async for message in follower]
    async with AsyncClient(url=server.url) as client:
        job = await client.jobs.get(f"comfyui:{theirs}")
        assert job.workflow == CustomWorkflow(graph=GREY)
        (file,) = (await job.result()).save(tmp_path / "grey.png")
    assert load(file) == CustomWorkflow(graph=GREY)


def test_a_handle_that_leads_nowhere_says_why(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(url=server.url) as client:
        with pytest.raises(JobExpiredError, match="does not know the job"):
            client.jobs.get(f"comfyui:{uuid.uuid4()}")
        with pytest.raises(JobExpiredError, match="ended with its process"):
            client.jobs.get(f"emulator:{uuid.uuid4()}")
        with pytest.raises(JobNotFoundError, match="RunPod keeps no request") as caught:
            client.jobs.get("runpod:abc-1")
        assert caught.value.details == {"handle": "runpod:abc-1", "missing": "request"}
        for nothing in ("comfyui:", "nowhere:abc", "abc"):
            with pytest.raises(JobNotFoundError, match="in the journal of this machine"):
                client.jobs.get(nothing)
        assert client.jobs.list() == []


def test_a_job_cancelled_by_another_process_costs_what_it_ran(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    server.knobs.hold_nodes = True
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")  # a dollar a second
    before = time.time()
    with Client(url=server.url) as client:
        job = submitted(client)
        started = row(client, job).started_at
    time.sleep(1.0)
    with Client(url=server.url) as client:
        again = client.jobs.get(job)
        heard = next(event for event in again.events() if isinstance(event, Started))
        again.cancel()
        known = row(client, job)
        with pytest.raises(JobCanceledError):
            again.result()
    assert heard.at == started == known.started_at
    assert known.state == "canceled"
    assert known.cost_usd is not None and 1.0 <= known.cost_usd <= time.time() - before + 0.01  # the journal counts milliseconds


def test_a_failure_that_is_found_a_day_later_has_not_cost_a_day(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    server.knobs.hold_nodes, server.knobs.raise_at = True, "KSampler"
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    with Client(url=server.url) as client:
        job = submitted(client)
        client.history.update(job, started_at="2020-01-01T00:00:00.000Z")
    server.knobs.hold_nodes = False  # the client that saw it start has not seen it fail
    with Client(url=server.url) as client:
        with pytest.raises(NodeFailedError):
            client.jobs.get(job).result()
        known = row(client, job)
    assert known.reserved_usd is not None and known.cost_usd == pytest.approx(known.reserved_usd)


def test_a_job_that_ended_with_its_process_is_written_down_as_expired() -> None:
    code = """
import os
from ryla_gen import Client, FluxDev
client = Client("emulator")
print(client.submit(FluxDev(prompt="a red fox", width=1536, height=1536, steps=100)).id, flush=True)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=600, check=False)
    job = done.stdout.strip()
    with Client("emulator") as client:
        assert client.jobs.list()[0].state in ("queued", "running")
        with pytest.raises(JobExpiredError):
            client.jobs.get(job)
        assert client.jobs.list()[0].state == "expired"


def test_a_server_that_cannot_be_reached_ends_no_job_of_an_earlier_client() -> None:
    with Emulator() as server:
        server.knobs.hold_nodes = True
        with Client(url=server.url) as client:
            job = submitted(client)
        port = server.port
    for asked in (["result"], ["cancel"], ["result", "cancel"]):
        with Client(url=server.url) as other:
            found = other.jobs.get(job)
            for name in asked:
                with pytest.raises(BackendUnreachableError) as caught:
                    getattr(found, name)()
                assert caught.value.details["contact_lost"]
            assert (row(other, job).state, row(other, job).finished_at) == ("running", None), "it may run on there"
    with Emulator(port=port), Client(url=server.url) as other, pytest.raises(JobExpiredError):
        other.jobs.get(job).result(timeout=60)  # asked again, now that something answers there
