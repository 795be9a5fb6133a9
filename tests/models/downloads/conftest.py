"""A hub of its own for every test, rows for its files, and a sync in a process that can be killed."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import RylaGenError
from ryla_gen.models.downloads import Report, sync
from ryla_gen.models.weights_table import Weights

from .hub import COMMIT, Hub

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from ryla_gen.models.downloads import Web, sync
from ryla_gen.models.weights_table import Weights
order = json.loads(sys.stdin.read())
rows = [Weights(**{**row, "nodes": tuple(row["nodes"])}) for row in order.pop("rows")]
web = Web(private_addresses=order.pop("private", False))
report = sync(rows, Path(order.pop("models")), web=web, **order)
print(json.dumps(report.to_data()))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def row(name: str = "a.safetensors", data: bytes | None = None, **other: Any) -> Weights:
    """A row of the table; with ``data`` it knows the size and the hash."""
    known = (
        {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} if data is not None else {"bytes": None, "sha256": None}
    )
    fields = {"folder": "checkpoints", "name": name, "repo": "maker/model", "revision": COMMIT, "file": name, "approx_size": None}
    rest = {"sha256_source": None, "gated": False, "licence": None, "nodes": (), "source": "", "note": None}
    return Weights(**{**fields, **rest, **known, **other})


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(hub: Hub, models: Path) -> Iterator[Start]:
    """Begin a sync in another process; its standard output ends with the report."""
    running: list[subprocess.Popen[str]] = []

    def begin(*rows: Weights, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        import json

        order = {"rows": [asdict(item) for item in rows], "models": str(models), "endpoint": hub.url, **options}
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        command = [sys.executable, "-W", "error", "-c", SCRIPT]
        process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True, env=surroundings, cwd=ROOT)
        assert process.stdin
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        process.stdin = None
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something that another process does."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.01)


DATA = noise(400_000)
SHA = hashlib.sha256(DATA).hexdigest()


def run(hub: Hub, models: Path, *rows: Weights, **options: Any) -> Report:
    """A sync in this process, against the hub of the test."""
    return sync(rows, models, endpoint=hub.url, github=hub.url, **options)


def failure(report: Report) -> RylaGenError:
    """The one error of a report."""
    (item,) = report.failures
    assert item.error is not None
    return item.error
