"""Implement ``ryla-gen deploy FILE.lock``: deploy a locked graph as an app of its own, after showing whose code it brings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.remote.deploy import DeployChanges
from ryla_gen.remote.graph_deploy import DeployedGraph, DeployReports, deploy_lock
from ryla_gen.support.counting import count_text

from ..common import Environment, Json, Quiet, screen_of
from ..machine_options import Count, Gpu, Most, Region, Spare, Window
from ..prompts import Yes, confirm
from ..screen import Screen

Lock = Annotated[Path, typer.Argument(metavar="FILE.lock", help="Lock of a graph, as ryla-gen graph lock writes it.")]


def graph(
    context: typer.Context,
    lock: Lock,
    gpu: Gpu = None,
    min_containers: Count = None,
    max_containers: Most = None,
    buffer_containers: Spare = None,
    window: Window = None,
    region: Region = None,
    environment: Environment = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Deploy a locked graph as an app of its own, and download its models to the volume. Short: ryla-gen deploy FILE.lock."""
    from .weights import transfer_progress  # the screen of downloads

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    changes = DeployChanges(
        gpu=tuple(name.strip() for name in gpu.split(",") if name.strip()) if gpu else None,
        min_containers=min_containers,
        max_containers=max_containers,
        buffer_containers=buffer_containers,
        scaledown_window=window,
        region=region,
        environment=environment,
    )

    def ask(sources: list[str]) -> None:
        screen.note("The containers run code and load files from:")
        for source in sources:
            screen.note(f"  {source}")
        confirm(screen, f"Deploy {lock.name} with these {count_text(len(sources), 'source')}?", yes=yes)

    with transfer_progress(screen) as show:
        done = deploy_lock(lock, DeployReports(ask, screen.note, show), changes)
    _tell(screen, done)


def _tell(screen: Screen, done: DeployedGraph) -> None:
    for label in done.fixed:
        screen.note(f"The hash of {label} is fixed now, and written into the lock.")
    data = {"app": done.app, "lock": str(done.path), "fixed": list(done.fixed), "files": done.report["files"]}
    files = count_text(len(done.report["files"]), "model is", "models are")
    text = f"{done.app} is deployed, and {files} in place ({done.seconds:.0f} s)."
    screen.result({**data, "seconds": done.seconds, "url": done.url}, text)
    screen.note(f"Run it: ryla-gen run {done.lock.name} --help")
