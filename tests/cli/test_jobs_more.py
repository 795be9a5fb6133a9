"""``submit`` and the verbs of ``jobs`` that ask the server, across processes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import load
from ryla_gen.emulator.server import Emulator
from ryla_gen_cli.commands.jobs import actions

from .emulated import wait_until_left
from .shell import SECONDS, SMALL, envelope, here, lines, picture, ryla, started


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server that outlives the commands."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def configured(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command uses that server."""
    monkeypatch.setenv("COMFYUI_POD_URL", server.url)


Capsys = pytest.CaptureFixture[str]


def told(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command; the last line of its JSON."""
    capsys.readouterr()
    assert here(*arguments, "--json") == code
    return envelope(capsys.readouterr().out)


def submitted(capsys: Capsys, *more: str) -> str:
    found = told(capsys, "submit", "flux", "fox", *SMALL, "--seed", "7", *more)
    return str(found["data"]["job"])


def state(capsys: Capsys, job: str) -> str:
    """What the journal says."""
    return str(told(capsys, "jobs", "show", job)["data"]["state"])


def test_submit_says_the_id_at_once_and_another_process_fetches_the_result(
    server: Emulator, tmp_path: Path, capsys: Capsys
) -> None:
    server.knobs.hold_nodes = True
    done = ryla("submit", "flux", "fox", *SMALL, "--seed", "7", "--tag", "night")
    job = done.stdout.decode().strip()
    assert (done.returncode, len(job)) == (0, 36), done.stderr
    assert f"ryla-gen jobs result {job[:8]}" in done.stderr.decode()
    assert server.queue.remaining() == 1, "it did not wait for the end"
    assert state(capsys, job) == "running"
    server.knobs.hold_nodes = False
    target = tmp_path / "fox.png"
    assert here("jobs", "result", job[:8], "-o", str(target)) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert (picture(target).size, load(target).to_plain()["seed"]) == ((256, 256), 7)
    shown = told(capsys, "jobs", "show", job)["data"]
    assert (shown["state"], shown["tags"], shown["error"]) == ("succeeded", ["night"], None)
    assert shown["outputs"][0]["bytes"] == target.stat().st_size
    assert here("jobs", "result", job, "-o", str(target)) == 1
    assert "output_exists" in capsys.readouterr().err


def test_the_emulator_would_end_with_the_command(capsys: Capsys) -> None:
    assert here("submit", "flux", "fox", "--backend", "emulator") == 1
    said = capsys.readouterr().err
    assert "error[backend_not_configured]" in said
    assert "ryla-gen run" in said
    assert told(capsys, "jobs", "list")["data"]["items"] == []


def test_what_the_server_refuses_is_an_error_of_submit(capsys: Capsys) -> None:
    found = told(capsys, "submit", "flux-lora", "fox", *SMALL, "--lora-id", "nobody", code=1)
    assert found["error"]["code"] == "lora_not_found"
    (job,) = told(capsys, "jobs", "list")["data"]["items"]
    assert (job["state"], job["error"]["code"]) == ("failed", "lora_not_found")


def test_a_job_that_failed_meanwhile_says_so(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node, server.knobs.raise_at = 0.1, "KSampler"
    job = str(told(capsys, "submit", "flux", "fox", *SMALL)["data"]["job"])
    assert told(capsys, "jobs", "watch", job, code=1)["error"]["code"] == "node_failed"
    assert state(capsys, job) == "failed"
    for verb in ("watch", "result"):
        assert told(capsys, "jobs", verb, job, code=1)["error"]["code"] == "node_failed"
    assert told(capsys, "jobs", "show", job)["data"]["state"] == "failed"


def test_status_asks_the_server(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    first, second = submitted(capsys), submitted(capsys)
    assert told(capsys, "jobs", "show", first)["data"]["state"] == "running"
    waiting = told(capsys, "jobs", "show", second[:8])["data"]
    assert (waiting["state"], waiting["position"]) == ("queued", 1)
    assert server.queue.remaining() == 2
    assert here("jobs", "show", second) == 0
    assert "queued · 1 ahead of it" in capsys.readouterr().out
    assert told(capsys, "jobs", "show", "nope", code=1)["error"]["code"] == "job_not_found"


def test_status_of_one_that_has_ended_is_journaled(server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "FIRST_LOOK", 0.0)  # what has ended is told however slowly its outputs arrive
    monkeypatch.setattr(actions, "FURTHER_LOOK", 0.0)
    job = submitted(capsys)
    while server.queue.remaining():
        time.sleep(0.02)
    assert told(capsys, "jobs", "show", job)["data"]["state"] == "succeeded"
    assert state(capsys, job) == "succeeded"


def test_cancel_stops_one_that_runs_and_one_that_waits_and_no_other(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    first, second, third = (submitted(capsys) for _ in range(3))
    assert told(capsys, "jobs", "cancel", second)["data"]["state"] == "canceled"
    assert server.queue.remaining() == 2
    assert told(capsys, "jobs", "cancel", first)["data"]["state"] == "canceled"
    wait_until_left(server, 1)
    assert [state(capsys, job) for job in (first, second)] == ["canceled", "canceled"]
    assert state(capsys, third) in ("queued", "running"), "it moved up"
    assert here("jobs", "cancel", first) == 0
    assert "is canceled" in capsys.readouterr().out
    assert told(capsys, "jobs", "result", first, code=1)["error"]["code"] == "job_canceled"


def test_watch_shows_the_progress_of_a_job_of_another_process(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 0.2
    job = submitted(capsys)
    assert here("jobs", "watch", job, "--json") == 0
    found = lines(capsys.readouterr().out)
    assert found[-2]["type"] == "finished"
    assert "started" in {item.get("type") for item in found}
    assert found[-1]["data"] == {"job": job, "state": "succeeded"}


@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_ctrl_c_stops_the_watching_only(verb: str, server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    job = submitted(capsys)
    before = server.stats.requests
    process = started("jobs", verb, job, "--json")
    assert process.stdout is not None
    if verb == "watch":
        assert json.loads(process.stdout.readline())["type"] == "queued"
    while server.stats.requests == before:  # it has asked, so it waits
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"work was canceled" not in said
    assert b"Traceback" not in said
    assert server.queue.remaining() == 1
    assert state(capsys, job) == "running"


def test_waiting_has_a_limit_of_its_own(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    job = submitted(capsys)
    assert told(capsys, "jobs", "watch", job, "--timeout", "0.3", code=1)["error"]["code"] == "generation_timeout"
    assert server.queue.remaining() == 1
    assert state(capsys, job) == "running"
    assert told(capsys, "jobs", "watch", job, "--timeout", "0", code=2)["error"]["code"] == "invalid_input"


def test_a_name_that_does_not_fit_the_result_is_refused(capsys: Capsys, tmp_path: Path) -> None:
    job = submitted(capsys)
    assert told(capsys, "jobs", "result", job, "-o", str(tmp_path / "fox.jpg"), code=2)["error"]["code"] == "invalid_input"
    assert told(capsys, "jobs", "result", job, "-o", str(tmp_path / "fox"))["data"]["outputs"][0]["path"].endswith("fox.png")


def test_a_job_of_the_embedded_emulator_is_gone(capsys: Capsys, tmp_path: Path) -> None:
    made = told(capsys, "run", "flux", "fox", *SMALL, "--backend", "emulator", "-o", str(tmp_path / "x.png"))
    assert told(capsys, "jobs", "result", made["data"]["job"], code=1)["error"]["code"] == "job_expired"
    assert told(capsys, "jobs", "show", made["data"]["job"])["data"]["state"] == "succeeded"


def test_a_job_is_shown_though_its_server_is_away_and_that_is_said(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    job = submitted(capsys)
    assert "unreached" not in told(capsys, "jobs", "show", job)["data"]
    server.close()
    assert here("jobs", "show", job, "--json") == 0
    shown = capsys.readouterr()
    found = envelope(shown.out)["data"]
    assert (found["job"], found["state"], found["unreached"]["code"]) == (job, "running", "backend_unreachable")
    assert "warning: " in shown.err and "last known state" in shown.err
