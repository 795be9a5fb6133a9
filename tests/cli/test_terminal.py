"""What a terminal shows, and a pipe does not: with a real pseudo-terminal."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

import pytest

from .shell import COMMAND, SECONDS, SMALL, environment, ryla

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
LINE = ("run", "flux-dev", "a boat", "--width", "256", "--height", "256", "--steps", "30", "-o")


def on_terminal(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Run the command with stderr on a terminal; return code, stdout and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment(**{"TERM": "xterm", **env})
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError as error:
        assert error.errno == errno.EIO  # Linux says so when the other side is closed
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=SECONDS)
    return process.returncode, out.decode(), said.decode()


def test_a_terminal_sees_a_bar_with_the_node_and_it_goes_when_done(tmp_path: Path) -> None:
    target = str(tmp_path / "x.png")
    code, out, said = on_terminal(*LINE, target, COLUMNS="100")
    assert (code, out) == (0, f"{target}\n")
    assert "\x1b[" in said
    assert "%" in said
    assert "━" in said
    assert said.rstrip().splitlines()[-1].count("flux_dev · seed") == 1


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_plain_text_gets_no_control_codes(env: dict[str, str], tmp_path: Path) -> None:
    code, _, said = on_terminal(*LINE, str(tmp_path / "x.png"), **env)
    assert code == 0
    assert "\x1b" not in said
    progress = re.compile(r"waiting: | *\d+%  ")  # said every 15 seconds, on a slow machine only
    assert len([line for line in said.splitlines() if not progress.match(line)]) == 2


def test_a_narrow_terminal_gets_a_narrow_bar(tmp_path: Path) -> None:
    code, _, said = on_terminal(*LINE, str(tmp_path / "x.png"), COLUMNS="40")
    assert code == 0
    assert "━━━━━━━━" in said
    assert "━" * 9 not in said


def test_a_pipe_never_loads_rich(tmp_path: Path) -> None:
    """A module that cannot be imported stands where rich is."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise SystemExit('rich was loaded')")
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    done = ryla("run", "flux", "fox", *SMALL, "-o", str(tmp_path / "x.png"), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr


def test_a_terminal_gets_no_picture_poured_over_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run([*COMMAND, "run", "flux", "fox", "-o", "-"], stdout=theirs, stderr=subprocess.PIPE, env=environment())
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "line", ["workflows list", "workflows list --json", "run flux fox --steps 1 -o -", "--help", "jobs list --help"]
)
def test_a_full_disk_behind_stdout_is_one_clear_error(line: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, *line.split()], stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=SECONDS)
    assert done.returncode == 1
    assert b"error[storage_failed]: stdout could not be written" in done.stderr
    assert b"error[internal]" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    line = " ".join([*COMMAND, "run", "flux", "fox", *SMALL, "-o", str(tmp_path / "x.png"), ">&-", "2>&-", "<&-"])
    assert subprocess.run(line, shell=True, env=environment(), timeout=SECONDS).returncode == 0
    assert (tmp_path / "x.png").exists()
