"""Models that nothing needs are removed from the volume, and nothing else: on the real client and container runtime of Modal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from grpclib import Status

from ryla_gen.errors import InvalidInputError, NotDeployedError, RylaGenError, StorageFailedError
from ryla_gen.locks.graph_lock import GraphLock
from ryla_gen.locks.kept import keep_lock
from ryla_gen.locks.model_prune import NeededFiles
from ryla_gen.models.weights_table import all_weights
from ryla_gen.names import WEIGHTS_DICT
from ryla_gen.remote import deployments
from ryla_gen.remote.admin import call_weights, weights
from ryla_gen.remote.graph_deploy import DeployReports, deploy_lock
from ryla_gen.remote.pruning import plan_prune, prune
from ryla_gen.remote.weights_marks import WeightsMarks
from ryla_gen.settings import Settings
from ryla_gen.workflows.registry import locks_folder
from tests.cli.shell import envelope, ryla
from tests.locks.locking import checkpoint, portrait_lock, write_lock
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub

from .conftest import EMULATED, ROOT

pytestmark = pytest.mark.timeout(600)
"""Each deploys apps and starts their containers."""
FILES = {name: f"{name} weights".encode() * 100 for name in ("one", "two", "three", "four")}
SHA256 = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
LABEL = {name: f"content/{sha256}/tiny.safetensors" for name, sha256 in SHA256.items()}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        for name, data in FILES.items():
            server.put(f"maker/{name}", "tiny.safetensors", data)
        yield server


@pytest.fixture
def plane(
    worker_python: Path, hub: Hub, tmp_path: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """A control plane on which nothing is deployed, with this process as its client."""
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path / "work"), "HF_ENDPOINT": hub.url}
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with Loopback(python=worker_python, container_env=inside, max_containers=1) as loopback, connected(loopback):
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


def lock(name: str, model: str, **more: Any) -> GraphLock:
    address = f"https://huggingface.co/maker/{model}/resolve/main/tiny.safetensors"
    return portrait_lock(name, models=(checkpoint(address, **more),))


def deploy(made: GraphLock, folder: Path) -> Path:
    path = write_lock(made, folder)
    deploy_lock(path, DeployReports(lambda sources: None, lambda line: None))
    return path


def store(plane: Loopback, name: str) -> None:
    """Put a model on the volume as the download of a lock does, of an app that is gone."""
    record(plane, LABEL[name], FILES[name], repo=f"maker/{name}")


def record(plane: Loopback, label: str, data: bytes, **more: Any) -> Path:
    """Put a file on the volume as a download does, with its record."""
    volume = plane.volume("ryla-models")
    (volume / label).parent.mkdir(parents=True, exist_ok=True)
    (volume / label).write_bytes(data)
    file = volume / ".ryla" / "weights.json"
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {"version": 1, "files": {}}
    item = {"repo": "maker/model", "revision": None, "file": "x", "bytes": len(data), "source": "hub", "at": "2026-01-01"}
    known["files"][label] = {**item, "sha256": hashlib.sha256(data).hexdigest(), **more}
    file.write_text(json.dumps(known))
    return volume / label


def models(plane: Loopback) -> set[str]:
    """The models by content that are on the volume, by their names in this test."""
    root = plane.volume("ryla-models")
    return {name for name, label in LABEL.items() if (root / label).is_file()}


def forget_locks() -> None:
    for path in locks_folder().iterdir():
        path.unlink()


def take_away(name: str) -> None:
    asyncio.run(deployments.delete(deployments.settings_for_app(Settings.load(), name)))


def test_what_only_a_deleted_lock_needed_goes_and_everything_else_stays(plane: Loopback, tmp_path: Path) -> None:
    for name, model in (("first", "one"), ("third", "three")):
        deploy(lock(name, model), tmp_path)
    store(plane, "two")
    keep_lock(*(file.read_text() for file in files_of(lock("other", "two", sha256=SHA256["two"]), tmp_path)), locks_folder())
    volume = plane.volume("ryla-models")
    beside = ["loras/mia/lora.json", "loras/mia/abc.safetensors", "checkpoints/mine.safetensors", "content/readme.txt"]
    beside += [f"content/{'a' * 64}/.x.safetensors.abc.part", f"content/{'b' * 64}/unknown.safetensors"]
    for place in beside:
        (volume / place).parent.mkdir(parents=True, exist_ok=True)
        (volume / place).write_bytes(b"x" * 10)
    plane.kill_container()  # the next one sees what was put there
    nothing = ryla("weights", "prune", "--json")
    assert nothing.returncode == 2, "there is no terminal to ask on"
    [only] = envelope(ryla("weights", "prune", "--dry-run", "--json").stdout)["data"]["items"]
    assert (only["file"], only["bytes"], only["reason"]) == (f"content/{'b' * 64}/unknown.safetensors", 10, "no lock needs it")
    take_away("first")
    for name in ("first", "third"):
        (locks_folder() / f"{name}.lock").unlink()
    shown = ryla("weights", "prune", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"content/{SHA256['one'][:8]}…/tiny.safetensors" in shown.stdout.decode()
    assert "maker/one" in shown.stdout.decode()
    assert "2 files, 1.1 kB." in shown.stdout.decode()
    assert models(plane) == {"one", "two", "three"}, "a list removes nothing"
    done = ryla("weights", "prune", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    data = envelope(done.stdout)["data"]
    assert (data["bytes"], data["freed"], data["apps"], data["silent"]) == (1110, 1110, ["ryla-third"], [])
    assert next((item["file"], item["outcome"]) for item in data["items"]) == (LABEL["one"], "removed")
    assert models(plane) == {"two", "three"}, "one lock is kept here, and one is deployed by somebody"
    assert all((volume / place).is_file() for place in beside[:-1])
    again = ryla("weights", "prune", "--yes", "--json")
    assert envelope(again.stdout)["data"]["items"] == []


def files_of(made: GraphLock, folder: Path) -> tuple[Path, Path]:
    path = write_lock(made, folder)
    return path, path.with_name(made.image.python.file)


def listed() -> list[str]:
    return [item.file for item in asyncio.run(plan_prune(Settings.load())).files]


def test_the_version_that_is_live_counts_and_an_app_that_cannot_say_what_it_needs_stops_it(plane: Loopback, tmp_path: Path) -> None:
    for model in ("one", "two"):
        deploy(lock("portrait", model), tmp_path)
    forget_locks()
    assert listed() == [LABEL["one"]]
    settings = deployments.settings_for_app(Settings.load(), "portrait")
    asyncio.run(deployments.roll_back(settings))
    assert listed() == [LABEL["two"]], "after a rollback it is the other way round"
    plane.knobs.missing_methods = {"Weights.describe"}
    with pytest.raises(NotDeployedError, match="ryla-portrait does not say which models it needs") as refused:
        listed()
    assert refused.value.hint == (
        "Deploy it again: ryla-gen deploy portrait.lock. Or take it away: ryla-gen deploy delete portrait"
    )
    plane.knobs.missing_methods = {"Weights.prune"}
    with pytest.raises(NotDeployedError, match="No app is deployed that can look"):
        listed()
    assert models(plane) == {"one", "two"}
    (locks_folder() / "strange.lock").write_text("not a lock")
    with pytest.raises(InvalidInputError, match="unknown which models it needs"):
        listed()


def test_files_of_families_go_when_every_app_says_that_it_needs_them_no_more(plane: Loopback, tmp_path: Path) -> None:
    done = ryla("deploy", "--only", "upscale", "--yes")
    assert done.returncode == 0, done.stderr
    row = all_weights()[0]
    needed = record(plane, row.label, b"of the table")
    old = record(plane, "checkpoints/dropped.safetensors", b"of an earlier version")
    by_hand = record(plane, "checkpoints/by_hand.safetensors", b"put there by a person", placed=False)
    replaced = record(plane, "checkpoints/replaced.safetensors", b"of a download")
    replaced.write_bytes(b"of a person..")
    store(plane, "one")
    plane.knobs.missing_methods = {"Weights.needs"}
    plan = asyncio.run(plan_prune(Settings.load()))
    assert plan.silent == ("ryla-comfyui",)
    assert [item.file for item in plan.files] == [LABEL["one"]], "an earlier version may need the others"
    plane.knobs.missing_methods = set()
    (plane.volume("ryla-models") / LABEL["one"]).unlink()
    plane.kill_container()
    assert listed() == ["checkpoints/dropped.safetensors", "checkpoints/replaced.safetensors"], "by their sizes alone"
    done = ryla("weights", "prune", "--yes")
    assert (done.returncode, done.stdout) == (0, b"1 file was removed, 0.0 kB. 1 file was kept: needed by now, or changed since.\n")
    assert (needed.exists(), old.exists(), by_hand.exists(), replaced.exists()) == (True, False, True, True)


def test_an_interrupted_removal_is_completed_by_the_next_one_and_what_is_needed_runs(plane: Loopback, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        store(plane, name)
    deploy(lock("fourth", "four"), tmp_path)
    forget_locks()
    settings = Settings.load()
    plan = asyncio.run(plan_prune(settings))
    assert {item.file for item in plan.files} == {LABEL["one"], LABEL["two"], LABEL["three"]}
    plane.knobs.refuse = {"VolumeCommit": Status.FAILED_PRECONDITION}
    with pytest.raises(RylaGenError):
        asyncio.run(prune(settings, plan))
    plane.knobs.refuse = {}
    plane.kill_container()
    assert models(plane) == {"one", "two", "three", "four"}
    assert not marks(), "no download has to wait for it"
    removals = asyncio.run(prune(settings, asyncio.run(plan_prune(settings))))
    assert {item.outcome for item in removals} == {"removed"}
    assert models(plane) == {"four"}
    verified = asyncio.run(call_weights(deployments.settings_for_app(settings, "fourth"), "verify", {}))
    assert verified["ok"]


def marks() -> dict[str, Any]:
    return {str(key): value for key, value in modal.Dict.from_name(WEIGHTS_DICT, create_if_missing=True).items()}


def test_a_download_waits_for_a_removal_and_a_removal_keeps_what_a_download_needs(plane: Loopback, tmp_path: Path) -> None:
    store(plane, "one")
    fixed = lock("other", "two", sha256=SHA256["two"])
    deploy(fixed, tmp_path)
    forget_locks()
    settings = deployments.settings_for_app(Settings.load(), "other")

    async def waits() -> None:
        await call_weights(settings, "prune", {"hold": "mine"})
        download = asyncio.create_task(weights(settings, "sync", [fixed.python_name]))
        while not any(key.startswith("sync/") for key in await asyncio.to_thread(marks)):
            await asyncio.sleep(0.05)
        assert not download.done()
        await WeightsMarks().release("prune/mine")
        assert (await download)["ok"]

    asyncio.run(waits())
    assert not marks()

    async def keeps() -> None:
        plan = await plan_prune(settings)
        assert [item.file for item in plan.files] == [LABEL["one"]]
        async with WeightsMarks().syncing("elsewhere", NeededFiles(models=frozenset({SHA256["one"]}))):
            assert (await prune(settings, plan)) == ()
        unknown = NeededFiles(models=frozenset({"c" * 32}))
        async with WeightsMarks().syncing("elsewhere", unknown):
            with pytest.raises(StorageFailedError, match="no known hash yet"):
                await prune(settings, plan)

    asyncio.run(keeps())
    assert models(plane) == {"one", "two"}
    needed = NeededFiles().to_data()
    with pytest.raises(StorageFailedError, match="Nothing was removed"):
        asyncio.run(call_weights(settings, "prune", {"needed": needed, "hold": "never", "remove": [LABEL["one"]]}))
    for wrong in (
        {"needed": {"files": "x"}},
        {"needed": needed, "remove": ["x"]},
        {"hold": ""},
        {"needed": needed, "hold": "a", "remove": 1},
    ):
        with pytest.raises(InvalidInputError):
            asyncio.run(call_weights(settings, "prune", wrong))
    assert models(plane) == {"one", "two"}
    no_word_is_a_path(plane, settings, tmp_path)


def no_word_is_a_path(plane: Loopback, settings: Settings, tmp_path: Path) -> None:
    volume = plane.volume("ryla-models")
    (volume / "loras").mkdir()
    (volume / "loras" / "mia.safetensors").write_bytes(b"x")
    (tmp_path / "outside.safetensors").write_bytes(b"x")
    names = ["loras/mia.safetensors", "../outside.safetensors", str(tmp_path / "outside.safetensors"), LABEL["two"], "."]
    asyncio.run(call_weights(settings, "prune", {"hold": "h"}))
    request = {"needed": NeededFiles().to_data(), "hold": "h", "remove": names}
    assert asyncio.run(call_weights(settings, "prune", request))["files"] == [], "its own lock needs that one"
    assert (models(plane), (volume / "loras" / "mia.safetensors").is_file()) == ({"one", "two"}, True)
    assert (tmp_path / "outside.safetensors").is_file()
