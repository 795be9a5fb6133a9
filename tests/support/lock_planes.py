"""Control planes of Modal for locked graphs: nothing is deployed there, and what runs in containers is an emulator of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

ROOT = Path(__file__).resolve().parents[2]
EMULATED = "{python} -m ryla_gen.emulator --port {port} --folder {work} --comfyui {comfyui}"
"""What the workers start in ComfyUI's place."""


@contextmanager
def lock_plane(python: Path, work: Path, command: str = EMULATED, **inside: str) -> Iterator[Loopback]:
    """A control plane.

    Args:
        python: the interpreter of its containers.
        work: where they keep their files.
        command: starts what stands in for ComfyUI.
        inside: more variables of its containers.
    """
    variables = {"RYLA_COMFYUI_COMMAND": command, "RYLA_WORK_FOLDER": str(work), **inside}
    with Loopback(python=python, container_env=variables, max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@contextmanager
def client_of(plane: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Make this process, and those that it starts, clients of a control plane, with Modal as their backend."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with connected(plane):
        yield plane
