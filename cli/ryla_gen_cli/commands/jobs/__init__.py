"""Implement ``ryla-gen jobs``: read the journal of this machine; what asks a backend is in ``actions``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from ryla_gen.events import FINAL_STATES
from ryla_gen.history import History, Record
from ryla_gen.history.base import COLUMNS
from ryla_gen.history.processes import has_ended
from ryla_gen.settings import Settings
from ryla_gen.workflows.registry import workflow_class, workflow_names

from ...common import Environment, Json, Output, Overwrite, Quiet, Url, example, group, screen_of
from ...screen import Screen, shorten, table, width, wrap
from ...terminal_images import Preview, show_images

SHORT_ID = 8
"""Characters of a job id that a list shows; ``jobs show`` takes them."""
MOST_ASKED = 200
"""Open jobs whose servers a list asks for them, the newest first."""
State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]

app = group("List the jobs of this machine; watch, fetch and cancel them.", example("ryla-gen jobs list --limit 5"))

Id = Annotated[str, typer.Argument(metavar="ID", help="The job id, its first characters, or its handle.", show_default=False)]
Wait = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="How long to wait. The job continues after that.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="Count only jobs since this time: 2026-01-31, 2026-01-31T18:30, or 90m, 24h, 7d, 4w ago."
    ),
]


@app.command("list", epilog=example("ryla-gen jobs list --workflow flux-dev --state failed"))
def list_(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", metavar="NUMBER", min=1, max=1_000_000, help="Maximum number of jobs to list.")
    ] = 20,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only jobs of this workflow.")] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only jobs in this state.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Only jobs with this tag; repeatable.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="Only jobs of this user of your app, also where only a hash is kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    screen = screen_of(context, as_json=as_json)
    name = workflow.replace("-", "_") if workflow else None
    with _journal(screen) as history:
        chosen: dict[str, Any] = {"limit": limit, "workflow": name, "state": state, "tags": tag or (), "user": user}
        found = history.list(**chosen)
        if _end_lost(screen, found):
            found = history.list(**chosen)
        if name and not found and not history.list(limit=1, workflow=name) and name not in workflow_names():
            workflow_class(name)  # says that there is none, and the nearest one; a plug-in's old jobs are found without it
    if screen.json:
        screen.result({"items": [_data(item) for item in found]})
        return
    rows = [_row(item) for item in found]
    heads = ("id", "when", "workflow", "state", "seconds", "cost", "prompt")
    nothing = "No job matches." if workflow or state or tag or user else "No jobs yet."
    screen.result({}, table(heads, rows, width()) if rows else nothing)


@app.command(epilog=example("ryla-gen jobs show 7f0c4a1e"))
def show(
    context: typer.Context,
    job: Id,
    url: Url = None,
    preview: Preview = True,
    as_json: Json = False,
) -> None:
    """Show the state of a job and everything that is known of it. One that has not ended is asked for at its backend."""
    screen = screen_of(context, as_json=as_json)
    found = _known(screen, job)
    told: dict[str, Any] = {}
    if found is None or found.state not in FINAL_STATES:
        from . import actions  # the backends and their HTTP, which a job that has ended does not need

        found, told = actions.ask(screen, job, url)
    data = {"job": found.id, **asdict(found), **told}
    screen.result(data, page(found, told))
    show_images(screen, found.saved, wanted=preview)


@app.command(epilog=example("ryla-gen jobs watch 7f0c4a1e --timeout 600"))
def watch(
    context: typer.Context, job: Id, timeout: Wait = None, url: Url = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Follow a job until it ends, whichever process started it; exit with 1 if it failed. Ctrl-C only stops watching."""
    from . import actions

    actions.watch(screen_of(context, as_json=as_json, quiet=quiet), job, url, timeout)


@app.command(epilog=example("ryla-gen jobs result 7f0c4a1e -o lighthouse.png"))
def result(
    context: typer.Context,
    job: Id,
    output: Output = None,
    overwrite: Overwrite = False,
    timeout: Wait = None,
    url: Url = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Save the files of a job; waits until it has ended."""
    from . import actions

    actions.result(screen_of(context, as_json=as_json, quiet=quiet), job, url, timeout, output, overwrite=overwrite)


@app.command(epilog=example("ryla-gen jobs cancel 7f0c4a1e"))
def cancel(context: typer.Context, job: Id, url: Url = None, as_json: Json = False) -> None:
    """Stop a queued or running job; other jobs continue."""
    from . import actions

    actions.cancel(screen_of(context, as_json=as_json), job, url)


@app.command(epilog=example("ryla-gen jobs logs 7f0c4a1e --follow"))
def logs(
    context: typer.Context,
    job: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The job id, its first characters, or its handle; or the name of a deployed lock, or of a family."
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended, or for a name until Ctrl-C.")
    ] = False,
    url: Url = None,
    environment: Environment = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what ComfyUI and the build of its image wrote for a job, also after its container is gone. Secrets are masked."""
    from . import log_lines

    log_lines.show(screen_of(context, as_json=as_json, quiet=quiet), job, url, environment, follow=follow)


@app.command("funnel", epilog=example("ryla-gen jobs funnel --since 7d"))
def count(
    context: typer.Context,
    since: Since = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only jobs of this workflow.")] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="Only jobs of this backend, such as modal.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count what was requested, completed, failed and canceled, by workflow, with success rate and times, from the journal."""
    from . import funnel  # the statistics, which no other verb needs

    funnel.show(screen_of(context, as_json=as_json), since, workflow, backend)


def _known(screen: Screen, job: str) -> Record | None:
    with _journal(screen) as history:
        return history.get(job)


def _end_lost(screen: Screen, records: Sequence[Record]) -> bool:
    """Journal the end of listed jobs whose process or server is certainly gone; whether any could be, so that it changed."""
    opened = [item for item in records if item.state in ("queued", "running") and item.backend in ("comfyui", "emulator")]
    if not any(item.server or has_ended(item.process) for item in opened):
        return False
    from . import actions  # the backends and their HTTP, which reading the journal alone does not need

    actions.end_lost(screen, opened[:MOST_ASKED])
    return True


@contextmanager
def _journal(screen: Screen) -> Iterator[History]:
    with closing(History(Settings.load().history_path)) as history:
        yield history
    for text in history.warnings:
        screen.note(f"warning: {text}")


def _data(item: Record) -> dict[str, Any]:
    """Return a record as plain data; ``asdict`` would copy every value in it too."""
    return {name: getattr(item, name) for name in COLUMNS}


def _row(item: Record) -> tuple[Any, ...]:
    short = shorten(str(item.inputs.get("prompt") or ""))
    took = f"{item.gpu_seconds:.1f}" if item.gpu_seconds is not None else ""
    cost = f"${item.cost_usd:.4f}" if item.cost_usd else ""
    return item.id[:SHORT_ID], _local(item.created_at), item.workflow.replace("_", "-"), item.state, took, cost, short


def _local(moment: str) -> str:
    """Convert a time to the time zone of this machine, to the minute."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment


def page(item: Record, told: Mapping[str, Any]) -> str:
    """Write a job for people.

    Args:
        item: what the journal knows.
        told: what its backend has just said: how far it is, or how many are ahead of it.
    """
    room = width()
    data = asdict(item)
    where = f" · {told['fraction']:.0%} {told['node']}".rstrip() if "fraction" in told else ""
    where = f" · {told['position']} ahead of it" if told.get("position") and item.state == "queued" else where
    lines = [f"{item.id}  {item.workflow.replace('_', '-')}  {item.state}{where}"]
    if item.error:
        lines += [wrap(f"error[{item.error.get('code')}]: {item.error.get('message')}", room)]
        lines += [wrap(str(item.error["hint"]), room)] if item.error.get("hint") else []
    for name in (
        "backend",
        "handle",
        "seed",
        "created_at",
        "started_at",
        "finished_at",
        "gpu",
        "gpu_seconds",
        "cost_usd",
        "parent",
        "user",
        "output_to",
    ):
        if data[name] is not None:
            lines.append(wrap(f"{name}: {data[name]}", room))
    lines += [wrap(f"tags: {', '.join(item.tags)}", room)] if item.tags else []
    lines += [wrap(f"output: {out.get('name')} ({out.get('media_type')}, {out.get('bytes')} bytes)", room) for out in item.outputs]
    lines += [wrap(f"uploaded: {out['url']}", room) for out in item.outputs if out.get("url")]
    lines += [wrap(f"skipped: {one.get('backend')} ({one.get('code')}): {one.get('message')}", room) for one in item.skipped]
    lines += [wrap(f"saved: {path}", room) for path in item.saved]
    lines += [
        "",
        "Fields",
        *(wrap(f"{name}: {_cell(value)}", room) for name, value in item.inputs.items() if value not in (None, "", [])),
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"sha256", "bytes"}:
        return f"a file of {value['bytes']} bytes, sha256 {str(value['sha256'])[:16]}… (not kept)"
    return str(value)
