"""Looking at a character job sends nothing, whatever its pictures are at, and disturbs no process that works on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ryla_gen import Client
from ryla_gen.characters import CharacterJob, Characters, looking
from ryla_gen.contract import new_job_id
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import GpuOutOfMemoryError
from tests.cli.shell import SECONDS, SMALL, envelope, environment, here, lines, ryla, started

from .test_again import HOLDER

Capsys = pytest.CaptureFixture[str]
FIELDS = {"width": 256, "height": 256, "steps": 1}


def lost(server: Emulator) -> CharacterJob:
    """A job both of whose pictures a machine's fault cost."""
    server.knobs.out_of_memory_at = "VAEDecode"
    with Client(url=server.url) as client:
        job = Characters(client).submit_base_images("a fox", seed=1, count=2, fields=FIELDS)
        with pytest.raises(GpuOutOfMemoryError):
            job.result(SECONDS)
    server.knobs.out_of_memory_at = None
    return job


def never_sent(server: Emulator, home: Path) -> str:
    """A job of whose two pictures the second was never sent: its process ended in between."""
    with Client(url=server.url) as client:
        job = Characters(client).submit_base_images("a fox", seed=1, count=2, fields=FIELDS)
        job.result(SECONDS)
        second = job.parts[1].job
    plan = home / "characters" / job.id / "job.json"
    plan.write_text(plan.read_text().replace(second, new_job_id()))  # an id that no journal and no server has heard of
    for name in ("base-2.png", "sheet.png"):
        (home / "characters" / job.id / name).unlink()
    return job.id


def test_status_leaves_what_a_machine_lost_and_resume_makes_it_once_more(server: Emulator, capsys: Capsys) -> None:
    job = lost(server)
    for wait in ([], ["--wait"]):
        here("character", "status", job.id, *wait, "--url", server.url)
        assert server.stats.prompts == 2
    assert f"ryla-gen character retry {job.id[:8]}" in capsys.readouterr().err
    assert here("character", "resume", job.id, "--url", server.url, "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["state"] == "succeeded"
    assert server.stats.prompts == 4


def test_status_looks_while_another_process_holds_the_job(server: Emulator, clean_environment: Path, capsys: Capsys) -> None:
    job = lost(server)
    command = [sys.executable, "-c", HOLDER, str(clean_environment), job.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            assert here("character", "status", job.id, "--url", server.url) == 0
        finally:
            holder.kill()
    assert "out_of_memory" in capsys.readouterr().out


def test_status_shows_what_is_under_way_elsewhere_and_does_not_disturb_it(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    process = started("character", "base", "a fox", "--count", "2", *SMALL, "--url", server.url, "--json")
    assert process.stdout is not None
    assert b"started" in process.stdout.readline()
    while server.queue.remaining() < 2:
        time.sleep(0.02)
    (known,) = lines(ryla("character", "list", "--json").stdout)[-1]["data"]["items"]
    assert here("character", "status", known["job"], "--url", server.url, "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["state"] in ("queued", "running")
    assert (process.poll(), server.stats.prompts, server.queue.remaining()) == (None, 2, 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130


def test_a_picture_that_was_never_sent_stays_unsent_until_the_job_is_resumed(
    server: Emulator, clean_environment: Path, capsys: Capsys
) -> None:
    job = never_sent(server, clean_environment)
    assert here("character", "status", job, "--url", server.url) == 0
    shown = capsys.readouterr()
    assert "1 of 2" in shown.out and f"continue it: ryla-gen character resume {job[:8]}" in shown.err
    assert server.stats.prompts == 2
    assert here("character", "resume", job, "--url", server.url) == 0
    assert server.stats.prompts == 3


def test_a_job_of_an_emulator_in_another_process_is_left_to_it(capsys: Capsys) -> None:
    large = ("--width", "1024", "--height", "1024", "--steps", "50")
    process = started("character", "base", "a fox", "--count", "2", *large, "--backend", "emulator", "--json")
    assert process.stdout is not None
    assert b"started" in process.stdout.readline()
    (known,) = lines(ryla("character", "list", "--json").stdout)[-1]["data"]["items"]
    assert here("character", "status", known["job"], "--backend", "emulator", "--json") == 0
    looked = envelope(capsys.readouterr().out)["data"]
    rest, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, envelope(rest)["data"]["state"]) == (0, "succeeded"), said
    assert looked["state"] in ("queued", "running", "succeeded")


def test_a_server_that_is_away_is_named_beside_the_last_known_state(
    server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "FIRST_LOOK", 60.0)  # however long it takes to find out
    server.knobs.delay_per_node = 30.0
    done = ryla("character", "base", "a fox", "--count", "1", *SMALL, "--detach", "--url", server.url)
    address = server.url
    server.close()
    assert here("character", "status", done.stdout.decode().strip(), "--url", address) == 0
    assert "backend_unreachable" in capsys.readouterr().out


def test_the_name_of_0_2_takes_a_job_up_with_a_warning(server: Emulator) -> None:
    job = lost(server)
    with Client(url=server.url) as client, pytest.warns(DeprecationWarning, match=r"is now resume\(\)"):
        assert len(Characters(client).status(job.id).result(SECONDS).pictures) == 2
