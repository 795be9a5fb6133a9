from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import FluxDev, InstantID, Wan2
from ryla_gen.emulator.server import Emulator

from .shell import envelope, here, picture

GRAPH = FluxDev(prompt="fox", steps=1, width=256, height=256, seed=1).build().to_api()


def saved(folder: Path, graph: Any) -> str:
    path = folder / "graph_api.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return str(path)


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    graph = copy.deepcopy(GRAPH)
    graph[node]["inputs"] |= inputs
    return graph


def findings(folder: Path, graph: Any, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    code = here("graph", "validate", saved(folder, graph), "--json", *more)
    last = envelope(capsys.readouterr().out)
    assert last["ok"] is (code == 0)
    return code, last["data"]["findings"]


SAMPLER = next(node_id for node_id, node in GRAPH.items() if node["class_type"] == "KSampler")


@pytest.mark.parametrize("workflow", [FluxDev(prompt="a"), Wan2(prompt="a"), InstantID(prompt="a", reference_image=b"")])
def test_the_shipped_graphs_are_valid(workflow: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(tmp_path, workflow.build().to_api(), capsys) == (0, [])


def test_every_problem_is_told_with_node_input_and_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = changed(SAMPLER, sampler_name="eulerr", steps=0)
    del graph[SAMPLER]["inputs"]["scheduler"]
    graph[SAMPLER]["inputs"]["schedular"] = "simple"
    code, found = findings(tmp_path, graph, capsys)
    assert code == 1
    by_input = {(item["input"], item["level"]): item for item in found}
    assert {item["node"] for item in found} == {SAMPLER}
    assert "euler" in by_input["sampler_name", "error"]["closest"]
    assert by_input["scheduler", "error"]["closest"] == ["schedular"]
    assert by_input["schedular", "warning"]["closest"] == ["scheduler"]
    assert "min of 1" in by_input["steps", "error"]["message"]


def test_people_read_one_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("graph", "validate", saved(tmp_path, changed(SAMPLER, sampler_name="eulerr"))) == 1
    said = capsys.readouterr()
    assert f"error: node {SAMPLER} (KSampler) input sampler_name:" in said.out
    assert "Did you mean euler" in said.out
    assert said.err.startswith("error[workflow_invalid]")


def test_a_node_that_is_not_packaged_is_unknown_and_not_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = copy.deepcopy(GRAPH)
    save = next(node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage")
    graph["90"] = {"class_type": "MyOwnFilter", "inputs": {"image": graph[save]["inputs"]["images"], "how": 3}}
    graph[save]["inputs"]["images"] = ["90", 2]
    code, found = findings(tmp_path, graph, capsys)
    assert code == 0
    assert [(item["level"], item["class_type"]) for item in found] == [("unknown", "MyOwnFilter")]


def test_a_server_knows_its_nodes_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = next(node_id for node_id, node in GRAPH.items() if node["class_type"] == "CheckpointLoaderSimple")
    graph = changed(loader, ckpt_name="flux1-dev-fp9.safetensors")
    graph["90"] = {"class_type": "SaveImages", "inputs": {}}
    assert findings(tmp_path, graph, capsys)[0] == 0  # offline nobody knows which files there are
    with Emulator() as server:
        code, found = findings(tmp_path, graph, capsys, "--url", server.url)
        assert findings(tmp_path, GRAPH, capsys, "--url", server.url) == (0, [])
    assert code == 1
    assert [(item["class_type"], item["level"]) for item in found] == [("SaveImages", "error"), ("CheckpointLoaderSimple", "error")]
    assert "SaveImage" in found[0]["closest"]
    assert "flux1-dev-fp8.safetensors" in found[1]["closest"]


@pytest.mark.parametrize(
    "graph",
    [
        {},
        [],
        {"nodes": [], "links": []},
        {"1": {"class_type": "LoadImage", "inputs": {"image": "/etc/passwd"}}},
        {"1": {"inputs": {}}},
        {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "no output at all", "clip": ["1", 0]}}},
    ],
)
def test_what_is_no_graph_is_exit_1(graph: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("graph", "validate", saved(tmp_path, graph)) == 1
    assert capsys.readouterr().err.startswith("error[workflow_invalid]")


def test_a_file_that_is_no_json_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(b"\x89PNG\xff")
    assert here("graph", "validate", str(path)) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_graph_runs_with_prompt_seed_and_pictures_put_in(tmp_path: Path, face: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "face.png").write_bytes(face)
    graph = InstantID(prompt="old", reference_image=b"", steps=1, width=256, height=256).build().to_api()
    target = tmp_path / "x.jpg"
    line = ["graph", "run", saved(tmp_path, graph), "--prompt", "new", "--seed", "3", "-o", str(target), "--json"]
    assert here(*line, "--image", f"reference_image.png={tmp_path / 'face.png'}") == 0
    last = envelope(capsys.readouterr().out)
    assert (last["command"], last["data"]["seed"], picture(target).format) == ("graph run", 3, "JPEG")
    texts = [node["inputs"]["text"] for node in last["data"]["graph"].values() if node["class_type"] == "CLIPTextEncode"]
    assert "new" in texts
    assert "old" not in texts


@pytest.mark.parametrize("image", ["face.png", "=face.png", "nobody.png=face.png"])
def test_a_picture_for_no_node_is_refused(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("graph", "run", saved(tmp_path, GRAPH), "--image", image) == 2
    assert "hint:" in capsys.readouterr().err
