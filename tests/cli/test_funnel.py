"""``ryla-gen jobs funnel``: what the journal tells of requests, completed, failed and canceled."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux, FluxDev
from ryla_gen.errors import ERRORS, ModelNotFoundError
from ryla_gen.history import History
from ryla_gen.tools.evaluations.funnel import funnel

from .shell import envelope, here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def history(clean_environment: Path) -> Iterator[History]:
    with closing(History(clean_environment / "history.sqlite3")) as made:
        yield made


def add(history: History, workflow: str = "flux_dev", seconds: float | None = 2.0, backend: str = "modal", **columns: Any) -> None:
    """One job that took so long."""
    job = str(uuid.uuid4())
    history.record(job, backend=backend, workflow=workflow, inputs={"prompt": "a fox"})
    record = history.get(job)
    assert record is not None
    if seconds is not None:
        ended = datetime.fromisoformat(record.created_at) + timedelta(seconds=seconds)
        columns["finished_at"] = ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    history.update(job, **columns)


def fail(history: History, code: str, **more: Any) -> None:
    """One job that failed so."""
    add(history, state="failed", error=ERRORS[code]("said a secret").to_data(), **more)


def items(capsys: Capsys, *options: str) -> list[dict[str, Any]]:
    """The rows of the command."""
    capsys.readouterr()
    assert here("jobs", "funnel", *options, "--json") == 0
    found: list[dict[str, Any]] = envelope(capsys.readouterr().out)["data"]["items"]
    return found


def test_jobs_are_counted_by_workflow_and_in_all(history: History, capsys: Capsys) -> None:
    for seconds in (1.0, 2.0, 3.0):
        add(history, state="succeeded", seconds=seconds)
    fail(history, "generation_timeout")
    fail(history, "node_failed")
    add(history, state="canceled")
    add(history, state="expired")
    add(history, seconds=None)
    add(history, seconds=None, state="running")
    add(history, workflow="wan2", state="succeeded", seconds=60.0)
    dev, wan, whole = items(capsys)
    assert [row["workflow"] for row in (dev, wan, whole)] == ["flux_dev", "wan2", "all"]
    assert (dev["requested"], dev["completed"], dev["failed"], dev["canceled"], dev["open"]) == (9, 3, 3, 1, 2)
    assert (dev["success_rate"], dev["seconds"]["mean"]) == (0.5, 2.0)
    assert dev["seconds"]["p95"] == pytest.approx(2.9)
    assert dev["errors"] == {"timeout": 1, "workflow_error": 2}
    assert dev["codes"] == {"generation_timeout": 1, "node_failed": 1, "job_expired": 1}
    assert (whole["requested"], whole["completed"], whole["seconds"]["high"]) == (10, 4, 60.0)
    for row in (dev, wan, whole):
        assert row["requested"] == row["completed"] + row["failed"] + row["canceled"] + row["open"]


def test_real_jobs_arrive_there(capsys: Capsys) -> None:
    with Client("emulator") as client:
        client.run(Flux(prompt="a fox", width=256, height=256))
        with pytest.raises(ModelNotFoundError):
            client.run(FluxDev(prompt="a fox", checkpoint="none.safetensors"))
    flux_dev, flux, whole = sorted(items(capsys), key=lambda row: ["flux_dev", "flux", "all"].index(row["workflow"]))
    assert (flux["completed"], flux["success_rate"], flux["emulated"]) == (1, 1.0, 1)
    assert (flux_dev["failed"], flux_dev["errors"]) == (1, {"model_error": 1})
    assert whole["requested"] == 2


def test_the_screen_has_a_table_the_failures_and_a_word_about_the_emulator(history: History, capsys: Capsys) -> None:
    add(history, state="succeeded", backend="emulator")
    fail(history, "out_of_memory")
    assert here("jobs", "funnel") == 0
    said = capsys.readouterr().out
    heads = ["workflow", "requested", "completed", "failed", "canceled", "open", "success", "mean", "p95"]
    assert said.splitlines()[0].split() == heads
    assert said.splitlines()[1].split()[:7] == ["flux-dev", "2", "1", "1", "0", "0", "50.0%"]
    assert "model_error" in said
    assert "out_of_memory 1" in said
    assert "1 of 2 ran on the emulator" in said
    assert "secret" not in said


def test_it_can_be_narrowed(history: History, capsys: Capsys) -> None:
    add(history, state="succeeded")
    add(history, workflow="wan2", state="succeeded", backend="emulator")
    assert [row["workflow"] for row in items(capsys, "--workflow", "flux-dev")] == ["flux_dev"]
    assert [row["workflow"] for row in items(capsys, "--backend", "emulator")] == ["wan2"]
    assert len(items(capsys, "--since", "1h")) == 3
    assert items(capsys, "--since", "2099-01-01") == []


@pytest.mark.parametrize("since", ["yesterday", "7x", "", "2026-13-01", "999999w"])
def test_a_time_that_is_none_is_exit_2(since: str, capsys: Capsys) -> None:
    assert here("jobs", "funnel", f"--since={since}") == (2 if since else 0)
    assert ("error[invalid_input]" in capsys.readouterr().err) is bool(since)


def test_without_jobs_it_says_so(capsys: Capsys) -> None:
    assert here("jobs", "funnel") == 0
    assert capsys.readouterr().out.strip() == "No jobs yet."
    for command in (("funnel", "--backend", "modal"), ("funnel", "--since", "7d"), ("list", "--tag", "mine")):
        assert here("jobs", *command) == 0
        assert capsys.readouterr().out.strip() == "No job matches."
    assert here("jobs", "funnel", "--workflow", "flux-devv") == 2
    assert "Did you mean flux-dev?" in capsys.readouterr().err


def test_a_record_that_another_program_spoilt_is_counted_without_a_time(history: History) -> None:
    add(history, state="succeeded", seconds=None, finished_at="nonsense")
    add(history, state="failed", error="no object")
    (stage,) = funnel(history.ends())
    assert (stage.completed, stage.seconds.count, stage.codes) == (1, 0, {"internal": 1})
