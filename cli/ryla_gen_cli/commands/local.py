"""Implement ``ryla-gen local``: install ComfyUI on this machine at the pinned versions, start it in the background, stop it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.graph_lock import GraphLock
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.settings import home_folder
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async
from ryla_gen.support.numbers import format_bytes
from ryla_gen.workflows.registry import workflow_class

from ..common import Json, Quiet, example, group, screen_of
from ..prompts import Yes, confirm
from ..screen import Screen

if TYPE_CHECKING:
    from ryla_gen.tools.local.command_runner import Step
    from ryla_gen.tools.local.folder import Folder
    from ryla_gen.tools.local.install import InstallPlan
    from ryla_gen.tools.local.install_steps import Device
    from ryla_gen.tools.local.process import ServerStatus

app = group("Install, start and stop a ComfyUI on this machine.", example("ryla-gen local install flux-dev"))

Where = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Folder of the installation. Default: RYLA_GEN_HOME/local.")
]
Cpu = Annotated[bool | None, typer.Option("--cpu/--gpu", help="Device to compute on. Detected by default.", show_default=False)]


@app.command(epilog=example("ryla-gen local install flux-dev --folder /data/comfyui"))
def install(
    context: typer.Context,
    workflows: Annotated[
        list[str] | None, typer.Argument(metavar="[WORKFLOW...]", help="Workflows that must work.", show_default=False)
    ] = None,
    folder: Where = None,
    cpu: Cpu = None,
    lock: Annotated[
        list[Path] | None, typer.Option("--lock", metavar="FILE.lock", help="Lock of a graph that must work; repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all-options", help="Include the weights for all options of the workflows.")] = False,
    weights: Annotated[bool, typer.Option("--weights/--no-weights", help="Download the weights too.")] = True,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Install ComfyUI with the node packs and weights of the workflows. Run it again to continue where it stopped."""
    from ryla_gen.tools.local.install import install as carry_out
    from ryla_gen.tools.local.install import plan

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    for path in lock or ():
        read_graph_lock(path)  # refuses what is no lock, whatever the file's name ends with
    names = (*dict.fromkeys(workflow_class(name).name for name in workflows or ()), *map(str, lock or ()))
    # A name may be a lock's too: that of a kept one, or of an installed package.
    locks = [found.lock for found in map(workflow_class, names) if found.lock is not None]
    for item in locks:
        item.require_closed()
    if not names:
        raise InvalidInputError("What must work?", "Name a workflow: ryla-gen local install flux-dev. Or a lock: --lock FILE.lock")
    for text in _foreign(locks):
        screen.note(text)
    made = plan(_folder(folder), names, _device(cpu), every=every, weights=weights)
    for text in made.warnings:
        screen.note(f"warning: {text}")
    if made.bytes or made.unknown_sizes or locks:
        confirm(screen, _question(made), yes=yes)
    screen.working = True
    carry_out(made, told=lambda step: _tell(screen, step))
    if weights:
        _download_weights(screen, made)
    screen.working = False
    data = {"folder": str(made.folder.root), "device": made.on, "workflows": list(names), "models": str(made.folder.models)}
    screen.result(data, f"ComfyUI is installed in {made.folder.root}. Start it: ryla-gen local start{made.folder.option}")


@app.command(epilog=example("ryla-gen local start --port 8188"))
def start(
    context: typer.Context,
    folder: Where = None,
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="Port; 0 chooses a free one.")] = 8188,
    cpu: Cpu = None,
    as_json: Json = False,
) -> None:
    """Start ComfyUI in the background and wait until it has run a graph; it listens on this machine only."""
    from ryla_gen.tools.local.process import Local

    screen = screen_of(context, as_json=as_json)
    local = Local(_folder(folder))
    already = local.held
    found = run_async(local.start(port=port, cpu=_device(cpu) == "cpu"))
    how = "is already running" if already else "runs"
    text = f"ComfyUI {found.comfyui or ''} {how} at {found.url} ({found.device or 'unknown device'}), its log is {found.log}"
    screen.result({**found.to_data(), "already": already}, f"{text}\nexport COMFYUI_POD_URL={found.url}")


@app.command(epilog=example("ryla-gen local stop"))
def stop(context: typer.Context, folder: Where = None, as_json: Json = False) -> None:
    """Stop the server and everything it started; nothing else."""
    from ryla_gen.tools.local.process import Local

    screen = screen_of(context, as_json=as_json)
    pid = Local(_folder(folder)).stop()
    screen.result({"stopped": pid is not None, "pid": pid}, "Stopped." if pid is not None else "It was not running.")


@app.command(epilog=example("ryla-gen local status --json"))
def status(context: typer.Context, folder: Where = None, as_json: Json = False) -> None:
    """Show whether the server runs, its address, version and device."""
    from ryla_gen.tools.local.process import Local

    screen = screen_of(context, as_json=as_json)
    place = _folder(folder)
    local = Local(place)
    found = run_async(local.status())
    screen.result(found.to_data(), _page(found, local.tail, place.option))


def _foreign(locks: list[GraphLock]) -> Iterator[str]:
    """Say whose code and files a lock brings onto this machine."""
    for lock in locks:
        for pack in lock.image.packs:
            yield f"{lock.name}: the code of {pack.name} from {pack.repo} at {pack.commit[:12]} will run on this machine."
        for host in sorted({urlsplit(item.url).hostname or "" for item in lock.models if item.needed and item.url}):
            yield f"{lock.name}: models come from {host}."


def _page(found: ServerStatus, tail: str, option: str) -> str:
    lines = [f"{found.state}: {found.folder}"]
    if found.state == "ready":
        lines += [f"{found.url} · ComfyUI {found.comfyui} · {found.device} · process {found.pid}"]
        lines += [f"{found.running} running, {found.waiting} waiting", f"export COMFYUI_POD_URL={found.url}"]
    elif found.state == "died":
        lines += [f"It ended unexpectedly. The end of {found.log}:", *(f"  {line}" for line in tail.splitlines()[-8:])]
        lines += [f"Start it again: ryla-gen local start{option}"]
    elif found.state == "stopped":
        lines += [f"Start it: ryla-gen local start{option}"]
    elif found.state == "not installed":
        lines += [f"Install it: ryla-gen local install flux-dev{option}"]
    else:
        lines += [f"{found.url or ''} · process {found.pid or 'unknown'} · log {found.log}"]
    return "\n".join(lines)


def _folder(given: Path | None) -> Folder:
    from ryla_gen.tools.local.folder import Folder

    root = given.expanduser() if given is not None else home_folder() / "local"
    if root.exists() and not root.is_dir():
        raise InvalidInputError(f"{root} is a file.", "Choose a folder: --folder DIR")
    return Folder(root.absolute())


def _device(cpu: bool | None) -> Device:
    from ryla_gen.tools.local.install_steps import device

    found = device()
    return "cpu" if cpu else "nvidia" if cpu is False and found == "cpu" else found


def _question(made: InstallPlan) -> str:
    parts = [f"{format_bytes(made.software_bytes)} of programs"] if made.software_bytes else []
    parts += [f"{format_bytes(made.weights_bytes)} of weights"] if made.weights_bytes else []
    parts += [f"{count_text(made.unknown_sizes, 'file')} of unknown size"] if made.unknown_sizes else []
    free = f"{format_bytes(made.free_bytes)} are free there"
    return f"This downloads {' and '.join(parts)} to {made.folder.root} for {made.on} ({free}). Continue?"


def _tell(screen: Screen, step: Step) -> None:
    screen.note(f"· {step.title}")


def _download_weights(screen: Screen, made: InstallPlan) -> None:
    """Download the weights as ``weights sync --local`` does.

    Raises:
        RylaGenError: a file could not be downloaded.

    """
    from ryla_gen.settings import home_folder
    from ryla_gen.tools.local.install import bring

    from ..licences import notice
    from ..transfers import transfer_progress
    from . import weights as files

    notice(screen, made.rows, home_folder(), again=False)
    with transfer_progress(screen) as show:
        report = bring(made, progress=files._plain(show), **files.download_options()).to_data()
    if not report["ok"]:
        raise files._failure(report, "outcome", "ryla-gen local install")
