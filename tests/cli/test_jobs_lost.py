"""``jobs list`` ends jobs whose process or server is certainly gone, and none that only cannot be asked about."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ryla_gen import Client
from ryla_gen.client import whereabouts
from ryla_gen.emulator.server import Emulator

from .shell import SECONDS, SMALL, envelope, environment, here

Capsys = pytest.CaptureFixture[str]
ON_THE_EMULATOR = """
import sys
from ryla_gen import Client, FluxDev
client = Client("emulator")
print(client.submit(FluxDev(prompt="a red fox", width=1536, height=1536, steps=100)).id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server on which every node takes long, and which a list waits for however late it answers."""
    monkeypatch.setattr(whereabouts, "ANSWER_SECONDS", 60.0)
    with Emulator() as emulator:
        emulator.knobs.delay_per_node = 30.0
        yield emulator


def listed(capsys: Capsys, *more: str) -> dict[str, dict[str, Any]]:
    """The list, by id."""
    capsys.readouterr()
    assert here("jobs", "list", "--json", *more) == 0
    return {item["id"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}


def submitted(capsys: Capsys, url: str) -> str:
    capsys.readouterr()
    assert here("submit", "flux", "fox", *SMALL, "--url", url, "--json") == 0
    return str(envelope(capsys.readouterr().out)["data"]["job"])


def test_a_job_that_its_server_has_lost_is_ended_and_its_neighbour_is_not(server: Emulator, capsys: Capsys) -> None:
    running, lost = submitted(capsys, server.url), submitted(capsys, server.url)
    assert listed(capsys)[running]["server"] == server.url
    server.queue.delete([lost])
    found = listed(capsys)
    assert (found[running]["state"], found[lost]["state"]) == ("running", "expired")
    assert found[lost]["error"]["code"] == "job_expired"
    assert list(listed(capsys, "--state", "expired")) == [lost]


def test_a_server_that_does_not_answer_leaves_its_jobs_open_and_is_named(capsys: Capsys) -> None:
    with Emulator() as server:
        server.knobs.delay_per_node = 30.0
        job, url = submitted(capsys, server.url), server.url
    assert listed(capsys)[job]["state"] == "running"
    here("jobs", "list")
    assert f"{url} does not answer" in capsys.readouterr().err


def test_a_job_is_not_ended_because_another_server_does_not_know_it(server: Emulator, capsys: Capsys) -> None:
    job = submitted(capsys, server.url)
    with Emulator() as other:
        other.start()
        assert here("jobs", "result", job, "--url", other.url, "-o", "never.png") == 1
        said = capsys.readouterr().err
        assert "job_expired" in said
    assert listed(capsys)[job]["state"] == "running"
    assert server.queue.remaining() == 1


def test_a_job_on_the_emulator_ends_in_the_list_when_its_process_has_ended_and_not_before(capsys: Capsys) -> None:
    command = [sys.executable, "-c", ON_THE_EMULATOR]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        job = process.stdout.readline().strip()
        assert listed(capsys)[job]["state"] in ("queued", "running")
        process.kill()
        process.wait(SECONDS)
    assert listed(capsys)[job]["state"] == "expired"


def test_a_job_whose_process_died_before_it_sent_anything_is_ended_where_its_server_says_so(
    server: Emulator, capsys: Capsys
) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, text=True, check=True)
    with Client("emulator") as client:
        from ryla_gen.history.processes import this_process

        mine = this_process()
        dead = f"{gone.stdout.strip()}@{mine.partition('@')[2]}"
        elsewhere = f"1@{socket.gethostname()}-another"
        for job, process in (("a" * 36, dead), ("b" * 36, mine), ("c" * 36, elsewhere)):
            client.history.record(job, backend="comfyui", workflow="flux", inputs={}, server=server.url, process=process)
    assert [listed(capsys)[letter * 36]["state"] for letter in "abc"] == ["expired", "queued", "queued"]
