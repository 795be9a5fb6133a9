"""``graph validate`` against what would run the graph: it tells what ``graph run`` refuses there."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen import FluxDev
from ryla_gen.emulator.server import Emulator
from ryla_gen.locks.families import family_lock
from ryla_gen.models.node_schemas import VERSIONS

from .shell import envelope, here

GRAPH = FluxDev(prompt="fox", steps=1, width=256, height=256, seed=1).build().to_api()
SAVE = next(node_id for node_id, node in GRAPH.items() if node["class_type"] == "SaveImage")


def saved(folder: Path, graph: Any) -> str:
    path = folder / "graph_api.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return str(path)


def with_picture(**more: Any) -> dict[str, Any]:
    """A graph that saves a picture that it loads, and other nodes."""
    load = {"class_type": "LoadImage", "inputs": {"image": "me.png"}}
    return {"1": load, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}, **more}


def judged(folder: Path, graph: Any, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[bool, list[str]]:
    code = here("graph", "validate", saved(folder, graph), "--json", *more)
    data = envelope(capsys.readouterr().out)["data"]
    assert data["valid"] is (code == 0) is (data["errors"] == [])
    return data["valid"], [item["message"] for item in data["errors"]]


@pytest.fixture
def face(tmp_path: Path) -> str:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "face.png")
    return str(tmp_path / "face.png")


@pytest.mark.parametrize("backend", ["emulator", "modal"])
def test_a_picture_that_nobody_gives_is_missing_where_a_run_would_miss_it(
    backend: str, tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, with_picture(), capsys) == (True, [])
    valid, said = judged(tmp_path, with_picture(), capsys, "--backend", backend)
    assert not valid and "--image me.png=FILE" in said[0]
    assert judged(tmp_path, with_picture(), capsys, "--backend", backend, "--image", f"me.png={face}") == (True, [])


def test_the_emulator_is_asked_as_a_run_asks_it(tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]) -> None:
    graph = copy.deepcopy(GRAPH)
    graph["90"] = {"class_type": "CreateCameraInfo", "inputs": {}}
    graph["91"] = {"class_type": "NoSuchNode", "inputs": {}}
    graph[SAVE]["inputs"]["images"] = ["91", 0]
    valid, said = judged(tmp_path, graph, capsys, "--backend", "emulator")
    assert not valid and said == ["The server has no such node."]
    code = here("graph", "run", saved(tmp_path, graph), "--backend", "emulator", "-o", str(tmp_path / "x.png"))
    assert code == 1 and "NoSuchNode" in capsys.readouterr().err
    assert judged(tmp_path, GRAPH, capsys, "--backend", "emulator") == (True, [])


def test_a_stand_in_alone_is_refused_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = {
        "1": {"class_type": "EmptyLatentHunyuan3Dv2", "inputs": {"resolution": 3072, "batch_size": 1}},
        "2": {"class_type": "VAELoader", "inputs": {"vae_name": "x.safetensors"}},
        "3": {
            "class_type": "VAEDecodeHunyuan3D",
            "inputs": {"samples": ["1", 0], "vae": ["2", 0], "num_chunks": 8000, "octree_resolution": 256},
        },
        "4": {"class_type": "VoxelToMeshBasic", "inputs": {"voxel": ["3", 0], "threshold": 0.6}},
        "5": {"class_type": "SaveGLB", "inputs": {"mesh": ["4", 0], "filename_prefix": "x"}},
    }
    valid, said = judged(tmp_path, graph, capsys, "--backend", "emulator")
    code = here("graph", "run", saved(tmp_path, graph), "--backend", "emulator", "-o", str(tmp_path))
    assert valid is (code == 0), said


def test_modal_has_the_release_that_is_pinned(tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]) -> None:
    resize = {
        "class_type": "ResizeImageMaskNode",
        "inputs": {
            "input": ["1", 0],
            "resize_type": "scale by multiplier",
            "resize_type.multiplier": 2.0,
            "scale_method": "area",
        },
    }
    graph = with_picture(**{"3": resize})
    graph["2"]["inputs"]["images"] = ["3", 0]
    picture = ("--image", f"me.png={face}")
    assert judged(tmp_path, graph, capsys, "--backend", "emulator", *picture) == (True, [])
    assert judged(tmp_path, graph, capsys, "--backend", "modal", *picture) == (True, [])
    valid, said = judged(tmp_path, graph, capsys, "--backend", "modal", "--comfyui", "0.3.71", *picture)
    assert not valid and "has ComfyUI 0.3.71, which has no such node" in said[0]
    valid, said = judged(tmp_path, graph, capsys, "--comfyui", "0.3.71")
    assert valid  # a server may have a pack that brings it


def test_runpod_takes_no_larger_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "endpoint" in judged(tmp_path, with_picture(), capsys, "--backend", "runpod")[1][0]
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "abc")
    monkeypatch.setenv("RUNPOD_API_KEY", "key")
    Image.effect_noise((4000, 4500), 90).save(tmp_path / "large.png")
    assert judged(tmp_path, with_picture(), capsys, "--backend", "runpod") == (True, [])
    valid, said = judged(tmp_path, with_picture(), capsys, "--backend", "runpod", "--image", f"me.png={tmp_path / 'large.png'}")
    assert not valid and "too large for RunPod" in said[0]


def test_a_server_is_asked_for_the_pictures_it_has(tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator(comfyui="0.28.2") as server:
        valid, said = judged(tmp_path, with_picture(), capsys, "--url", server.url)
        assert not valid and "me.png is not on the server" in said[0]
        Image.new("RGB", (8, 8)).save(server.folders.input / "me.png")
        assert judged(tmp_path, with_picture(), capsys, "--url", server.url) == (True, [])


def test_a_picture_that_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.png").write_text("no picture")
    valid, said = judged(tmp_path, with_picture(), capsys, "--backend", "emulator", "--image", f"me.png={tmp_path / 'no.png'}")
    assert not valid and "images[me.png]: This is not a picture" in said[0]


def test_a_release_that_is_not_packaged_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("validate", "convert", "run"):
        more = ("--set", "1.image=x.png", "--backend", "emulator") if command == "run" else ()
        assert here("graph", command, saved(tmp_path, with_picture()), "--comfyui", "9.9", *more) != 0
        assert "'9.9'" in capsys.readouterr().err, command


def test_missing_inputs_of_a_choice_are_errors_and_a_wrong_choice_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resize = {"class_type": "ResizeImageMaskNode", "inputs": {"input": ["1", 0], "resize_type": "scale by multiplier"}}
    graph = with_picture(**{"3": resize})
    graph["2"]["inputs"]["images"] = ["3", 0]
    valid, said = judged(tmp_path, graph, capsys)
    assert not valid and len(said) == 2  # the multiplier and the method
    resize["inputs"] |= {"resize_type": "scale by magic", "scale_method": "area"}
    assert judged(tmp_path, graph, capsys) == (True, [])
    here("graph", "validate", saved(tmp_path, graph))
    assert "resize_type='scale by magic' is not one of its options" in " ".join(capsys.readouterr().out.split())


def test_a_class_of_another_name_is_rewritten_and_runs(tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]) -> None:
    graph = copy.deepcopy(GRAPH)
    graph["90"] = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "canny.safetensors"}}
    assert judged(tmp_path, graph, capsys) == (True, [])
    here("graph", "validate", saved(tmp_path, graph))
    assert "now called ControlNetLoader" in " ".join(capsys.readouterr().out.split())
    assert here("graph", "run", saved(tmp_path, graph), "--backend", "emulator", "-o", str(tmp_path / "x.png")) == 0


def test_the_embedded_emulator_is_of_the_release_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, release in (((), "0.28.2"), (("--comfyui", "0.3.71"), "0.3.71")):
        code = here(
            "graph", "run", saved(tmp_path, GRAPH), "--backend", "emulator", "-o", str(tmp_path), "--json", "--overwrite", *more
        )
        assert code == 0
        assert envelope(capsys.readouterr().out)["data"]["server"]["comfyui"] == release
    assert here("run", "flux-dev", "a fox", "--backend", "emulator", "--steps", "1", "-o", str(tmp_path), "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["server"]["comfyui"] == family_lock("flux").release


def test_the_help_names_the_releases_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("emulator",), ("graph", "convert"), ("graph", "validate"), ("graph", "run")):
        here(*command, "--help")
        said = " ".join(capsys.readouterr().out.split())
        assert "--comfyui" in said and " or ".join(VERSIONS) in said, command
