"""A graph with a node pack: locked by the command from a local mirror by real git, deployed, called in both formats, rolled back.

The loopback of Modal builds no image, so what runs its containers is the emulator with the pack's class added; the check of the
registered classes is a build's, and tried in ``tests/remote/test_replay.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen.locks.graph_lock import GraphLock, lock_text
from ryla_gen.locks.image_lock import sha256_of
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.remote.graph_config import usual_config
from ryla_gen.remote.image import recipe_of
from tests.cli.shell import ryla
from tests.locks.locking import FOLDER
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.remote.replaying import repository
from tests.suite.pack_server import KIND

from .conftest import ROOT

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 7}},
    "2": {"class_type": KIND, "inputs": {"image": ["1", 0], "amount": 0.5}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "sharp"}},
}
FILES = {"__init__.py": f'NODE_CLASS_MAPPINGS = {{\n    "{KIND}": object,\n}}\n', "requirements.txt": "tqdm>=4\n"}


@pytest.fixture(scope="module")
def control(worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane whose containers start a server that has the pack's class."""
    server = Path(__file__).with_name("pack_server.py")
    inside = {"RYLA_COMFYUI_COMMAND": f"{{python}} {server} --port {{port}} --folder {{work}} --comfyui {{comfyui}}"}
    inside |= {"RYLA_WORK_FOLDER": str(tmp_path_factory.mktemp("work"))}
    with Loopback(python=worker_python, container_env=inside, max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process as its client."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with connected(control):
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


def settled(file: Path) -> GraphLock:
    """Read a lock that was made without the network, and answer its one question: the packages are the shipped ones."""
    lock = read_graph_lock(file)
    assert [item.kind for item in lock.open] == ["python"], lock.open
    text = (FOLDER / "flux.requirements.txt").read_text()
    file.with_name(lock.image.python.file).write_text(text)
    image = replace(lock.image, python=replace(lock.image.python, sha256=sha256_of(text)))
    lock = replace(lock, open=(), image=image)
    file.write_text(lock_text(lock))
    return lock


def deploy_call_and_roll_back(file: Path, lock: GraphLock, plane: Loopback) -> None:
    """Deploy two versions, call them by name in both formats, and go back to the first."""
    assert ryla("deploy", str(file), "--yes", "--json").returncode == 0
    assert ryla("deploy", str(file), "--yes", "--json").returncode == 0
    for form in ("pickle", "cbor"):
        with connected(plane, MODAL_PAYLOAD_FORMAT=form):
            reply = modal.Cls.from_name(lock.app, "Graph")().generate.remote({"inputs": {"amount": 0.25}})
            assert reply["ok"], reply
            assert reply["generation"]["outputs"][0]["data"].startswith(b"\x89PNG")
    back = ryla("deploy", "rollback", lock.name, "--yes")
    assert back.returncode == 0, back.stderr
    assert f"Version 1 of {lock.app} is live again, as version 3" in (back.stdout + back.stderr).decode()
    reply = modal.Cls.from_name(lock.app, "Graph")().generate.remote({"inputs": {"amount": 0.25}})
    assert reply["ok"], reply


def test_a_graph_with_a_pack_is_locked_deployed_called_and_rolled_back(
    plane: Loopback, graph: tuple[Path, str], tmp_path: Path
) -> None:
    file, commit = graph
    choice = f"{KIND}=made-up-owner/Sharp@{commit}"
    done = ryla("graph", "lock", str(file), "--offline", "--pack", choice, "--input", "amount=2.amount", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lock = settled(tmp_path / "sharp.lock")
    assert [(item.name, item.commit, item.nodes) for item in lock.image.packs] == [("Sharp", commit, (KIND,))]
    assert KIND in recipe_of(lock, tmp_path / lock.image.python.file).nodes, "the check at the build asks for it"
    assert usual_config(lock).snapshot == "off", "nobody tried the pack without a GPU"
    deploy_call_and_roll_back(tmp_path / "sharp.lock", lock, plane)
