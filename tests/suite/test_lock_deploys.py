"""Deploys of locks that end early or go back: nothing is half-deployed, and the caller is told which lock is live."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError
from modal_proto import api_pb2 as pb

from ryla_gen import Client, Settings
from ryla_gen.errors import HashMismatchError, InvalidInputError, ModelNotFoundError, RylaGenError, StorageFailedError
from ryla_gen.locks.graph_lock import GraphLock, LockedInput, lock_digest, lock_text
from ryla_gen.remote import deployments
from ryla_gen.remote.deployments import settings_for_app
from ryla_gen.remote.graph_deploy import DeployReports, deploy_lock
from ryla_gen.remote.graph_fetch import fetch_lock
from ryla_gen.remote.pruning import plan_prune
from ryla_gen.workflows.registry import locks_folder, workflow_class
from tests.cli.shell import COMMAND, envelope, ryla, started
from tests.cli.terminal import terminal
from tests.locks.locking import COLOUR_INPUT, PORTRAIT, checkpoint, colour_lock, portrait_lock, write_lock
from tests.modal_loopback import Loopback
from tests.models.downloads.hub import Hub
from tests.models.loras.files import lora
from tests.support.lock_planes import ROOT, client_of, lock_plane

pytestmark = pytest.mark.timeout(400)
"""Each test deploys and starts several processes."""

TINY = b"tiny weights" * 100
SLOW = b"large weights" * 100_000
SLOW_URL = "https://huggingface.co/maker/slow/resolve/main/slow.safetensors"
ENDS_WITHIN = 120.0
"""Seconds after which an interrupted command hangs."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        server.put("maker/model", "tiny.safetensors", TINY)
        server.put("maker/slow", "slow.safetensors", SLOW)
        yield server


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with what the hostile app says."""
    return tmp_path_factory.mktemp("hostile") / "answer.py"


@pytest.fixture(scope="module")
def control(worker_python: Path, hub: Hub, answer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    inside = {"HF_ENDPOINT": hub.url, "RYLA_CHECK_WEIGHTS": "1", "HOSTILE_ANSWER": str(answer)}
    with lock_plane(worker_python, tmp_path_factory.mktemp("work"), **inside) as loopback:
        yield loopback


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with client_of(control, monkeypatch):
        yield control
    control.knobs.reset()


def deploy(lock: GraphLock, folder: Path) -> None:
    deploy_lock(write_lock(lock, folder), DeployReports(lambda sources: None, lambda line: None))


def is_deployed(plane: Loopback, app: str) -> bool:
    try:
        plane.registered(app)
    except GRPCError:
        return False
    return True


def versions(name: str) -> list[int]:
    found = asyncio.run(deployments.history(settings_for_app(Settings.load(), name)))
    return [item.version for item in found]


def until(true: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


def interrupted(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Interrupt a command as a terminal would not: it alone, and not what it has started."""
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    return dict(envelope(out)["error"])


# -- models come first -----------------------------------------------------------------------------------------------


def test_a_download_that_fails_leaves_what_is_live_as_it_was(plane: Loopback, tmp_path: Path) -> None:
    deploy(colour_lock("again"), tmp_path)
    kept = (locks_folder() / "again.lock").read_text()
    with pytest.raises(HashMismatchError):
        deploy(portrait_lock("again", models=(checkpoint(sha256="0" * 64),)), tmp_path / "new")
    assert versions("again") == [1]
    assert (locks_folder() / "again.lock").read_text() == kept
    with pytest.raises(HashMismatchError):
        deploy(portrait_lock("never", models=(checkpoint(sha256="0" * 64),)), tmp_path)
    assert not is_deployed(plane, "ryla-never")
    with Client("modal") as client:
        assert client.run(workflow_class("again")(color=5)).outputs[0].kind == "image"


def test_the_lock_that_is_live_has_the_hash_that_its_download_fixed(plane: Loopback, tmp_path: Path) -> None:
    deploy(portrait_lock("fixed"), tmp_path)
    digest = lock_digest((locks_folder() / "fixed.lock").read_text())
    (live,) = asyncio.run(deployments.history(settings_for_app(Settings.load(), "fixed")))
    assert (live.lock, live.comfyui) == (digest, ("0.28.2",))
    assert hashlib.sha256(TINY).hexdigest() in (locks_folder() / "fixed.lock").read_text()
    assert f"lock {digest}" in str(live)


# -- files of the volume ---------------------------------------------------------------------------------------------


LORA = {"lora_name": "my-style.safetensors", "strength_model": 1.0, "model": ["1", 0]}


def put(plane: Loopback, label: str, data: bytes) -> None:
    """Put a file on the volume, as people do; the next container sees it."""
    path = plane.volume("ryla-models") / label
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    plane.kill_container()


def test_a_checkpoint_and_a_stored_lora_of_the_volume_are_locked_deployed_and_kept(
    plane: Loopback, hub: Hub, tmp_path: Path
) -> None:
    mine, style = b"my own weights" * 100, tmp_path / "style.safetensors"
    style.write_bytes(lora())
    put(plane, "checkpoints/tiny.safetensors", mine)
    pushed = ryla("lora", "push", str(style), "--id", "my-style", "--base", "flux", "--json")
    assert pushed.returncode == 0, pushed.stdout
    graph = {**PORTRAIT, "9": {"class_type": "LoraLoaderModelOnly", "inputs": dict(LORA)}}
    graph["4"] = {**PORTRAIT["4"], "inputs": {**PORTRAIT["4"]["inputs"], "model": ["9", 0]}}
    drawing, path = tmp_path / "of-the-volume.json", tmp_path / "of-the-volume.lock"
    drawing.write_text(json.dumps(graph), encoding="utf-8")
    asked = ryla("graph", "lock", str(drawing), "-o", str(path), "--json")
    (question,) = envelope(asked.stdout)["data"]["open"]
    assert question["command"].endswith("--model checkpoints/tiny.safetensors=volume")
    made = ryla("graph", "lock", str(drawing), "-o", str(path), "--model", "tiny.safetensors=volume", "--json")
    assert made.returncode == 0, made.stderr
    rows = {item["file"]: item for item in envelope(made.stdout)["data"]["models"]}
    assert (rows["tiny.safetensors"]["sha256"], rows["tiny.safetensors"]["url"]) == (hashlib.sha256(mine).hexdigest(), "")
    assert rows["my-style.safetensors"]["source"] == "volume: LoRA my-style"
    assert rows["my-style.safetensors"]["sha256"] == hashlib.sha256(style.read_bytes()).hexdigest()
    sent = hub.sent
    deploy_lock(path, DeployReports(lambda sources: None, lambda line: None))
    assert hub.sent == sent, "nothing is downloaded"
    with Client("modal") as client:
        assert client.run(workflow_class("of-the-volume")(prompt="a woman")).outputs[0].kind == "image"
    unneeded = asyncio.run(plan_prune(Settings.load())).files
    assert not [item for item in unneeded if item.file.startswith(("checkpoints/", "loras/"))]


def test_what_the_volume_of_another_environment_lacks_is_said_before_anything_is_built(plane: Loopback, tmp_path: Path) -> None:
    before = plane.counts["ImageGetOrCreate"]
    absent = checkpoint("", sha256=hashlib.sha256(b"absent").hexdigest(), bytes=6, source="volume")
    with pytest.raises(ModelNotFoundError) as caught:
        deploy(portrait_lock("absent", models=(absent,)), tmp_path)
    assert "--model checkpoints/tiny.safetensors=ADDRESS" in caught.value.hint
    assert plane.counts["ImageGetOrCreate"] == before
    put(plane, "checkpoints/tiny.safetensors", b"sbsent")  # as long as that one
    with pytest.raises(ModelNotFoundError) as caught:
        deploy(portrait_lock("absent", models=(absent,)), tmp_path)
    assert "no file with its sha256" in caught.value.message
    assert not is_deployed(plane, "ryla-absent")


# -- interrupts ------------------------------------------------------------------------------------------------------


def test_ctrl_c_at_the_question_agrees_to_nothing(plane: Loopback, tmp_path: Path) -> None:
    path = write_lock(colour_lock("asked"), tmp_path)
    with terminal(*COMMAND, "deploy", str(path), folder=tmp_path) as there:
        there.until("[y/N]")
        there.interrupt()
        code, said = there.finish()
    assert code in (130, -signal.SIGINT), said  # a second interrupt, on a busy machine: the same to a shell
    assert b"the work was canceled" not in said, "there was none"
    assert b"Traceback" not in said
    assert not is_deployed(plane, "ryla-asked")
    asked_again = ryla("deploy", str(path), "--json")
    assert b"needs confirmation" in asked_again.stdout


def test_ctrl_c_while_models_come_stops_the_download_and_the_next_deploy_goes_on(plane: Loopback, hub: Hub, tmp_path: Path) -> None:
    path = write_lock(portrait_lock("halfway", models=(checkpoint(SLOW_URL, file="tiny.safetensors"),)), tmp_path)
    before, hub.knobs.speed = hub.sent, 50_000
    process = started("deploy", str(path), "--yes", "--json")
    until(lambda: hub.sent > before + 20_000, process)
    error = interrupted(process)
    assert error["code"] == "job_canceled"
    assert not is_deployed(plane, "ryla-halfway")
    assert not (locks_folder() / "halfway.lock").exists()
    downloading = [item for item in plane.containers if item.function.app.state != pb.APP_STATE_DEPLOYED]
    assert downloading
    deadline = time.monotonic() + 100
    while any(item.exit_code is None for item in downloading):
        assert time.monotonic() < deadline, "a download goes on"
        time.sleep(0.02)
    hub.knobs.speed = 0
    done = ryla("deploy", str(path), "--yes", "--json")
    assert done.returncode == 0, done.stdout
    assert is_deployed(plane, "ryla-halfway")


@pytest.mark.parametrize("step", ["ImageGetOrCreate", "FunctionCreate"])
def test_ctrl_c_while_it_is_built_leaves_nothing_and_the_next_deploy_completes(plane: Loopback, tmp_path: Path, step: str) -> None:
    name = f"built-{step.lower()}"
    path = write_lock(colour_lock(name), tmp_path)
    before, plane.knobs.delay = plane.counts[step], {step: 20.0}
    process = started("deploy", str(path), "--yes", "--json")
    until(lambda: plane.counts[step] > before, process)
    interrupted(process)
    plane.knobs.reset()
    assert not is_deployed(plane, f"ryla-{name}")
    done = ryla("deploy", str(path), "--yes", "--json")
    assert done.returncode == 0, done.stdout
    assert is_deployed(plane, f"ryla-{name}")


# -- rollbacks -------------------------------------------------------------------------------------------------------


def test_after_a_rollback_the_name_means_what_is_live_and_elsewhere_it_is_said(
    plane: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = colour_lock("back"), colour_lock("back")
    second = replace(second, inputs=(replace(COLOUR_INPUT, name="tint"),))
    deploy(first, tmp_path / "one")
    deploy(second, tmp_path / "two")
    digests = [lock_digest(lock_text(item)) for item in (first, second)]
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("RYLA_GEN_HOME", str(elsewhere))
    path = asyncio.run(fetch_lock("back", Settings.load()))
    assert lock_digest(path.read_text()) == digests[1]
    monkeypatch.undo()
    with client_of(plane, monkeypatch):
        monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "home"))
        back = ryla("deploy", "rollback", "back", "--yes")
        assert back.returncode == 0, back.stderr
        said = (back.stdout + back.stderr).decode()
        assert f"lock {digests[0]}" in said
        assert f"Its lock {digests[0]} is now the one that the name back means here" in said
        with Client("modal") as client:
            assert client.graphs.back(color=3).workflow.name == "back"
        shown = ryla("deploy", "history", "back", "--json")
        assert [item["lock"] for item in envelope(shown.stdout)["data"]["items"]] == [digests[0], digests[1], digests[0]]
        monkeypatch.setenv("RYLA_GEN_HOME", str(elsewhere))
        with Client("modal") as client, pytest.raises(HashMismatchError) as refused:
            client.graphs.back(tint=3)
        assert (refused.value.details["live"], refused.value.details["lock"]) == (digests[0], digests[1])
        assert refused.value.started == "no"
        assert str(elsewhere / "locks" / "back.lock") in refused.value.hint
        (elsewhere / "locks" / "back.lock").unlink()
        with Client("modal") as client:
            assert client.graphs.back(color=4).workflow.name == "back"


# -- another machine -------------------------------------------------------------------------------------------------


def test_a_job_and_a_picture_of_a_lock_that_is_not_known_here_bring_it(
    plane: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(colour_lock("far-away"), tmp_path)
    with Client("modal") as client:
        job = client.submit(workflow_class("far-away")(color=9))
        saved = job.result().outputs[0].save(tmp_path / "made.png")
        record = client.history.get(job.id)
    assert record is not None
    assert record.handle is not None
    for home, line in (("second", ("jobs", "result", record.handle, "-o", str(tmp_path / "fetched.png"))), ("third", ())):
        monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / home))
        line = line or ("rerun", str(saved), "-o", str(tmp_path / "again.png"), "--backend", "modal")
        done = ryla(*line, RYLA_GEN_BACKEND="emulator")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / home / "locks" / "far-away.lock").is_file()


def test_a_price_above_the_limit_is_refused_before_anything_is_sent(plane: Loopback, tmp_path: Path) -> None:
    deploy(colour_lock("dear"), tmp_path)
    before = len(plane.calls)
    done = ryla("run", "dear", "--color", "3", "--max-usd", "0.000001", "-o", str(tmp_path / "x.png"), "--json")
    assert envelope(done.stdout)["error"]["code"] == "budget_exceeded"
    assert len(plane.calls) == before
    done = ryla("run", "dear", "--color", "3", "--max-usd", "100", "-o", str(tmp_path / "x.png"), "--json")
    assert done.returncode == 0, done.stderr


# -- faults of containers, and what strangers deploy -----------------------------------------------------------------


def test_a_fault_in_a_lock_s_container_names_the_log_of_its_own_app(
    worker_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    with lock_plane(worker_python, tmp_path / "file" / "work") as plane, client_of(plane, monkeypatch):
        deploy(colour_lock("faulty"), tmp_path)
        with Client("modal") as client, pytest.raises(StorageFailedError) as caught:
            client.run(workflow_class("faulty")(color=1))
        assert "ryla-gen jobs logs ryla-faulty" in caught.value.hint


@pytest.fixture(scope="module")
def hostile(control: Loopback) -> None:
    """An app of a stranger under the name of a lock's."""
    environment = {**os.environ, **control.env}
    command = [sys.executable, "-m", "modal", "deploy", "-m", "hostile_app"]
    folder = ROOT / "tests" / "modal_loopback" / "sample"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def described(of: GraphLock, folder: Path, **changes: str) -> str:
    """What an honest app would answer, with a part of it replaced."""
    path = write_lock(of, folder)
    parts = {"lock": path.read_text(), "requirements": path.with_name(of.image.python.file).read_text(), **changes}
    return repr({"contract": 2, "ok": True, "describe": parts})


@pytest.mark.usefixtures("hostile")
def test_a_hostile_description_is_a_typed_error_and_leaves_nothing(plane: Loopback, answer: Path, tmp_path: Path) -> None:
    honest = colour_lock("hostile")
    text = lock_text(honest)
    code = LockedInput("color", "int", ("1.color",), "x", "__import__('os').system('id')")
    answers = [
        "None",
        "[1, 2]",
        "'text'",
        "1 / 0",
        "{'contract': [1]}",
        "{'contract': 'x' * 100_000}",
        "{'contract': 2, 'describe': 7}",
        "{'contract': 2, 'describe': {'lock': 1, 'requirements': None}}",
        "{'contract': 2, 'describe': {'lock': '[' * 200_000, 'requirements': ''}}",
        "{'contract': 2, 'describe': {'lock': 'x = 1\\n' * 400_000, 'requirements': ''}}",
        described(colour_lock("other-name"), tmp_path / "a"),
        described(replace(honest, inputs=(code,)), tmp_path / "b"),
        described(honest, tmp_path / "c", requirements="evil==1 --index-url http://x\n"),
        described(honest, tmp_path / "d", lock=text.replace('"color":7', '"color":8').replace('\\"color\\":7', '\\"color\\":8')),
        described(honest, tmp_path / "e", lock=text.replace('name = "hostile"', 'name = "hos\\u0007tile"')),
        described(honest, tmp_path / "f", lock=text.replace('name = "color"', 'name = "__class__"')),
        described(honest, tmp_path / "g", lock=text.replace('name = "hostile"', 'name = "../hostile"')),
    ]
    for item in answers:
        answer.write_text(item, encoding="utf-8")
        with pytest.raises(RylaGenError) as caught:
            asyncio.run(fetch_lock("hostile", Settings.load()))
        assert len(caught.value.message) < 2000, item[:80]
        assert list(locks_folder().glob("*")) == [], item[:80]
    answer.write_text(described(honest, tmp_path / "h"), encoding="utf-8")
    assert asyncio.run(fetch_lock("hostile", Settings.load())).is_file()


def test_a_name_that_no_app_has_stays_unknown(plane: Loopback) -> None:
    with Client("modal") as client, pytest.raises(InvalidInputError, match="no workflow"):
        client.graphs.nobody_deployed_this(color=1)
