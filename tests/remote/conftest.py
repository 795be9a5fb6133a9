"""The real app on a loopback of Modal: deployed with Modal's command, run in containers that have only what the image installs."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import modal
import pytest

from ryla_gen.names import APP
from ryla_gen.remote import pins
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.modal_loopback.state import Container

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = "{python} -m ryla_gen.emulator --port {port} --folder {work} --comfyui {comfyui}"
"""What the worker starts in ComfyUI's place."""

SMALL = {"prompt": "a red fox in the snow", "width": 256, "height": 256, "steps": 2, "seed": 7}
SEEDS = itertools.count(1000)

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def container_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what the images install for us, and nothing of the tests."""
    return minimal_environment(tmp_path_factory.mktemp("container-python"), "modal", *pins.SDK, *pins.HUB)


def deploy(loopback: Loopback, home: Path, **variables: str) -> None:
    """Deploy the app as its README says."""
    environment = {**os.environ, **loopback.env, "RYLA_GEN_HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    call = [sys.executable, "-m", "modal", "deploy", "-m", "ryla_gen.remote.app"]
    done = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def deployed(python: Path, folder: Path, env: Mapping[str, str] | None = None, **options: Any) -> Iterator[Loopback]:
    """A loopback with the app."""
    container_env = {"RYLA_COMFYUI_COMMAND": EMULATOR, "RYLA_WORK_FOLDER": str(folder / "work"), "RYLA_COLD_SECONDS": "120"}
    container_env |= env or {}
    with Loopback(python=python, container_env=container_env, **{"max_containers": 1, **options}) as loopback:
        deploy(loopback, folder)
        try:
            yield loopback
        finally:
            assert loopback.unknown_rpcs == []
            assert loopback.bugs == []


@pytest.fixture(scope="session")
def shared_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the containers of the shared app have their disks, each under its name."""
    return tmp_path_factory.mktemp("shared") / "work"


@pytest.fixture(scope="session")
def shared(container_python: Path, shared_work: Path) -> Iterator[Loopback]:
    """One deployed app for every test that leaves it as it was."""
    with deployed(container_python, shared_work.parent) as loopback:
        yield loopback


@pytest.fixture
def app(shared: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared app, with this process as its client."""
    with connected(shared):
        yield shared
    shared.knobs.reset()


@pytest.fixture
def fresh(container_python: Path, tmp_path: Path, clean_environment: Path) -> Iterator[Open]:
    """Opens an app of this test's own, with variables for its containers."""
    opened = []

    def open_(env: Mapping[str, str] | None = None, **options: Any) -> Loopback:
        context = deployed(container_python, tmp_path, env, **options)
        loopback = context.__enter__()
        client = connected(loopback)
        client.__enter__()
        opened.extend([context, client])
        return loopback

    yield open_
    for context in reversed(opened):
        context.__exit__(None, None, None)


def long() -> dict[str, Any]:
    """A request that takes several seconds, under a seed of its own: ComfyUI would answer the same one again at once."""
    return {**SMALL, "width": 2048, "height": 2048, "steps": 50, "batch_size": 2, "seed": next(SEEDS)}


def method(name: str, cls: str = "Flux") -> Any:
    """A remote method, found as anybody finds it."""
    return getattr(modal.Cls.from_name(APP, cls)(), name)


def events_of(job: str) -> list[dict[str, Any]]:
    """Everything in a job's partition, taken out."""
    queue = modal.Queue.from_name("ryla-events", create_if_missing=True)
    return queue.get_many(5000, block=False, partition=job)


def eventually(true: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
    return value


def all_events_of(job: str) -> list[dict[str, Any]]:
    """Everything in a job's partition to its last event, taken out: that one may arrive after the reply."""
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        seen.extend(events_of(job))
        return any(item["type"] == "finished" for item in seen)

    eventually(ended)
    return seen


def comfyui_of(container: Container) -> int | None:
    """Process id of what runs in ComfyUI's place in a container."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"ryla_gen.emulator" in (folder / "cmdline").read_bytes():
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if container.process is not None and parent == container.process.pid:
                    return int(folder.name)
        except OSError:
            continue
    return None


def told(container: Container, path: str) -> Any:
    """What a container's ComfyUI answers; nothing when it is not there."""
    pid = comfyui_of(container)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if pid else []
        port = int(words[words.index(b"--port") + 1])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return json.load(answer)
    except (OSError, ValueError, http.client.HTTPException):
        return {}


def has_prompt(container: Container, job: str) -> bool:
    """Whether a container's ComfyUI runs a job, by its own word."""
    return job in json.dumps(told(container, "/queue"))


def ran_whole(loopback: Loopback) -> set[str]:
    """The jobs that some ComfyUI has run to their end."""
    histories = [told(container, "/history") for container in loopback.containers if container.exit_code is None]
    return {job for history in histories for job, entry in history.items() if entry["status"]["status_str"] == "success"}


def running(loopback: Loopback, job: str) -> Container:
    """Wait until a job has made a step, and return its container."""
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + 100
    while not any(item["type"] == "progress" and item["step"] > 0 for item in seen):
        assert time.monotonic() < deadline, f"no step in {seen}\n{loopback.log[-3000:]}"
        seen += events_of(job)
        time.sleep(0.02)
    return next(container for container in loopback.containers if container.exit_code is None and container.running)


def started(job: str, times: int = 1) -> None:
    """Wait until a container knows that its ComfyUI has begun a job, once or more often: that the queue has it is known earlier."""
    seen: list[dict[str, Any]] = []

    def enough() -> bool:
        seen.extend(events_of(job))
        return sum(item["type"] == "started" for item in seen) >= times

    eventually(enough)


def strike(container: Container, number: signal.Signals) -> int:
    """Send ComfyUI a signal; its process id."""
    pid = comfyui_of(container)
    assert pid is not None, "no ComfyUI runs in there"
    os.kill(pid, number)
    return pid
