"""Locked graphs on the real client and container runtime of Modal: deployed, called by name and by the SDK, described, refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen import Client
from ryla_gen.locks.graph_lock import GraphLock, read_graph_lock
from ryla_gen.remote.graph_deploy import DeployedGraph, DeployReports, deploy_lock
from ryla_gen.workflows.registry import workflow_class
from tests.locks.locking import portrait_lock, write_lock
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub

from .conftest import EMULATED, ROOT

TINY = b"tiny weights" * 100
SHA256 = hashlib.sha256(TINY).hexdigest()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        server.put("maker/model", "tiny.safetensors", TINY)
        yield server


@pytest.fixture(scope="module")
def control(worker_python: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane on which nothing is deployed, whose containers look for weights."""
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path_factory.mktemp("work"))}
    inside |= {"HF_ENDPOINT": hub.url, "RYLA_CHECK_WEIGHTS": "1"}
    with Loopback(python=worker_python, container_env=inside, max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process as its client, and a home folder without locks."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with connected(control):
        yield control


def deploy(lock: GraphLock, folder: Path, asked: list[list[str]] | None = None) -> DeployedGraph:
    lines: list[str] = []
    reports = DeployReports((asked if asked is not None else []).append, lines.append)
    return deploy_lock(write_lock(lock, folder), reports)


def test_a_lock_is_deployed_and_its_graph_runs_through_the_sdk_and_by_name(plane: Loopback, tmp_path: Path, hub: Hub) -> None:
    asked: list[list[str]] = []
    done = deploy(portrait_lock(), tmp_path, asked)
    assert done.app == "ryla-portrait"
    assert done.fixed == ("checkpoints/tiny.safetensors",), "nobody had published its hash"
    assert [item.sha256 for item in read_graph_lock(tmp_path / "portrait.lock").models] == [SHA256]
    assert "https://huggingface.co/maker/model/resolve/main/tiny.safetensors" in asked[0]
    assert sorted(plane.registered("ryla-portrait")["classes"]) == ["Graph", "Weights"]
    with Client("modal") as client:
        made = client.run(workflow_class("portrait")(prompt="a woman in a café", seed=7))
    assert (made.workflow.name, made.seed, made.outputs[0].kind, made.cost.gpu) == ("portrait", 7, "image", "L40S")
    graph: Any = modal.Cls.from_name("ryla-portrait", "Graph")()
    reply = graph.generate.remote({"inputs": {"prompt": "a fox"}})
    assert reply["ok"], reply
    assert reply["generation"]["outputs"][0]["data"].startswith(b"\x89PNG")
    wrong = graph.generate.remote({"inputs": {"prompt": "a fox", "style": "oil"}})
    assert wrong["error"]["code"] == "invalid_input"
    assert "ryla-gen deploy portrait.lock" in wrong["error"]["hint"]
    told = graph.describe.remote({})["describe"]
    assert (told["name"], told["gpu"], told["versions"]["comfyui"]) == ("portrait", ["L40S"], "0.28.2")
    assert [item["name"] for item in told["fields"]] == ["prompt", "seed", "steps"]
    before = hub.sent
    again = deploy(read_graph_lock(tmp_path / "portrait.lock"), tmp_path, asked)
    assert (again.fixed, len(asked), hub.sent) == ((), 1, before), "nothing is asked, fixed or downloaded twice"
