"""Implement ``ryla-gen deploy history``, ``rollback`` and ``delete``: the versions of an app on Modal. Deploys nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from ryla_gen.errors import RylaGenError
from ryla_gen.history import History
from ryla_gen.history.base import Records
from ryla_gen.locks.graph_lock import lock_digest
from ryla_gen.names import MODELS_VOLUME
from ryla_gen.remote import admin, deployments
from ryla_gen.remote.deployments import SHORT_COMMIT, AppVersion, RunningApp
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async
from ryla_gen.support.numbers import format_bytes

from ..common import Environment, Json, Quiet, grouped, screen_of
from ..prompts import Yes, confirm
from ..screen import Screen, table, width

TITLES = ("version", "deployed (UTC)", "by", "ryla_gen", "ComfyUI", "modal", "commit", "remarks")
SHORT_ID = 8
"""Characters of a job's id that are shown."""
MOST_NAMED = 20
"""Open jobs that are named; of more only the number is said."""

Lock = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Name of a lock that was deployed. Default: the app of the settings.")
]


def history(context: typer.Context, name: Lock = None, environment: Environment = None, as_json: Json = False) -> None:
    """List the versions of the app. For each, Modal keeps when and by whom it was deployed, and from which commit."""
    screen = screen_of(context, as_json=as_json)
    settings = _settings(name, environment)
    found = run_async(deployments.history(settings))
    data = {**_where(settings), "items": [asdict(item) for item in found]}
    screen.result(data, table(TITLES, [_row(item) for item in found], width()))


@dataclass(frozen=True, slots=True)
class AppOptions:
    """Which app is changed, and whether that is agreed to."""

    name: Lock = None
    environment: Environment = None
    yes: Yes = False

    def settings(self) -> Settings:
        """Return settings that mean this app."""
        return _settings(self.name, self.environment)


@grouped
def rollback(
    context: typer.Context,
    chosen: AppOptions,
    to: Annotated[
        int | None, typer.Option("--to", metavar="VERSION", min=1, help="Version to go back to. Default: the one before.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an earlier version of the app live again. Nothing is built; jobs that run finish first."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    settings = chosen.settings()
    workspace = run_async(admin.require_workspace(settings))
    plan = run_async(deployments.plan_rollback(settings, to))
    screen.note(f"Live now:    {plan.live}\nLive again:  {plan.target}")
    question = f"Roll {settings.modal_app} in the workspace {_place(workspace, settings)} back to version {plan.target.version}?"
    confirm(screen, question, yes=chosen.yes)
    done = run_async(deployments.roll_back(settings, plan.target.version))
    data = {**_where(settings), "workspace": workspace, "replaced": plan.live.version, "live": asdict(done)}
    screen.result(data, f"Version {plan.target.version} of {settings.modal_app} is live again, as version {done.version}.")
    if chosen.name is not None:
        _keep_live_lock(screen, chosen.name, settings)


@grouped
def delete(context: typer.Context, chosen: AppOptions, as_json: Json = False, quiet: Quiet = False) -> None:
    """Stop the app and take its classes away. Volumes stay, with the weights and LoRAs on them."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    settings = chosen.settings()
    workspace = run_async(admin.require_workspace(settings))
    app = run_async(deployments.describe(settings))
    jobs = _open_jobs(screen, settings)
    for line in (*_losses(app, jobs), *_remains(settings, app)):
        screen.note(line)
    question = f"Stop {settings.modal_app} in the workspace {_place(workspace, settings)}?"
    confirm(screen, question, yes=chosen.yes)
    run_async(deployments.delete(settings))
    data = {**_where(settings), "workspace": workspace, **asdict(app), "jobs": [item.id for item in jobs]}
    screen.result(data, f"{settings.modal_app} is stopped. Its calls fail until it is deployed again.")


def _keep_live_lock(screen: Screen, name: str, settings: Settings) -> None:
    """Keep the lock that is live again in the place of the one that was replaced: a lock's name means what is deployed."""
    from ryla_gen.remote.graph_fetch import fetch_lock

    try:
        path = run_async(fetch_lock(name, settings))
    except RylaGenError as error:
        screen.note(f"warning: its lock could not be read, so the name {name} may mean another one here: {error.message}")
        return
    digest = lock_digest(path.read_text(encoding="utf-8"))
    screen.note(f"Its lock {digest} is now the one that the name {name} means here: {path}")


def _settings(name: str | None, environment: str | None) -> Settings:
    return deployments.settings_for_app(Settings.load(), name, environment)


def _where(settings: Settings) -> dict[str, str | None]:
    return {"app": settings.modal_app, "environment": settings.modal_environment}


def _place(workspace: str, settings: Settings) -> str:
    return f"{workspace}, environment {settings.modal_environment}," if settings.modal_environment else workspace


def _row(item: AppVersion) -> tuple[object, ...]:
    commit = f"{(item.commit or '')[:SHORT_COMMIT]}{'*' if item.dirty else ''}"
    comfyui, when = ", ".join(item.comfyui), item.deployed_at[:16].replace("T", " ")
    return item.version, when, item.deployed_by, item.ryla_gen or "?", comfyui or "?", item.modal, commit, _remarks(item)


def _remarks(item: AppVersion) -> str:
    words = ["live"] if item.live else []
    if item.restores:
        words.append(f"version {item.restores} again")
    elif item.kind != "deploy":
        words.append(item.kind)
    if item.tag and item.ryla_gen is None:
        words.append(f"tag {item.tag}")
    return ", ".join(words)


def _open_jobs(screen: Screen, settings: Settings) -> Records:
    if not settings.history_path.exists():
        return []
    with closing(History(settings.history_path)) as journal:
        jobs = deployments.open_jobs(journal, settings)
    for text in journal.warnings:
        screen.note(f"warning: {text}")
    return jobs


def _losses(app: RunningApp, jobs: Records) -> list[str]:
    """Say what goes away."""
    said = [f"This takes away the classes {', '.join(app.classes)}."] if app.classes else []
    if app.containers:
        ends = "end at once, with what they run" if app.containers > 1 else "ends at once, with what it runs"
        said.append(f"{count_text(app.containers, 'container')} {ends}.")
    if jobs:
        named = ", ".join(f"{item.id[:SHORT_ID]} ({item.workflow.replace('_', '-')}, {item.state})" for item in jobs[:MOST_NAMED])
        more = f" and {len(jobs) - MOST_NAMED} more" if len(jobs) > MOST_NAMED else ""
        said.append(f"{count_text(len(jobs), 'job')} of this machine may end without a result: {named}{more}.")
    return said


def _remains(settings: Settings, app: RunningApp) -> Sequence[str]:
    """Say what stays, and what that costs."""
    size = "" if app.volume_bytes is None else f" ({format_bytes(app.volume_bytes)})"
    where = f" --env {settings.modal_environment}" if settings.modal_environment else ""
    return (
        f"{settings.modal_app} can be deployed again afterwards, but not rolled back.",
        "The journal of this machine stays, with the results that were saved.",
        f"The volume {MODELS_VOLUME}{size} stays, with weights and LoRAs; Modal bills what it stores by its own prices.",
        "To remove the models that only it needs: ryla-gen weights prune",
        f"To remove all of that: modal volume delete {MODELS_VOLUME}{where}",
    )
