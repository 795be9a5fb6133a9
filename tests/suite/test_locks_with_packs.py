"""Graphs with node packs: locked by the command, deployed, called by name in both formats, rolled back.

The loopback of Modal builds no image, so what runs its containers is the emulator with the packs' classes added; the check of the
registered classes is a build's, and tried in ``tests/remote/test_replay.py``. ``test_packs_on_comfyui.py`` has the real ComfyUI.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen import Settings
from ryla_gen.locks.graph_lock import GraphLock, lock_text
from ryla_gen.locks.image_lock import sha256_of
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.remote.graph_config import usual_config
from ryla_gen.remote.image import recipe_of
from ryla_gen.remote.pins import requirements_of
from ryla_gen.tools.locking.online import Network
from tests.cli.shell import here, ryla
from tests.locks.test_resolving import AT_ALL_TIMES, index, wheel
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub
from tests.remote.replaying import repository
from tests.suite.pack_server import KIND
from tests.suite.real_graphs import WAN, WITH_IPADAPTER, Z_IMAGE, RealGraph, lock_offline, settled, small_file
from tests.support.lock_planes import client_of, lock_plane

__all__ = ["index"]

pytestmark = pytest.mark.timeout(600)  # some ten processes each: a busy machine takes minutes

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 7}},
    "2": {"class_type": KIND, "inputs": {"image": ["1", 0], "amount": 0.5}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "sharp"}},
}
OTHER = 0.25
"""The value of a second version."""
FILES = {"__init__.py": f'NODE_CLASS_MAPPINGS = {{\n    "{KIND}": object,\n}}\n', "requirements.txt": "tqdm>=4\n"}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture(scope="module")
def control(worker_python: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane whose containers start a server that has the packs' classes."""
    server = Path(__file__).with_name("pack_server.py")
    command = f"{{python}} {server} --port {{port}} --folder {{work}} --comfyui {{comfyui}}"
    inside = {"HF_ENDPOINT": hub.url, "RYLA_CHECK_WEIGHTS": "1"}
    with lock_plane(worker_python, tmp_path_factory.mktemp("work"), command, **inside) as loopback:
        yield loopback


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process as its client."""
    with client_of(control, monkeypatch):
        yield control


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """The graph's file, and the commit of its pack; git finds the pack's address on this disk."""
    folder = tmp_path / "mirror" / "Sharp"
    folder.mkdir(parents=True)
    commit = repository(folder, FILES)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https:file")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/mirror/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/made-up-owner/")
    file = tmp_path / "sharp.json"
    file.write_text(json.dumps(GRAPH))
    return file, commit


def deploy(file: Path) -> None:
    assert here("deploy", str(file), "--yes", "--json") == 0


def roll_back(lock: GraphLock, written: pytest.CaptureFixture[str]) -> None:
    """Go back from the second version to the first."""
    written.readouterr()
    assert here("deploy", "rollback", lock.name, "--yes") == 0
    assert f"Version 1 of {lock.app} is live again, as version 3" in "".join(written.readouterr())


def call(lock: GraphLock, inputs: dict[str, Any]) -> dict[str, Any]:
    """Call a deployed graph by name, without this package's client; what was made."""
    reply: dict[str, Any] = modal.Cls.from_name(lock.app, "Graph")().generate.remote({"inputs": inputs})
    assert reply["ok"], reply
    generation: dict[str, Any] = reply["generation"]
    return generation


def values_in(made: dict[str, Any], graph: RealGraph) -> set[float]:
    """The value in the graph that ran by which its versions differ."""
    kind, name, _ = graph.value
    return {node["inputs"][name] for node in made["graph"].values() if node["class_type"] == kind}


@pytest.mark.timeout(400)  # two deploys, a rollback, and a container of each version
def test_a_graph_with_a_pack_is_locked_deployed_called_and_rolled_back(
    plane: Loopback, graph: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, commit = graph
    choice = f"{KIND}=made-up-owner/Sharp@{commit}"
    done = ryla("graph", "lock", str(file), "--offline", "--pack", choice, "--input", "amount=2.amount", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lock = settled(tmp_path / "sharp.lock")
    assert [(item.name, item.commit, item.nodes) for item in lock.image.packs] == [("Sharp", commit, (KIND,))]
    assert KIND in recipe_of(lock, tmp_path / lock.image.python.file).nodes, "the check at the build asks for it"
    assert usual_config(lock).snapshot == "off", "nobody tried the pack without a GPU"
    deploy(tmp_path / "sharp.lock")
    deploy(tmp_path / "sharp.lock")
    for form in ("pickle", "cbor"):
        with connected(plane, MODAL_PAYLOAD_FORMAT=form):
            assert call(lock, {"amount": 0.25})["outputs"][0]["data"].startswith(b"\x89PNG")
    roll_back(lock, capsys)
    call(lock, {"amount": 0.25})


def test_packages_that_uv_resolved_from_the_lists_of_a_pack_and_of_comfyui_are_deployed(
    plane: Loopback, graph: tuple[Path, str], index: Path, tmp_path: Path
) -> None:
    file, commit = graph
    choice = f"{KIND}=made-up-owner/Sharp@{commit}"
    assert here("graph", "lock", str(file), "--offline", "--pack", choice, "-o", str(tmp_path / "sharp.lock")) == 0
    lock = read_graph_lock(tmp_path / "sharp.lock")
    assert {item.kind for item in lock.open} == {"python"}
    # ComfyUI's own commit is on no disk here: another repository stands in for it, with a list of its own.
    own = repository(tmp_path / "mirror" / "ComfyUI", {"requirements.txt": "tqdm<4.68\n"})
    comfyui = replace(lock.image.comfyui, repo="https://github.com/made-up-owner/ComfyUI", commit=own)
    for item in requirements_of(lock.image).own:
        wheel(index, *item.replace("-", "_").split("=="))
    hashes = {version: wheel(index, "tqdm", version) for version in ("4.67.1", "4.68.0")}
    python = replace(lock.image.python, until=AT_ALL_TIMES)
    image, text = Network.of(Settings.load()).packages(replace(lock.image, comfyui=comfyui, python=python))
    assert f"tqdm==4.67.1 \\\n    --hash=sha256:{hashes['4.67.1']}\n" in text, "what both lists take"
    image = replace(image, python=replace(image.python, sha256=sha256_of(text)))
    (tmp_path / image.python.file).write_text(text)
    (tmp_path / "sharp.lock").write_text(lock_text(replace(lock, image=image, open=())))
    deploy(tmp_path / "sharp.lock")
    assert call(lock, {})["outputs"][0]["data"].startswith(b"\x89PNG")


@pytest.mark.parametrize("graph", [Z_IMAGE, WITH_IPADAPTER, WAN], ids=lambda graph: graph.name)
def test_a_graph_of_others_is_deployed_called_by_name_and_rolled_back(
    plane: Loopback, hub: Hub, graph: RealGraph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = graph.value[-1]
    file, lock = lock_offline(graph, tmp_path, hub)
    deploy(file)
    assert {item.sha256 for item in read_graph_lock(file).models} >= {digest(item.label) for item in lock.models}
    for form in ("pickle", "cbor"):
        with connected(plane, MODAL_PAYLOAD_FORMAT=form):
            made = call(lock, graph.inputs)
            assert [item["media_type"] for item in made["outputs"]] == [graph.media_type]
            assert values_in(made, graph) == {own}
    deploy(lock_offline(graph, tmp_path, hub, OTHER)[0])
    with connected(plane, MODAL_PAYLOAD_FORMAT="cbor"):
        assert values_in(call(lock, graph.inputs), graph) == {OTHER}
    roll_back(lock, capsys)
    assert values_in(call(lock, graph.inputs), graph) == {own}, "the answer is the first version's"


def digest(label: str) -> str:
    """The hash of the small file behind a model."""
    return hashlib.sha256(small_file(label)).hexdigest()
