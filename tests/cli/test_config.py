"""``ryla-gen config`` where something else is wrong: what it says leads out again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from .shell import envelope, here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def file(clean_environment: Path) -> Path:
    clean_environment.mkdir()
    return clean_environment / "config.toml"


@pytest.mark.parametrize("variable", ["", "RYLA_GEN_BACKEND"])
def test_set_succeeds_once_and_warns_of_what_else_is_wrong(
    variable: str, file: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "xx")
    else:
        file.write_text("foo = 3\n")
    assert here("config", "set", "backend", "emulator", "--json") == 0
    said = capsys.readouterr()
    assert envelope(said.out)["ok"] is True  # and the only line of its kind
    assert said.err.startswith("warning: saved, but the settings cannot be used yet")
    assert said.err.rstrip().endswith("unset RYLA_GEN_BACKEND" if variable else "ryla-gen config unset foo")


@pytest.mark.parametrize(
    "line",
    [
        "foo = 3",
        '"a b" = 1',
        '"x.y" = 1',
        "modal = 5",
        "[modal]\ntimeuot = 5",
        "old = {a = 1}",
        "backend = 'nowhere'",
        "max_usd = -1",
    ],
)
def test_what_keeps_commands_from_starting_is_removed_by_the_command_of_the_hint(line: str, file: Path, capsys: Capsys) -> None:
    file.write_text(f"# mine\n{line}\n")
    assert here("config", "show") == 2
    command = capsys.readouterr().err.rpartition(": ryla-gen ")[2]
    assert here(*shlex.split(command)) == 0
    assert here("config", "show") == 0
    assert file.read_text().startswith("# mine\n")


def test_a_secret_in_the_file_is_sent_to_its_variable_and_taken_out(file: Path, capsys: Capsys) -> None:
    file.write_text("[runpod]\napi_key = 'hunter2'\n")
    assert here("config", "show") == 2
    said = capsys.readouterr().err
    assert "RUNPOD_API_KEY" in said
    assert "hunter2" not in said
    assert here("config", "unset", "runpod.api_key") == 0
    assert "hunter2" not in file.read_text()


def test_a_key_that_is_neither_a_setting_nor_there_is_refused(file: Path, capsys: Capsys) -> None:
    file.write_text("foo = 3\n")
    assert here("config", "unset", "fooo") == 2
    assert "There is no setting 'fooo'" in capsys.readouterr().err
    assert file.read_text() == "foo = 3\n"


@pytest.mark.parametrize("command", ["run flux fox", "submit flux fox", "estimate flux", "doctor"])
@pytest.mark.parametrize("backend", ["emulator", "modal", "modal,runpod"])
def test_an_address_that_no_named_backend_would_use_is_refused(command: str, backend: str, capsys: Capsys) -> None:
    assert here(*command.split(), "--backend", backend, "--url", "http://127.0.0.1:9") == 2
    said = capsys.readouterr().err
    assert "error[invalid_input]: The address http://127.0.0.1:9 belongs to a ComfyUI server" in said
    assert "--url alone" in said
