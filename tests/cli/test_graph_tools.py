"""Graphs converted, drawn, listed, changed and turned into packages from the command line."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ryla_gen import CustomWorkflow, FluxDev, InstantID
from ryla_gen.emulator.server import Emulator
from ryla_gen.graphs import draw_mermaid
from tests.graphs.sheets import Sheet, drawn

from .shell import envelope, here, picture

GRAPH = FluxDev(prompt="fox", steps=1, width=256, height=256, seed=1).build().to_api()
Capsys = pytest.CaptureFixture[str]


def saved(folder: Path, data: Any, name: str = "graph.json") -> str:
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def ok(capsys: Capsys, *line: str) -> dict[str, Any]:
    assert here(*line, "--json") == 0
    last = envelope(capsys.readouterr().out)
    assert last["command"] == " ".join(line[:2])
    data: dict[str, Any] = last["data"]
    return data


def test_a_drawing_is_converted_and_runs(tmp_path: Path, capsys: Capsys) -> None:
    target = tmp_path / "api.json"
    data = ok(capsys, "graph", "convert", saved(tmp_path, drawn(GRAPH)), "-o", str(target))
    assert (data["nodes"], data["notes"], data["path"]) == (len(GRAPH), [], str(target))
    assert json.loads(target.read_text()) == data["graph"]
    assert here("graph", "run", str(target), "-o", str(tmp_path / "x.png")) == 0
    assert picture(tmp_path / "x.png").size == (256, 256)


def test_without_a_target_the_graph_goes_to_stdout_and_remarks_do_not(tmp_path: Path, capsys: Capsys) -> None:
    sheet = Sheet()
    sheet.add("CheckpointLoaderSimple", ["a.safetensors"])
    sheet.add("CLIPTextEncode", ["a {red|blue} hat"], inputs={"clip": (1, 1)})
    assert here("graph", "convert", saved(tmp_path, sheet.ui())) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["2"]["inputs"]["text"] == "a red hat"
    assert "note: Node 2 input text" in said.err
    assert "warning: A server would refuse 1 of its values or links" in said.err


def test_a_target_that_is_there_is_kept(tmp_path: Path, capsys: Capsys) -> None:
    target = Path(saved(tmp_path, {"mine": 1}, "api.json"))
    line = ["graph", "convert", saved(tmp_path, drawn(GRAPH)), "-o", str(target)]
    assert here(*line) == 1
    assert capsys.readouterr().err.startswith("error[output_exists]")
    assert json.loads(target.read_text()) == {"mine": 1}
    assert here(*line, "--overwrite") == 0
    assert set(json.loads(target.read_text())) == set(GRAPH)


def test_schemas_come_from_a_server_or_a_file_of_one(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"MyOwn": {"input": {"required": {"how": ["STRING", {}]}}, "output": [], "output_node": True}}
    ui = saved(tmp_path, {"nodes": [{"id": 1, "type": "MyOwn", "widgets_values": ["soft"]}], "links": []})
    assert here("graph", "convert", ui) == 2
    assert "The node schemas lack MyOwn" in capsys.readouterr().err
    data = ok(capsys, "graph", "convert", ui, "--schemas", saved(tmp_path, own, "schemas.json"))
    assert data["graph"]["1"]["inputs"] == {"how": "soft"}
    assert here("graph", "convert", ui, "--schemas", ui) == 2
    assert "/object_info" in capsys.readouterr().err
    with Emulator() as server:
        with urlopen(f"{server.url}/object_info", timeout=10) as answer:
            (tmp_path / "all.json").write_bytes(answer.read())
        sheet = saved(tmp_path, drawn(GRAPH), "sheet.json")
        results = [ok(capsys, "graph", "convert", sheet, "--url", server.url)]
        monkeypatch.setenv("COMFYUI_POD_URL", server.url)
        results.append(ok(capsys, "graph", "convert", sheet))
    results.append(ok(capsys, "graph", "convert", sheet, "--schemas", str(tmp_path / "all.json")))
    assert [item["graph"] for item in results] == [results[0]["graph"]] * 3


def test_the_check_takes_the_same_schemas_as_the_others(tmp_path: Path, capsys: Capsys) -> None:
    own = {"MyOwn": {"input": {"required": {"how": ["STRING", {}]}}, "output": [], "output_node": True}}
    schemas = saved(tmp_path, own, "schemas.json")
    graph = saved(tmp_path, {"1": {"class_type": "MyOwn", "inputs": {"how": "soft"}}})
    assert ok(capsys, "graph", "validate", graph)["findings"][0]["level"] == "unknown"
    assert ok(capsys, "graph", "validate", graph, "--schemas", schemas) == {
        "valid": True, "errors": [], "findings": [], "pictures": []
    }  # fmt: skip
    assert here("graph", "validate", saved(tmp_path, GRAPH), "--schemas", schemas) == 1
    assert "The server has no such node" in capsys.readouterr().out


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"input": 5},
        {"input": {"required": 5}},
        {"input": {"required": {"seed": 5}}},
        {"input": {"optional": {"seed": []}}},
        {"input": {}, "output": 5},
    ],
)
@pytest.mark.parametrize("verb", ["inputs", "validate", "draw"])
def test_schemas_of_another_form_are_refused(verb: str, entry: Any, tmp_path: Path, capsys: Capsys) -> None:
    graph, schemas = saved(tmp_path, GRAPH), saved(tmp_path, {"KSampler": entry}, "schemas.json")
    assert here("graph", verb, graph, "--schemas", schemas) == 2
    assert "contains no node schemas: that of KSampler" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, capsys: Capsys) -> None:
    assert here("graph", "convert", saved(tmp_path, drawn(GRAPH)), "--url", "http://127.0.0.1:9") == 1
    assert capsys.readouterr().err.startswith("error[backend_unreachable]")


def test_the_ui_format_is_converted_to_run_and_to_be_checked(tmp_path: Path, capsys: Capsys) -> None:
    file = saved(tmp_path, drawn(GRAPH))
    assert here("graph", "run", file, "-o", str(tmp_path / "made.png")) == 0
    assert f"note: {file} was in ComfyUI's UI format, and was converted." in capsys.readouterr().err
    assert (tmp_path / "made.png").read_bytes().startswith(b"\x89PNG")
    assert here("graph", "run", str(tmp_path / "made.png"), "-o", str(tmp_path / "again.png")) == 0
    assert (tmp_path / "again.png").exists(), "a saved picture carries its graph"
    assert here("graph", "validate", str(tmp_path / "made.png")) == 0, "of which the check is no exception"
    capsys.readouterr()
    data = ok(capsys, "graph", "validate", file)
    assert (data["valid"], data["errors"]) == (True, [])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"nodes": [{"id": 1, "type": "MyOwnFilter", "widgets_values": [1]}], "links": []}, "The node schemas lack MyOwnFilter"),
        ({"1": {"inputs": {}, "_meta": {"title": "My Own"}}}, "has no class_type"),
        ({"1": {"class_type": "LoadImage", "inputs": {"image": "https://example.org/a.png"}}}, "--image 1=FILE"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "Prompt has no outputs"),
    ],
    ids=["unknown in a drawing", "pack missing", "address", "no output"],
)
def test_the_check_tells_what_a_run_refuses(data: Any, said: str, tmp_path: Path, capsys: Capsys) -> None:
    file = saved(tmp_path, data)
    assert here("graph", "validate", file, "--json") == 1
    found = envelope(capsys.readouterr().out)["data"]
    assert found["valid"] is False
    assert any(said in item["message"] for item in found["errors"])
    assert here("graph", "run", file, "-o", str(tmp_path / "x.png")) in (1, 2)


def test_a_drawing_with_a_muted_node_runs_without_what_hangs_on_it(tmp_path: Path, capsys: Capsys) -> None:
    sheet = drawn(GRAPH)
    sheet["nodes"] += [
        {"id": 91, "type": "LoadImage", "mode": 2, "widgets_values": ["a.png"], "outputs": [{"type": "IMAGE"}]},
        {"id": 92, "type": "SaveImage", "widgets_values": ["x"], "inputs": [{"name": "images", "type": "IMAGE", "link": 99}]},
    ]
    sheet["links"].append([99, 91, 0, 92, 0, "IMAGE"])
    file = saved(tmp_path, sheet)
    assert ok(capsys, "graph", "validate", file)["valid"]
    assert here("graph", "run", file, "-o", str(tmp_path / "x.png")) == 0
    assert "was left out: its source is muted" in capsys.readouterr().err
    assert ok(capsys, "graph", "convert", file)["graph"]["92"]["inputs"] == {"filename_prefix": "x"}, "as the page exports it"


@pytest.mark.parametrize("name", ["x.mmd", "x.md"])
def test_a_drawing_is_written_as_mermaid_text(name: str, tmp_path: Path, capsys: Capsys) -> None:
    target = tmp_path / name
    data = ok(capsys, "graph", "draw", saved(tmp_path, GRAPH), "-o", str(target))
    assert (data["path"], data["nodes"]) == (str(target), len(GRAPH))
    assert target.read_text(encoding="utf-8") == data["text"] == draw_mermaid(GRAPH)


def test_a_saved_picture_and_a_workflows_name_are_drawn_too(tmp_path: Path, capsys: Capsys) -> None:
    assert here("graph", "run", saved(tmp_path, GRAPH), "-o", str(tmp_path / "x.png")) == 0
    capsys.readouterr()
    assert here("graph", "draw", str(tmp_path / "x.png")) == 0
    assert capsys.readouterr().out == draw_mermaid(tmp_path / "x.png")
    assert here("graph", "draw", "flux-dev") == 0
    assert "KSampler" in capsys.readouterr().out
    assert here("graph", "draw", "flux-dev", "-o", str(tmp_path / "x.svg")) == 2
    assert "Mermaid text only" in capsys.readouterr().err


def test_slots_are_listed_for_people_and_for_programs(tmp_path: Path, capsys: Capsys) -> None:
    file = saved(tmp_path, GRAPH)
    items = {item["key"]: item for item in ok(capsys, "graph", "inputs", file)["items"]}
    seed = next(item for item in items.values() if item["input"] == "seed")
    assert (seed["class_type"], seed["type"], seed["value"], seed["minimum"]) == ("KSampler", "INT", 1, 0)
    assert here("graph", "inputs", file) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in items)
    assert here("graph", "inputs", "flux-dev") == 0


def test_a_file_of_another_machine_is_refused_with_the_option_that_replaces_it(tmp_path: Path, capsys: Capsys) -> None:
    graph = copy.deepcopy(GRAPH)
    loader = next(node_id for node_id, node in graph.items() if node["class_type"] == "CheckpointLoaderSimple")
    graph[loader]["inputs"]["ckpt_name"] = r"C:\ComfyUI\models\checkpoints\mine.safetensors"
    file = saved(tmp_path, graph)
    assert here("graph", "run", file) == 2
    option = f"--set {loader}.ckpt_name="
    assert option in capsys.readouterr().err
    made = ok(capsys, "graph", "run", file, *f"{option}mine.safetensors".split(" "), "-o", str(tmp_path / "x.png"))
    assert made["graph"][loader]["inputs"]["ckpt_name"] == "mine.safetensors"


def test_values_are_set_by_slot_and_checked_before_anything_runs(tmp_path: Path, capsys: Capsys) -> None:
    file, target = saved(tmp_path, GRAPH), tmp_path / "x.png"
    data = ok(
        capsys, "graph", "run", file, "--set", "KSampler.seed=42", "--set", "SaveImage.filename_prefix=a=b", "-o", str(target)
    )
    ran = CustomWorkflow(graph=data["graph"]).graph
    assert next(node["inputs"]["seed"] for node in ran.values() if node["class_type"] == "KSampler") == 42
    for wrong, said in (
        ("KSampler.seed", "NODE.INPUT=VALUE"),
        ("KSampler.seed=x", "whole number"),
        ("KSamplr.seed=1", "KSampler.seed"),
    ):
        assert here("graph", "run", file, "--set", wrong) == 2
        assert said in capsys.readouterr().err


def test_a_checked_graph_says_which_pictures_to_give(tmp_path: Path, capsys: Capsys) -> None:
    graph = InstantID(prompt="a", reference_image=b"").build().to_api()
    node = next(node_id for node_id, node in graph.items() if node["class_type"] == "LoadImage")
    graph[node]["inputs"]["image"] = "my face.png"
    file = saved(tmp_path, graph)
    assert ok(capsys, "graph", "validate", file)["pictures"] == [{"node": node, "name": "my face.png"}]
    assert here("graph", "validate", file) == 0
    assert "--image 'my face.png'=FILE" in capsys.readouterr().out
    twice = {**graph, "90": copy.deepcopy(graph[node])}
    assert here("graph", "validate", saved(tmp_path, twice)) == 0
    assert f"--image {node}=FILE" in capsys.readouterr().out


def test_a_package_is_written_once(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path, drawn(GRAPH))
    data = ok(capsys, "graph", "scaffold", "my-fox", file)
    assert (data["path"], data["class"]) == ("my-fox", "MyFox")
    assert {"prompt", "seed", "width", "steps"} <= {field["name"] for field in data["fields"]}
    assert all(Path(path).is_file() for path in data["files"])
    assert here("graph", "scaffold", "my-fox", file) == 1
    assert "--force" in capsys.readouterr().err
    assert here("graph", "scaffold", "my-fox", file, "--force") == 0
    assert here("graph", "scaffold", "../evil", file) == 2
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("verb", ["convert", "draw", "inputs", "validate"])
def test_bad_files_end_in_an_error_and_a_hint(verb: str, tmp_path: Path, capsys: Capsys) -> None:
    for data in (b"", b"\xff\xfe\x00", b"[" * 100_000, b"\x89PNG\r\n\x1a\n", b'{"nodes": [5]}'):
        path = tmp_path / "bad.json"
        path.write_bytes(data)
        assert here("graph", verb, str(path)) in (1, 2)
        said = capsys.readouterr().err
        assert said.startswith("error[")
        assert "hint:" in said
        assert "internal" not in said


@pytest.mark.parametrize("verb", ["convert", "draw", "inputs", "validate"])
@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".json", "nowhere.json"])
def test_names_of_no_file_are_the_callers_fault(name: str, verb: str, capsys: Capsys) -> None:
    assert here("graph", verb, name) == 2
    assert capsys.readouterr().err.startswith("error[invalid_input]")


def test_a_folder_is_called_one(tmp_path: Path, capsys: Capsys) -> None:
    assert here("graph", "validate", str(tmp_path)) == 2
    assert f"{tmp_path} is a folder." in capsys.readouterr().err


def test_the_pages_commands_and_its_python_run(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(bash|python)\n(.*?)```", (docs / "your-own-graphs.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["bash", "python", "python"]
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "page", "exec"), {})
            continue
        for line in text.splitlines():
            assert here(*shlex.split(line, comments=True)[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
    (again,) = Path().glob("again-*.png")
    assert picture(Path("two-steps.png")).size == picture(again).size == (512, 512)
    assert "flowchart LR" in capsys.readouterr().out
