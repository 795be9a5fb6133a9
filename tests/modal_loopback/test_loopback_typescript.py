"""Modal's TypeScript SDK against the loopback: the same methods, in CBOR, with Buffers for bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.modal_loopback import Loopback

MODAL_JS = "modal@0.11.1"
"""Modal's own SDK; the package's ``latest`` tag is an unrelated DOM library."""
SCRIPT = Path(__file__).parent / "typescript.mjs"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """A folder with the SDK, installed once for all sessions of this machine."""
    folder = Path(tempfile.gettempdir()) / f"ryla-{MODAL_JS.replace('@', '-')}"
    if not (folder / "node_modules" / "modal").is_dir():
        making = Path(tempfile.mkdtemp(prefix="ryla-npm-"))
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", MODAL_JS]
        subprocess.run(command, cwd=making, check=True, capture_output=True, timeout=600)
        if not folder.exists():
            making.rename(folder)
    return folder


def call(loopback: Loopback, node_modules: Path, method: str, request: dict[str, Any]) -> dict[str, Any]:
    script = node_modules / SCRIPT.name  # imports are looked up beside the file
    shutil.copyfile(SCRIPT, script)
    command = ["node", str(script), method, json.dumps(request)]
    result = subprocess.run(command, env={**os.environ, **loopback.env}, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    reply: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return reply


def test_a_method_takes_and_returns_plain_data_and_bytes(sample: Loopback, node_modules: Path) -> None:
    request = {"prompt": "ein Leuchtturm — 灯台", "seed": 7, "nested": [{"a": None, "b": 1.5}]}
    assert call(sample, node_modules, "echo", request) == {**request, "image": "\x89PNG"}


def test_an_exception_arrives_as_text(sample: Loopback, node_modules: Path) -> None:
    assert "no face" in call(sample, node_modules, "fail", {"text": "no face"})["error"]
