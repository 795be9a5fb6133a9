"""The compiled TypeScript, a loopback with the app, and node between them. Modal's SDK comes from npm once per machine."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen.remote import pins
from tests.modal_loopback import Loopback, minimal_environment
from tests.remote.conftest import deployed

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "examples" / "typescript"
SCENARIOS = Path(__file__).parent / "scenarios.mjs"
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
"""All that node sees of the environment of the tests: no setting and no token of whoever runs them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without node there is nothing to test here."""
    if shutil.which("node") is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="node is not installed"))


def execute(*command: str, cwd: Path, timeout: float = 240, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the node world; the variables are added to almost nothing."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **variables}, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, when it went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of an encoded picture."""
    with Image.open(io.BytesIO(picture)) as image:
        return image.size


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """What package-lock.json names, installed once for all sessions of this machine."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    place = Path(tempfile.gettempdir()) / f"ryla-npm-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not place.exists():
        making = Path(tempfile.mkdtemp(prefix="ryla-npm-making-"))
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SOURCES / name, making / name)
        settings = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
        good(execute("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=making, **settings))
        try:
            making.rename(place)
        except OSError:  # another session was faster
            shutil.rmtree(making)
    return place / "node_modules"


@pytest.fixture(scope="session")
def sources(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples with their dependencies; nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("typescript") / "examples"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "*.png"))
    (copy / "node_modules").symlink_to(node_modules)
    return copy


@pytest.fixture(scope="session")
def compiled(sources: Path) -> Path:
    """The folder with what the compiler made."""
    good(execute("node", "node_modules/typescript/bin/tsc", cwd=sources))
    shutil.copyfile(SCENARIOS, sources / "dist" / SCENARIOS.name)
    return sources / "dist"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One loopback with the app; it notices unknown RPCs at its end."""
    folder = tmp_path_factory.mktemp("typescript-app")
    python = minimal_environment(folder / "python", "modal", *pins.SDK, *pins.HUB)
    with deployed(python, folder, heartbeat=0.5) as loopback:
        yield loopback


@pytest.fixture
def app(shared: Loopback) -> Iterator[Loopback]:
    """The shared app, its faults switched off afterwards."""
    yield shared
    shared.knobs.reset()


def _coded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**53:
        return {"$whole": str(value)}
    if isinstance(value, dict):
        return {key: _coded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_coded(item) for item in value]
    return value


def _decoded(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else value


Scenario = Callable[..., Any]


@pytest.fixture
def node(app: Loopback, compiled: Path) -> Scenario:
    """Runs one scenario in a node process of its own, and returns what it answered."""

    def run(name: str, variables: dict[str, str] | None = None, **given: Any) -> Any:
        environment = {**app.env, **(variables or {})}
        printed = good(execute("node", SCENARIOS.name, name, cwd=compiled, stdin=json.dumps(_coded(given)), **environment))
        return json.loads(printed.splitlines()[-1], object_hook=_decoded)

    return run
