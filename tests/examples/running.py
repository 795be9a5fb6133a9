"""Runs an example as a reader would: the command of its docstring, in a folder of its own, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.conftest import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 240


@dataclass(frozen=True)
class Run:
    """What one run of an example did."""

    code: int
    said: str
    """What it wrote to stdout."""
    told: str
    """What it wrote to stderr."""
    new: tuple[Path, ...]
    """Files that were not there before, by name."""
    changed: tuple[Path, ...]
    """Files that were there before and hold something else now."""


def run(folder: Path, *command: str, **variables: str) -> Run:
    """Run a command of Python's in a folder, with nothing of this machine's settings.

    Args:
        folder: what it writes goes to ``work`` in it, its configuration to ``home``.
        command: Python's arguments.
        variables: further environment.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    paths = os.pathsep.join(filter(None, (variables.pop("PYTHONPATH", ""), str(ROOT), str(ROOT / "cli"))))
    environment = {**kept, "RYLA_GEN_HOME": str(folder / "home"), "PYTHONPATH": paths, "PYTHONWARNINGS": "error", **variables}
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    before = _contents(work)
    done = subprocess.run(
        [sys.executable, *command], cwd=work, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    after = _contents(work)
    new = tuple(path for path in after if path not in before)
    changed = tuple(path for path in before if after.get(path) != before[path])
    return Run(done.returncode, done.stdout, done.stderr, new, changed)


def example(folder: Path, name: str, *arguments: str, **variables: str) -> Run:
    """Run one of the examples; see :func:`run`."""
    return run(folder, str(EXAMPLES / f"{name}.py"), *arguments, **variables)


def _contents(folder: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture that opens and is not flat."""
    with Image.open(path) as picture:
        spread = max(high - low for low, high in picture.convert("RGB").getextrema())  # type: ignore[misc]
        assert spread > 100, f"{path.name} is flat"
        return picture.size
