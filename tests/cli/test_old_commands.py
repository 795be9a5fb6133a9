"""The commands by their names of earlier versions do what the new ones do, and say on stderr what they are called now."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen_cli import app
from ryla_gen_cli.old_commands import GONE, OLD_COMMANDS

from .shell import SMALL, envelope, here, lines

Capsys = pytest.CaptureFixture[str]
OLD = [" ".join(words) for words in OLD_COMMANDS]


@pytest.mark.parametrize("old", OLD)
def test_an_old_command_is_the_new_one_and_one_line_names_it(old: str, capsys: Capsys) -> None:
    new = OLD_COMMANDS[tuple(old.split())]
    assert here(*new, "--help") == 0
    wanted = capsys.readouterr()
    assert here(*old.split(), "--help") == 0
    said = capsys.readouterr()
    assert (said.out, wanted.err) == (wanted.out, "")
    assert said.err == f"ryla-gen {old} is now: ryla-gen {' '.join(new)}; the old name stops working in {GONE}.\n"


@pytest.mark.parametrize("old", OLD)
def test_no_help_names_an_old_command(old: str, capsys: Capsys) -> None:
    *group, name = old.split()
    here(*group, "--help")
    commands = capsys.readouterr().out.partition("Commands:")[2].partition("Example:")[0]
    assert name not in [line.split()[0] for line in commands.splitlines() if line.strip()]
    assert old not in app.COMMANDS


def test_for_programs_stdout_is_the_same_and_quiet_is_quiet(capsys: Capsys, tmp_path: Path) -> None:
    assert here("funnel", "--json") == 0
    said = capsys.readouterr()
    assert envelope(said.out)["command"] == "jobs funnel"
    assert said.err.count("\n") == 1
    made = [*SMALL, "--backend", "emulator", "-o", str(tmp_path / "fox.png"), "--quiet"]
    assert here("run", "flux", "fox", *made, "--json") == 0
    job = envelope(capsys.readouterr().out)["data"]["job"]
    assert here("jobs", "watch", job, "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert here("jobs", "wait", job, "--json") == 0
    assert len(lines(capsys.readouterr().out)) == 1, "it never told progress"


def test_what_only_looks_like_an_old_command_is_left_alone(capsys: Capsys) -> None:
    assert here("run", "flux", "funnel", "--nope") == 2
    assert "is now" not in capsys.readouterr().err
