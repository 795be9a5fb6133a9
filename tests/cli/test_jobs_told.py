"""What ``submit`` and ``jobs`` tell and write down: events, starts, costs, and jobs of another machine."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import load, telemetry
from ryla_gen.emulator.server import Emulator
from tests.runpod_loopback import RunpodLoopback
from tests.telemetry.conftest import Heard

from .emulated import wait_until_left
from .shell import SMALL, envelope, here, picture, ryla

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server that outlives the commands, at a dollar a second."""
    with Emulator() as emulator:
        monkeypatch.setenv("COMFYUI_POD_URL", emulator.url)
        monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
        yield emulator


@pytest.fixture
def heard() -> Iterator[Heard]:
    """A sink that keeps what it hears."""
    sink = Heard()
    telemetry.add(sink)
    yield sink
    telemetry.remove(sink)


def told(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command; the last line of its JSON."""
    capsys.readouterr()
    assert here(*arguments, "--json") == code
    return envelope(capsys.readouterr().out)


def submitted(capsys: Capsys, *more: str) -> str:
    return str(told(capsys, "submit", "flux", "fox", *SMALL, "--seed", "7", *more)["data"]["job"])


def row(capsys: Capsys, job: str) -> dict[str, Any]:
    """What the journal says."""
    found: dict[str, Any] = told(capsys, "jobs", "show", job)["data"]
    return found


def test_a_job_that_is_handed_in_and_fetched_is_told_once(server: Emulator, capsys: Capsys, heard: Heard, tmp_path: Path) -> None:
    job = submitted(capsys)
    assert heard.types() == ["requested"]
    told(capsys, "jobs", "show", job)
    told(capsys, "jobs", "watch", job)
    for _ in range(2):
        told(capsys, "jobs", "result", job, "-o", str(tmp_path / "fox.png"), "--overwrite")
    assert heard.types() == ["requested", "completed"]
    asked, done = heard.all
    assert isinstance(asked, telemetry.Requested) and isinstance(done, telemetry.Completed)
    assert (asked.job, done.job, asked.has_seed, asked.backend) == (job, job, True, "comfyui")


def test_what_is_refused_fails_or_is_cancelled_is_told_once(server: Emulator, capsys: Capsys, heard: Heard) -> None:
    told(capsys, "submit", "flux-lora", "fox", *SMALL, "--lora-id", "nobody", code=1)
    assert heard.types() == ["requested", "failed"]
    server.knobs.delay_per_node, server.knobs.raise_at = 0.2, "KSampler"
    failing = submitted(capsys)
    for _ in range(2):
        told(capsys, "jobs", "watch", failing, code=1)
    server.knobs.raise_at = None
    assert heard.types()[2:] == ["requested", "failed"]
    server.knobs.delay_per_node = 30.0
    running = submitted(capsys)
    for _ in range(2):
        told(capsys, "jobs", "cancel", running)
    assert heard.types()[4:] == ["requested", "canceled"]


def test_a_job_that_is_over_the_budget_is_not_told(
    server: Emulator, capsys: Capsys, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_MAX_USD", "0.0001")
    assert told(capsys, "submit", "flux", "fox", *SMALL, code=1)["error"]["code"] == "budget_exceeded"
    assert heard.types() == []


@pytest.mark.usefixtures("one_day")
def test_a_job_that_is_cancelled_costs_what_it_ran(server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    server.knobs.delay_per_node = 600.0
    before = time.time()
    job = submitted(capsys)
    begun = row(capsys, job)
    assert begun["state"] == "running"
    assert begun["started_at"] is not None
    time.sleep(1.0)
    told(capsys, "jobs", "show", job)
    told(capsys, "jobs", "cancel", job)
    found = row(capsys, job)
    assert (found["state"], found["started_at"]) == ("canceled", begun["started_at"])
    assert 1.0 <= found["cost_usd"] <= time.time() - before + 0.01  # a dollar a second, in milliseconds
    assert found["gpu_seconds"] == pytest.approx(found["cost_usd"])
    monkeypatch.setenv("RYLA_GEN_MAX_USD_PER_DAY", "1")
    assert told(capsys, "submit", "flux", "fox", *SMALL, code=1)["error"]["code"] == "budget_exceeded"


def test_a_job_whose_start_nobody_saw_costs_what_the_server_says(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 600.0
    first, second = submitted(capsys), submitted(capsys)
    assert row(capsys, second)["started_at"] is None
    before = time.time()
    told(capsys, "jobs", "cancel", first)
    wait_until_left(server, 1)
    while server.executor.running_node is None:  # its start is noted before its first node runs
        time.sleep(0.02)
    time.sleep(0.5)
    told(capsys, "jobs", "cancel", second)
    assert 0.4 <= row(capsys, second)["cost_usd"] <= time.time() - before + 0.01
    third, waiting = submitted(capsys), submitted(capsys)
    told(capsys, "jobs", "cancel", waiting)
    assert (row(capsys, waiting)["started_at"], row(capsys, waiting)["cost_usd"]) == (None, None)
    told(capsys, "jobs", "cancel", third)


def test_status_writes_down_that_a_job_runs(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    first, second = submitted(capsys), submitted(capsys)
    assert row(capsys, second)["state"] == "queued"
    told(capsys, "jobs", "cancel", first)
    while told(capsys, "jobs", "show", second)["data"]["state"] != "running":
        time.sleep(0.02)
    found = row(capsys, second)
    assert found["state"] == "running"
    assert found["started_at"] is not None


def test_a_handle_is_enough_on_another_machine(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    server.knobs.delay_per_node = 0.2
    handle = str(told(capsys, "submit", "flux-dev", "fox", *SMALL, "--seed", "7")["data"]["handle"])
    target, home = tmp_path / "fox.png", str(tmp_path / "elsewhere")
    done = ryla("jobs", "result", handle, "-o", str(target), "--url", server.url, RYLA_GEN_HOME=home)
    assert done.returncode == 0, done.stderr
    assert (load(target).name, load(target).to_plain()["seed"]) == ("flux_dev", 7)
    shown = envelope(ryla("jobs", "show", handle, "--json", RYLA_GEN_HOME=home).stdout)["data"]
    assert (shown["state"], shown["workflow"], shown["saved"]) == ("succeeded", "flux_dev", [str(target)])


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_every_verb_takes_a_handle_of_another_machine(
    verb: str, server: Emulator, capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.knobs.delay_per_node = 30.0
    job = submitted(capsys)
    monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))
    found = told(capsys, "jobs", verb, f"comfyui:{job}")["data"]
    assert (found["job"], found["state"]) == (job, "running" if verb == "show" else "canceled")
    wait_until_left(server, 1 if verb == "show" else 0)


def test_a_handle_that_leads_nowhere_says_why(server: Emulator, capsys: Capsys) -> None:
    for handle, code in (("comfyui:nobody", "job_expired"), ("runpod:abc", "job_not_found"), ("abc", "job_not_found")):
        assert told(capsys, "jobs", "result", handle, code=1)["error"]["code"] == code


def test_a_result_that_is_gone_leaves_what_was_known(
    server: Emulator, capsys: Capsys, heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = submitted(capsys)
    told(capsys, "jobs", "result", job, "-o", str(tmp_path / "fox.png"))
    before = row(capsys, job)
    with Emulator() as another:  # the same server, restarted
        monkeypatch.setenv("COMFYUI_POD_URL", another.url)
        assert told(capsys, "jobs", "result", job, code=1)["error"]["code"] == "job_expired"
        assert told(capsys, "jobs", "show", job)["data"]["state"] == "succeeded"
    assert row(capsys, job) == before
    assert before["saved"] == [str(tmp_path / "fox.png")]
    assert heard.types() == ["requested", "completed"]


def test_runpod_has_a_job_as_soon_as_it_answers(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(inputs: dict[str, Any], report: Any) -> Any:
        raise AssertionError("no worker is free")

    with RunpodLoopback(never, workers=0) as loopback:
        for name, value in loopback.environment.items():
            monkeypatch.setenv(name, value)
        found = told(capsys, "submit", "flux", "fox", *SMALL, "--backend", "runpod")["data"]
        assert [held.status for held in loopback.jobs.values()] == ["IN_QUEUE"]
        assert found["handle"].startswith("runpod:")
        assert loopback.count("run") == 1


def test_the_next_command_that_is_named_works_when_typed(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_POD_URL", raising=False)
    said = ryla("submit", "flux", "fox", *SMALL, "--url", server.url).stderr.decode()
    line = said.partition("Fetch it: ryla-gen ")[2].partition("   ")[0].replace("FILE", str(tmp_path / "fox.png"))
    assert f"--url {server.url}" in line
    assert ryla(*shlex.split(line)).returncode == 0
    assert picture(tmp_path / "fox.png").size == (256, 256)
