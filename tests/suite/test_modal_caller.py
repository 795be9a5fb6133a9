"""The calling side of Modal when things go wrong: each fault a typed error with its remedy, and no job ever runs twice."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal as modal_client
import pytest
from grpclib import Status
from modal_proto import api_pb2
from PIL import Image

from ryla_gen import AsyncClient, Client, CustomWorkflow, Flux, Generation, SeedVR2, Settings
from ryla_gen.backends.modal.backend import ModalBackend, ModalPatience
from ryla_gen.backends.modal.calls import upload_seconds
from ryla_gen.errors import (
    BackendUnreachableError,
    ContractMismatchError,
    GenerationTimeoutError,
    GpuOutOfMemoryError,
    JobCanceledError,
    NotAuthorizedError,
    NotDeployedError,
    ResultExpiredError,
    RylaGenError,
)
from ryla_gen.events import Finished, Queued, Started
from ryla_gen.names import CLAIMS_DICT
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .conftest import EMULATED, ROOT, WORK_FOLDERS, deployed
from .test_contract_suite import LONG, SLOW, SMALL, TRIVIAL


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


def color(number: int) -> CustomWorkflow:
    """A graph that costs nothing, told apart by its colour."""
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": number}
    return CustomWorkflow(graph={**TRIVIAL, "1": {"class_type": "EmptyImage", "inputs": inputs}})


def runs_of(loopback: Loopback, job: str) -> int:
    """How often a job's graph was saved by a container: files in its own folder."""
    return len(list(WORK_FOLDERS[loopback.url].glob(f"*/output/ryla/{job}/*")))


def test_without_a_token_the_remedy_is_named(clean_environment: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    environment |= {
        "MODAL_CONFIG_PATH": str(tmp_path / "none.toml"),
        "MODAL_SERVER_URL": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }
    script = """
from ryla_gen import Client
from ryla_gen.errors import RylaGenError
try:
    Client("modal").flux(prompt="x")
except RylaGenError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.startswith("not_authorized"), done.stdout
    assert "modal token new" in done.stdout


def test_a_refused_token_is_named_and_not_shown(modal: Loopback, client: Client) -> None:
    modal.knobs.refuse_token = True
    with pytest.raises(NotAuthorizedError) as caught:
        client.flux(**SMALL)
    assert "modal token new" in caught.value.hint
    assert modal.env["MODAL_TOKEN_SECRET"] not in str(caught.value.to_data())


def test_another_workspace_than_the_one_named_is_refused(modal: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_WORKSPACE", "ryla")
    with Client() as client, pytest.raises(NotAuthorizedError, match="'loopback', but MODAL_WORKSPACE is 'ryla'"):
        client.flux(**SMALL)
    monkeypatch.setenv("MODAL_WORKSPACE", "loopback")
    with Client() as client:
        assert client.run(color(1)).backend == "modal"


def test_an_app_that_is_not_deployed_names_the_command(modal: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(backend="modal", modal_app="no-such-app")
    with Client(settings=settings) as client, pytest.raises(NotDeployedError) as caught:
        client.flux(**SMALL)
    assert "ryla-gen deploy" in caught.value.hint


def test_the_environment_is_honoured(modal: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_ENVIRONMENT", "staging")
    with Client("modal") as client, pytest.raises(NotDeployedError) as caught:
        client.flux(**SMALL)
    assert "--environment staging" in caught.value.hint


@pytest.mark.parametrize(("knob", "name"), [("missing_classes", "Flux"), ("missing_methods", "Flux.flux")])
def test_an_older_deployment_is_asked_to_be_renewed(modal: Loopback, client: Client, knob: str, name: str) -> None:
    getattr(modal.knobs, knob).add(name)
    with pytest.raises(NotDeployedError) as caught:
        client.flux(**SMALL)
    assert "ryla-gen deploy" in caught.value.hint


def test_a_result_that_modal_no_longer_keeps_says_so(modal: Loopback, client: Client) -> None:
    job = client.submit(color(2))
    job.result()
    modal.knobs.expire_results = True
    with pytest.raises(ResultExpiredError):
        client.jobs.get(job.id).result(timeout=20)


def test_without_the_queue_only_the_progress_is_missing(modal: Loopback, client: Client) -> None:
    modal.knobs.queue_unavailable = True
    events: list[Any] = []
    assert client.run(color(3), on_event=events.append).output.width == 64
    assert [type(event) for event in events] == [Queued, Finished]


def test_a_full_queue_disturbs_nothing(modal: Loopback, client: Client) -> None:
    modal.knobs.queue_capacity = 1
    assert client.flux(**SMALL).image.size == (256, 256)


def test_a_request_that_runs_too_long_is_cancelled(modal: Loopback, client: Client) -> None:
    before = len(modal.calls)
    with pytest.raises(GenerationTimeoutError):
        client.run(CustomWorkflow(graph=LONG.build().to_api(), limit=60), timeout=0.5)
    (call,) = modal.calls[before:]
    while not call.outputs:
        time.sleep(0.02)
    assert call.outputs[0].result.status == api_pb2.GenericResult.GENERIC_STATUS_TERMINATED


def test_waiting_for_a_container_has_a_limit_of_its_own(modal: Loopback, client: Client) -> None:
    filling = [client.submit(LONG.changed(seed=seed)) for seed in range(5)]  # what the one container takes at once
    next(event for event in filling[0].events() if event.type == "started")
    client._client._backends["modal"] = ModalBackend(client.settings, patience=ModalPatience(queue_seconds=1.0))
    with pytest.raises(GenerationTimeoutError, match="waited 1 s for a container") as caught:
        client.run(Flux(**SMALL))
    for job in filling:
        job.cancel()
    assert caught.value.details["queued"] is True


def test_a_job_whose_start_nobody_heard_is_not_taken_for_one_that_waits(modal: Loopback, client: Client) -> None:
    modal.knobs.queue_unavailable = True
    job = client.submit(SLOW.changed(seed=31))
    while modal_client.Dict.from_name(CLAIMS_DICT).get(job.id) is None:  # a container has it
        time.sleep(0.02)
    ticket: Any = job._job._ticket
    ticket._patience = ModalPatience(queue_seconds=1.0)
    assert job.result(timeout=200).timings.running > 1.0, "it took longer than a job may wait"


def test_events_that_break_off_come_again(modal: Loopback, client: Client) -> None:
    modal.knobs.refuse["QueueNextItems"] = Status.FAILED_PRECONDITION
    asked = modal.counts["QueueNextItems"]
    job = client.submit(SLOW.changed(seed=32))
    while modal.counts["QueueNextItems"] == asked:
        time.sleep(0.02)
    modal.knobs.reset()
    events = list(job.events())
    assert Started in [type(event) for event in events]
    assert job.result().seed == 32


def test_a_connection_that_breaks_under_the_events_costs_no_result(modal: Loopback, client: Client) -> None:
    modal.knobs.lose_request_of["QueueNextItems"] = 4  # as often as Modal's client asks
    assert client.run(SLOW.changed(seed=33)).seed == 33


async def test_whoever_leaves_while_modal_takes_the_call_pays_for_nothing(modal: Loopback) -> None:
    modal.knobs.delay_answer["FunctionMap"] = 1.0
    before = len(modal.calls)
    async with AsyncClient("modal") as client:
        running = asyncio.create_task(client.run(LONG.changed(seed=34)))
        while len(modal.calls) == before:
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    while not modal.calls[before].outputs:
        await asyncio.sleep(0.02)
    [output] = modal.calls[before].outputs
    ended = output.result.status == api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
    assert ended or b"job_canceled" in output.result.data, "ended by Modal, or refused by the worker, whichever was first"


def test_a_large_request_has_the_time_that_its_upload_needs(modal: Loopback, client: Client) -> None:
    assert upload_seconds({"inputs": {"video": b"x" * 1_000_000, "loras": [{"id": "x" * 250_000}]}}) == 10
    small, noise = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64)).save(small, "PNG")
    client.run(SeedVR2(image=small.getvalue(), resolution=256))  # what follows is about the upload alone
    backend: Any = client._client._backends["modal"]
    backend._patience = ModalPatience(reach_seconds=3.0)
    Image.effect_noise((1024, 1024), 100).save(noise, "PNG")
    modal.knobs.delay["PUT blob"] = 4.0
    assert client.run(SeedVR2(image=noise.getvalue(), resolution=256)).output.width == 256


@pytest.mark.parametrize(("raised", "code"), [("TimeoutError", "server_unhealthy"), ("KeyError", "internal")])
def test_what_python_raised_in_a_container_is_not_taken_for_something_here(modal: Loopback, raised: str, code: str) -> None:
    command = [sys.executable, "-m", "modal", "deploy", "-m", "older_app"]
    folder = ROOT / "tests" / "modal_loopback" / "sample"
    subprocess.run(command, cwd=folder, env={**os.environ, **modal.env}, capture_output=True, timeout=600, check=True)
    with Client(settings=Settings.load(backend="modal", modal_app="older")) as client:
        client._client._backends["modal"] = ModalBackend(client.settings, patience=ModalPatience(queue_seconds=200.0))
        before = modal.counts["FunctionGetOutputs"]
        with pytest.raises(RylaGenError, match=f"{raised}.*in the container") as caught:
            client.flux(prompt=raised)
    assert caught.value.code == code
    assert modal.counts["FunctionGetOutputs"] - before < 5, "it was not asked for again and again"


@pytest.mark.parametrize(
    "step", ["FunctionMap", "FunctionPutInputs", "FunctionCallPutDataOut", "BlobCreate", "FunctionGetOutputs", "ClassGet", "Queue*"]
)
@pytest.mark.parametrize("knob", ["lose_request_of", "lose_answer_of"])
def test_a_connection_lost_at_any_step_runs_nothing_twice(modal: Loopback, client: Client, step: str, knob: str) -> None:
    getattr(modal.knobs, knob)[step] = 1
    generation = client.run(color(zlib.crc32(f"{step} {knob}".encode()) % 10**6))
    assert generation.output.width == 64
    assert runs_of(modal, generation.job) == 1


def test_a_control_plane_that_is_away_for_five_seconds_loses_nothing(modal: Loopback, client: Client) -> None:
    job = client.submit(Flux(**SMALL))
    modal.away(5)
    assert job.result(timeout=60).seed == 7
    assert runs_of(modal, job.id) == 1


def test_a_control_plane_that_stays_away_is_unreachable(clean_environment: Path) -> None:
    script = """
from ryla_gen import Client
from ryla_gen.backends.modal.backend import ModalBackend, ModalPatience
from ryla_gen.errors import RylaGenError
client = Client("modal")
client._client._backends["modal"] = ModalBackend(client.settings, patience=ModalPatience(reach_seconds=2.0))
try:
    client.flux(prompt="x")
except RylaGenError as error:
    print(error.code, error.hint)
"""
    nowhere = {"MODAL_SERVER_URL": "http://127.0.0.1:9", "MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}
    environment = {**os.environ, **nowhere, "MODAL_CONFIG_PATH": os.devnull, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.startswith("backend_unreachable")


def test_a_job_out_of_reach_stays_open_and_is_fetched_later(modal: Loopback, client: Client) -> None:
    modal.knobs.lose_answer_of["FunctionGetOutputs"] = 100
    job = client.submit(color(77))
    with pytest.raises(BackendUnreachableError) as caught:
        job.result()
    assert caught.value.details["contact_lost"]
    record = client.jobs.list()[0]
    assert (record.state, record.error["code"]) == ("running", "backend_unreachable")
    modal.knobs.reset()
    assert client.jobs.get(job.id).result().image.size == (64, 64)
    assert (client.jobs.list()[0].state, client.jobs.list()[0].error) == ("succeeded", None)


def test_a_job_out_of_reach_is_stopped_by_the_client_that_lost_it(modal: Loopback, client: Client) -> None:
    modal.knobs.refuse["FunctionGetOutputs"] = Status.UNAVAILABLE
    job = client.submit(LONG.changed(seed=78, batch_size=12))
    with pytest.raises(BackendUnreachableError):
        job.result()
    modal.knobs.reset()
    job.cancel()
    with Client("modal") as other, pytest.raises(JobCanceledError):
        other.jobs.get(job.id).result(timeout=100)
    assert runs_of(modal, job.id) == 0


def test_a_caller_that_dies_right_after_the_spawn_finds_its_job_by_the_claim(modal: Loopback, clean_environment: Path) -> None:
    script = """
import os, threading, time
from ryla_gen import Client, Flux
from ryla_gen.history import History
client = Client("modal")
update = client._client.history.update
def die(job, **columns):
    if "handle" in columns:
        print(job, flush=True)
        os._exit(1)
    update(job, **columns)
client._client.history.update = die
client.submit(Flux(prompt="a red fox", width=256, height=256, seed=7))
"""
    environment = {**os.environ, **modal.env, "RYLA_GEN_HOME": str(clean_environment), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=False)
    job_id = done.stdout.strip()
    assert job_id, done.stderr
    with Client("modal") as client:
        deadline = time.monotonic() + 100
        while True:
            try:
                job = client.jobs.get(job_id)
                break
            except RylaGenError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert job.result(timeout=60).seed == 7
    assert runs_of(modal, job_id) == 1


def test_the_same_job_sent_twice_runs_once_and_both_get_its_picture(modal: Loopback, client: Client) -> None:
    from ryla_gen.contract import new_job_id, read_reply, request

    workflow, job = Flux(**SMALL), new_job_id()
    method = modal_client.Cls.from_name("ryla-comfyui", "Flux")().flux
    first, second = method.spawn(request(workflow, job)), method.spawn(request(workflow, job))
    replies = [first.get(timeout=60), second.get(timeout=60)]
    done = [reply for reply in replies if reply["ok"]]
    refused = [reply for reply in replies if not reply["ok"]]
    assert (len(done), len(refused)) == (1, 1)
    assert refused[0]["error"]["code"] == "already_claimed"
    assert refused[0]["error"]["details"]["handle"] in (f"modal:{first.object_id}", f"modal:{second.object_id}")
    assert isinstance(read_reply(done[0], workflow), Generation)
    assert runs_of(modal, job) == 1


def test_a_caller_of_another_contract_is_told_which_side_to_update(modal: Loopback) -> None:
    from ryla_gen.contract import read_reply

    reply = modal_client.Cls.from_name("ryla-comfyui", "Flux")().flux.remote({"contract": 3, "inputs": {"prompt": "x"}})
    assert reply["error"]["code"] == "contract_mismatch"
    with pytest.raises(ContractMismatchError):
        read_reply({"contract": 3, "ok": True}, Flux(**SMALL))


def test_only_inputs_are_needed_by_anyone_without_this_sdk(modal: Loopback) -> None:
    reply = modal_client.Cls.from_name("ryla-comfyui", "Flux")().flux.remote(
        {"inputs": {"prompt": "x", "width": 256, "height": 256}}
    )
    assert reply["ok"] is True
    assert reply["generation"]["seed"] < 2**32
    assert reply["generation"]["outputs"][0]["data"].startswith(b"\x89PNG")
    path = modal_client.Cls.from_name("ryla-comfyui", "Faces")().instantid.remote(
        {"inputs": {"prompt": "x", "reference_image": "/etc/passwd"}}
    )
    assert path["error"]["code"] == "invalid_input"


def test_a_cancelled_call_of_another_process_is_canceled_here(modal: Loopback, client: Client) -> None:
    job = client.submit(LONG)
    next(event for event in job.events() if event.type == "started")
    with Client("modal") as other:
        other.jobs.get(job.id).cancel()
    with pytest.raises(JobCanceledError):
        job.result(timeout=100)
    assert job.state == "canceled"


def test_a_volume_without_the_weights_says_how_to_get_them(worker_python: Path, tmp_path: Path, clean_environment: Path) -> None:
    with deployed(worker_python, tmp_path, RYLA_CHECK_WEIGHTS="1") as loopback, connected(loopback), Client("modal") as client:
        with pytest.raises(RylaGenError) as caught:
            client.flux(**SMALL)
        assert caught.value.code == "model_not_found"
        assert "weights sync" in caught.value.hint


def test_a_gpu_that_is_full_is_a_reply_and_no_restart(worker_python: Path, tmp_path: Path, clean_environment: Path) -> None:
    command = EMULATED + """ --knob 'out_of_memory_at="VAEDecode"'"""
    with (
        deployed(worker_python, tmp_path, RYLA_COMFYUI_COMMAND=command) as loopback,
        connected(loopback),
        Client("modal") as client,
    ):
        with pytest.raises(GpuOutOfMemoryError) as caught:
            client.flux(**SMALL)
        assert caught.value.details["class_type"] == "VAEDecode"
        assert len(loopback.containers) == 1
