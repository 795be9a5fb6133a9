"""Contract 1 and contract 2 side by side: this package, and that of the last commit that spoke contract 1, each as either side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import AsyncClient, Client, Flux
from ryla_gen.contract import new_job_id
from ryla_gen.errors import ContractMismatchError, JobCanceledError, PreemptedError
from ryla_gen.names import CLAIMS_DICT
from ryla_gen.remote.claims import CANCELED, ModalClaims, stop
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .conftest import ROOT, deployed
from .test_contract_suite import SMALL
from .test_modal_caller import runs_of
from .test_preemption import container_of
from .test_stopping import TERMINATED, entries, eventually, long, nothing_runs, reply_of, started

CONTRACT_1 = "9659835"
"""The last commit whose package speaks contract 1."""

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree of contract 1, out of this repository's history."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git clone: there is no history to take contract 1 from")
    archive = subprocess.run(["git", "archive", CONTRACT_1, "ryla_gen"], cwd=ROOT, capture_output=True, check=False)
    assert archive.returncode == 0, archive.stderr.decode()
    folder = tmp_path_factory.mktemp("contract-1")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def older_app(older: Path, worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A loopback with the app of contract 1."""
    command = "{python} -m ryla_gen.emulator --port {port} --folder {work}"  # an older app knows no other release
    with deployed(worker_python, tmp_path_factory.mktemp("older-app"), older, RYLA_COMFYUI_COMMAND=command) as loopback:
        yield loopback


@pytest.fixture
def old_worker(older_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The app of contract 1, with this process as its client."""
    with connected(older_app):
        yield older_app
    older_app.knobs.reset()


@pytest.fixture
def new_worker(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The app of this tree, with this process as its client."""
    with connected(modal_app):
        yield modal_app
    modal_app.knobs.reset()


def process(source: Path, script: str, **variables: str) -> dict[str, Any]:
    """Run a script on the package of a source tree; what it prints, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(source), **variables}
    head = "import json, ryla_gen\nfrom ryla_gen import *\nfrom ryla_gen.errors import RylaGenError\n"
    command = [sys.executable, "-c", head + script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=source)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


LONG = repr(
    {name: value for name, value in long().to_plain().items() if name in ("prompt", "width", "height", "steps", "batch_size")}
)


# -- this client, an app of contract 1 -----------------------------------------------------------------


def test_a_run_on_an_older_app_loses_nothing_and_is_paid_once(old_worker: Loopback) -> None:
    before = len(old_worker.calls)
    with Client("modal") as client:
        first = client.run(Flux(**SMALL))
        asked, taken = old_worker.calls[before:]
        assert reply_of(asked)["error"]["code"] == "contract_mismatch", "said before anything ran"
        assert reply_of(taken)["contract"] == 1
        second = client.run(Flux(**{**SMALL, "seed": 8}))
        assert len(old_worker.calls) == before + 3, "from then on it is spoken to in its own contract"
    assert (first.image.size, second.seed) == ((256, 256), 8)
    assert [runs_of(old_worker, item.job) for item in (first, second)] == [1, 1]
    assert entries(first.job) == [taken.id]


@pytest.mark.parametrize("lost", [0, 1], ids=["sent once", "sent twice"])
def test_cancelling_on_an_older_app_cancels_the_call_that_owns_the_job(old_worker: Loopback, lost: int) -> None:
    with Client("modal") as client:
        client.run(Flux(**SMALL))
        old_worker.knobs.lose_answer_of["FunctionMap"] = lost
        before = len(old_worker.calls)
        job = client.submit(long())
        started(job)
        assert len(old_worker.calls) == before + 1 + lost
        job.cancel()
        with pytest.raises(JobCanceledError):
            job.result(timeout=100)
        owner = next(call for call in old_worker.calls if call.id == entries(job.id)[0])
        assert eventually(lambda: owner.outputs)[0].result.status == TERMINATED
        nothing_runs(old_worker)
        assert runs_of(old_worker, job.id) == 0


async def test_an_older_app_refuses_what_was_stopped_before_it_took_it(old_worker: Loopback) -> None:
    job = new_job_id()
    assert await stop(ModalClaims(CLAIMS_DICT), job) == []
    async with AsyncClient("modal") as client:
        with pytest.raises(JobCanceledError):
            await (await client.submit(Flux(**SMALL), job=job)).result()
    assert runs_of(old_worker, job) == 0


def test_a_job_of_an_older_client_is_resumed_and_cancelled_from_here(old_worker: Loopback, older: Path) -> None:
    sent = process(older, f"job = Client('modal').submit(Flux(**{SMALL}))\nprint(json.dumps([job.id, job.handle]))")
    # Before this side opens the journal: an older one writes nothing into a journal of a newer schema.
    again = process(older, f"job = Client('modal').submit(FluxDev(**{LONG}))\nprint(json.dumps([job.id, job.handle]))")
    with Client("modal") as client:
        assert client.jobs.get(sent[0]).result(timeout=60).seed == 7
        job = client.jobs.get(again[1])
        started(job)
        job.cancel()
        with pytest.raises(JobCanceledError):
            job.result(timeout=100)
        nothing_runs(old_worker)
    assert runs_of(old_worker, again[0]) == 0


def test_a_request_whose_sender_left_is_refused_by_an_older_app_before_it_runs(old_worker: Loopback) -> None:
    sent = process(ROOT, f"print(json.dumps([Client('modal').submit(Flux(**{SMALL})).id]))")
    with Client("modal") as client, pytest.raises(ContractMismatchError) as caught:
        client.jobs.get(sent[0]).result(timeout=60)
    assert "ryla-gen deploy" in caught.value.hint
    assert (entries(sent[0]), runs_of(old_worker, sent[0])) == ([], 0)


def test_an_older_app_that_is_preempted_ends_the_job_as_preempted_and_runs_nothing_twice(old_worker: Loopback) -> None:
    old_worker.knobs.interrupted_ends = True
    with Client("modal") as client:
        job = client.submit(long())
        started(job)
        old_worker.preempt(container_of(old_worker))
        with pytest.raises(PreemptedError, match="Deploy it again"):
            job.result(timeout=60)
        nothing_runs(old_worker)
    assert runs_of(old_worker, job.id) == 0


def test_the_weights_of_an_older_app_say_which_side_to_update(old_worker: Loopback) -> None:
    import asyncio

    from ryla_gen import Settings
    from ryla_gen.remote import admin

    with pytest.raises(ContractMismatchError) as caught:
        asyncio.run(admin.weights(Settings.load(backend="modal"), "status", ["flux"]))
    assert "ryla-gen deploy" in caught.value.hint


# -- a client of contract 1, this app ------------------------------------------------------------------


def test_an_older_client_runs_and_resumes_on_this_app(new_worker: Loopback, older: Path) -> None:
    made = process(
        older,
        f"""
client = Client('modal')
job = client.submit(Flux(**{SMALL}))
events = [event.type for event in job.events()]
made = job.result()
print(json.dumps({{"job": job.id, "seed": made.seed, "size": made.image.size, "ends": [events[0], events[-1]]}}))
""",
    )
    assert (made["seed"], made["size"], made["ends"]) == (7, [256, 256], ["queued", "finished"])
    assert runs_of(new_worker, made["job"]) == 1
    again = process(older, f"print(json.dumps({{'seed': Client('modal').jobs.get('{made['job']}').result().seed}}))")
    assert again == {"seed": 7}
    with Client("modal") as client:
        assert client.jobs.get(made["job"]).result().seed == 7


def test_an_older_client_hears_the_errors_of_this_app(new_worker: Loopback, older: Path) -> None:
    script = "graph = {'1': {'class_type': 'Nothing', 'inputs': {}}}\n"
    script += "try:\n    Client('modal').run(CustomWorkflow(graph=graph))\nexcept RylaGenError as error:\n"
    found = process(older, script + "    print(json.dumps({'code': error.code}))")
    assert found == {"code": "workflow_invalid"}


def test_what_an_older_client_cancels_stays_cancelled(new_worker: Loopback, older: Path) -> None:
    found = process(
        older,
        f"""
job = Client('modal').submit(FluxDev(**{LONG}))
next(event for event in job.events() if event.type == 'started')
job.cancel()
print(json.dumps({{"job": job.id, "state": job.state}}))
""",
    )
    assert found["state"] == "canceled"
    assert eventually(lambda: len(entries(found["job"])) == 2 and entries(found["job"])[1]) == CANCELED
    nothing_runs(new_worker)
    assert runs_of(new_worker, found["job"]) == 0


def test_the_weights_are_told_to_an_older_client(new_worker: Loopback, older: Path) -> None:
    script = "import asyncio\nfrom ryla_gen import Settings, fleet\n"
    script += "found = asyncio.run(fleet.weights(Settings.load(backend='modal'), 'status', ['flux']))\n"
    assert process(older, script + "print(json.dumps({'files': len(found['files'])}))") == {"files": 1}
