"""Ctrl-C and SIGTERM, with real processes against a real (emulated) server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen.emulator.server import Emulator

from .emulated import wait_until_left
from .shell import COMMAND, SECONDS, SMALL, envelope, environment, here, lines, ryla, started

NAMES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
CODES = [(getattr(signal, name), code) for name, code in NAMES.items() if hasattr(signal, name)]


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server on which every node takes long."""
    with Emulator() as emulator:
        emulator.knobs.delay_per_node = 600.0  # longer than any test: what ends, ends by being stopped
        yield emulator


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_stops_the_prompt_on_the_server_and_then_the_command(
    number: signal.Signals, code: int, server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started("run", "flux", "fox", *SMALL, "--url", server.url, "-o", str(tmp_path / "x.png"), "--json")
    assert process.stdout is not None
    while (event := json.loads(process.stdout.readline()))["type"] != "started":
        pass
    process.send_signal(number)
    rest, said = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert next(item for item in lines(rest) if item.get("type") == "finished")["state"] == "canceled"
    assert envelope(rest)["error"]["code"] == "job_canceled"
    assert b"Traceback" not in said
    wait_until_left(server, 0)
    messages = server.queue.history(event["job"])[event["job"]]["status"]["messages"]
    assert "execution_interrupted" in [name for name, _ in messages]
    assert list(tmp_path.glob("*.png")) == []
    here("jobs", "show", event["job"], "--json")
    assert envelope(capsys.readouterr().out)["data"]["state"] == "canceled"


@pytest.mark.parametrize(("number", "code"), CODES[:1])
def test_a_signal_to_one_that_waits_leaves_the_running_one_alone(number: signal.Signals, code: int, server: Emulator) -> None:
    first = started("run", "flux", "fox", *SMALL, "--url", server.url, "--json", "-o", "/tmp")
    second = None
    try:
        assert first.stdout is not None
        while json.loads(first.stdout.readline())["type"] != "started":
            pass
        second = started("run", "flux", "bear", *SMALL, "--url", server.url, "--json", "-o", "/tmp")
        assert second.stdout is not None
        while json.loads(second.stdout.readline()).get("position") != 1:
            pass
        second.send_signal(number)
        second.communicate(timeout=SECONDS)
        assert second.returncode == code
        assert server.queue.remaining() == 1
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()


@pytest.mark.parametrize("verb", ["watch", "wait", "result"])
def test_ctrl_c_on_what_only_waits_says_that_the_job_goes_on_and_never_to_run_it_again(verb: str, server: Emulator) -> None:
    job = envelope(ryla("submit", "flux", "fox", *SMALL, "--url", server.url, "--json").stdout)["data"]["job"][:8]
    before = server.stats.requests
    process = started("jobs", verb, "--url", server.url, job, "--json")
    while server.stats.requests == before:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=SECONDS)
    error = envelope(out)["error"]
    assert (process.returncode, error["message"]) == (130, "Stopped waiting; the job continues.")
    assert error["hint"] == f"Check again: ryla-gen jobs watch {job} --url {server.url}"
    assert b"Run it again" not in said and b"Submit it again" not in said
    assert server.queue.remaining() == 1


def test_ctrl_c_on_the_embedded_emulator() -> None:
    line = ("run", "flux-dev", "fox", "--steps", "100", "--width", "2048", "--height", "2048", "--json", "-o", "/tmp")
    process = started(*line)
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["type"] != "progress":
        pass
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert envelope(rest)["error"]["code"] == "job_canceled"
    assert b"Traceback" not in said


MODULES = ["ryla_gen.errors", "typer.models", "ryla_gen_cli.screen"]
LATER = ["typer._click.decorators", "pydantic_core", "pydantic", "ryla_gen.history"]
"""Loaded when the line is read, and when the command begins."""


@pytest.mark.parametrize(
    ("module", "number", "code"),
    [*((module, signal.SIGINT, 130) for module in MODULES), *((module, *ending) for module in LATER for ending in CODES)],
)
def test_a_signal_while_loading_ends_the_command_quietly(module: str, number: signal.Signals, code: int) -> None:
    # It tells on stderr what has been imported, and waits there: the pipe holds less than what is still to be told.
    process = subprocess.Popen(
        [*COMMAND, "submit", "flux", "fox", "--url", "http://127.0.0.1:9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(PYTHONPROFILEIMPORTTIME="1"),
        bufsize=0,
        pipesize=4096,
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).endswith(f" {module}\n".encode()):
        assert line, "it ended before it had loaded"
    process.send_signal(number)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert b"Traceback" not in said
    assert (b"Stopped." in said) == (module in LATER)


@pytest.mark.parametrize(("number", "code"), CODES)
def test_an_interrupt_in_a_text_that_is_run_ends_with_its_code(number: signal.Signals, code: int, tmp_path: Path) -> None:
    # Python ends a module by the signal itself where a bare KeyboardInterrupt left an exec of text, though it was caught.
    text = f"import os; os.kill(os.getpid(), {number.value})\nwhile True: pass"
    script = f"import sys\nfrom ryla_gen_cli import app\nwith app._signals():\n    try:\n        exec({text!r})\n"
    (tmp_path / "struck.py").write_text(script + f"    except KeyboardInterrupt:\n        sys.exit({code})\n")
    command = [sys.executable, "-m", "struck"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, timeout=SECONDS)
    assert done.returncode == code, done.stderr
