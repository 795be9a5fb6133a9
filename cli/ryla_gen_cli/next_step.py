"""Print one command that leads on after a result, each kind of advice once. Must not decide anything about the run."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ryla_gen.support.state_files import read_state, write_state

if TYPE_CHECKING:
    from ryla_gen.results import Generation
    from ryla_gen.settings import Settings

    from .screen import Screen

TOLD = "next-steps-told.json"
"""In the home folder: the kinds of advice that were given."""
PORT = 8188
"""Where ComfyUI listens on this machine unless told otherwise."""
PATIENCE = 0.5
"""Seconds for a server on this machine to say what it is; where none listens, that is known at once."""


class NextStep(NamedTuple):
    """A piece of advice."""

    kind: str
    text: str


def advise(screen: Screen, settings: Settings, generation: Generation) -> None:
    """Print the next step that fits, on a terminal, unless one of its kind was printed before."""
    if screen.json or screen.quiet or not (sys.stderr.isatty() and sys.stdout.isatty()):
        return
    told = _read_told(settings.home)
    step = choose_step(settings, generation, screen.file, told)
    if step is None:
        return
    screen.note(step.text)
    with suppress(OSError):  # if that fails, it is printed again the next time
        write_state(settings.home / TOLD, sorted({*told, step.kind}))


def choose_step(settings: Settings, generation: Generation, file: str, told: frozenset[str], port: int = PORT) -> NextStep | None:
    """Choose the advice for a result; None where none fits, or it was given.

    Args:
        settings: of the run.
        generation: the result.
        file: the graph that was run; empty for a built-in workflow.
        told: the kinds that were given.
        port: where a ComfyUI of this machine would listen.

    """
    if generation.cost.total_usd and "costs" not in told:
        return NextStep("costs", "Next, what your pictures cost: ryla-gen costs")
    if generation.backend != "emulator":
        return None
    if file.endswith(".json") and "graph" not in told:
        return NextStep("graph", "Next, this graph on your own GPUs: ryla-gen graph lock FILE.json")
    if settings.origin("backend") != "default" or "gpu" in told:
        return None
    if is_comfyui(port):
        return NextStep("gpu", f"Next, on the ComfyUI of this machine: ryla-gen init --url http://127.0.0.1:{port}")
    return NextStep("gpu", "Next, on a GPU: ryla-gen init --backend modal   (ryla-gen init shows all choices)")


def is_comfyui(port: int) -> bool:
    """Whether a ComfyUI answers on a port of this machine; the emulator does not count."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/system_stats")
        system = json.loads(connection.getresponse().read(1_000_000))["system"]
        return "comfyui_version" in system and "emulator" not in system
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        connection.close()


def _read_told(home: Path) -> frozenset[str]:
    held = read_state(home / TOLD)
    return frozenset(str(kind) for kind in held) if isinstance(held, list) else frozenset()
