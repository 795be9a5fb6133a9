"""Install a local ComfyUI: say what it will take, then run its commands and download its weights. Asks no question."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import BackendNotConfiguredError, ModelNotFoundError, StorageFailedError
from ...locks.kept import write_whole
from ...models import downloads
from ...models.downloads.base import FileStatus
from ...models.weights_table import UNPUBLISHED, Weights
from ...remote.pins import NEEDS_GPU
from ...remote.variants import default_of, variants
from ...workflows.registry import workflow_class
from .command_runner import CommandRunner, Step, Told
from .folder import Folder
from .install_steps import SOFTWARE_BYTES, Device, Pins, needs_compiler, nodes_of, steps

EXTRA = "pip install 'ryla-gen[local]'"


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """The actions and sizes of an installation."""

    folder: Folder
    on: Device
    steps: tuple[Step, ...]
    """Commands that are still to be run."""
    rows: tuple[Weights, ...]
    """Every weights file of the workflows."""
    software_bytes: int
    """Room for ComfyUI and its packages; 0 when they are there."""
    weights_bytes: int
    """Bytes of weights that are not there yet, of those whose size is known."""
    unknown_sizes: int
    """Files that are not there yet and whose size is not published."""
    free_bytes: int
    files: Mapping[Path, str] = field(default_factory=dict)
    """Lists of packages that the commands read, with their texts."""
    warnings: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Room it takes."""
        return self.software_bytes + self.weights_bytes


def plan(
    folder: Folder, workflows: Sequence[str], on: Device, *, every: bool = False, pins: Pins | None = None, weights: bool = True
) -> InstallPlan:
    """Find out what an installation takes. Reads the folder, and changes nothing.

    Args:
        folder: where.
        workflows: names of those that have to work.
        on: what ComfyUI will compute on.
        every: whether weights of all their options are wanted, or of their defaults.
        pins: versions; None takes the table's.
        weights: whether weights are wanted at all.

    Raises:
        BackendNotConfiguredError: a program or the extra is missing.
        LockOpenError: a lock has open questions.
        InvalidInputError: two workflows have the same pack at two commits.
        ModelNotFoundError: a file has to be put there by hand.
        StorageFailedError: it does not fit on the disk.

    """
    pins = pins or Pins.of(workflows)
    rows = tuple(_rows(workflows, every=every)) if weights else ()
    coming = [item for item in downloads.status(rows, folder.models) if item.state not in ("present", "unverified")]
    _check_by_hand(coming)
    _has_programs(pins, on)
    todo = CommandRunner(folder.state, folder.install_log, {}).pending(steps(folder, pins, on, nodes_of(workflows)))
    need = sum(max((item.expected_bytes or 0) - (item.bytes if item.state == "partial" else 0), 0) for item in coming)
    files = pins.packages.files(folder) if pins.packages.text else {}
    # A lock's PyTorch is the one with CUDA, whatever computes.
    large = SOFTWARE_BYTES["nvidia" if files else on]
    software = large if any(step.title in ("PyTorch", "Python environment") for step in todo) else 0
    unknown = sum(item.expected_bytes is None for item in coming)
    there = next(place for place in (folder.root, *folder.root.parents) if place.exists())
    free = shutil.disk_usage(there).free
    made = InstallPlan(folder, on, tuple(todo), rows, software, need, unknown, free, files, tuple(_warnings(pins, on)))
    if made.bytes > free:
        text = f"{there} has {free / 1e9:.1f} GB free, and the installation needs {made.bytes / 1e9:.1f} GB."
        details = {"needed": made.bytes, "free": free, "folder": str(there)}
        raise StorageFailedError(
            text, "Nothing was done. Choose another disk (--folder DIR), fewer workflows, or --no-weights.", details
        )
    return made


def install(
    made: InstallPlan, env: Mapping[str, str] | None = None, *, told: Callable[[Step], None], line: Told | None = None
) -> None:
    """Run the commands of a plan, in order.

    Args:
        made: the plan.
        env: the environment; None is this process's. The commands see no token of it.
        told: takes each step before it runs.
        line: takes each line that a command writes.

    Raises:
        ServerUnhealthyError: a command failed; what was done before it is kept.
        StorageFailedError: a file could not be written.

    """
    env = os.environ if env is None else env
    made.folder.root.mkdir(parents=True, exist_ok=True)
    for path, text in made.files.items():
        write_whole(path, text)
    quiet = {"GIT_TERMINAL_PROMPT": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"}
    runner = CommandRunner(made.folder.state, made.folder.install_log, made.folder.places(env).environment(env) | quiet)
    for step in made.steps:
        told(step)
        runner.run(step, line)


def bring(
    made: InstallPlan,
    *,
    token: str | None,
    progress: Callable[[downloads.SyncProgress], None] | None,
    cache: Path | None = None,
    web: downloads.Web | None = None,
) -> downloads.Report:
    """Download the weights of a plan, with the code that does so on Modal; an interrupted file is continued.

    Args:
        made: the plan.
        token: for Hugging Face.
        progress: called with the progress.
        cache: a cache of the Hub on this machine.
        web: for plain addresses: the token for Civitai, and whether private networks are asked.
    """
    return downloads.sync(made.rows, made.folder.models, token=token, progress=progress, cache=cache, web=web)


def _rows(workflows: Sequence[str], *, every: bool) -> list[Weights]:
    found: dict[Weights, None] = {}
    for name in workflows:
        cls = workflow_class(name)
        for request in variants(cls) if every else (default_of(cls),):
            found |= dict.fromkeys(request.required_weights())
    return list(found)


def _check_by_hand(coming: Iterable[FileStatus]) -> None:
    """Refuse files that no download can bring, before anything is installed.

    Raises:
        ModelNotFoundError: one of them is not there.

    """
    for item in coming:
        if item.row.repo == UNPUBLISHED:
            text = f"{item.row.label} is published nowhere: its lock was made from a file of a volume, or a stored LoRA."
            hint = f"Put the file with the sha256 {item.sha256} at {item.path}, by hand, and install again. Or add --no-weights"
            raise ModelNotFoundError(text, hint, {"file": item.row.name, "folder": item.row.folder, "sha256": item.sha256})


def _has_programs(pins: Pins, on: Device) -> None:
    if sys.platform == "win32":
        hint = "Use the Windows Subsystem for Linux, or ComfyUI's own installer, and then: ryla-gen config set comfyui.url URL"
        raise BackendNotConfiguredError("This package installs ComfyUI on Linux and macOS only.", hint)
    if importlib.util.find_spec("comfy_cli") is None:
        raise BackendNotConfiguredError("Installing ComfyUI needs comfy-cli, which is not installed.", EXTRA)
    if shutil.which("git") is None:
        raise BackendNotConfiguredError("Installing ComfyUI needs git, which is not installed.", "On Debian: apt install git")
    if needs_compiler(pins, on) and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        text = "The face packs need a C++ compiler (insightface is built here), and there is none."
        raise BackendNotConfiguredError(text, "On Debian: apt install g++. On macOS: xcode-select --install")


def _warnings(pins: Pins, on: Device) -> list[str]:
    lost = [pack.name for pack in pins.packs if pack.name in NEEDS_GPU] if on == "cpu" else []
    found = [f"{name} needs a GPU: its nodes will be missing." for name in lost]
    found += [pins.packages.reason] if pins.packages.reason else []
    return [*found, "Without a GPU a picture by FLUX.1 takes many minutes and about 40 GB of memory."] if on == "cpu" else found
