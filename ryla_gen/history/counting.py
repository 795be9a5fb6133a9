"""Read when the journal's jobs ran and how they ended, in few columns, so that a large one is read at once. Must not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .base import NOT_FORGOTTEN, text
from .spending import PARENTS, Select


class JobEnd(NamedTuple):
    """The fields of a job that counting needs."""

    workflow: str
    backend: str
    state: str
    seconds: float | None
    """From the request to the end, of a job that succeeded; None where the journal's times cannot be read."""
    code: str | None
    """Code of the error of a job that failed or expired."""


class JobSpan(NamedTuple):
    """When a job's graph ran, in seconds since 1970."""

    workflow: str
    began: float
    ended: float


class JobRun(NamedTuple):
    """The fields of a job that succeeded which an estimate needs."""

    inputs: str
    """Its fields as the journal holds them, in JSON: see :func:`~ryla_gen.history.base.from_column`."""
    gpu: str | None
    seconds: float
    """That the GPU was held; where no GPU was paid for, from the start of the graph to its end. 0 where neither is known."""


def runs(select: Select, workflow: str, backend: str, limit: int) -> Sequence[JobRun]:
    """Read the newest runs of a workflow that succeeded. Every paid job asks for them, so the other columns are left alone.

    Args:
        select: runs a query on the journal.
        workflow: its name.
        backend: where they ran.
        limit: the most runs to return.

    """
    clock = "MAX(0.0, (julianday(finished_at) - julianday(started_at)) * 86400)"
    seconds = f"COALESCE(NULLIF(gpu_seconds, 0), {clock}, 0.0)"
    chosen = (
        f"workflow = ? AND backend = ? AND state = 'succeeded' AND {NOT_FORGOTTEN} ORDER BY created_at DESC, rowid DESC LIMIT ?"
    )
    sql = f"SELECT inputs, gpu, {seconds} FROM jobs WHERE {chosen}"  # noqa: S608 - our own words
    return [JobRun._make(row) for row in select(sql, (text(workflow), text(backend), limit))]


def spans(select: Select, where: str, values: Sequence[Any]) -> Sequence[JobSpan]:
    """Read when the graphs of ended jobs ran, as far as the journal knows. Jobs made of others count as those others.

    Args:
        select: runs a query on the journal.
        where: SQL terms that choose the jobs; empty for all.
        values: what the terms compare with.

    """
    began = "(julianday(COALESCE(started_at, created_at)) - 2440587.5) * 86400"
    ended = f"{began} + COALESCE(gpu_seconds, (julianday(finished_at) - julianday(started_at)) * 86400)"
    terms = " AND ".join(filter(None, [where, PARENTS, NOT_FORGOTTEN]))
    sql = f"SELECT workflow, {began} AS began, {ended} AS ended FROM jobs WHERE {terms} AND ended > began"  # noqa: S608 - our own words
    return [JobSpan._make(row) for row in select(sql, values)]


def ends(select: Select, where: str, values: Sequence[Any]) -> Sequence[JobEnd]:
    """Read how jobs ended. Jobs made of others count as those others.

    Args:
        select: runs a query on the journal.
        where: SQL terms that choose the jobs; empty for all.
        values: what the terms compare with.

    """
    seconds = "CASE WHEN state = 'succeeded' THEN ROUND((julianday(finished_at) - julianday(created_at)) * 86400, 3) END"
    code = "CASE WHEN state IN ('failed', 'expired') AND json_valid(error) THEN json_extract(error, '$.code') END"
    terms = " AND ".join(filter(None, [where, PARENTS]))
    sql = f"SELECT workflow, backend, state, {seconds}, {code} FROM jobs WHERE {terms}"  # noqa: S608 - our own words
    return [JobEnd._make(row) for row in select(sql, values)]
