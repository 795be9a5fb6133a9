"""The commands that messages advise are about the file at hand, and a shell reads them as they are."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ryla_gen.emulator.server import Emulator
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.models.node_schemas import node_schemas
from tests.locks.graphs import checkpoint_graph, drawing, loader, model, picture_graph, write_graph

from .shell import envelope, here, ryla

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands_in(text: str) -> list[list[str]]:
    """Every command of ours in a text, as a shell would read it."""
    return [shlex.split(line.partition("  ")[0].rstrip(".")) for line in re.findall(r"ryla-gen graph [^\n]*", text)]


@pytest.mark.parametrize("name", ["my graph.json", "-graph.json", "it's one.json"])
def test_a_hub_that_is_away_names_the_file_at_hand(place: Path, name: str) -> None:
    write_graph(place, drawing(loader("m.safetensors", model("m.safetensors"))), name)
    given = ("--name", "mine", "--input", "model=1.ckpt_name")
    done = ryla("graph", "lock", "--json", *given, "--", name, folder=place, HF_ENDPOINT="http://127.0.0.1:9")
    error = envelope(done.stdout)["error"]
    assert error["code"] == "backend_unreachable"
    (words,) = commands_in(error["hint"])
    assert words[:3] == ["ryla-gen", "graph", "lock"]
    assert words[-1] == "--offline"
    assert (place / words[3]).is_file()
    again = ryla(*words[1:], folder=place)
    assert again.returncode == 0, again.stderr
    assert "model" in {item.name for item in read_graph_lock(place / "mine.lock").inputs}, "what was given then is given again"


def test_what_is_open_is_settled_by_the_command_that_is_shown(place: Path, capsys: Capsys) -> None:
    write_graph(place, checkpoint_graph("it's mine.safetensors"), "-my graph.json")
    assert here("graph", "lock", "--offline", "--name", "mine", "--", "-my graph.json") == 0
    words = next(words for words in commands_in(capsys.readouterr().err) if "--model" in words)
    words[-1] = words[-1].partition("=")[0] + "=hf://owner/repo/file.safetensors"
    assert here(*words[1:], "--offline") == 0
    assert "to settle" not in capsys.readouterr().err
    assert [path.name for path in place.glob("*.lock")] == ["mine.lock"]


def test_the_command_that_settles_a_question_has_the_options_without_which_it_would_lock_something_else(
    place: Path, capsys: Capsys
) -> None:
    (place / "h").mkdir()
    write_graph(place / "h", checkpoint_graph("mine.safetensors"))
    (place / "my nodes.json").write_text(json.dumps(node_schemas()))
    (place / "snapshot.json").write_text(json.dumps({"git_custom_nodes": {}}))
    given = ["--comfyui", "0.28.2", "-o", "h/my own.lock", "--schemas", "my nodes.json", "--import", "snapshot.json"]
    assert here("graph", "lock", "h/portrait.json", "--offline", "--name", "foo", "--gpu", "H100", *given) == 0
    (question,) = read_graph_lock(place / "h" / "my own.lock").open
    words = shlex.split(question.command)
    assert words[:6] == ["ryla-gen", "graph", "lock", "h/portrait.json", "--name", "foo"]
    assert words[6:-2] == given
    words[-1] = words[-1].partition("=")[0] + "=hf://owner/repo/file.safetensors"
    assert here(*words[1:], "--offline") == 0
    settled = read_graph_lock(place / "h" / "my own.lock")
    assert (settled.open, settled.name, settled.gpu.name) == ((), "foo", "H100")
    assert [path.name for path in place.rglob("*.lock")] == ["my own.lock"]


def test_the_address_of_a_server_stands_in_the_command_without_its_password(place: Path, capsys: Capsys) -> None:
    write_graph(place, drawing(loader("mine.safetensors")))
    with Emulator() as emulator:
        address = emulator.url.replace("http://", "http://me:my-secret@")
        assert here("graph", "lock", "portrait.json", "--offline", "--url", address) == 0
        (question,) = read_graph_lock(place / "portrait.lock").open
    assert f"portrait.json --url {emulator.url} --model" in question.command
    assert "my-secret" not in (place / "portrait.lock").read_text() + capsys.readouterr().err


def test_the_command_for_packages_that_were_not_resolved_is_read_by_a_shell(place: Path, capsys: Capsys) -> None:
    write_graph(place, {**picture_graph(), "3": {"class_type": "StrangeNode", "inputs": {"images": ["1", 0]}}}, "sharp.json")
    assert here("graph", "lock", "sharp.json", "--offline", "--pack", f"StrangeNode=owner/strange@{'a' * 40}") == 0
    (question,) = read_graph_lock(place / "sharp.lock").open
    assert (question.kind, question.command) == ("python", "ryla-gen graph lock sharp.json")
    assert "lock it without --offline" in question.question


@pytest.mark.parametrize("options", [["--set", "1.nothing=3"], ["--set", "1.width=many"]])
def test_modules_that_do_not_know_the_file_name_it_all_the_same(place: Path, capsys: Capsys, options: list[str]) -> None:
    write_graph(place, picture_graph(), "my graph.json")
    assert here("graph", "run", "my graph.json", *options) == 2
    assert "ryla-gen graph inputs 'my graph.json'" in capsys.readouterr().err
    assert here("graph", "run", "my graph.json", *options, "--json") == 2
    assert "ryla-gen graph inputs 'my graph.json'" in json.loads(capsys.readouterr().out)["error"]["hint"]


def test_a_lock_is_no_graph_that_other_commands_take(place: Path, capsys: Capsys) -> None:
    (place / "broken.lock").write_text("lock = ")
    assert here("graph", "export", "broken.lock") == 2
    assert "ryla-gen graph lock GRAPH.json" in capsys.readouterr().err
