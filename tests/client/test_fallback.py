"""Several backends in order: the next is tried only when nothing started, and nothing is ever paid for twice."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ryla_gen import Client, CustomWorkflow, Flux, FluxLora, Settings
from ryla_gen.backends.comfyui import ComfyBackend
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import (
    BackendNotConfiguredError,
    BackendUnreachableError,
    BudgetExceededError,
    LoraNotFoundError,
    NodeFailedError,
    NotDeployedError,
    RylaGenError,
    ServerUnhealthyError,
)
from tests.modal_loopback import Loopback, connected
from tests.suite.conftest import deployed

SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256, "seed": 7}
UNKNOWN_NODE = {
    "1": {"class_type": "NodeOfAnotherPack", "inputs": {}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where connections are refused: bound, so that no other program gets it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def cutting_proxy(url: str) -> Iterator[str]:
    """Passes everything on to a server, but breaks the connection in place of the answer to ``POST /prompt``."""
    there = (urlsplit(url).hostname, urlsplit(url).port)
    listening = socket.create_server(("127.0.0.1", 0))
    open_sockets = [listening]

    def serve(here: socket.socket) -> None:
        beyond = socket.create_connection(there, timeout=30)
        open_sockets.extend([here, beyond])
        cut = threading.Event()
        threading.Thread(target=copy, args=(beyond, here, cut), daemon=True).start()
        copy(here, beyond, cut)

    def copy(source: socket.socket, target: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if data.startswith(b"POST /prompt"):
                    cut.set()
                elif cut.is_set() and data.startswith(b"HTTP/1.1"):
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        for item in open_sockets:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()


def chain(*backends: str, url: str | None = None) -> Client:
    return Client(settings=Settings.load(backend=list(backends), comfyui_url=url))


def test_a_pod_that_is_not_there_is_passed_over_and_the_result_says_so(nobody: str) -> None:
    with chain("comfyui", "emulator", url=nobody) as client:
        generation = client.flux(**SMALL)
        record = client.jobs.list()[0]
        listed = len(client.jobs.list())
    assert generation.backend == "emulator"
    notice = next(item for item in generation.warnings if item.code == "fallback")
    assert "comfyui did not run this (backend_unreachable)" in notice.message
    assert (record.backend, record.state, record.id, listed) == ("emulator", "succeeded", generation.job, 1)
    assert [(item["backend"], item["code"]) for item in record.skipped] == [("comfyui", "backend_unreachable")]
    assert record.handle == f"emulator:{generation.job}"


def test_the_first_backend_runs_it_when_it_can_and_nothing_is_said(server: Emulator) -> None:
    with chain("comfyui", "emulator", url=server.url) as client:
        generation = client.flux(**SMALL)
        assert (generation.backend, client.jobs.list()[0].skipped) == ("comfyui", [])
    assert [item.code for item in generation.warnings if item.code == "fallback"] == []
    assert server.stats.prompts == 1


def test_backends_are_named_with_commas_too(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_POD_URL", nobody)
    with Client("comfyui, emulator") as client:
        assert client.settings.backend_names == ("comfyui", "emulator")
        assert client.flux(**SMALL).backend == "emulator"


def test_a_backend_that_is_not_set_up_is_passed_over() -> None:
    with chain("comfyui", "emulator") as client:
        generation = client.flux(**SMALL)
        assert client.jobs.list()[0].skipped[0]["code"] == "backend_not_configured"
    assert generation.backend == "emulator"


def test_a_pod_that_refuses_the_token_is_passed_over(server: Emulator) -> None:
    server.knobs.refuse_prompts = 401
    with chain("comfyui", "emulator", url=server.url) as client:
        assert client.flux(**SMALL).backend == "emulator"
        assert client.jobs.list()[0].skipped[0]["code"] == "not_authorized"
    assert server.stats.prompts == 0


def test_a_pod_that_takes_no_request_of_that_size_is_passed_over(server: Emulator) -> None:
    server.knobs.refuse_prompts = 413
    with chain("comfyui", "emulator", url=server.url) as client:
        assert client.flux(**SMALL).backend == "emulator"
        assert "too large" in client.jobs.list()[0].skipped[0]["message"]
    assert server.stats.prompts == 0


def test_a_pod_that_lacks_a_node_is_passed_over_and_the_last_one_says_why_none_took_it(server: Emulator) -> None:
    with chain("comfyui", "emulator", url=server.url) as client, pytest.raises(RylaGenError) as caught:
        client.run(CustomWorkflow(graph=UNKNOWN_NODE))
    assert caught.value.code == "workflow_invalid"
    assert "Tried before it: comfyui (workflow_invalid)" in caught.value.message
    assert [item["backend"] for item in caught.value.details["skipped"]] == ["comfyui"]
    assert server.stats.prompts == 0


def test_a_pod_without_the_lora_is_passed_over(server: Emulator) -> None:
    with chain("comfyui", "emulator", url=server.url) as client, pytest.raises(LoraNotFoundError) as caught:
        client.run(FluxLora(**SMALL, lora_id="nobody-has-it"))
    assert caught.value.details["skipped"][0]["code"] == "lora_not_found"


def test_a_job_that_fails_while_it_runs_is_not_run_again_elsewhere(server: Emulator) -> None:
    server.knobs.out_of_memory_at = "KSampler"
    with chain("comfyui", "emulator", url=server.url) as client:
        with pytest.raises(RylaGenError) as caught:
            client.flux(**SMALL)
        assert client.jobs.list()[0].backend == "comfyui"
    assert (caught.value.code, caught.value.started) == ("out_of_memory", "unknown")
    assert server.stats.prompts == 1


def test_a_server_that_takes_the_prompt_and_dies_is_the_end_of_it(server: Emulator) -> None:
    server.knobs.die_on_prompt = True
    with chain("comfyui", "emulator", url=server.url) as client:
        hasty = partial(ComfyClient, server.url, gone_after=0.5, settle_after=0.5)
        client._client._backends["comfyui"] = ComfyBackend(server.url, connect=hasty)
        with pytest.raises(ServerUnhealthyError) as caught:
            client.flux(**SMALL)
        record = client.jobs.list()[0]
    assert caught.value.started == "unknown"
    assert (record.backend, record.skipped, record.error["code"]) == ("comfyui", [], "server_unhealthy")
    assert record.state in ("queued", "running"), "nobody knows how it ended"


def test_a_lost_answer_to_the_prompt_is_never_followed_by_another_backend(server: Emulator) -> None:
    with cutting_proxy(server.url) as url, chain("comfyui", "emulator", url=url) as client:
        generation = client.flux(**SMALL)  # the server has the prompt, and so it is followed there
        assert client.jobs.list()[0].skipped == []
    assert generation.backend == "comfyui"
    assert server.stats.prompts == 1


def test_waiting_for_the_pod_does_not_mean_waiting_for_the_result(server: Emulator) -> None:
    server.knobs.delay_per_node = 1.0
    with chain("comfyui", "emulator", url=server.url) as client:
        job = client.submit(Flux(**SMALL))
        assert (job.backend, job.done) == ("comfyui", False)
        job.cancel()


def test_an_app_that_is_not_deployed_is_passed_over(clean_environment: Path) -> None:
    with Loopback(python=Path(sys.executable)) as loopback, connected(loopback):
        with chain("modal", "emulator") as client:
            generation = client.flux(**SMALL)
            assert client.jobs.list()[0].skipped[0]["code"] == "not_deployed"
        assert generation.backend == "emulator"
        with chain("modal") as client, pytest.raises(NotDeployedError) as caught:
            client.flux(**SMALL)
        assert caught.value.started == "no"


def test_nobody_to_fall_back_to_is_told_with_every_reason(nobody: str) -> None:
    with chain("comfyui", "runpod", url=nobody) as client, pytest.raises(BackendNotConfiguredError) as caught:
        client.flux(**SMALL)
    assert "comfyui (backend_unreachable)" in caught.value.message
    with Client(url=nobody) as client, pytest.raises(BackendUnreachableError) as alone:
        client.flux(**SMALL)
    assert alone.value.started == "no"
    assert "skipped" not in alone.value.details


def test_money_is_no_reason_to_go_elsewhere(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    monkeypatch.setenv("RYLA_GEN_MAX_USD", "0.0001")
    with chain("comfyui", "emulator", url=server.url) as client:
        with pytest.raises(BudgetExceededError):
            client.flux(**SMALL)
        assert client.jobs.list() == []
    assert server.stats.requests == 0


def test_a_reservation_moves_with_its_job(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "1")
    with chain("comfyui", "emulator", url=nobody) as client:
        client.flux(**SMALL)
        assert client.jobs.list()[0].reserved_usd is None
        assert client.history.taken_usd("2020-01-01") == 0


@pytest.mark.parametrize("error", [NodeFailedError("x"), ServerUnhealthyError("x"), BackendUnreachableError("x")])
def test_an_error_leaves_it_open_whether_the_job_started_unless_it_says_no(error: RylaGenError) -> None:
    assert error.started == "unknown"
    assert BackendNotConfiguredError("x").started == "no"


def test_modal_s_silence_after_the_call_was_sent_is_not_followed_by_another_backend(tmp_path: Path) -> None:
    with deployed(Path(sys.executable), tmp_path) as loopback, connected(loopback), chain("modal", "emulator") as client:
        loopback.knobs.lose_answer_of["FunctionMap"] = 100
        with pytest.raises(BackendUnreachableError) as caught:
            client.flux(**SMALL)
        assert caught.value.started == "unknown"
        record = client.jobs.list()[0]
        assert (record.backend, record.state) == ("modal", "failed")
        loopback.knobs.reset()
