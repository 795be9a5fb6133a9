"""Control codes in prompts and foreign files never reach a terminal; what is for programs stays as it is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from ryla_gen.comfy.messages import clean
from ryla_gen.events import Progress
from ryla_gen.support.control_characters import escape_controls
from ryla_gen.tools.gallery.rerun import quote
from ryla_gen_cli.progress import progress_text
from ryla_gen_cli.screen import table

from .shell import SMALL, envelope, here, ryla

EVIL = "fox\u202egnp\x1b]0;title\x07\x1b[31m\x9b2J\x7f"
"""Turns the text around, sets the title of the window, colours what follows, clears the screen."""
SHOWN = "fox\\u202egnp\\u001b]0;title\\u0007\\u001b[31m\\u009b2J\\u007f"

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def made(tmp_path: Path, capsys: Capsys) -> Path:
    """A picture with such a prompt."""
    path = tmp_path / "fox.png"
    assert here("run", "flux", EVIL, *SMALL, "-o", str(path)) == 0
    capsys.readouterr()
    return path


@pytest.mark.parametrize("line", ["jobs list", "jobs show {job}", "graph inputs {file}", "graph convert {file}"])
def test_people_see_what_stands_there_and_their_terminal_does_not_obey_it(line: str, made: Path, capsys: Capsys) -> None:
    assert here("jobs", "list", "--json") == 0
    (item,) = envelope(capsys.readouterr().out)["data"]["items"]
    assert item["inputs"]["prompt"] == EVIL
    assert here(*line.format(job=item["id"], file=made).split()) == 0
    said = capsys.readouterr()
    assert SHOWN[:30] in said.out  # a table cuts long cells
    assert said.out + said.err == escape_controls(said.out + said.err)


def test_a_graph_on_stdout_is_still_json(made: Path, capsys: Capsys) -> None:
    assert here("graph", "convert", str(made)) == 0
    graph = json.loads(capsys.readouterr().out)
    assert EVIL in [node["inputs"].get("text") for node in graph.values()]


def test_an_error_quotes_them_visibly(capsys: Capsys) -> None:
    assert here("run", "flux", "fox", "-o", "{\x1b[31m}.png") == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said


def test_a_picture_on_stdout_is_untouched() -> None:
    done = ryla("run", "flux", EVIL, *SMALL, "-o", "-")
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as found:
        found.load()
        assert found.size == (256, 256)


def test_columns_stay_in_line() -> None:
    text = table(("a", "b"), [("\x1b[31m", "x"), ("plain", "y")])
    assert {line.rindex(cell) for line, cell in zip(text.splitlines(), "bxy", strict=True)} == {len("\\u001b[31m") + 2}


def test_line_ends_and_tabs_stay() -> None:
    assert escape_controls("a\n\tb\r\x85") == "a\n\tb\\u000d\\u0085"


@pytest.mark.parametrize("sign", ["\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u2028"])
def test_what_turns_text_around_is_shown_everywhere(sign: str) -> None:
    assert escape_controls(f"a{sign}b") == f"a\\u{ord(sign):04x}b"
    assert clean(f"a{sign}b") == "a b"
    assert sign not in quote(f"a{sign}b")


def test_joiners_of_emoji_and_letters_stay() -> None:
    assert escape_controls("👩‍🚀 می‌خواهم é") == "👩‍🚀 می‌خواهم é"


def test_a_bar_shows_the_name_of_a_node_without_its_controls() -> None:
    assert progress_text(Progress("job", node="KSampler\x1b[2J\u202e", step=1, steps=2)) == "KSampler\\u001b[2J\\u202e 1/2"
    assert progress_text(Progress("job", node="\x9bK")) == "\\u009bK"
