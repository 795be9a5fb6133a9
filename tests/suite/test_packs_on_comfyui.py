"""Graphs with packs on the real ComfyUI 0.28.2 in a container of the loopback, on this machine's CPU.

It needs that ComfyUI with the two packs of ``real_graphs.py`` in ``custom_nodes``, each at its commit, and a Python that has the
packages of all three: ``RYLA_PACKS_COMFYUI=FOLDER RYLA_PACKS_PYTHON=PYTHON pytest tests/suite/test_packs_on_comfyui.py``.
It needs no weights: ComfyUI takes a graph whole, and fails where it reads the first file.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.server import ComfyServer
from ryla_gen.remote import image
from ryla_gen.remote.build import check_nodes
from ryla_gen.remote.container_paths import COMMAND
from ryla_gen.remote.image import recipe_of
from tests.cli.shell import here
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub
from tests.remote.replaying import git
from tests.suite.pack_server import RECORDED
from tests.suite.real_graphs import WITH_IPADAPTER, Z_IMAGE, RealGraph, lock_offline

from .conftest import ROOT

COMFYUI, PYTHON = os.environ.get("RYLA_PACKS_COMFYUI", ""), os.environ.get("RYLA_PACKS_PYTHON", "")
pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not (COMFYUI and PYTHON), reason="it needs a ComfyUI with packs: set RYLA_PACKS_COMFYUI, RYLA_PACKS_PYTHON"),
]
ON_CPU = f"{PYTHON}{COMMAND.removeprefix('{python}').replace('{snapshot}', '--cpu')}"
"""What a container starts, by the Python that has the packages."""
GRAPHS = pytest.mark.parametrize("graph", [Z_IMAGE, WITH_IPADAPTER], ids=lambda graph: graph.name)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture
def plane(
    worker_python: Path, hub: Hub, clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """A control plane whose containers start that ComfyUI, with this process as its client."""
    inside = {"RYLA_COMFYUI_COMMAND": ON_CPU, "RYLA_COMFYUI_FOLDER": COMFYUI, "RYLA_WORK_FOLDER": str(tmp_path / "work")}
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with Loopback(python=worker_python, container_env={**inside, "HF_ENDPOINT": hub.url}, max_containers=1) as loopback:
        with connected(loopback):
            yield loopback
        assert loopback.bugs == []


@GRAPHS
def test_the_check_of_the_build_finds_the_classes_of_a_lock(
    hub: Hub, graph: RealGraph, clean_environment: Path, tmp_path: Path
) -> None:
    file, lock = lock_offline(graph, tmp_path, hub)
    [pack] = lock.image.packs
    assert git(Path(COMFYUI, "custom_nodes", pack.name), "rev-parse", "HEAD") == pack.commit
    boot = image.BOOT.replace("python", shlex.quote(PYTHON), 1) + " --cpu"
    wanted = sorted(recipe_of(lock, file.with_name(lock.image.python.file)).nodes)
    done = subprocess.run(
        [sys.executable, check_nodes.__file__, boot, *wanted], cwd=COMFYUI, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"all {len(wanted)} node classes are registered" in done.stdout


async def test_the_recorded_classes_are_those_that_it_lists(tmp_path: Path) -> None:
    command = shlex.split(f"{image.BOOT.replace('python', shlex.quote(PYTHON), 1)} --cpu")
    server = ComfyServer(command, folder=Path(COMFYUI))
    await server.start()
    try:
        async with ComfyClient(server.url) as client:
            listed: dict[str, Any] = dict(await client.object_info())
    finally:
        await server.stop()
    for name, recorded in json.loads(RECORDED.read_text(encoding="utf-8")).items():
        assert {part: listed[name][part] for part in recorded} == recorded, name


@GRAPHS
@pytest.mark.parametrize("form", ["pickle", "cbor"])
def test_a_deployed_lock_gets_to_its_weights(plane: Loopback, hub: Hub, graph: RealGraph, form: str, tmp_path: Path) -> None:
    file, lock = lock_offline(graph, tmp_path, hub)
    assert here("deploy", str(file), "--yes") == 0
    with connected(plane, MODAL_PAYLOAD_FORMAT=form):
        reply = modal.Cls.from_name(lock.app, "Graph")().generate.remote({"inputs": graph.inputs})
    assert reply["error"]["code"] == "node_failed", reply
    assert "Loader" in reply["error"]["details"]["class_type"], "every class was accepted; the first file is no weights"
