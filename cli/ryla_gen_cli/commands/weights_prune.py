"""Implement ``ryla-gen weights prune``: show which model files nothing needs, ask, and remove them. Decides nothing about files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.model_prune import Removal, UnneededFile, find_unneeded, remove_files
from ryla_gen.names import MODELS_VOLUME
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async
from ryla_gen.support.numbers import format_bytes

from ..common import Environment, Json, Quiet, screen_of
from ..prompts import Yes, confirm
from ..screen import Screen, table, width
from ..transfers import transfer_progress

if TYPE_CHECKING:
    from ryla_gen.remote.pruning import PrunePlan

SHORT_HASH = 8
"""Characters of a hash that are shown."""

Local = Annotated[
    Path | None, typer.Option("--local", metavar="DIR", help="Use ComfyUI's models folder on this machine instead of Modal.")
]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where files are removed, for screens and for programs."""

    text: str
    data: dict[str, Any]


def prune(
    context: typer.Context,
    local: Local = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    environment: Environment = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove the files that no lock and no workflow needs, after showing them. LoRAs and files of your own stay."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    if local is not None:
        _prune_folder(screen, local.expanduser(), dry_run=dry_run, yes=yes)
    else:
        settings = Settings.load()
        settings = replace(settings, modal_environment=environment) if environment else settings
        _prune_volume(screen, settings, dry_run=dry_run, yes=yes)


def _prune_folder(screen: Screen, models: Path, *, dry_run: bool, yes: bool) -> None:
    from ryla_gen.remote.needed_weights import needed_by_kept_locks, needed_by_workflows

    if not models.is_dir():
        what = f"{models} is not a folder." if models.exists() else f"There is no folder {models}."
        raise InvalidInputError(what, "Name the models folder of a ComfyUI: ryla-gen weights prune --local ~/ComfyUI/models")
    found = find_unneeded(models, needed_by_workflows() | needed_by_kept_locks(), local=True)
    place = _Place(str(models), {"folder": str(models)})
    if not _agreed(screen, found, place, dry_run=dry_run, yes=yes):
        return
    # What is needed is read again: a lock may have been made while the question stood there.
    needed = needed_by_workflows() | needed_by_kept_locks()
    still = {item.file for item in find_unneeded(models, needed, local=True)}
    _report(screen, found, remove_files(found, models, lambda item: item.file in still), place)


def _prune_volume(screen: Screen, settings: Settings, *, dry_run: bool, yes: bool) -> None:
    from ryla_gen.remote import admin, pruning  # Modal's client, which a folder does not need

    workspace = run_async(admin.require_workspace(settings))
    plan = run_async(pruning.plan_prune(settings))
    where = f"{workspace}, environment {settings.modal_environment}" if settings.modal_environment else workspace
    place = _Place(f"the volume {MODELS_VOLUME} in the workspace {where}", _about(plan, settings, workspace))
    if plan.silent:
        names = ", ".join(plan.silent)
        screen.note(f"{names} does not say what it needs, as earlier versions do not. So only models of locks can go.")
    if not _agreed(screen, plan.files, place, dry_run=dry_run, yes=yes):
        return
    with transfer_progress(screen) as show:
        removals = run_async(pruning.prune(settings, plan, show))
    _report(screen, plan.files, removals, place)


def _about(plan: PrunePlan, settings: Settings, workspace: str) -> dict[str, Any]:
    about = {"workspace": workspace, "environment": settings.modal_environment, "volume": MODELS_VOLUME}
    return {**about, "apps": list(plan.apps), "silent": list(plan.silent)}


def _agreed(screen: Screen, files: Sequence[UnneededFile], place: _Place, *, dry_run: bool, yes: bool) -> bool:
    """Show what can go; return whether it shall. Where nothing can, or nothing shall, this is the whole result."""
    if dry_run or not files:
        text = f"{_files_table(files)}\n\nNothing was removed." if files else f"Nothing can go: {place.text} has no such file."
        screen.result(_data(files, (), place, dry_run=dry_run), text)
        return False
    screen.note(_files_table(files))
    size = format_bytes(sum(item.bytes for item in files))
    confirm(screen, f"Remove {count_text(len(files), 'file')}, {size}, from {place.text}?", yes=yes)
    return True


def _files_table(files: Sequence[UnneededFile]) -> str:
    rows = [(_short(item.file), format_bytes(item.bytes), item.repo or "unknown", item.reason) for item in files]
    sums = f"{count_text(len(files), 'file')}, {format_bytes(sum(item.bytes for item in files))}."
    return "\n".join([table(("file", "size", "from", "why"), rows, width()), "", sums])


def _short(label: str) -> str:
    """Write a file by content with the beginning of its hash."""
    parts = label.split("/")
    return "/".join([parts[0], f"{parts[1][:SHORT_HASH]}…", *parts[2:]]) if len(parts) > 2 and len(parts[1]) >= 32 else label


def _report(screen: Screen, files: Sequence[UnneededFile], removals: Sequence[Removal], place: _Place) -> None:
    gone = [item for item in removals if item.outcome == "removed"]
    left = len(files) - len(gone)
    text = f"{count_text(len(gone), 'file was', 'files were')} removed, {format_bytes(sum(item.bytes for item in gone))}."
    kept = f" {count_text(left, 'file was', 'files were')} kept: needed by now, or changed since." if left else ""
    screen.result(_data(files, removals, place, dry_run=False), text + kept)


def _data(files: Sequence[UnneededFile], removals: Sequence[Removal], place: _Place, *, dry_run: bool) -> dict[str, Any]:
    outcomes = {item.file: item.outcome for item in removals}
    items = [{**item.to_data(), "outcome": outcomes.get(item.file, "listed" if not removals else "kept")} for item in files]
    freed = sum(item.bytes for item in removals if item.outcome == "removed")
    return {**place.data, "dry_run": dry_run, "items": items, "bytes": sum(item.bytes for item in files), "freed": freed}
