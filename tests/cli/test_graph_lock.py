"""A graph locked from the command line, and then taken by every command like a built-in workflow."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ryla_gen
from ryla_gen.contract import read_request
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import InvalidInputError
from ryla_gen.events import CONTRACT
from ryla_gen.locks import NodePack
from ryla_gen.locks.graph_lock import LockedModel
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.media import add_png_text
from ryla_gen.results import METADATA_KEY
from ryla_gen.tools.locking.graph_models import DrawnModel
from ryla_gen.tools.locking.model_choice import from_drawing
from tests.locks.graphs import (
    checkpoint_graph,
    drawing,
    loader,
    locked,
    model,
    picture_graph,
    write_graph,
    write_lock_files,
)
from tests.locks.locking import COLOUR, colour_lock, write_lock

from .shell import envelope, here, picture, ryla

Capsys = pytest.CaptureFixture[str]
SMALL = ["--width", "256", "--height", "256", "--steps", "1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(capsys: Capsys, *line: str) -> dict[str, Any]:
    assert here(*line, "--json") == 0
    found: dict[str, Any] = envelope(capsys.readouterr().out)["data"]
    return found


@pytest.fixture
def lock(place: Path, capsys: Capsys) -> Path:
    """Lock a whole graph, and return its file."""
    write_graph(place, checkpoint_graph("flux1-dev-fp8.safetensors"))
    assert here("graph", "lock", "portrait.json") == 0
    capsys.readouterr()
    return place / "portrait.lock"


def test_a_lock_and_its_packages_are_written_beside_the_caller(lock: Path) -> None:
    assert (lock.parent / "portrait.requirements.txt").is_file()
    assert read_graph_lock(lock).name == "portrait"


def test_what_it_tells_programs(place: Path, capsys: Capsys) -> None:
    write_graph(place, drawing(loader("m.safetensors", model("m.safetensors"))))
    data = data_of(capsys, "graph", "lock", "portrait.json", "--name", "mine", "--offline")
    assert (data["lock"], data["comfyui"], data["open"], data["packs"]) == ("mine.lock", "0.28.2", [], [])
    (item,) = data["models"]
    wanted = {"file", "folder", "url", "sha256", "bytes", "licence", "source"}
    assert wanted <= set(item)
    assert item["sha256"] == "pending"


def test_what_is_open_is_told_with_its_command_and_the_lock_is_written_all_the_same(place: Path, capsys: Capsys) -> None:
    write_graph(place, checkpoint_graph("mine.safetensors"))
    assert here("graph", "lock", "portrait.json") == 0
    said = capsys.readouterr().err
    assert "open: checkpoints/mine.safetensors" in said
    assert "ryla-gen graph lock portrait.json --model" in said
    assert "1 question to settle" in said
    assert len(read_graph_lock(place / "portrait.lock").open) == 1


def test_a_second_lock_keeps_what_the_first_pinned_and_says_what_changed(lock: Path, capsys: Capsys) -> None:
    before = lock.read_text()
    assert here("graph", "lock", "portrait.json") == 0
    assert lock.read_text() == before
    assert "changed" not in capsys.readouterr().err
    graph = checkpoint_graph("flux1-schnell-fp8.safetensors")
    write_graph(lock.parent, graph)
    assert here("graph", "lock", "portrait.json") == 0
    said = capsys.readouterr().err
    assert "changed: model checkpoints/flux1-dev-fp8.safetensors" in said
    assert "changed: the graph is another one" in said


def test_an_update_of_what_is_not_there(lock: Path, capsys: Capsys) -> None:
    assert here("graph", "lock", "portrait.json", "--update", "models", "--offline") == 0
    assert here("graph", "lock", "portrait.json", "--update", "nonsense") == 2
    assert "has no 'nonsense' to update" in capsys.readouterr().err
    assert here("graph", "lock", "portrait.json", "--name", "other", "--update", "all") == 2
    assert "There is no other.lock to update" in capsys.readouterr().err
    assert here("graph", "lock", "portrait.json", "--name", "other", "--update", "python", "--offline") == 0


def test_a_lock_runs_by_its_path_and_by_its_name(lock: Path, capsys: Capsys) -> None:
    assert here("run", "portrait.lock", "a fox", *SMALL, "--seed", "3", "-o", "a.png") == 0
    assert picture(Path("a.png")).size == (256, 256)
    home = ryla_gen.settings.home_folder() / "locks"
    home.mkdir(parents=True)
    for file in (lock, lock.with_name("portrait.requirements.txt")):
        shutil.move(file, home / file.name)
    assert here("run", "portrait", "a fox", *SMALL, "--seed", "3", "-o", "b.png") == 0
    assert picture(Path("a.png")).tobytes() == picture(Path("b.png")).tobytes()
    assert ryla_gen.load("b.png").prompt == "a fox"  # type: ignore[attr-defined]
    assert here("rerun", "b.png", "-o", "c.png") == 0
    assert picture(Path("c.png")).tobytes() == picture(Path("b.png")).tobytes()
    Path("rows.jsonl").write_text(json.dumps({"workflow": "portrait", "prompt": "x", "width": 256, "height": 256, "steps": 1}))
    assert here("batch", "rows.jsonl", "-o", "out") == 0
    capsys.readouterr()
    assert {row["workflow"] for row in data_of(capsys, "jobs", "list")["items"]} == {"portrait"}
    assert data_of(capsys, "estimate", "portrait", "a fox")["workflow"] == "portrait"
    assert "portrait" in {row["name"] for row in data_of(capsys, "workflows", "list")["items"]}
    assert data_of(capsys, "workflows", "show", "portrait")["fields"]


def test_its_fields_are_options_with_their_ranges(lock: Path, capsys: Capsys) -> None:
    assert here("run", "portrait.lock", "a fox", "--width", "100") != 0
    said = capsys.readouterr().err
    assert "width" in said
    assert "Nearest valid" in said
    done = ryla("run", "portrait.lock", "--help", folder=lock.parent)
    assert b"--negative-prompt" in done.stdout


@pytest.mark.parametrize("file", ["absent.lock", "folder.lock", "broken.lock"])
def test_files_that_are_no_locks(place: Path, capsys: Capsys, file: str) -> None:
    (place / "folder.lock").mkdir()
    (place / "broken.lock").write_text("lock = 1\n[graph")
    assert here("run", file, "a fox") != 0
    said = capsys.readouterr().err
    assert file in said
    assert "Traceback" not in said


def test_a_broken_lock_in_the_home_folder_does_not_break_other_commands(place: Path, capsys: Capsys) -> None:
    home = ryla_gen.settings.home_folder() / "locks"
    home.mkdir(parents=True)
    (home / "broken.lock").write_text("lock = 1\n[graph")
    write_graph(place, picture_graph())
    assert here("graph", "run", "portrait.json", "-o", "a.png") == 0
    for line in (("workflows", "list"), ("jobs", "list"), ("run", "flux", "a fox", *SMALL, "-o", "b.png")):
        assert here(*line) == 0, line
    capsys.readouterr()
    assert here("run", "broken", "a fox") != 0
    assert "broken.lock" in capsys.readouterr().err


@pytest.fixture
def server() -> Iterator[str]:
    """Run a server that has the files of the table of weights, and no others."""
    with Emulator() as emulator:
        yield emulator.url


def test_a_server_that_has_everything(lock: Path, server: str, capsys: Capsys) -> None:
    data = data_of(capsys, "graph", "check", "portrait.lock", "--url", server)
    assert data["ok"]
    assert data["comfyui"] == {"server": "0.28.2", "lock": "0.28.2"}


def test_a_server_that_lacks_a_model_and_a_pack(place: Path, server: str, capsys: Capsys) -> None:
    made = locked(place, {**checkpoint_graph("mine.safetensors"), "9": {"class_type": "StrangeNode", "inputs": {"x": ["6", 0]}}})
    pack = NodePack("Strange", "https://github.com/o/strange", None, "a" * 40, None, ("StrangeNode",))
    item = from_drawing(
        DrawnModel("mine.safetensors", "checkpoints", "https://huggingface.co/o/r/resolve/main/mine.safetensors", None, "x")
    )
    image = replace(made.lock.image, packs=(pack,))
    write_lock_files(place, replace(made, lock=replace(made.lock, image=image, models=(item,), open=())))
    assert here("graph", "check", "portrait.lock", "--url", server) == 1
    said = capsys.readouterr().err
    assert "missing: Strange at aaaaaaaaaaaa from https://github.com/o/strange, for StrangeNode" in said
    assert "missing: models/checkpoints/mine.safetensors" in said
    assert "1 node class and 1 model" in said
    assert "ryla-gen local install --lock portrait.lock" in said


def test_a_check_without_a_server(lock: Path, capsys: Capsys) -> None:
    assert here("graph", "check", "portrait.lock") != 0
    assert "--url http://127.0.0.1:8188" in capsys.readouterr().err


def test_whose_code_a_lock_brings_is_said_before_it_is_installed(place: Path, capsys: Capsys) -> None:
    made = locked(place, picture_graph())
    pack = NodePack("Strange", "https://github.com/o/strange", None, "a" * 40, None, ("EmptyImage",))
    write_lock_files(place, replace(made, lock=replace(made.lock, image=replace(made.lock.image, packs=(pack,)))))
    assert here("local", "install", "--lock", "portrait.lock", "--cpu", "--folder", str(place / "comfy")) != 0  # nobody says yes
    said = capsys.readouterr().err
    assert "the code of Strange from https://github.com/o/strange at aaaaaaaaaaaa will run on this machine" in said
    assert not (place / "comfy").exists()
    assert here("local", "install") != 0
    assert "--lock FILE.lock" in capsys.readouterr().err


def test_a_file_that_no_download_brings_is_named_before_anything_is_installed(place: Path, capsys: Capsys) -> None:
    made = locked(place, picture_graph())
    item = LockedModel("mine.safetensors", "checkpoints", "", None, "a" * 64, 10, None, None, "volume")
    write_lock_files(place, replace(made, lock=replace(made.lock, models=(item,))))
    folder = place / "comfy"
    line = ("local", "install", "--lock", "portrait.lock", "--cpu", "--folder", str(folder), "--yes", "--json")
    assert here(*line) != 0
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert error["code"] == "model_not_found"
    assert f"Put the file with the sha256 {'a' * 64} at {folder}" in error["hint"]
    assert not folder.exists()


def test_the_file_of_packages_is_found_whatever_the_lock_s_file_is_called(place: Path, capsys: Capsys) -> None:
    write_graph(place, picture_graph())
    for file in ("my_picture.lock", "new/picture.lock"):
        assert here("graph", "lock", "portrait.json", "--offline", "-o", file) == 0
        assert here("graph", "lock", "portrait.json", "--offline", "-o", file, "--update", "all") == 0
        assert here("run", file, "-o", "a.png", "--overwrite") == 0
    assert here("graph", "lock", "portrait.json", "--offline", "-o", "x.lock", "--name", "other") == 0
    assert read_graph_lock(place / "x.lock").name == "other"


def test_where_a_lock_cannot_be_nothing_is_written(place: Path, capsys: Capsys) -> None:
    write_graph(place, picture_graph())
    (place / "x.lock").mkdir()
    before = sorted(place.iterdir())
    assert here("graph", "lock", "portrait.json", "--offline", "-o", "x.lock") == 1
    assert "-o x.lock/portrait.lock" in capsys.readouterr().err
    assert here("graph", "lock", "portrait.json", "--offline", "-o", "-") == 2
    assert "-o portrait.lock" in capsys.readouterr().err
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--input", "class=1.color"], "--input my_class=1.color"),
        (["--input", "lock=1.color"], "--input my_lock=NODE.INPUT"),
        (["--gpu", "L40S:99"], "at most 8"),
        (["--gpu", "L40S:"], "at most 8"),
    ],
)
def test_options_that_make_no_lock(place: Path, capsys: Capsys, options: list[str], words: str) -> None:
    write_graph(place, picture_graph())
    assert here("graph", "lock", "portrait.json", "--offline", *options) == 2
    assert words in capsys.readouterr().err
    assert not list(place.glob("*.lock"))


def test_a_picture_whose_lock_is_not_here_says_so(place: Path, capsys: Capsys) -> None:
    write_graph(place, picture_graph())
    assert here("graph", "lock", "portrait.json", "--offline") == 0
    assert here("run", "portrait.lock", "-o", "a b.png") == 0
    capsys.readouterr()
    assert here("rerun", "a b.png", "-o", "c.png") == 2
    said = capsys.readouterr().err
    assert "a b.png was made with the workflow 'portrait', which is not known here" in said
    assert "ryla-gen graph run 'a b.png'" in said
    assert here("graph", "run", "a b.png", "-o", "c.png") == 0


def test_a_picture_names_no_path(place: Path, capsys: Capsys) -> None:
    write_graph(place, picture_graph())
    assert here("graph", "lock", "portrait.json", "--offline") == 0
    assert here("run", "portrait.lock", "-o", "a.png") == 0
    note = json.dumps({"workflow": str(place / "portrait.lock"), "inputs": {}})
    plain = io.BytesIO()
    picture(Path("a.png")).save(plain, "PNG")
    (place / "b.png").write_bytes(add_png_text(plain.getvalue(), {METADATA_KEY: note}))
    with pytest.raises(InvalidInputError, match="not known here"):
        ryla_gen.load("b.png")  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError, match="no workflow"):
        read_request({"contract": CONTRACT, "workflow": str(place / "portrait.lock"), "inputs": {}})


def test_a_lock_under_the_name_of_another_is_not_taken_for_it(lock: Path, capsys: Capsys) -> None:
    home = ryla_gen.settings.home_folder() / "locks"
    home.mkdir(parents=True)
    shutil.copy(lock, home / "landscape.lock")
    shutil.copy(lock.with_name("portrait.requirements.txt"), home)
    assert here("run", "landscape", "a fox") == 2
    assert "is the lock of another graph" in capsys.readouterr().err


def test_a_lock_beside_that_is_named_without_its_ending_is_pointed_out(
    lock: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lock.parent)
    assert here("run", "portrait", "a fox") == 2
    assert "Before its deploy a lock is named by its file: portrait.lock" in capsys.readouterr().err
    assert here("deploy", "portrait") == 2
    assert "ryla-gen deploy portrait.lock" in capsys.readouterr().err


def test_what_can_be_set_in_a_lock_is_listed_where_no_prompt_was_found(place: Path, capsys: Capsys) -> None:
    write_graph(place, {**picture_graph(), "3": {"class_type": "Strange It", "inputs": {"images": ["1", 0], "words": "a fox"}}})
    line = ["--offline", "--name", "strange", "--pack", f"Strange It=owner/strange@{'a' * 40}"]
    assert here("graph", "lock", "portrait.json", *line) == 0
    listing, naming = re.findall(r"ryla-gen (graph \w+ strange\.lock[^\n]*)", capsys.readouterr().err)[:2]
    rows = {row["key"]: row for row in data_of(capsys, *listing.split())["items"]}
    assert (rows["3.words"]["value"], rows["1.color"]["maximum"]) == ("a fox", 0xFFFFFF)
    assert here(*naming.replace("NODE.INPUT", "3.words").split(), "--offline") == 0
    assert "no prompt was found" not in capsys.readouterr().err
    assert {item.name: item.places for item in read_graph_lock(place / "strange.lock").inputs}["prompt"] == ("3.words",)
    assert here("graph", "lock", "strange.lock", "--offline", "--input", "x=9.words") == 2
    assert "List what can be set: ryla-gen graph inputs strange.lock" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "draw", "validate"])
def test_a_lock_in_the_place_of_a_graph_is_told_from_a_broken_one(verb: str, lock: Path, capsys: Capsys) -> None:
    assert here("graph", verb, str(lock)) != 0
    said = capsys.readouterr().err
    assert "portrait.lock is a lock, which is more than a graph." in said
    assert f"Run it: ryla-gen run {lock}" in said


def test_a_mistyped_name_is_told_though_modal_cannot_be_asked(place: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    assert here("run", "fluxx", "a fox") == 2
    said = capsys.readouterr().err
    assert "There is no workflow 'fluxx'" in said
    assert "Did you mean flux?" in said
    assert "no Modal token" in said


def test_sizes_that_nobody_looked_up_are_not_called_nothing(place: Path, capsys: Capsys) -> None:
    write_graph(place, drawing(loader("m.safetensors", model("m.safetensors"))))
    assert here("graph", "lock", "portrait.json", "--offline") == 0
    assert "1 model, of unknown size" in capsys.readouterr().err


def test_a_pack_s_class_on_the_emulator_says_where_it_can_run(place: Path, capsys: Capsys) -> None:
    graph = {**COLOUR, "3": {"class_type": "Sharpen It", "inputs": {"image": ["1", 0]}}}
    plain = replace(colour_lock("sharp"), graph=graph)
    pack = NodePack("Sharp", "https://github.com/made-up-owner/Sharp", None, "a" * 40, None, ("Sharpen It",))
    folder = place / "a folder"
    write_lock(replace(plain, image=replace(plain.image, packs=(pack,))), folder)
    assert here("run", str(folder / "sharp.lock"), "-o", "x.png", "--json") == 1
    error = envelope(capsys.readouterr().out)["error"]
    assert (error["code"], error["details"]["nodes"][0]["class_type"]) == ("not_emulated", "Sharpen It")
    assert "server" not in error["message"] + error["hint"]
    assert f"ryla-gen deploy '{folder}/sharp.lock'" in error["hint"]
    assert f"ryla-gen local install --lock '{folder}/sharp.lock'" in error["hint"]
    between, saved = colour_lock("between"), {"images": ["3", 0], "filename_prefix": "x"}  # in the middle it is refused as well
    behind = {**graph, "2": {"class_type": "SaveImage", "inputs": saved}}
    write_lock(replace(between, graph=behind, image=replace(between.image, packs=(pack,))), folder)
    assert here("run", str(folder / "between.lock"), "-o", "x.png", "--json") == 1
    assert envelope(capsys.readouterr().out)["error"]["code"] == "not_emulated"
    write_graph(place, graph)
    assert here("graph", "run", "portrait.json", "-o", "x.png") == 1
    assert "--url URL" in (said := capsys.readouterr().err)
    assert "On the server's machine" not in said
