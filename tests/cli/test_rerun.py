from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from ryla_gen import load
from ryla_gen.history import History
from ryla_gen.media import add_png_text
from ryla_gen.tools.gallery import collect

from .shell import SMALL, envelope, here, picture


@pytest.fixture
def fox(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A saved picture."""
    path = tmp_path / "fox.png"
    assert here("run", "flux-dev", "fox", *SMALL, "--seed", "7", "-o", str(path), "-q") == 0
    capsys.readouterr()
    return str(path)


def test_the_same_picture_comes_again(fox: str, tmp_path: Path) -> None:
    again = tmp_path / "again.png"
    assert here("rerun", fox, "-o", str(again)) == 0
    assert load(again) == load(fox)
    assert picture(again).tobytes() == picture(Path(fox)).tobytes()


def test_values_may_change(fox: str, tmp_path: Path) -> None:
    again = tmp_path / "again.webp"
    changes = ["--set", "steps=2", "--set", "prompt=12", "--set", "guidance=2.5", "--set", "output-format=webp", "--seed", "8"]
    assert here("rerun", fox, *changes, "-o", str(again)) == 0
    found = load(again).to_plain()
    assert (found["steps"], found["prompt"], found["guidance"], found["seed"]) == (2, "12", 2.5, 8)
    assert picture(again).format == "WEBP"


def test_a_new_seed_is_another_one_each_time(fox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = set()
    for name in ("a.png", "b.png"):
        assert here("rerun", fox, "--new-seed", "-o", str(tmp_path / name), "--json") == 0
        seeds.add(envelope(capsys.readouterr().out)["data"]["seed"])
    assert len(seeds | {7}) == 3


def test_a_face_is_asked_for_again(tmp_path: Path, face: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "face.png").write_bytes(face)
    reference = ["--reference-image", str(tmp_path / "face.png")]
    made, again = tmp_path / "made.png", tmp_path / "again.png"
    assert here("run", "instantid", "astronaut", *SMALL, *reference, "--seed", "3", "-o", str(made)) == 0
    capsys.readouterr()
    assert here("rerun", str(made), "-o", str(again)) == 2
    assert "--reference-image FILE" in capsys.readouterr().err
    assert here("rerun", str(made), *reference, "-o", str(again)) == 0
    assert picture(again).tobytes() == picture(made).tobytes()


def test_a_picture_of_comfyui_is_run_as_its_graph(fox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "graph.png"
    found = picture(Path(fox))
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("prompt", found.text["prompt"])
    found.save(graph, pnginfo=note)
    again = tmp_path / "again.png"
    assert here("rerun", str(graph), "-o", str(again), "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["workflow"] == "workflow"
    assert picture(again).tobytes() == found.tobytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "stepz=3"], "steps"),
        (["--set", "steps"], "FIELD=VALUE"),
        (["--set", "steps=many"], "steps=many: must be a whole number"),
        (["--set", "width=256.5"], "width=256.5: must be a whole number"),
        (["--set", "guidance=high"], "guidance=high: must be a number"),
        (["--seed", "1", "--new-seed"], "cannot be used together"),
        (["--reference-image", "x.png"], "reference_image"),
    ],
)
def test_what_does_not_fit_is_refused(fox: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("rerun", fox, *more) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_tells_nothing(tmp_path: Path, face: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "face.png").write_bytes(face)
    assert here("rerun", str(tmp_path / "face.png")) == 2
    assert "does not say how it was made" in capsys.readouterr().err
    assert here("rerun", str(tmp_path / "nowhere.png")) == 2
    assert "invalid_input" in capsys.readouterr().err


def test_a_video_to_enlarge_is_asked_for_before_the_output_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = tmp_path / "small.mp4", tmp_path / "large.mp4"
    shape = ("--width", "256", "--height", "256", "--length", "5", "--steps", "1")
    assert here("run", "wan2", "waves", *shape, "-o", str(small)) == 0
    assert here("run", "seedvr2", "--video", str(small), "--resolution", "256", "-o", str(large)) == 0
    capsys.readouterr()
    assert here("rerun", str(large), "-o", str(tmp_path / "again.mp4")) == 2
    assert "--video FILE" in capsys.readouterr().err
    assert here("rerun", str(large), "--video", str(small), "-o", str(tmp_path / "again.mp4")) == 0


def test_a_strangers_picture_reads_no_file_of_this_machine(
    fox: str, tmp_path: Path, face: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "private.png"
    secret.write_bytes(face)
    stranger, made = tmp_path / "stranger.png", tmp_path / "made.png"
    claim = {"contract": 1, "workflow": "instantid", "seed": 3, "inputs": {"prompt": "a", "reference_image": str(secret)}}
    stranger.write_bytes(add_png_text(Path(fox).read_bytes(), {"ryla": json.dumps(claim)}))
    assert here("rerun", str(stranger), "-o", str(made)) == 2
    said = capsys.readouterr().err
    assert "--reference-image FILE" in said
    assert "never opened" in said
    assert not made.exists()


def test_the_gallery_spells_out_no_path_of_a_strangers(fox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = {"workflow": "instantid", "seed": 3, "inputs": {"prompt": "a", "reference_image": "/home/me/private.png"}}
    (tmp_path / "pictures").mkdir()
    stranger = tmp_path / "pictures" / "stranger.png"
    stranger.write_bytes(add_png_text(Path(fox).read_bytes(), {"ryla": json.dumps(claim)}))
    assert here("gallery", str(stranger.parent), "--json") == 0
    capsys.readouterr()
    (item,) = collect(stranger.parent, History(tmp_path / "history.sqlite3")).items
    assert "private.png" not in item.command + item.python
    assert item.needs == ("reference_image",)


def test_the_gallerys_command_for_a_masked_picture_runs_as_it_is_printed(
    tmp_path: Path, face: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(face)
    given = ["--image", "photo.png", "--mask", "photo.png", "--padding", "left=8", "--steps", "1", "--seed", "7"]
    assert here("run", "flux-fill", "a hat", *given, "-o", "hat.png", "-q") == 0
    (item,) = [item for item in collect(tmp_path, History(tmp_path / "history.sqlite3")).items if item.needs]
    words = shlex.split(item.command)
    assert words[:2] == ["ryla-gen", "rerun"]
    assert here(*words[1:], "-o", "again.png") == 0, capsys.readouterr().err
    assert picture(Path("again.png")).tobytes() == picture(Path("hat.png")).tobytes()
