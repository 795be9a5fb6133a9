"""Implement ``ryla-gen jobs funnel``: count the outcomes of requests in the journal of this machine. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from ryla_gen.errors import InvalidInputError
from ryla_gen.history import History
from ryla_gen.settings import Settings
from ryla_gen.support.numbers import format_seconds
from ryla_gen.tools.evaluations.funnel import ALL, Stage, funnel
from ryla_gen.workflows.registry import workflow_class, workflow_names

from ...screen import Screen, table, width

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def show(screen: Screen, since: str | None, workflow: str | None, backend: str | None) -> None:
    """Count what was requested, completed, failed and canceled.

    Raises:
        InvalidInputError: ``since`` is no time, or there is no such workflow.
    """
    name = workflow.replace("-", "_") if workflow else None
    begin = moment(since) if since else None
    with closing(History(Settings.load().history_path)) as history:
        stages = funnel(history.ends(workflow=name, backend=backend, since=begin))
    for text in history.warnings:
        screen.note(f"warning: {text}")
    if name and not stages and name not in workflow_names():
        workflow_class(name)  # says that there is none, and the nearest one; a plug-in's old jobs are found without it
    nothing = "No job matches." if since or workflow or backend else "No jobs yet."
    screen.result({"items": [stage.to_data() for stage in stages]}, _page(stages) if stages else nothing)


def moment(text: str) -> str | datetime:
    """Read a date and time, or how long ago it was.

    Raises:
        InvalidInputError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if found is None:
        if not re.match(r"\d{4}-", text.strip()):
            raise InvalidInputError(
                f"{text!r} is not a valid date or time.", "Write --since 2026-01-31, 2026-01-31T18:30, or 90m, 24h, 7d, 4w."
            )
        return text.strip()
    try:
        return datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise InvalidInputError(f"{text!r} is too long ago.", "Leave out --since to count everything.") from None


def _page(stages: Sequence[Stage]) -> str:
    room = width()
    heads = ("workflow", "requested", "completed", "failed", "canceled", "open", "success", "mean", "p95")
    lines = [table(heads, [_row(stage) for stage in stages], room)]
    failures = [(_name(stage), kind, count, _codes(stage, kind)) for stage in stages for kind, count in stage.errors.items()]
    failures = [row for row in failures if row[0] != ALL or len(stages) == 1]
    if failures:
        lines += ["", table(("failures of", "type", "count", "codes"), failures, room)]
    emulated = stages[-1].emulated
    if emulated:
        whole = stages[-1].requested
        lines += ["", f"{emulated} of {whole} ran on the emulator; use --backend NAME to count only one backend."]
    return "\n".join(lines)


def _row(stage: Stage) -> tuple[object, ...]:
    rate = f"{stage.success_rate:.1%}" if stage.success_rate is not None else "–"
    counts = (stage.requested, stage.completed, stage.failed, stage.canceled, stage.open)
    return (_name(stage), *counts, rate, format_seconds(stage.seconds.mean), format_seconds(stage.seconds.p95))


def _name(stage: Stage) -> str:
    return stage.workflow.replace("_", "-")


def _codes(stage: Stage, kind: str) -> str:
    from ryla_gen.telemetry import FAULTS

    found = {code: count for code, count in stage.codes.items() if FAULTS.get(code, FAULTS["internal"]).error_type == kind}
    return ", ".join(f"{code} {count}" for code, count in found.items())
