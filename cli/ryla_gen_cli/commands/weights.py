"""Implement ``ryla-gen weights``: list, download, check and prune model files, on Modal's volume or in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ryla_gen.errors import (
    InvalidInputError,
    ModelNotFoundError,
    NotAuthorizedError,
    NotDeployedError,
    RylaGenError,
    error_from_data,
)
from ryla_gen.models.licences import verdict
from ryla_gen.models.weights_table import Weights
from ryla_gen.remote.variants import default_of, variants
from ryla_gen.settings import Settings, home_folder
from ryla_gen.support.counting import count_text
from ryla_gen.support.numbers import format_bytes
from ryla_gen.support.shell_words import path_word
from ryla_gen.workflows.registry import BUILT_IN, LOCK_SUFFIX, workflow_class

from ..common import Environment, Json, Quiet, example, group, screen_of
from ..licences import Licences, notice, plain, summary
from ..screen import Screen, table, width, wrap
from ..transfers import Show, transfer_progress
from . import weights_prune
from .weights_prune import Local

if TYPE_CHECKING:
    from ryla_gen.models.downloads import SyncProgress
    from ryla_gen.remote.admin import Action

app = group("List, download, check and prune the model files that workflows need.", example("ryla-gen weights sync flux flux-dev"))

FINE = ("present", "unverified")
"""States of a file that may be used; for an unverified one no hash was ever published."""

Names = Annotated[list[str] | None, typer.Argument(metavar="[WORKFLOW]...", help="Workflows. Default: all.", show_default=False)]
Named = Annotated[list[str], typer.Argument(metavar="WORKFLOW...", help="Names of workflows.", show_default=False)]
Every = Annotated[bool, typer.Option("--all-options", help="Include files that only some options of the workflows need.")]


@app.command("list", epilog=example("ryla-gen weights list flux-dev --local ~/ComfyUI/models"))
def list_(
    context: typer.Context,
    workflows: Names = None,
    every: Every = False,
    local: Local = None,
    deployed: Annotated[bool, typer.Option("--deployed", help="Ask Modal which files are on the volume.")] = False,
    environment: Environment = None,
    as_json: Json = False,
) -> None:
    """List files with sizes and licences. Works offline unless --deployed is given; --local shows which files exist."""
    screen = screen_of(context, as_json=as_json)
    if local is not None and deployed:
        raise InvalidInputError("--local and --deployed cannot be used together.", "Use one of them.")
    names = _names(workflows) or tuple(BUILT_IN)
    needed = rows_of(names, every=every)
    states: dict[str, str] | None = None
    if local is not None:
        from ryla_gen.models import downloads  # the hub's library: a second, which listing does not need

        states = {item.row.label: item.state for item in downloads.status(needed, local.expanduser())}
    elif deployed:
        report = run_on_modal(
            screen,
            "status",
            [name for name in names if not workflow_class(name).own_graph],
            every=every,
            environment=environment,
        )
        states = {item["file"]: item["state"] for item in report["files"]}
    items = [_item(row, users, states) for row, users in needed.items()]
    screen.result({"items": items, "licences": plain(needed), **_sums(items)}, _weights_table(items, summary(needed)))


@app.command(epilog=example("ryla-gen weights sync flux flux-dev"))
def sync(
    context: typer.Context,
    workflows: Named,
    every: Every = False,
    local: Local = None,
    environment: Environment = None,
    licences: Licences = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download files that are missing, incomplete or wrong, and check size and hash. Gated files need HF_TOKEN or CIVITAI_TOKEN."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    names = _names(workflows)
    needed = rows_of(names, every=every)
    notice(screen, needed, home_folder(), again=licences)
    if local is None:
        report = run_on_modal(screen, "sync", list(names), every=every, environment=environment)
    else:
        from ryla_gen.models import downloads

        with transfer_progress(screen) as show:
            report = downloads.sync(needed, local.expanduser(), progress=_plain(show), **download_options()).to_data()
    report["licences"] = plain(needed)
    _tell(screen, report, "outcome", _command(names, local))


@app.command(epilog=example("ryla-gen weights verify flux-dev --local ~/ComfyUI/models"))
def verify(
    context: typer.Context,
    workflows: Named,
    every: Every = False,
    local: Local = None,
    environment: Environment = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hash every existing file, and report which are right, wrong or missing. Changes no file."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    names = _names(workflows)
    needed = rows_of(names, every=every)
    if local is None:
        report = run_on_modal(screen, "verify", list(names), every=every, environment=environment)
    else:
        from ryla_gen.models import downloads

        with transfer_progress(screen) as show:
            found = downloads.verify(needed, local.expanduser(), progress=_plain(show))
        report = {"files": [item.to_data() for item in found]}
    report["ok"] = all(item["state"] in FINE for item in report["files"])
    _tell(screen, report, "state", _command(names, local))


app.command("prune", epilog=example("ryla-gen weights prune --dry-run"))(weights_prune.prune)


def rows_of(names: tuple[str, ...], *, every: bool) -> dict[Weights, list[str]]:
    """Return each file that the workflows need, with the names of those that do.

    Args:
        names: workflows; a graph of one's own needs nothing that is known.
        every: whether all their options count, or their defaults alone.

    """
    found: dict[Weights, list[str]] = {}
    for name in names:
        cls = workflow_class(name)
        for workflow in variants(cls) if every else (default_of(cls),):
            for row in workflow.required_weights():
                users = found.setdefault(row, [])
                users += [name] if name not in users else []
    return found


def _names(workflows: list[str] | None) -> tuple[str, ...]:
    """Return the workflows once each, by name; a lock by its file, whose name may be known of another or of none."""
    return tuple(dict.fromkeys(name if name.endswith(LOCK_SUFFIX) else workflow_class(name).name for name in workflows or ()))


def _item(row: Weights, users: list[str], states: dict[str, str] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"file": row.label, "bytes": row.bytes, "repo": row.repo, "licence": row.licence}
    told |= {"non_commercial": row.non_commercial, "commercial_use": row.commercial_use, "condition": row.condition}
    told |= {"pending": list(row.pending), "gated": row.gated, "workflows": users}
    return told | ({"state": states.get(row.label, "unknown")} if states is not None else {})


def _sums(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"bytes": sum(item["bytes"] or 0 for item in items), "unknown_sizes": sum(item["bytes"] is None for item in items)}


def _weights_table(items: list[dict[str, Any]], licences: str) -> str:
    if not items:
        return "No files are needed."
    titles = ["file", "size", *(["state"] if "state" in items[0] else []), "commercial use", "licence", "pending", "for"]
    rows = []
    for item in items:
        commercial = verdict(item["commercial_use"], [item["condition"]])
        licence = f"{item['licence'] or 'unknown'}{' (gated)' if item['gated'] else ''}"
        users = ", ".join(name.replace("_", "-") for name in item["workflows"])
        state = [item["state"]] if "state" in item else []
        rows.append([item["file"], format_bytes(item["bytes"]), *state, commercial, licence, ", ".join(item["pending"]), users])
    sums = _sums(items)
    more = f" and {sums['unknown_sizes']} of unknown size" if sums["unknown_sizes"] else ""
    room = width()
    said = [
        wrap(line, room, "")
        for line in (f"{count_text(len(items), 'file')}, {format_bytes(sums['bytes'])}{more}.", *licences.splitlines())
    ]
    return "\n".join([table(titles, rows, room), "", *said])


def run_on_modal(screen: Screen, action: Action, names: list[str], *, every: bool, environment: str | None) -> dict[str, Any]:
    """Let the deployed app do something with the files on its volume, show the progress, and return its report.

    Raises:
        RylaGenError: the app cannot be asked, or says that it failed.

    """
    from ryla_gen.remote import admin  # Modal's client, which listing and local files do not need
    from ryla_gen.support.loop_thread import LoopThread

    settings = Settings.load()
    settings = replace(settings, modal_environment=environment) if environment else settings
    loop_thread = LoopThread()
    try:
        with transfer_progress(screen) as show:
            reports = [
                loop_thread.call(admin.weights(replace(settings, modal_app=app), action, several, variants=every, progress=show))
                for app, several in _by_app(names, settings).items()
            ]
    except (NotAuthorizedError, NotDeployedError) as error:
        if "modal" not in settings.backend_names:  # whoever has a server of their own need not know Modal
            verb = "verify" if action == "verify" else "sync"
            words = " ".join(name.replace("_", "-") for name in names)
            error.hint = (
                f"On a ComfyUI server's machine: ryla-gen weights {verb} {words} --local COMFYUI/models. On Modal: {error.hint}"
            )
        raise
    finally:
        loop_thread.close()
    return _together(reports)


def _by_app(names: list[str], settings: Settings) -> dict[str, list[str]]:
    """Return the workflows by the app that keeps their files: a locked graph has one of its own."""
    found: dict[str, list[str]] = {}
    for name in names:
        lock = workflow_class(name).lock
        found.setdefault(settings.modal_app if lock is None else lock.app, []).append(name)
    return found


def _together(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the reports of several apps as one."""
    first = dict(reports[0])
    for report in reports[1:]:
        first["files"] = [*first["files"], *report["files"]]
        first["ok"] = first["ok"] and report["ok"]
        first |= {name: first.get(name, 0) + report.get(name, 0) for name in ("downloaded", "seconds") if name in report}
    return first


def download_options() -> dict[str, Any]:
    """Return whose tokens a download onto this machine may use, and which cache: tokens come from the environment alone."""
    from ryla_gen.models import downloads

    settings = Settings.load()
    web = downloads.Web(os.environ.get("CIVITAI_TOKEN") or None, settings.allow_private_addresses, settings.civitai_url)
    return {"token": os.environ.get("HF_TOKEN") or None, "web": web, "cache": _hub_cache()}


def _hub_cache() -> Path | None:
    """Return the hub cache of this machine, if it has one: what is there is not downloaded again."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return cache if cache.is_dir() else None


def _plain(show: Show) -> Callable[[SyncProgress], None]:
    return lambda progress: show(progress.to_data())


def _command(names: tuple[str, ...], local: Path | None) -> str:
    words = " ".join(path_word(name) if name.endswith(LOCK_SUFFIX) else name.replace("_", "-") for name in names)
    return f"ryla-gen weights sync {words}{f' --local {path_word(local)}' if local is not None else ''}"


def _tell(screen: Screen, report: dict[str, Any], word: str, command: str) -> None:
    """Write the report; a file that is not in place makes it a failure.

    Raises:
        typer.Exit: a file is not in place.

    """
    rows = [(item["file"], item[word]) for item in report["files"]]
    screen.say(table(("file", word), rows, width()) if rows else "No files are needed.")
    for item in report["files"]:
        if fixed := " and ".join(f"{what} {value}" for what, value in item.get("fixed", {}).items()):
            screen.note(f"fixed: {item['file']}: {fixed}; every later sync and verify holds to it")
    if report["ok"]:
        screen.result(report, f"{count_text(len(rows), 'file is', 'files are')} in place.")
        return
    screen.fail(_failure(report, word, command), report)
    raise typer.Exit(1)


def _failure(report: dict[str, Any], word: str, command: str) -> RylaGenError:
    total = len(report["files"])
    if word == "outcome":
        bad = [item for item in report["files"] if item.get("error")]
        first = error_from_data(bad[0]["error"])
        text = f"{len(bad)} of {count_text(total, 'file')} failed. {bad[0]['file']}: {first.message}"
        return type(first)(text, first.hint, {**first.details, "files": [item["file"] for item in bad]})
    bad = [item for item in report["files"] if item["state"] not in FINE]
    names = ", ".join(f"{item['file']} ({item['state']})" for item in bad)
    return ModelNotFoundError(f"{len(bad)} of {count_text(total, 'file')} missing or wrong: {names}.", f"Download them: {command}")
