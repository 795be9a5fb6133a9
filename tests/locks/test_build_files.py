"""Files of other tools are read as hints, and a lock is written as comfy-build.yaml."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ryla_gen.errors import InvalidInputError, StorageFailedError
from ryla_gen.locks import NodePack
from ryla_gen.locks.graph_lock import LockedModel
from ryla_gen.tools.locking.build_files import HintedModel, comfy_build_yaml, read_hints
from ryla_gen.tools.locking.locking import lock_graph
from ryla_gen.tools.locking.pack_lookup import HintedPack

COMMIT, OTHER = "a" * 40, "b" * 40
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
}


def test_a_snapshot_of_the_manager_is_read(tmp_path: Path) -> None:
    data = {
        "comfyui": COMMIT,
        "git_custom_nodes": {
            "https://github.com/o/Sharp.git": {"hash": OTHER, "disabled": False},
            "https://github.com/o/Off": {"hash": OTHER, "disabled": True},
            "https://gist.github.com/o/1": {"hash": OTHER, "disabled": False},
        },
        "cnr_custom_nodes": {"comfyui-kjnodes": "1.1.9"},
        "file_custom_nodes": [{"filename": "a.py", "disabled": False}],
        "pips": {"numpy==2.0": ""},
    }
    (tmp_path / "s.json").write_text(json.dumps(data))
    hints = read_hints(tmp_path / "s.json")
    assert hints.packs == (HintedPack("https://github.com/o/Sharp", OTHER), HintedPack("", "", "comfyui-kjnodes", "1.1.9"))
    assert (hints.comfyui_commit, hints.comfyui_version, len(hints.left_out)) == (COMMIT, "", 3)


def test_a_comfy_pack_file_is_read(tmp_path: Path) -> None:
    model = {"filename": "models/vae/inner/a.safetensors", "sha256": "c" * 64, "source": {"download_url": "https://x.org/a"}}
    bad = {"filename": "models/../../a.safetensors", "sha256": "c" * 64}
    data = {
        "comfyui": COMMIT,
        "custom_nodes": [{"url": "git@github.com:o/Sharp.git", "commit_hash": OTHER}],
        "models": [model, bad],
    }
    with zipfile.ZipFile(tmp_path / "a.cpack.zip", "w") as archive:
        archive.writestr("snapshot.json", json.dumps(data))
    hints = read_hints(tmp_path / "a.cpack.zip")
    assert hints.packs == (HintedPack("https://github.com/o/Sharp", OTHER),)
    assert hints.models == (HintedModel("vae/inner", "a.safetensors", "https://x.org/a", "c" * 64),)
    assert len(hints.left_out) == 1


def test_what_is_exported_is_plain_yaml_and_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GRAPH))
    lock = lock_graph(tmp_path / "a.json").lock
    pack = NodePack("Sharp", "https://github.com/o/Sharp", None, COMMIT, None, ("Sharpen It",))
    rest = {"revision": None, "bytes": None, "licence": None, "gated": None, "source": "here"}
    one = LockedModel(file='in/a "b".safetensors', folder="vae", url="https://x.org/a", sha256="pending", **rest)  # type: ignore[arg-type]
    two = LockedModel(file="c.safetensors", folder="loras", url="https://x.org/c", sha256="d" * 64, **rest)  # type: ignore[arg-type]
    text = comfy_build_yaml(replace(lock, image=replace(lock.image, packs=(pack,)), models=(one, two)))
    data = yaml.safe_load(text)
    assert (data["schema"], data["id"], data["name"]) == ("comfy-build/1", None, lock.name)
    assert data["definition"]["baseComfyVersion"] == lock.image.comfyui.commit
    (tmp_path / "comfy-build.yaml").write_text(text)
    hints = read_hints(tmp_path / "comfy-build.yaml")
    assert hints.packs == (HintedPack("https://github.com/o/Sharp", COMMIT),)
    assert [(item.folder, item.file, item.sha256) for item in hints.models] == [
        ("loras", "c.safetensors", "d" * 64),
        ("vae/in", 'a "b".safetensors', ""),
    ]
    assert hints.comfyui_commit == lock.image.comfyui.commit and hints.left_out == ()


def test_a_registry_version_and_a_release_are_read(tmp_path: Path) -> None:
    node = {"name": "x", "id": "comfyui-kjnodes", "registryVersion": "1.1.9"}
    data = {"schema": "comfy-build/1", "definition": {"baseComfyVersion": "v0.28.2", "customNodes": [node, {"blobId": "1"}]}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(data))
    hints = read_hints(tmp_path / "a.yaml")
    assert hints.comfyui_version == "0.28.2" and hints.packs == (HintedPack("", "", "comfyui-kjnodes", "1.1.9"),)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100000, '{"schema": "comfy-build/2"}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    for name in ("a.json", "a.yaml", "a.zip"):
        (tmp_path / name).write_text(text if name != "a.yaml" else text[:1000])
        with pytest.raises(InvalidInputError):
            read_hints(tmp_path / name)
    with pytest.raises(StorageFailedError):
        read_hints(tmp_path / "absent.json")
