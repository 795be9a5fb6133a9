"""Locked graphs on the real client and container runtime of Modal: deployed, called by name and by the SDK, described, refused."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen import AsyncClient, Client, Settings
from ryla_gen.errors import HashMismatchError, InvalidInputError, LockOpenError, NotAuthorizedError, NotDeployedError
from ryla_gen.locks.graph_lock import GraphLock, OpenQuestion
from ryla_gen.locks.kept import keep_lock
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.remote.graph_config import deployed_graph
from ryla_gen.remote.graph_deploy import DeployedGraph, DeployReports, deploy_lock
from ryla_gen.settings import set_value
from ryla_gen.workflows.registry import locks_folder, workflow_class
from tests.cli.shell import ryla
from tests.locks.locking import checkpoint, colour_lock, portrait_lock, write_lock
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub
from tests.support.lock_planes import client_of, lock_plane

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
    with lock_plane(worker_python, tmp_path_factory.mktemp("work"), HF_ENDPOINT=hub.url, RYLA_CHECK_WEIGHTS="1") as loopback:
        yield loopback


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process as its client, and a home folder without locks."""
    with client_of(control, monkeypatch):
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
    with_names = ryla("weights", "verify", "portrait", "--json")
    assert with_names.returncode == 0, with_names.stdout
    assert b'"checkpoints/tiny.safetensors"' in with_names.stdout
    before = hub.sent
    again = deploy(read_graph_lock(tmp_path / "portrait.lock"), tmp_path, asked)
    assert (again.fixed, len(asked), hub.sent) == ((), 1, before), "nothing is asked, fixed or downloaded twice"


def test_another_machine_finds_a_deployed_graph_by_its_name(
    plane: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(colour_lock("second-home"), tmp_path)
    monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))
    with Client("modal") as client:
        assert "second_home" not in dir(client.graphs)
        made = client.graphs.second_home(color=255)
        assert made.workflow.name == "second_home"
        assert "second_home" in dir(client.graphs)
        assert "color" in str(inspect.signature(client.graphs.second_home))
        with pytest.raises(InvalidInputError, match="no workflow"):
            client.graphs.third_home(color=1)
    assert (tmp_path / "elsewhere" / "locks" / "second-home.lock").is_file()
    monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "third"))
    shown = ryla("deploy", str(write_lock(colour_lock("from-cli"), tmp_path)), "--gpu", "H100", "--yes", "--json")
    assert shown.returncode == 0, shown.stderr
    assert b'"app": "ryla-from-cli"' in shown.stdout
    assert plane.registered("ryla-from-cli")["classes"]["Graph"]["gpu"] == ["H100"]
    done = ryla("run", "second-home", "--color", "9", "-o", str(tmp_path / "x.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").is_file()


async def async_colour() -> str:
    async with AsyncClient("modal") as client:
        return (await client.graphs.cborish(color=3)).workflow.name


def test_requests_go_in_cbor_too_and_from_the_async_client(plane: Loopback, tmp_path: Path) -> None:
    deploy(colour_lock("cborish"), tmp_path)
    with connected(plane, MODAL_PAYLOAD_FORMAT="cbor"):
        reply = modal.Cls.from_name("ryla-cborish", "Graph")().generate.remote({"inputs": {"color": 2}})
        assert reply["ok"], reply
        assert asyncio.run(async_colour()) == "cborish"


def test_two_locks_share_a_model_and_download_it_once(plane: Loopback, tmp_path: Path, hub: Hub) -> None:
    hub.put("maker/shared", "tiny.safetensors", b"shared" * 500)
    url = "https://huggingface.co/maker/shared/resolve/main/tiny.safetensors"
    first = portrait_lock("first", models=(checkpoint(url),))
    deploy(first, tmp_path)
    sent = hub.sent
    assert deploy(portrait_lock("other", models=(checkpoint(url),)), tmp_path).fixed == ("checkpoints/tiny.safetensors",)
    known = {"sha256": hashlib.sha256(b"shared" * 500).hexdigest(), "file": "renamed.safetensors"}
    third = portrait_lock("third", models=(checkpoint("https://huggingface.co/maker/copy/resolve/main/x.safetensors", **known),))
    deploy(third, tmp_path)
    assert hub.sent == sent


def test_a_wrong_hash_is_refused_and_nothing_of_the_file_stays(plane: Loopback, tmp_path: Path, hub: Hub) -> None:
    locked = portrait_lock("wrong", models=(checkpoint(sha256="0" * 64),))
    with pytest.raises(HashMismatchError, match="checkpoints/tiny.safetensors"):
        deploy(locked, tmp_path)
    assert not [path for path in plane.volume("ryla-models").rglob("*") if "0" * 64 in str(path) and path.is_file()]
    with pytest.raises(InvalidInputError):
        workflow_class("wrong")


def test_what_is_open_edited_or_gated_is_refused_before_anything_is_built(plane: Loopback, tmp_path: Path) -> None:
    before = plane.counts["ImageGetOrCreate"]
    question = OpenQuestion("model", "x.safetensors", "Where is it?", "ryla-gen graph lock --model x=hf://…")
    with pytest.raises(LockOpenError, match="Where is it"):
        deploy(colour_lock("open", open=(question,)), tmp_path)
    path = write_lock(colour_lock("edited"), tmp_path)
    path.write_text(path.read_text().replace('\\"color\\":7', '\\"color\\":8').replace('"color":7', '"color":8'))
    with pytest.raises(HashMismatchError):
        deploy_lock(path, DeployReports(lambda sources: None, lambda line: None))
    with pytest.raises(NotAuthorizedError) as refused:
        deploy(portrait_lock("gated", models=(checkpoint(gated=True),)), tmp_path)
    assert "https://huggingface.co/maker/model" in refused.value.hint
    assert "modal secret create huggingface HF_TOKEN=" in refused.value.hint
    with pytest.raises(NotAuthorizedError) as refused:
        deploy(portrait_lock("account", models=(checkpoint("https://civitai.com/api/download/models/7", gated=True),)), tmp_path)
    assert "modal secret create civitai CIVITAI_TOKEN=" in refused.value.hint
    assert plane.counts["ImageGetOrCreate"] == before


def test_a_graph_that_is_not_deployed_says_how_to(plane: Loopback, tmp_path: Path) -> None:
    path = write_lock(colour_lock("nowhere"), tmp_path)
    with Client("modal") as client, pytest.raises(NotDeployedError) as refused:
        client.run(workflow_class(str(path))(color=1))
    assert f"ryla-gen deploy {path}" in refused.value.hint, "the file that was named"


@pytest.mark.parametrize("backend", ["emulator", "modal"])
def test_estimates_jobs_batches_and_runs_again_take_it_like_a_built_in(plane: Loopback, tmp_path: Path, backend: str) -> None:
    name = f"like-{backend}"
    if backend == "modal":
        deploy(colour_lock(name), tmp_path)
    else:
        keep_lock(*(file.read_text() for file in files_of(colour_lock(name), tmp_path)), locks_folder())
    cls = workflow_class(name)
    with Client(backend) as client:
        estimate = client.estimate(cls(color=1))
        assert (estimate.usd.likely > 0) == (backend == "modal")
        job = client.submit(cls(color=1), tags=["locked"])
        assert job.result().workflow == cls(color=1)
        if backend == "modal":  # an emulated job ends with its process
            assert client.jobs.get(job.id).workflow == cls(color=1)
        assert [item.workflow for item in client.jobs.list(workflow=cls.name)] == [cls.name]
        assert len(list(client.map([cls(color=2), cls(color=3)]))) == 2
        saved = job.result().outputs[0].save(tmp_path / "made.png")
    done = ryla("rerun", str(saved), "-o", str(tmp_path / "again.png"), "--backend", backend)
    assert done.returncode == 0, done.stderr


def files_of(lock: GraphLock, folder: Path) -> tuple[Path, Path]:
    path = write_lock(lock, folder)
    return path, path.with_name(lock.image.python.file)


def test_the_settings_say_what_one_graph_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_MODAL_GRAPHS_MY_PORTRAIT_GPU", "H100")
    set_value("modal.graphs.my-portrait.min_containers", "1")
    settings = Settings.load()
    assert settings.warnings == ()
    found = deployed_graph(portrait_lock("my-portrait"), settings)
    assert (found.gpu, found.min_containers, found.snapshot) == (("H100",), 1, "cpu")
    assert deployed_graph(portrait_lock(), settings).gpu == ("L40S",)
    assert settings.value("modal.graphs.my-portrait.gpu") == ("H100",)
    assert settings.origin("modal.graphs.my-portrait.min_containers") == "config.toml"
