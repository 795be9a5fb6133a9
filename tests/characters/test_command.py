"""``ryla-gen character`` as its users hold it: pictures in a folder, one job to come back to, errors that say what to do."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.emulator.server import Emulator
from tests.cli.emulated import wait_until_left
from tests.cli.shell import SECONDS, SMALL, envelope, here, lines, picture, ryla, started


@pytest.fixture
def photo(face: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    path.write_bytes(face)
    return path


def data(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """The last line of ``--json``."""
    assert here(*arguments, "--json") == code
    found = lines(capsys.readouterr().out)[-1]
    assert found["ok"] is (code == 0)
    return found if code else dict(found["data"])


def test_base_images_are_saved_with_their_sheet_and_never_over_others(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["character", "base", "a woman with red hair", "--count", "2", "--seed", "7", *SMALL, "--url", server.url]
    made = data(capsys, *line, "-o", str(tmp_path / "mia"))
    assert [Path(path).name for path in made["files"]] == ["base-1.png", "base-2.png", "sheet.png"]
    assert [part["seed"] for part in made["parts"]] == [7, 8]
    assert picture(tmp_path / "mia" / "base-1.png").size == (256, 256)
    refused = data(capsys, *line, "-o", str(tmp_path / "mia"), code=1)
    assert refused["error"]["code"] == "output_exists"
    assert server.stats.prompts == 2, "refused before anything was sent"


def test_progress_goes_over_all_pictures(server: Emulator, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    angles = ["--angle", "front", "--angle", "back"]
    assert here("character", "sheet", str(photo), *angles, *SMALL, "--url", server.url, "--json") == 0
    events = [event for event in lines(capsys.readouterr().out) if "type" in event]
    assert (events[0]["type"], events[-1]["type"], events[-1]["state"]) == ("started", "finished", "succeeded")
    steps = [(event["fraction"], event["step"], event["steps"]) for event in events if event["type"] == "progress"]
    assert steps == sorted(steps)
    assert steps[-1] == (1.0, 2, 2)
    assert [event["seq"] for event in events] == list(range(len(events)))


def test_a_detached_job_is_fetched_later(server: Emulator, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = ryla("character", "swap", str(photo), "in a library", *SMALL, "--detach", "--url", server.url)
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    assert f"ryla-gen character resume {job[:8]} --url {server.url} -o DIR" in done.stderr.decode()
    out = tmp_path / "out"
    made = data(capsys, "character", "status", job[:8], "--wait", "-o", str(out), "--url", server.url)
    assert (made["job"], made["state"], [path.name for path in out.iterdir()]) == (job, "succeeded", ["swap.png"])
    assert here("character", "status", job, "--url", server.url) == 0
    assert "succeeded  1 of 1" in capsys.readouterr().out
    assert [item["job"] for item in data(capsys, "character", "list")["items"]] == [job]
    assert server.stats.prompts == 1


def test_what_failed_says_the_command_that_makes_it_again(
    server: Emulator, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.knobs.out_of_memory_at = "VAEDecode"
    line = ["character", "sheet", str(photo), "--angle", "front", "--angle", "back", *SMALL, "--url", server.url]
    failed = data(capsys, *line, code=1)["error"]
    assert failed["code"] == "out_of_memory"
    command = failed["hint"].partition("ryla-gen ")[2].split()
    server.knobs.out_of_memory_at = None
    made = data(capsys, *command, "-o", str(tmp_path / "out"), "--url", server.url)
    assert [Path(path).name for path in made["files"]] == ["front.png", "back.png", "sheet.png"]
    assert [part["attempts"] for part in made["parts"]] == [2, 2]


def test_ctrl_c_cancels_what_has_not_ended(server: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    server.knobs.hold_nodes = True
    process = started("character", "base", "a fox", "--count", "3", *SMALL, "--url", server.url, "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "started"
    while server.queue.remaining() < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["error"]["code"] == "job_canceled"
    assert b"Traceback" not in said
    wait_until_left(server, 0)
    (item,) = data(capsys, "character", "list")["items"]
    assert item["state"] == "canceled"


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["swap", "no.png", "x"], "There is no picture at no.png", 2),
        (["sheet", "FACE", "--angle", "sideways"], "There is no angle 'sideways'", 2),
        (["base", "a fox", "--nsfw"], "characters.nsfw_checkpoint is empty", 2),
        (["base", "a fox", "--detach", "--backend", "emulator"], "ends with this command", 1),
        (["base", "a fox", "-o", "FACE"], "is a file, not a folder", 1),
        (["resume", "7f0c4a1e"], "no character job '7f0c4a1e'", 1),
        (["status", "7f0c4a1e"], "no character job '7f0c4a1e'", 1),
        (["retry", "7f0c4a1e", "--only", "front"], "no character job", 1),
        (["compare", "FACE", "no.png"], "There is no picture at no.png", 2),
        (["compare", "FACE", "FACE"], "ryla-gen character compare A.png B.png --install", 1),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], said: str, code: int, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if arguments == ["compare", "FACE", "FACE"]:
        pytest.importorskip("insightface", reason="the extra faces is not installed")
    assert here("character", *(str(photo) if word == "FACE" else word for word in arguments)) == code
    error = capsys.readouterr().err
    assert said in error
    assert "hint: " in error


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert data(capsys, "character", "list") == {"items": []}
    assert here("character", "list") == 0
    assert "No character jobs yet." in capsys.readouterr().out


def test_a_sheet_is_counted_as_its_pictures_and_the_jobs_command_says_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here("character", "base", "a fox", "--count", "2", *SMALL, "-o", "base/", "--json") == 0
    capsys.readouterr()
    here("costs", "--json")
    assert sum(row["jobs"] for row in envelope(capsys.readouterr().out)["data"]["items"]) == 2
    here("jobs", "funnel", "--json")
    assert "character_base" not in capsys.readouterr().out
    here("jobs", "list", "--json")
    parent = next(row for row in envelope(capsys.readouterr().out)["data"]["items"] if row["workflow"] == "character_base")
    assert here("jobs", "result", parent["id"], "-o", "x/", "--json") == 1
    assert f"ryla-gen character status {parent['id'][:8]}" in envelope(capsys.readouterr().out)["error"]["hint"]
