"""What ends a question: Ctrl-C, the end of the input, a no."""

from __future__ import annotations

from pathlib import Path

import pytest

from .shell import COMMAND
from .terminal import Terminal, terminal

BENCH = (*COMMAND, "bench", "success-rate", "flux", "-n", "1")


def answered(there: Terminal, keys: str) -> tuple[int, bytes]:
    there.until("[y/N]: ")
    if keys:
        there.type(keys)
    else:
        there.interrupt()
    return there.finish()


@pytest.mark.parametrize(("keys", "code"), [("", 130), ("\x04", 1)])
def test_who_leaves_a_question_gets_the_error_on_a_line_of_its_own(keys: str, code: int, tmp_path: Path) -> None:
    with terminal(*BENCH, folder=tmp_path) as there:
        found, said = answered(there, keys)
    assert found == code
    assert b"[y/N]: \r\nerror[job_canceled]: Stopped." in said


def test_a_no_is_exit_1_without_an_empty_line(tmp_path: Path) -> None:
    with terminal(*BENCH, folder=tmp_path) as there:
        found, said = answered(there, "n\n")
    assert found == 1
    assert b"[y/N]: n\r\nerror[job_canceled]: Stopped." in said
