"""Sinks of one's own and the log: told in order, on a thread of their own, and never in the way of a generation."""

from __future__ import annotations

import contextvars
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, CustomWorkflow, FluxDev, telemetry
from ryla_gen.errors import ERRORS, ModelNotFoundError, WorkflowInvalidError
from ryla_gen.telemetry.dispatch import MOST_WAITING
from tests.cli.shell import environment

from .conftest import SMALL, Heard

ROOT = Path(__file__).resolve().parents[2]
SECRET = "my secret garden"


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of the emulator: sinks other than PostHog hear of emulated runs too."""
    with Client("emulator") as made:
        yield made


def test_a_sink_hears_of_request_and_end_in_order(client: Client, heard: Heard) -> None:
    generation = client.flux(**SMALL)
    assert heard.types() == ["requested", "completed"]
    asked, done = heard.all
    assert isinstance(asked, telemetry.Requested) and isinstance(done, telemetry.Completed)
    assert (asked.job, done.job, asked.backend, asked.workflow) == (generation.job, generation.job, "emulator", "flux")
    assert asked.prompt_length == len(SMALL["prompt"])
    assert done.at >= asked.at


def test_what_a_backend_refuses_is_a_failure_with_its_code(client: Client, heard: Heard) -> None:
    with pytest.raises(ModelNotFoundError):
        client.run(FluxDev(**SMALL, checkpoint="none.safetensors"))
    assert heard.types() == ["requested", "failed"]
    failed = heard.all[1]
    assert isinstance(failed, telemetry.Failed)
    assert (failed.code, failed.fault.error_type) == ("model_not_found", "model_error")


def test_cancelling_is_told_as_such(heard: Heard) -> None:
    with Client("emulator") as client:
        job = client.submit(FluxDev(prompt="a fox", steps=100))
        job.cancel()
    assert heard.types() == ["requested", "canceled"]


def test_a_sink_that_raises_costs_nothing_and_is_said_once(client: Client, heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: telemetry.TelemetryEvent) -> None:
        raise KeyError("mine")

    telemetry.add(broken)
    try:
        client.flux(**SMALL)
        client.flux(**SMALL)
        assert heard.types() == ["requested", "completed"] * 2
    finally:
        telemetry.remove(broken)
    assert [record.getMessage() for record in caplog.records if record.name == "ryla_gen.telemetry"] == [
        "The sink broken failed: KeyError: 'mine'"
    ]


def test_a_sink_that_hangs_holds_up_neither_a_generation_nor_another_sink(client: Client, heard: Heard) -> None:
    go, before = threading.Event(), telemetry.count_dropped()

    def hanging(event: telemetry.TelemetryEvent) -> None:
        go.wait(240)

    telemetry.add(hanging)
    try:
        client.flux(**SMALL)
        assert not telemetry.flush(0.05)
        other = Heard()
        telemetry.add(other)
        for _ in range(MOST_WAITING + 10):
            telemetry.emit(telemetry.AppDeployed(backend="modal", app="x", models=None, seconds=0.0))
        assert telemetry.count_dropped() > before
        assert not go.is_set()
    finally:
        go.set()
        assert telemetry.flush(240)
        telemetry.remove(hanging)
        telemetry.remove(other)
    assert heard.types()[:2] == ["requested", "completed"]
    assert "app_deployed" in other.types()


def test_a_sink_runs_in_the_context_of_the_caller_and_not_on_its_thread(client: Client) -> None:
    who, seen = contextvars.ContextVar("who", default="nobody"), set[tuple[str, bool]]()

    def sink(event: telemetry.TelemetryEvent) -> None:
        seen.add((who.get(), threading.current_thread() is caller))

    caller = threading.current_thread()
    telemetry.add(sink)
    token = who.set("me")
    try:
        client.flux(**SMALL)
        assert telemetry.flush(240)
    finally:
        who.reset(token)
        telemetry.remove(sink)
    assert seen == {("me", False)}


def test_a_removed_sink_hears_no_more(client: Client, heard: Heard) -> None:
    telemetry.remove(heard)
    client.flux(**SMALL)
    assert heard.types() == []


def test_the_log_has_a_line_for_people_and_fields_for_programs(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ryla_gen.events"):
        generation = client.flux(**{**SMALL, "prompt": SECRET})
        with pytest.raises(WorkflowInvalidError, match=SECRET):
            client.run(CustomWorkflow(graph={"1": {"class_type": SECRET, "inputs": {}}}))
        assert telemetry.flush(240)
    records = [record for record in caplog.records if record.name == "ryla_gen.events"]
    fields: list[dict[str, Any]] = [vars(record)["ryla_gen"] for record in records]
    assert [item["type"] for item in fields] == ["requested", "completed", "requested", "failed"]
    assert re.fullmatch(rf"completed flux {generation.job} \d+\.\d{{3}} s", records[1].getMessage())
    assert fields[3]["error_type"] == "workflow_error"
    assert records[3].getMessage().endswith("workflow_invalid: the server refused the graph")
    assert SECRET not in caplog.text
    assert SECRET not in str(fields)


NOBODY = """
import sys, threading
from ryla_gen import Client
with Client("emulator") as client:
    client.flux(prompt="a fox", width=256, height=256, steps=1)
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("posthog", "opentelemetry")))
print([name for name in sys.modules if name in ("ryla_gen.telemetry.sinks", "ryla_gen.telemetry.open_telemetry")])
"""


def test_where_nobody_listens_nothing_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", NOBODY], env=environment(), capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


FORKED = """
import os
from ryla_gen import telemetry
def sink(event):
    os.write(1, f"{event.app} {os.getpid() == parent}\\n".encode())
parent = os.getpid()
telemetry.add(sink)
telemetry.emit(telemetry.AppDeployed(backend="modal", app="one", models=None, seconds=0))
assert telemetry.flush(240)
child = os.fork()
telemetry.emit(telemetry.AppDeployed(backend="modal", app="two", models=None, seconds=0))
assert telemetry.flush(240)
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_a_forked_child_tells_for_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], env=environment(), capture_output=True, text=True, timeout=600
    )
    assert sorted(done.stdout.splitlines()) == ["one True", "two False", "two True"], done.stderr


def test_every_error_code_has_its_type_and_the_page_lists_each() -> None:
    assert set(telemetry.FAULTS) == set(ERRORS)
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (timeout|model_error|workflow_error|–) \|", page, re.MULTILINE))
    wanted = {code: fault.error_type for code, fault in telemetry.FAULTS.items()}
    assert rows == wanted | {"job_canceled": "–"}


def test_a_sink_that_is_still_busy_keeps_no_other_from_hearing_the_same() -> None:
    entered, go = threading.Event(), threading.Event()
    heard: list[telemetry.TelemetryEvent] = []

    def slow(event: telemetry.TelemetryEvent) -> None:
        entered.set()
        go.wait(240)

    def quick(event: telemetry.TelemetryEvent) -> None:
        assert entered.wait(240)  # while the slow one is in the middle of it
        heard.append(event)
        go.set()

    telemetry.add(slow)
    telemetry.add(quick)
    try:
        telemetry.emit(telemetry.AppDeployed(backend="modal", app="one", models=None, seconds=0))
        assert telemetry.flush(240)
        assert len(heard) == 1
    finally:
        go.set()
        telemetry.remove(slow)
        telemetry.remove(quick)


def test_the_former_names_still_work_and_say_which_is_the_new_one() -> None:
    assert set(telemetry.RENAMED.values()) <= set(telemetry.__all__)
    for former, name in telemetry.RENAMED.items():
        with pytest.warns(DeprecationWarning, match=rf"telemetry\.{former} is now {name}"):
            assert getattr(telemetry, former) is getattr(telemetry, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = getattr(telemetry, "nothing")  # noqa: B009
