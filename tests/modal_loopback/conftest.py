"""The loopbacks of these tests: one with the sample app that many share, and fresh ones for what ends badly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected

SAMPLE = Path(__file__).parent / "sample"


def run(loopback: Loopback, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a client process in the folder of the sample app."""
    environment = {**os.environ, **loopback.env, **variables}
    return subprocess.run([sys.executable, *command], cwd=SAMPLE, env=environment, capture_output=True, text=True, timeout=600)


def deploy(loopback: Loopback) -> None:
    """Deploy the sample app with Modal's own command."""
    result = run(loopback, "-m", "modal", "deploy", "-m", "sample_app")
    assert result.returncode == 0, result.stdout + result.stderr


def check(loopback: Loopback) -> None:
    """Nothing was asked for that the loopback does not have, and it made no fault of its own."""
    assert loopback.unknown_rpcs == []
    assert loopback.bugs == []


def worker(name: str = "Worker") -> Any:
    """An instance of a class of the sample app, found by name."""
    return modal.Cls.from_name("sample", name)()


def eventually(true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def minimal_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with Modal and nothing else, for containers."""
    return minimal_environment(tmp_path_factory.mktemp("minimal"), "modal")


@pytest.fixture(scope="session")
def shared(minimal_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One loopback with the sample app deployed."""
    trace = tmp_path_factory.mktemp("shared") / "trace"
    options = {"SAMPLE_TRACE": str(trace), "SAMPLE_CONTAINER": "from the loopback"}
    secrets = {"sample-secret": {"SAMPLE_SECRET": "from the secret"}}
    with Loopback(
        python=minimal_python, container_env=options, secrets=secrets, environments=("main", "staging"), max_containers=1
    ) as loopback:
        deploy(loopback)
        yield loopback
        check(loopback)


@pytest.fixture
def sample(shared: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared loopback, with this process as its client and all knobs as they were."""
    with connected(shared):
        yield shared
    shared.knobs.reset()
    check(shared)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file in which the containers of ``fresh`` tell what happened."""
    return tmp_path / "trace"


@pytest.fixture
def fresh(minimal_python: Path, trace: Path, clean_environment: Path) -> Iterator[Loopback]:
    """A loopback of this test's own, with the sample app deployed, and this process as its client."""
    with Loopback(python=minimal_python, container_env={"SAMPLE_TRACE": str(trace)}, max_containers=1) as loopback:
        deploy(loopback)
        with connected(loopback):
            yield loopback
        check(loopback)
