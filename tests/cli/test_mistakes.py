"""The same mistake has the same code, whichever command it is made on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen import FluxFill
from ryla_gen_cli import options

from .shell import here

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "line",
    [
        "rerun nowhere.png",
        "batch nowhere.jsonl -o out",
        "graph run nowhere.json",
        "run instantid fox --reference-image nowhere.png",
        "gallery nowhere",
    ],
)
def test_an_input_that_is_not_there_is_exit_2(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert here(*line.split()) == 2
    assert "error[invalid_input]" in capsys.readouterr().err


def test_a_cell_that_is_no_whole_number_is_told_so(tmp_path: Path, capsys: Capsys) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("workflow,prompt,width\nflux,fox,256.5\n")
    assert here("batch", str(rows), "-o", str(tmp_path)) == 2
    assert "width=256.5: must be a whole number. (Give one, such as 30.)" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_missing_prompt_names_the_command_that_was_called(verb: str, capsys: Capsys) -> None:
    assert here(verb, "flux") == 2
    assert f'hint: Describe what to show: ryla-gen {verb} flux "' in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "submit", "estimate"])
def test_a_prompt_without_a_workflow_is_told_what_is_missing(verb: str, capsys: Capsys) -> None:
    assert here(verb, "a fox", "--steps", "2") == 2
    said = capsys.readouterr().err
    assert "A prompt needs a workflow before it." in said
    assert f"hint: For example: ryla-gen {verb} z-image 'a fox' --steps 2\n" in said
    assert here("a fox") == 2
    assert "A prompt needs a workflow before it." in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        ["--mask-box", "80,240,160,144"],
        ["--mask-box", "x=80", "--mask-box", "y=240", "--mask-box", "width=160", "--mask-box", "height=144"],
        ["--mask-box", "x=80,y=240", "--mask-box", "width=160, height=144"],
    ],
)
def test_a_box_is_given_in_order_or_by_name(given: list[str]) -> None:
    found = options.fields_of(FluxFill)["mask_box"].read(given[1::2])
    assert found == {"x": 80, "y": 240, "width": 160, "height": 144}


def test_what_is_drawn_around_a_picture_is_given_in_order_too() -> None:
    found = options.fields_of(FluxFill)["padding"]
    assert found.read(["64,0,64,8"]) == {"left": 64, "top": 0, "right": 64, "bottom": 8}
    assert found.read(["left=64", "right=64"]) == {"left": 64, "right": 64}


@pytest.mark.parametrize("text", ["80,240,160", "80", "80,240,160,wide", "x:80"])
def test_a_box_that_cannot_be_read_is_told_both_ways_to_write_it(text: str, capsys: Capsys) -> None:
    assert here("run", "flux-fill", "a scarf", "--image", "photo.png", "--mask-box", text) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "Write it as --mask-box 64,128,192,256 (x,y,width,height), or once for each part: --mask-box x=64 --mask-box y=128" in said
    )


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (
            ("run", "qwen-image", "a fox", "--image", "photo.png"),
            "hint: qwen-image-edit (images), ",
        ),
        (("submit", "z-image", "a fox", "--mask", "mask.png"), "flux-fill"),
        (("run", "flux-dev", "a fox", "--nonsense"), "hint: See: ryla-gen run flux-dev --help"),
        (("jobs", "list", "--image", "x"), "hint: See: ryla-gen jobs list --help"),
    ],
)
def test_an_option_of_another_workflow_is_told_as_one(words: tuple[str, ...], others: str, capsys: Capsys) -> None:
    assert here(*words) == 2
    assert others in " ".join(capsys.readouterr().err.split())
