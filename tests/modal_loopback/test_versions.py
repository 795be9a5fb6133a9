"""The versions of an app, through Modal's own command: history, rollback, stop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from modal.exception import NotFoundError, RemoteError

from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.conftest import check, eventually, run

SOURCE = """
import time
import modal

app = modal.App("numbers", image=modal.Image.debian_slim().add_local_python_source("numbers_app"), tags={{"number": "{number}"}})


@app.cls()
class Numbers:
    @modal.method()
    def number(self):
        return {number}

    @modal.method()
    def wait(self):
        time.sleep(600)
"""

Deploy = Callable[[int], None]


@pytest.fixture
def empty(minimal_python: Path, clean_environment: Path) -> Iterator[Loopback]:
    """A loopback without an app, with this process as its client."""
    with Loopback(python=minimal_python) as loopback:
        with connected(loopback):
            yield loopback
        check(loopback)


@pytest.fixture
def deploy(empty: Loopback, tmp_path: Path) -> Deploy:
    """Deploys an app whose one method returns a number."""

    def deploy(number: int) -> None:
        (tmp_path / "numbers_app.py").write_text(SOURCE.format(number=number))
        line = ("-m", "modal", "deploy", "-m", "numbers_app", "--tag", f"number-{number}")
        done = run(empty, *line, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr

    return deploy


def command(loopback: Loopback, *words: str) -> subprocess.CompletedProcess[str]:
    return run(loopback, "-m", "modal", "app", *words)


def history(loopback: Loopback) -> list[dict[str, Any]]:
    done = command(loopback, "history", "numbers", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert isinstance(rows, list)
    return rows


def numbers() -> Any:
    return modal.Cls.from_name("numbers", "Numbers")()


def test_each_deploy_and_each_rollback_is_a_version_and_brings_its_code(empty: Loopback, deploy: Deploy) -> None:
    deploy(1)
    assert numbers().number.remote() == 1
    deploy(2)
    assert numbers().number.remote() == 2
    rows = history(empty)
    assert [(row["version"], row["tag"], row["deployed_by"]) for row in rows] == [
        ("v2", "number-2", "loopback"),
        ("v1", "number-1", "loopback"),
    ]
    assert {row["client"] for row in rows} == {modal.__version__}
    done = command(empty, "rollback", "numbers")
    assert done.returncode == 0, done.stderr
    assert numbers().number.remote() == 1
    assert [row["version"] for row in history(empty)] == ["v3", "v2", "v1"]
    assert command(empty, "rollback", "numbers", "v2").returncode == 0
    assert numbers().number.remote() == 2
    unknown = command(empty, "rollback", "numbers", "v9")
    assert (unknown.returncode, "no version 9" in unknown.stderr) == (1, True)


def test_a_stopped_app_ends_what_runs_and_is_not_found_by_name_and_a_new_one_counts_from_1(empty: Loopback, deploy: Deploy) -> None:
    deploy(1)
    deploy(2)
    call = numbers().wait.spawn()
    eventually(lambda: any(container.running for container in empty.containers))
    listed = json.loads(run(empty, "-m", "modal", "container", "list", "--json").stdout)
    assert len(listed) == 1
    assert command(empty, "stop", "numbers", "--yes").returncode == 0
    with pytest.raises((RemoteError, modal.exception.InputCancellation)):
        call.get()
    eventually(lambda: all(container.exit_code is not None for container in empty.containers))
    with pytest.raises(NotFoundError):
        numbers().number.remote()
    again = command(empty, "stop", "numbers", "--yes")
    assert (again.returncode, "already stopped" in again.stderr, "by 'loopback'" in again.stderr) == (1, True, True)
    assert [row["version"] for row in history(empty)] == ["v2", "v1"], "Modal's command finds the app that was stopped last"
    assert "not deployed" in command(empty, "rollback", "numbers").stderr
    deploy(3)
    assert [row["version"] for row in history(empty)] == ["v1"]
    assert numbers().number.remote() == 3
