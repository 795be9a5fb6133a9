"""Implement ``ryla-gen doctor``: check the chosen backend, line by line, and advise what to do. The checks are in ``checks``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ryla_gen.errors import InvalidInputError, ServerUnhealthyError
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import LoopThread
from ryla_gen.workflows.registry import workflow_class

from ...common import Backend, Json, MaxUsd, Url, example, screen_of, setting_warnings, single
from ...run_options import settings_for
from ...screen import width, wrap
from . import compatibility
from .checks import Check, run_checks

app = single()


@app.command("doctor", epilog=example("ryla-gen doctor flux flux-dev"))
def doctor(
    context: typer.Context,
    workflows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORKFLOW]...", help="Workflows that must work. Default: at least one of them.", show_default=False
        ),
    ] = None,
    backend: Backend = None,
    url: Url = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Also make a small picture; on Modal this costs a few cents.")
    ] = False,
    max_usd: MaxUsd = None,
    table: Annotated[
        bool, typer.Option("--workflows", help="Only list which workflows your own ComfyUI server can run, and what others lack.")
    ] = False,
    every: Annotated[bool, typer.Option("--all-options", help="With --workflows: check every option, not only defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Check that the backend works: credentials, versions, weights, nodes. On the emulator it also makes a small picture."""
    screen = screen_of(context, as_json=as_json)
    wanted = tuple(dict.fromkeys(workflow_class(name).name for name in workflows or ()))
    if table:
        compatibility.check(screen, _own_server(backend, url, generate=generate), wanted, every=every)
        return
    if every:
        raise InvalidInputError("--all-options is of --workflows only.", "Write both: ryla-gen doctor --workflows --all-options")
    settings = settings_for(backend, url, max_usd)
    screen.note(settings.backend_reason)
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")
    checks: list[Check] = []
    loop_thread = LoopThread()
    try:
        for check in loop_thread.iterate(lambda: run_checks(settings, wanted, generate=generate)):
            checks.append(check)
            screen.say(_line(check))
    finally:
        loop_thread.close()
    failed = [check for check in checks if check.state == "failed"]
    data = {"backend": ",".join(settings.backend_names), "ok": not failed, "items": [asdict(check) for check in checks]}
    if not failed:
        screen.result(data)
        return
    text = f"{len(failed)} of {count_text(len(checks), 'check')} failed: {', '.join(check.name for check in failed)}."
    screen.fail(ServerUnhealthyError(text, failed[0].hint), data)
    raise typer.Exit(1)


def _own_server(backend: str | None, url: str | None, *, generate: bool) -> Settings:
    """Return the settings of a server of one's own, which alone says what it has for every workflow.

    Raises:
        InvalidInputError: another backend is named, or a picture is asked for.
    """
    if backend not in (None, "comfyui"):
        text = f"--workflows asks a ComfyUI server of your own, and --backend is {backend}."
        raise InvalidInputError(text, f"Check the backend instead: ryla-gen doctor --backend {backend}")
    if generate:
        raise InvalidInputError("--workflows makes no picture.", "Use one of --workflows and --generate.")
    return settings_for("comfyui", url)


def _line(check: Check) -> str:
    room = width()
    text = wrap(f"{check.state:8}{check.name}: {check.message}", room, "")
    return f"{text}\n{wrap(check.hint, room, '        ')}" if check.hint else text
