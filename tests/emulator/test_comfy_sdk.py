"""Programs for Comfy's own API, version 2: ``comfy-sdk`` runs on the emulator through ``comfy-api-proxy``, both as published."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_sdk import Comfy
from comfy_sdk.events import OutputReady, Preview, Progress, StatusChange
from comfy_sdk.exceptions import ComfyError
from comfy_sdk.jobs import Job
from PIL import Image

from ryla_gen.comfy.server import free_port
from ryla_gen.emulator.server import Emulator
from tests.conftest import encoded, portrait
from tests.emulator.running import flux

SECONDS = 60


KINDS = {Progress, OutputReady, StatusChange}


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as made:
        made.knobs.delay_per_node = 0.2  # so that a job's stream is open before the job ends
        made.start()
        yield made


@pytest.fixture
def comfy(server: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Comfy]:
    """Comfy's client, at a proxy in a process of its own before the emulator."""
    port = free_port()
    command = [sys.executable, "-m", "comfy_api_proxy.cli", "--comfyui", server.url, "--port", str(port)]
    with (tmp_path / "proxy.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as proxy:
        try:
            monkeypatch.setenv("COMFY_BASE_URL", f"http://127.0.0.1:{port}")
            wait_for(f"http://127.0.0.1:{port}/api/v2/health", proxy)
            with Comfy() as client:
                yield client
        finally:
            proxy.terminate()


def ended(job: Job) -> Job:
    """The job, once its events say that it has ended.

    The proxy looks into the history first and then into the queue: to a client that polls, a job that ends between the two
    looks is "expired".
    """
    for _ in job.events():
        pass
    return job.result()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.URLError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_program_for_comfys_api_gets_its_picture(comfy: Comfy) -> None:
    job = ended(comfy.submit(comfy.workflows.from_json(flux(size=128))))
    assert job.status == "succeeded"
    (output,) = job.get_outputs("8")
    with Image.open(io.BytesIO(output.to_bytes())) as picture:
        assert (picture.size, picture.format) == ((128, 128), "PNG")
    assert [item.id for item in comfy.list_jobs()] == [job.id]


def test_it_hears_how_the_job_goes_on(server: Emulator, comfy: Comfy) -> None:
    server.knobs.delay_per_node = 60.0  # an interrupt ends it
    before = comfy.submit(comfy.workflows.from_json(flux(size=256)))
    while not server.queue.to_data()["queue_running"]:
        time.sleep(0.01)
    job = comfy.submit(comfy.workflows.from_json(flux(size=128, steps=20)))
    stream = job.events()
    first = next(stream)
    while not server.stats.sockets:  # the proxy listens before the job begins: on a busy machine it would miss what comes early
        time.sleep(0.01)
    server.knobs.delay_per_node = 0.6  # the proxy tells of progress every half a second
    before.cancel()
    heard = [first, *stream]
    kinds = {type(event) for event in heard}
    # The proxy sends an output once it is in the history; that may be after the last status, where the client has gone.
    assert {Progress, StatusChange} <= kinds <= KINDS | {Preview}
    assert [event.status for event in heard if isinstance(event, StatusChange)][-1] == "succeeded"
    assert len(job.result().outputs) == 1
    values = [event.value for event in heard if isinstance(event, Progress)]
    assert 0 <= min(values) < max(values) <= 1


def test_its_pictures_go_into_the_graph(comfy: Comfy, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(encoded(portrait((96, 64))))
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": ""}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "again"}},
    }
    workflow = comfy.workflows.from_json(graph)
    workflow.set_input("1", "image", comfy.assets.from_file(tmp_path / "face.png"))
    (output,) = ended(comfy.submit(workflow)).get_outputs("2")
    with Image.open(io.BytesIO(output.to_bytes())) as picture:
        assert picture.size == (96, 64)


def test_it_cancels_its_job(comfy: Comfy, server: Emulator) -> None:
    server.knobs.delay_per_node = 60.0  # an interrupt ends it
    job = comfy.submit(comfy.workflows.from_json(flux()))
    while not server.queue.to_data()["queue_running"]:
        time.sleep(0.01)
    job.cancel()
    assert [event.status for event in job.events() if isinstance(event, StatusChange)][-1] == "canceled"
    while server.queue.remaining():  # shown until its thread is at its end
        time.sleep(0.01)


def test_a_graph_that_comfyui_would_refuse_is_refused(comfy: Comfy, server: Emulator) -> None:
    with pytest.raises(ComfyError) as caught:
        comfy.submit(comfy.workflows.from_json(flux(sampler_name="no such sampler")))
    assert "validation" in str(caught.value).lower()
    assert server.stats.prompts == 0
