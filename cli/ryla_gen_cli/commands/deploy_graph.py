"""Implement ``ryla-gen deploy FILE.lock``: deploy a locked graph as an app of its own, after showing whose code it brings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.errors import PlainData
from ryla_gen.remote.graph_deploy import DeployedGraph, DeployReports, deploy_lock
from ryla_gen.support.counting import count_text

from ..common import Json, Quiet, grouped, screen_of
from ..machine_options import MachineOptions
from ..prompts import Yes, confirm
from ..screen import Screen
from ..transfers import transfer_progress

Lock = Annotated[Path, typer.Argument(metavar="FILE.lock", help="Lock of a graph, as ryla-gen graph lock writes it.")]


@grouped
def graph(
    context: typer.Context,
    lock: Lock,
    machine: MachineOptions,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Deploy a locked graph as an app of its own, and download its models to the volume. Short: ryla-gen deploy FILE.lock."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)

    def ask(sources: list[str]) -> None:
        screen.note("The containers run code and load files from:")
        for source in sources:
            screen.note(f"  {source}")
        whose = "this source" if len(sources) == 1 else f"these {count_text(len(sources), 'source')}"
        confirm(screen, f"Deploy {lock.name} with {whose}?", yes=yes)

        screen.working = True  # from here on an interrupt stops work, and before it only a question

    with ExitStack() as opened:
        bars: list[Callable[[PlainData], None]] = []

        def show(progress: PlainData) -> None:
            if not bars:  # not before there is something to show: a bar would stand over the question
                bars.append(opened.enter_context(transfer_progress(screen)))
            bars[0](progress)

        done = deploy_lock(lock, DeployReports(ask, screen.note, show), machine.changes())
    screen.working = False
    _tell(screen, done)


def _tell(screen: Screen, done: DeployedGraph) -> None:
    for label in done.fixed:
        screen.note(f"The hash of {label} is fixed now, and written into the lock.")
    data = {"app": done.app, "lock": str(done.path), "fixed": list(done.fixed), "files": done.report["files"]}
    files = count_text(len(done.report["files"]), "model is", "models are")
    text = f"{done.app} is deployed, and {files} in place ({done.seconds:.0f} s)."
    screen.result({**data, "seconds": done.seconds, "url": done.url}, text)
    screen.note(f"Run it: ryla-gen run {done.lock.name} --help")
