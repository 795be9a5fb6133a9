"""A job whose files went to a bucket, asked for by a later process or interrupted: where they are is said."""

from __future__ import annotations

import http.server
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen import Client, Flux, Settings
from ryla_gen.emulator.server import Emulator
from tests.cli.shell import SECONDS, SMALL, envelope, here, started

from .conftest import Storage

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def submitted(capsys: Capsys, server: Emulator, *more: str) -> str:
    """Submit a job to a server that only this command names."""
    assert here("submit", "flux", "fox", *SMALL, "--seed", "7", "--url", server.url, *more) == 0
    return capsys.readouterr().out.strip()


def test_watching_fetching_and_showing_say_where_the_files_are(
    storage: Storage, server: Emulator, capsys: Capsys, tmp_path: Path
) -> None:
    job = submitted(capsys, server, "--output-to", "s3://pictures/fox")
    address = f"s3://pictures/fox/{job}/flux-7-0.png"
    assert here("jobs", "watch", job) == 0, "the journal knows its server"
    assert capsys.readouterr().out.splitlines() == [f"{job} succeeded.", address]
    target = tmp_path / "fox.png"
    assert here("jobs", "result", job, "-o", str(target)) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == address
    assert f"{target} was not written: the job's files were uploaded." in shown.err
    assert not target.exists()
    assert here("jobs", "show", job) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  output_to: s3://pictures/fox" in lines and f"  uploaded: {address}" in lines
    assert len(storage.keys()) == 1


def test_of_a_job_that_ended_with_its_process_the_address_is_said(storage: Storage, capsys: Capsys) -> None:
    with Client(settings=Settings.load(backend="emulator")) as client:
        made = client.run(Flux(prompt="a fox", width=256, height=256, steps=1), output_to="s3://pictures/fox")
    assert here("jobs", "result", made.job) == 1
    said = capsys.readouterr().err
    assert "job_expired" in said and f"Its files went to: {made.output.url}" in said


def test_a_server_that_is_named_or_set_is_asked_rather_than_the_one_of_the_journal(
    server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(capsys, server)
    assert here("jobs", "watch", job, "--url", "http://127.0.0.1:9") == 1
    assert "http://127.0.0.1:9" in capsys.readouterr().err
    monkeypatch.setenv("COMFYUI_POD_URL", "http://127.0.0.1:9")
    assert here("jobs", "watch", job) == 1
    assert "http://127.0.0.1:9" in capsys.readouterr().err


def test_signed_addresses_are_refused_where_nobody_would_bring_a_file_to_them(
    storage: Storage, server: Emulator, capsys: Capsys
) -> None:
    address = storage.signed("one.png")
    assert here("submit", "flux", "fox", *SMALL, "--url", server.url, "--output-to", address) == 2
    said = capsys.readouterr().err
    assert "Nobody would upload to a signed address" in said and "ryla-gen run" in said
    assert address.partition("?")[2] not in said
    assert server.stats.prompts == 0, "nothing was sent"
    assert here("jobs", "list") == 0
    assert "flux" not in capsys.readouterr().out, "nor written down"


class SlowTaker(http.server.BaseHTTPRequestHandler):
    """Takes a file, and answers only a while after its sender was interrupted."""

    begun = threading.Event()
    interrupted = threading.Event()

    def do_PUT(self) -> None:
        self.begun.set()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.interrupted.wait(SECONDS)
        time.sleep(2)  # for the signal to be heard
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        """Write nothing."""


def test_an_interrupt_during_the_upload_says_that_the_job_had_succeeded_and_where_its_file_is(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_ALLOW_PRIVATE_ADDRESSES", "true")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowTaker) as taker:
        threading.Thread(target=taker.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{taker.server_port}/fox.png"
        process = started("run", "flux", "fox", *SMALL, "--output-to", f"{address}?signature=SECRET", "--json")
        assert SlowTaker.begun.wait(SECONDS)
        process.send_signal(signal.SIGINT)
        SlowTaker.interrupted.set()
        out, err = process.communicate(timeout=SECONDS)
        taker.shutdown()
    error = envelope(out)["error"]
    assert (process.returncode, error["code"]) == (130, "job_canceled")
    assert "had succeeded before" in error["message"]
    assert f"Its files went to: {address}" in error["hint"]
    assert b"SECRET" not in out + err
    assert here("jobs", "show", error["details"]["job"]) == 0
    assert "succeeded" in capsys.readouterr().out
