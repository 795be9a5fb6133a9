"""Whatever is killed with -9 around a spend, the next run finds what was sent, and the server runs every picture once."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux
from ryla_gen.emulator.server import Emulator
from tests.cli.shell import COMMAND, SECONDS, envelope, environment, ryla

from .gate import LOOKING, PROMPT, Gate

SMALL = ("--width", "256", "--height", "256", "--steps", "1")
POINTS = [(LOOKING, False), (PROMPT, False), (PROMPT, True)]
NAMES = ["journaled", "being sent", "taken and not heard of"]


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server that outlives every process."""
    with Emulator() as emulator:
        yield emulator


def killed(gate: Gate, *arguments: str) -> None:
    """Run a command against a gate, and kill it where the gate holds it."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--url", gate.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    try:
        assert gate.reached.wait(SECONDS), process.poll()
    finally:
        process.kill()
        process.communicate()


def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command to its end; its data."""
    done = ryla(*arguments, "--json")
    assert done.returncode == code, done.stderr.decode()
    data: dict[str, Any] = envelope(done.stdout)["data"]
    return data


def open_job() -> str:
    """The id of the only job in the journal."""
    with Client("emulator") as client:
        (record,) = client.jobs.list()
        assert record.state in ("queued", "running")
        return record.id


def listed(path: Path, count: int) -> str:
    """Write a list of so many pictures; its path."""
    rows = [{"workflow": "flux", "prompt": f"fox {number}", "width": 256, "height": 256, "steps": 1} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(("at", "heard"), POINTS, ids=NAMES)
def test_a_killed_batch_runs_no_row_twice(at: bytes, heard: bool, server: Emulator, tmp_path: Path) -> None:
    file, out = listed(tmp_path / "rows.jsonl", 3), tmp_path / "out"
    with Gate(server.url, at, answer=heard) as gate:
        killed(gate, "batch", file, "-o", str(out))
    memory = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    assert {entry["state"] for entry in memory} <= {"sent", "saving", "done"}
    data = answer("batch", file, "-o", str(out), "--url", server.url)
    assert (data["succeeded"] + data["present"], data["failed"]) == (3, 0)
    assert server.stats.prompts == 3
    assert {item["job"] for item in data["items"]} >= {entry["job"] for entry in memory}, "each keeps the id that was written first"


def test_a_prompt_that_arrives_after_its_batch_was_killed_is_found_and_not_sent_again(server: Emulator, tmp_path: Path) -> None:
    file, out = listed(tmp_path / "rows.jsonl", 1), tmp_path / "out"
    with Gate(server.url, PROMPT) as gate:
        killed(gate, "batch", file, "-o", str(out))
        before = server.stats.requests

        def arrive_late() -> None:
            while server.stats.requests < before + 2:  # the queue and the history: the next run looks for it
                time.sleep(0.01)
            gate.release()

        late = threading.Thread(target=arrive_late)
        late.start()
        data = answer("batch", file, "-o", str(out), "--url", server.url)
        late.join(SECONDS)
    assert (data["succeeded"], server.stats.prompts) == (1, 1)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_job_whose_process_was_killed_before_it_heard_of_it_is_found_by_its_id(
    command: str, server: Emulator, tmp_path: Path
) -> None:
    more = ("-o", str(tmp_path / "never.png")) if command == "run" else ()
    with Gate(server.url, PROMPT, answer=True) as gate:
        killed(gate, command, "flux", "fox", *SMALL, *more)
    job, target = open_job(), tmp_path / "fox.png"
    answer("jobs", "result", job, "-o", str(target), "--url", server.url)
    assert target.exists()
    assert server.stats.prompts == 1
    with Client("emulator") as client:
        (record,) = client.jobs.list()
    assert (record.state, record.handle) == ("succeeded", f"comfyui:{job}")


@pytest.mark.parametrize(("at", "heard"), POINTS, ids=NAMES)
def test_a_request_is_sent_again_under_its_id_only_where_it_never_arrived(at: bytes, heard: bool, server: Emulator) -> None:
    with Gate(server.url, at, answer=heard) as gate:
        killed(gate, "submit", "flux", "fox", *SMALL)
    job = open_job()
    with Client(url=server.url) as client:
        before = client.history.get(job)
        made = client.submit(Flux(prompt="fox", width=256, height=256, steps=1), job=job).result()
        after = client.history.get(job)
    assert before is not None and after is not None
    assert (made.job, made.seed, after.seed) == (job, before.seed, before.seed), "the seed that the journal has is kept"
    assert (server.stats.prompts, after.state) == (1, "succeeded")


@pytest.mark.parametrize(("at", "heard"), POINTS, ids=NAMES)
def test_a_killed_character_job_makes_every_picture_once(at: bytes, heard: bool, server: Emulator, tmp_path: Path) -> None:
    with Gate(server.url, at, answer=heard) as gate:
        killed(gate, "character", "base", "a knight", "--count", "2", "--width", "256", "--height", "256", "--steps", "1")
    (plan,) = answer("character", "list")["items"]
    done = answer("character", "resume", plan["job"], "--url", server.url)
    assert (done["state"], server.stats.prompts) == ("succeeded", 2)
