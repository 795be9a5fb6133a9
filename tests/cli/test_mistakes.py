"""The same mistake has the same code, whichever command it is made on."""

from __future__ import annotations

from pathlib import Path

import pytest

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
