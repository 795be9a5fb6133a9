"""A package written from a graph: right fields, code that checkers accept, and nothing of the graph ever becomes code."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import FluxDev, FluxInstantID, Wan2
from ryla_gen.errors import InvalidInputError, OutputExistsError
from ryla_gen.graphs.fields import fields_of_graph
from ryla_gen.tools.scaffold import checked_name, literal, write_locked_package, write_package
from tests.locks.graphs import checkpoint_graph, locked

from .sheets import Sheet

ROOT = Path(__file__).resolve().parents[2]
FLUX = FluxDev(prompt="a fox", seed=1).build().to_api()
TWO_STAGES = FluxInstantID(prompt="a face", negative_prompt="bad", reference_image=b"").build().to_api()


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_fields_are_found_by_following_the_links() -> None:
    found = {field.name: field for field in fields_of_graph(TWO_STAGES)}
    classes = {name: [TWO_STAGES[node]["class_type"] for node, _ in field.places] for name, field in found.items()}
    assert set(classes["prompt"]) == {"CLIPTextEncode"}
    assert len(classes["prompt"]) == 2  # of both stages
    assert classes["seed"] == ["KSampler", "KSampler"]
    assert classes["width"] == ["EmptyLatentImage"]
    assert classes["image"] == ["LoadImage"]
    assert (found["steps"].default, found["steps_2"].default) == (30, 20)  # the first stage first
    assert {"guidance", "denoise", "cfg", "cfg_2", "negative_prompt"} <= set(found)


def test_a_value_that_another_node_holds_is_found_there() -> None:
    graph = json.loads(json.dumps(FLUX))
    sampler = next(node for node in graph.values() if node["class_type"] == "KSampler")
    text = next(node for node in graph.values() if node["class_type"] == "CLIPTextEncode")
    graph["50"] = {"class_type": "PrimitiveInt", "inputs": {"value": 5}}
    graph["51"] = {"class_type": "PrimitiveString", "inputs": {"value": "held"}}
    sampler["inputs"]["steps"], text["inputs"]["text"] = ["50", 0], ["51", 0]
    found = {field.name: field.places for field in fields_of_graph(graph)}
    assert found["steps"] == (("50", "value"),)
    assert ("51", "value") in found["prompt"]


@pytest.mark.parametrize("workflow", ["flux", "faces", "video"])
def test_the_written_class_builds_the_graph_it_was_made_of(workflow: str, tmp_path: Path) -> None:
    graph = {"flux": FLUX, "faces": TWO_STAGES, "video": Wan2(prompt="a wave").build().to_api()}[workflow]
    made = write_package("my-own", graph, tmp_path / "p")
    script = """
import json
from my_own import MyOwn
from dataclasses import replace
from pathlib import Path
given = {name: "THE PROMPT" if name == "prompt" else b"" for name, info in MyOwn.model_fields.items() if info.is_required()}
print(json.dumps(MyOwn(**given).build().to_api()))
"""
    done = python(made.folder, "-c", script)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    changed = {field.name for field in made.fields for node, name in field.places
               if built[node]["inputs"][name] != graph[node]["inputs"][name]}  # fmt: skip
    assert changed <= {"prompt", "image"}


@pytest.mark.timeout(600)
def test_the_package_passes_its_own_test_and_the_checkers(tmp_path: Path) -> None:
    made = write_package("my-own", TWO_STAGES, tmp_path / "p")
    info = made.folder / "my_own-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-own\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[ryla_gen.workflows]\nmy_own = my_own:MyOwn\n")
    for command in (
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"),
        ("-m", "ruff", "check", "--no-cache", "my_own", "tests"),
        ("-m", "ruff", "format", "--check", "--no-cache", "my_own", "tests"),
    ):
        done = python(made.folder, *command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    strict = [sys.executable, "-m", "mypy", "--strict", str(made.folder / "my_own"), str(made.folder / "tests")]
    environment = {**os.environ, "MYPYPATH": str(made.folder)}  # from here, so that it finds what it learnt of this project
    done = subprocess.run(strict, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_a_folder_that_holds_something_is_left_alone_unless_forced(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    write_package("my-own", FLUX, folder)
    mine = folder / "my_own" / "__init__.py"
    mine.write_text("my work")
    (folder / "notes.txt").write_text("mine too")
    with pytest.raises(OutputExistsError) as caught:
        write_package("my-own", FLUX, folder)
    assert "--force" in caught.value.hint
    assert mine.read_text() == "my work"
    write_package("my-own", FLUX, folder, force=True)
    assert "class MyOwn" in mine.read_text()
    assert (folder / "notes.txt").read_text() == "mine too"
    assert not list(tmp_path.glob(".ryla-*"))


@pytest.mark.parametrize(
    "name",
    ["", "1up", "My", "a b", "a/b", "../a", "a;b", "a.b", "ä", "class", "json", "os", "flux-dev", "graph", "-a", "a--b", "x" * 60,
     "a\n", "workflow", "match", "ryla_gen"],
)  # fmt: skip
def test_a_name_that_cannot_be_one_or_is_taken_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        write_package(name, FLUX, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_names_with_dashes_and_digits_are_taken() -> None:
    assert checked_name("my-portrait-2") == "my_portrait_2"


PIECES = ['"""', "'''", '"', "'", "\\", "\n", "\r", "\x00", "{", "}", "@@CLASS@@", "@@RUN@@", "\ud800", "😀", "\u2028", "%s", "#",
          "__import__('os').system('touch hacked')", "]", ")", "\x0c", "$(touch hacked)", "`touch hacked`", "\x1b"]  # fmt: skip


def nasty(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 9)))


def test_a_literal_says_what_the_text_says() -> None:
    chance = random.Random(2)
    for _ in range(500):
        text = nasty(chance)
        assert ast.literal_eval(literal(text)) == text
        assert literal(text).isascii()


def test_no_title_value_or_id_of_a_graph_becomes_code(tmp_path: Path) -> None:
    chance = random.Random(4)
    for number in range(40):
        graph: dict[str, Any] = {}
        names = {node_id: f"{node_id}{nasty(chance)}" for node_id in TWO_STAGES}
        for node_id, node in TWO_STAGES.items():
            inputs = {
                name: [names[value[0]], value[1]] if isinstance(value, list) else nasty(chance) if name == "text" else value
                for name, value in node["inputs"].items()
            }
            graph[names[node_id]] = {**node, "inputs": inputs, "_meta": {"title": nasty(chance)}}
        made = write_package("my-own", graph, tmp_path / str(number))
        module, test = (ast.parse(path.read_text(encoding="utf-8")) for path in made.files if path.suffix == ".py")
        assert [type(item).__name__ for item in module.body] == [
            "Expr", "ImportFrom", "Import", *["ImportFrom"] * 8, "AnnAssign", "Expr", "AnnAssign", "Expr", "ClassDef", "FunctionDef"
        ]  # fmt: skip
        calls = {ast.unparse(item.func) for tree in (module, test) for item in ast.walk(tree) if isinstance(item, ast.Call)}
        assert calls <= {
            "Field", "Files.preview", "json.loads", "_text", "self.media_fields", "PLACES.items", "files.of", "getattr", "cache",
            "Graph.from_api", "Path(__file__).with_name('graph.json').read_text", "Path(__file__).with_name", "Path", "MyOwn",
            "sample().build().to_api", "sample().build", "sample", "MyOwn.from_plain", "request.to_plain", "workflow_class",
        }  # fmt: skip
        assert json.loads((made.folder / "my_own" / "graph.json").read_text()) == graph
        assert "hacked" not in (made.folder / "pyproject.toml").read_text() + (made.folder / "README.md").read_text()


def test_a_graph_without_any_field_makes_a_class_too(tmp_path: Path) -> None:
    sheet = Sheet()
    sheet.add("EmptyImage", [64, 64, 1, 0])
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "color": 0}}}
    made = write_package("plain-colour", graph, tmp_path / "p")
    assert made.fields == ()
    assert python(made.folder, "-c", "from plain_colour import PlainColour; PlainColour().build()").returncode == 0


LOCK_OPTIONS = {"inputs": ("sampler=5.sampler_name", "crop=5.denoise")}


@pytest.mark.timeout(600)
def test_a_lock_becomes_a_package_that_brings_all_that_the_graph_needs(tmp_path: Path) -> None:
    made = locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors"), **LOCK_OPTIONS)
    package = write_locked_package(made.lock, made.requirements, tmp_path / "p")
    info = package.folder / "portrait-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portrait\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[ryla_gen.workflows]\nportrait = portrait:Portrait\n")
    assert python(package.folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests").returncode == 0
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "--strict", "portrait"]):
        done = python(package.folder, "-m", *command)
        assert done.returncode == 0, done.stdout + done.stderr
    script = """
from portrait import Portrait
request = Portrait(prompt="a fox", sampler="heun", seed=7)
graph = request.build().to_api()
assert graph["5"]["inputs"]["sampler_name"] == "heun" and graph["5"]["inputs"]["seed"] == 7, graph["5"]
assert [row.name for row in request.required_weights()] == ["flux1-dev-fp8.safetensors"]
assert request.lock.app == "ryla-portrait"
"""
    assert python(package.folder, "-c", script).returncode == 0


def test_every_path_that_a_written_readme_names_is_there(tmp_path: Path) -> None:
    made = locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors"), name="my-portrait.json")
    written = write_package("my-own", FLUX, tmp_path / "a"), write_locked_package(made.lock, made.requirements, tmp_path / "b")
    for package in written:
        text = (package.folder / "README.md").read_text(encoding="utf-8")
        named = set(re.findall(r"`([^`\s]*/[^`\s]*)`", text))
        assert named == {path for path in named if (package.folder / path).exists()}
        assert named >= {str(path.relative_to(package.folder)) for path in package.files if path.suffix in (".json", ".lock")}


def test_words_of_a_strangers_lock_end_no_docstring(tmp_path: Path) -> None:
    made = locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors"))
    evil = replace(made.lock.inputs[0], help='x """\n    import os  # \\')
    package = write_locked_package(replace(made.lock, inputs=(evil, *made.lock.inputs[1:])), made.requirements, tmp_path / "p")
    code = (package.folder / "portrait" / "__init__.py").read_text()
    assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)]
