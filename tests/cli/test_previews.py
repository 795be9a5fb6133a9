"""Pictures in the terminal: what is sent is decoded again, as the terminal would."""

from __future__ import annotations

import io
import re
import sys
from base64 import standard_b64decode
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from .shell import SMALL, picture, ryla
from .terminal import COMMAND, shown, terminal

LINE = ("run", "flux", "fox", *SMALL, "-o", "x.png")
KITTY, ITERM, SIXEL = b"\x1b_G", b"\x1b]1337", b"\x1bP"
ASK = b"\x1b[c"
PATIENT = (
    *(sys.executable, "-c"),
    "import ryla_gen_cli; from ryla_gen_cli import terminal_images; terminal_images.ANSWER_SECONDS = 240.0; ryla_gen_cli.main()",
)
"""The command, waiting longer for a terminal's answer: a busy machine may not type it within a quarter of a second."""


def from_kitty(said: bytes) -> Image.Image:
    parts = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", said)
    assert [b"m=1" in keys for keys, _ in parts] == [True] * (len(parts) - 1) + [False]
    assert b"q=2" in parts[0][0]  # without it the terminal would type an answer into the shell
    assert all(len(data) <= 4096 for _, data in parts)
    return Image.open(io.BytesIO(standard_b64decode(b"".join(data for _, data in parts))))


def from_iterm(said: bytes) -> Image.Image:
    about, data = re.findall(rb"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", said)[0]
    assert b"inline=1" in about
    return Image.open(io.BytesIO(standard_b64decode(data)))


def from_sixel(said: bytes) -> Image.Image:
    """The small part of DEC's manual that pictures need."""
    body = said.partition(b"\x1bPq")[2].partition(b"\x1b\\")[0].decode()
    size = re.match(r'"1;1;(\d+);(\d+)', body)
    assert size is not None
    image, colours = Image.new("RGB", (int(size[1]), int(size[2]))), {}
    x = top = colour = 0
    for number, red, green, blue, chosen, count, sign, move in re.findall(
        r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|(?:!(\d+))?([?-~])|([$-])", body[size.end() :]
    ):
        if number:
            colours[int(number)] = tuple(round(int(part) * 2.55) for part in (red, green, blue))
        elif chosen:
            colour = int(chosen)
        elif move:
            x, top = 0, top + (6 if move == "-" else 0)
        else:
            wide, rows = int(count or 1), [row for row in range(6) if (ord(sign) - 63) >> row & 1]
            for row in rows:
                image.paste(colours[colour], (x, top + row, x + wide, top + row + 1))
            x += wide
    return image


@pytest.mark.parametrize(
    ("env", "decoded"),
    [
        ({"TERM": "xterm-kitty"}, from_kitty),
        ({"TERM_PROGRAM": "WezTerm"}, from_iterm),
        ({"TERM": "foot"}, from_sixel),
        ({"RYLA_GEN_PREVIEW": "sixel", "TMUX": "/tmp/tmux"}, from_sixel),
    ],
    ids=["kitty", "iterm2", "foot", "by setting"],
)
def test_a_terminal_that_can_shows_the_picture_that_was_saved(env: dict[str, str], decoded: object, tmp_path: Path) -> None:
    code, said = shown(*LINE, folder=tmp_path, **env)
    assert code == 0, said
    there, saved = decoded(said), picture(tmp_path / "x.png").convert("RGB")  # type: ignore[operator]
    assert there.size == saved.size
    difference = ImageStat.Stat(ImageChops.difference(there.convert("RGB"), saved)).mean
    assert max(difference) < 6  # sixel's colours are few, and go from 0 to 100


def test_jobs_show_shows_it_again_unless_told_not_to(tmp_path: Path) -> None:
    assert ryla(*LINE, folder=tmp_path).returncode == 0
    job = ryla("jobs", "list", "--limit", "1").stdout.decode().splitlines()[1][:8]
    assert from_kitty(shown("jobs", "show", job, folder=tmp_path, TERM="xterm-kitty")[1]).size == (256, 256)
    for more in (["--no-preview"], ["--json"]):
        assert KITTY not in shown("jobs", "show", job, *more, folder=tmp_path, TERM="xterm-kitty")[1]
    (tmp_path / "x.png").unlink()
    code, said = shown("jobs", "show", job, folder=tmp_path, TERM="xterm-kitty")
    assert (code, KITTY in said) == (0, False)


def test_rerun_and_graph_run_can_leave_it_out_as_run_can(tmp_path: Path) -> None:
    assert ryla(*LINE, folder=tmp_path).returncode == 0
    for command in (("rerun", "x.png"), ("graph", "run", "x.png")):
        for option, there in (("--preview", True), ("--no-preview", False)):
            line = (*command, option, "-o", f"{command[0]}{option}.png")
            code, said = shown(*line, folder=tmp_path, TERM="xterm-kitty")
            assert (code, KITTY in said) == (0, there), said


def test_a_terminal_of_unknown_skill_is_asked_and_believed(tmp_path: Path) -> None:
    with terminal(*PATIENT, *LINE, folder=tmp_path, answers={ASK: b"\x1b[?62;4;22c"}) as there:
        code, said = there.finish()
    assert (code, from_sixel(said).size) == (0, (256, 256))
    with terminal(*PATIENT, *LINE, "--overwrite", folder=tmp_path, answers={ASK: b"\x1b[?62;22c"}) as there:
        code, said = there.finish()
    assert (code, ASK in said, SIXEL in said) == (0, True, False)


def test_a_terminal_that_does_not_answer_is_not_waited_for_and_gets_none(tmp_path: Path) -> None:
    code, said = shown(*LINE, folder=tmp_path)
    assert (code, ASK in said, SIXEL in said) == (0, True, False)
    assert b"flux \xc2\xb7 seed" in said


def test_what_was_typed_ahead_reaches_the_next_program(tmp_path: Path) -> None:
    line = " ".join([*COMMAND, *LINE, "; read next; echo GOT=$next"])
    with terminal("sh", "-c", line, folder=tmp_path, answers={ASK: b"\x1b[?62;4c"}) as there:
        there.type("hello\n")
        code, said = there.finish()
    assert (code, ASK in said) == (0, False)  # somebody types: it is not even asked
    assert b"GOT=hello" in said


@pytest.mark.parametrize(
    ("more", "env"),
    [
        ((), {"CI": "true"}),
        ((), {"NO_COLOR": "1"}),
        ((), {"TERM": "dumb"}),
        ((), {"TMUX": "/tmp/tmux-0"}),
        ((), {"RYLA_GEN_PREVIEW": "off"}),
        (("--no-preview",), {}),
        (("--quiet",), {}),
        (("--json",), {}),
    ],
    ids=["CI", "NO_COLOR", "dumb", "tmux", "setting", "option", "quiet", "json"],
)
def test_it_is_off_where_it_should_be(more: tuple[str, ...], env: dict[str, str], tmp_path: Path) -> None:
    code, said = shown(*LINE, *more, folder=tmp_path, **{"KITTY_WINDOW_ID": "1", **env})
    assert code == 0
    assert not any(mark in said for mark in (KITTY, ITERM, SIXEL, ASK))


def test_a_pipe_gets_none(tmp_path: Path) -> None:
    done = ryla(*LINE, folder=tmp_path, KITTY_WINDOW_ID="1", TERM="xterm-kitty")
    assert (done.stdout, b"\x1b" in done.stderr) == (b"x.png\n", False)
