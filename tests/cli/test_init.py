"""The first minutes: choosing, checking, writing, a picture; by questions on a terminal, by options anywhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from .shell import COMMAND, envelope, picture, ryla
from .terminal import terminal


@pytest.fixture
def config(clean_environment: Path) -> Path:
    return clean_environment / "config.toml"


def test_by_options_it_checks_writes_and_makes_a_picture(config: Path, tmp_path: Path) -> None:
    done = ryla("init", "--backend", "emulator", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    data = envelope(done.stdout)["data"]
    assert data["changes"] == [{"key": "backend", "before": None, "after": "emulator"}]
    assert {item["state"] for item in data["checks"]} == {"ok"}
    assert tomllib.loads(config.read_text()) == {"backend": "emulator"}
    assert picture(tmp_path / data["picture"]).size == (1024, 1024)

    again = ryla("init", "--backend", "emulator", folder=tmp_path)
    assert (again.returncode, b"Nothing to change" in again.stdout, b"Making" in again.stdout) == (0, True, False)
    assert b"exists. Running on emulator" in again.stderr


def test_where_nobody_can_be_asked_it_says_which_options_answer(config: Path, tmp_path: Path) -> None:
    for line, word in (
        ([], b"--backend emulator --yes"),
        (["--backend", "comfyui"], b"--url http://"),
        (["--backend", "runpod"], b"--endpoint ID"),
        (["--backend", "modal", "--url", "http://127.0.0.1:1"], b"Use one of them"),
        (["--backend", "nowhere"], b"--help"),
    ):
        done = ryla("init", *line, folder=tmp_path)
        assert done.returncode != 0, line
        assert word in done.stderr
        assert b"Traceback" not in done.stderr
    assert not config.exists()


def test_what_does_not_work_is_not_written_unless_asked_and_nothing_is_replaced_unasked(config: Path, tmp_path: Path) -> None:
    config.parent.mkdir()
    config.write_text('# mine\nbackend = "emulator"  # for now\n')
    line = ["init", "--url", "http://127.0.0.1:9", "--no-picture"]
    dead = ryla(*line, "--yes", folder=tmp_path)
    assert (dead.returncode, b"nothing was saved" in dead.stderr) == (1, True)
    asked = ryla(*line, "--no-check", folder=tmp_path)
    assert (asked.returncode, b"--yes" in asked.stderr) == (2, True)
    assert config.read_text() == '# mine\nbackend = "emulator"  # for now\n'
    done = ryla(*line, "--no-check", "--yes", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "# mine" in config.read_text()
    assert tomllib.loads(config.read_text()) == {"backend": "comfyui", "comfyui": {"url": "http://127.0.0.1:9"}}
    secret = ryla("init", "--url", "http://ada:hunter2@127.0.0.1:9", "--no-check", "--yes", folder=tmp_path)
    assert secret.returncode == 2
    assert "hunter2" not in config.read_text() + (secret.stdout + secret.stderr).decode()
    assert [path.name for path in config.parent.iterdir()] == ["config.toml"]


def test_on_a_terminal_it_asks_and_an_answer_that_is_none_is_asked_again(config: Path, tmp_path: Path) -> None:
    with terminal(*COMMAND, "init", "--no-picture", folder=tmp_path, COLUMNS="40") as there:
        there.until("Number [1]: ")
        there.type("9\n")
        there.until("Number [1]: ")
        there.type("\n")
        code, said = there.finish()
    assert code == 0, said
    assert tomllib.loads(config.read_text()) == {"backend": "emulator"}
    assert max(len(line) for line in said.decode().splitlines() if line.startswith("  ")) <= 40


@pytest.mark.parametrize("question", ["Number [1]: ", "Address of the server [http://127.0.0.1:8188]: "])
def test_ctrl_c_at_a_question_leaves_nothing_behind(question: str, config: Path, tmp_path: Path) -> None:
    with terminal(*COMMAND, "init", folder=tmp_path) as there:
        there.until("Number [1]: ")
        if question != "Number [1]: ":
            there.type("comfyui\n")
            there.until(question)
        there.interrupt()
        code, said = there.finish()
    assert code == 130
    assert b"]: \r\nerror[job_canceled]: Stopped." in said
    assert b"Traceback" not in said
    assert not config.exists()


def test_a_server_that_does_not_answer_has_its_own_code(config: Path, tmp_path: Path) -> None:
    done = ryla("init", "--url", "http://127.0.0.1:9", "--yes", "--json", folder=tmp_path)
    assert (done.returncode, envelope(done.stdout)["error"]["code"]) == (1, "backend_unreachable")
    assert not config.exists()
