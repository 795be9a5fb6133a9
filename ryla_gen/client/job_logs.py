"""Find whose log a name or an id means, and read it where the job ran: ``client.jobs.logs``. Must not follow or end a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

from ..backends.logs import LogLine, LogRequest
from ..errors import BackendError, InvalidInputError, JobNotFoundError, RylaGenError
from ..events import FINAL_STATES
from ..history import Record
from ..locks.graph_lock import checked_lock_name
from ..names import CLASS_OF_FAMILY, GRAPH_CLASS, LOCK_APP_PREFIX
from ..settings import Settings
from ..workflows.registry import graph_names
from .requests import workflow_of

RUNPOD_HINT = "See https://console.runpod.io/serverless: the endpoint, then Logs. What went wrong: ryla-gen jobs show {job}"
EMULATOR_HINT = "What went wrong is in the journal: ryla-gen jobs show {job}. An emulator of its own shows a log: ryla-gen emulator"


def named_app(settings: Settings, name: str) -> tuple[Settings, str] | None:
    """Return settings that mean the app of a family, of a kept lock, or of this name, and the class; None for another word."""
    if name in CLASS_OF_FAMILY:
        return settings, CLASS_OF_FAMILY[name]
    if name == settings.modal_app:
        return settings, ""
    lock = next((item for item in (name, name.removeprefix(LOCK_APP_PREFIX)) if item.replace("-", "_") in graph_names()), None)
    return None if lock is None else _lock_app(settings, lock)


def _lock_app(settings: Settings, lock: str) -> tuple[Settings, str] | None:
    """Return settings that mean the app of a lock; None where no lock can have such a name."""
    try:
        return replace(settings, modal_app=f"{LOCK_APP_PREFIX}{checked_lock_name(lock)}"), GRAPH_CLASS
    except InvalidInputError:
        return None


async def app_lines(place: tuple[Settings, str], *, follow: bool) -> AsyncGenerator[LogLine, None]:
    """Yield the log of an app: the build of its image, then its containers."""
    from ..backends.modal import logs as modal

    async with aclosing(modal.app_lines(*place, follow=follow)) as lines:
        async for line in lines:
            yield line


async def unknown_lines(settings: Settings, name: str, error: JobNotFoundError, *, follow: bool) -> AsyncGenerator[LogLine, None]:
    """Yield the log of a lock that another machine deployed, by its name.

    Raises:
        JobNotFoundError: the one given, where Modal has no such app either.
    """
    place, told = _lock_app(settings, name.removeprefix(LOCK_APP_PREFIX)), False
    try:
        if place is not None:
            async with aclosing(app_lines(place, follow=follow)) as lines:
                async for line in lines:
                    told = True
                    yield line
            return
    except BackendError:
        if told:
            raise
    hint = "Give the id of a job (ryla-gen jobs list), or the name of a deployed lock or of a family."
    raise JobNotFoundError(f"{error.message} Nor is an app of that name deployed.", hint, error.details)


async def job_lines(
    settings: Settings, record: Record, handle: str | None, ended: asyncio.Future[None] | None
) -> AsyncGenerator[LogLine, None]:
    """Yield the log of a job, from the backend where it ran.

    Args:
        settings: how backends are reached.
        record: the job.
        handle: its backend's own name for it.
        ended: done when it has ended, where the log is followed until then.

    Raises:
        JobNotFoundError: its backend keeps no log, or shows it nowhere but on a page of its own.
        RylaGenError: its backend cannot be asked.
    """
    wanted = LogRequest(
        record.id,
        handle,
        _app_of(settings, record),
        record.server,
        _seconds(record.started_at),
        _seconds(record.finished_at) if record.state in FINAL_STATES else None,
        ended,
    )
    if record.backend == "modal":
        from ..backends.modal import logs as modal

        lines = modal.job_lines(settings, wanted)
    elif record.backend == "comfyui":
        from ..backends.server_logs import server_lines

        lines = server_lines(settings, wanted)
    else:
        raise _no_log(record)
    async with aclosing(lines):
        async for line in lines:
            yield line


def _no_log(record: Record) -> JobNotFoundError:
    details = {"job": record.id, "missing": "log"}
    if record.backend == "runpod":
        return JobNotFoundError(
            "RunPod shows the logs of its workers on its own pages only.", RUNPOD_HINT.format(job=record.id[:8]), details
        )
    text = f"The job {record.id} ran on the emulator inside its own process, which keeps no log."
    return JobNotFoundError(text, EMULATOR_HINT.format(job=record.id[:8]), details)


def _app_of(settings: Settings, record: Record) -> str:
    """Return the Modal app that serves a job's workflow; the app of the settings where its workflow is no longer known."""
    try:
        lock = workflow_of(record).lock
    except RylaGenError:
        return settings.modal_app
    return settings.modal_app if lock is None else lock.app


def _seconds(moment: str | None) -> float | None:
    try:
        return datetime.fromisoformat(moment).timestamp() if moment else None
    except ValueError:
        return None
