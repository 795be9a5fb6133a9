"""Answer what costs nothing: estimates, jobs, results, costs, the gallery. Starts no job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcp.types import CallToolResult, ContentBlock

from ... import media
from ...client import AsyncClient
from ...costs import budget
from ...errors import InvalidInputError, JobNotFoundError, RylaGenError
from ...events import FINAL_STATES
from ...history import Record
from ..gallery import GalleryItem, collect
from .arguments import JobsList, Lookup, OneJob, OneWorkflow, Pictures, Since
from .asking import Context, with_start
from .base import AGENT_TAG, ServerOptions
from .calls import Calls, dearest
from .catalog import line_of, schema_of, schema_place
from .inputs import request_of
from .outputs import MOST_BYTES, MOST_SHOWN, THUMBNAIL_SIDE, shown
from .replies import failed, reply

LONGEST_PROMPT = 300
"""Characters of a prompt in a list."""


class Answers:
    """Answers about one machine's jobs and one server's budget.

    Args:
        options: what the server may do.
        client: knows the journal and the backends.
        calls: the jobs that run here.

    """

    def __init__(self, options: ServerOptions, client: AsyncClient, calls: Calls) -> None:
        self._options, self._client, self._calls = options, client, calls

    async def estimate(self, asked: OneWorkflow) -> CallToolResult:
        """Estimate a call; no picture is read."""
        cls = self._options.offered(asked.workflow)
        schema = schema_place(self._options, cls)
        workflow = await request_of(cls, asked.fields, self._options.allowed, schema=schema, read=False)
        found = self._client.estimate(workflow)
        told: dict[str, Any] = {"workflow": found.workflow, "backend": found.backend, "gpu": found.gpu, "basis": found.basis}
        told |= {"seconds": asdict(found.seconds), "usd": asdict(found.usd)}
        if found.cold_start.likely:
            told |= {"cold_start_seconds": asdict(found.cold_start), "cold_start_usd": asdict(found.cold_start_usd)}
        limit = self._options.confirm_above
        asks = limit is not None and with_start(dearest(self._client, workflow)) > limit
        return reply({**told, "not_included": list(found.not_included), "person_is_asked": asks, "budgets": self._budgets()})

    async def workflows(self, asked: Lookup) -> CallToolResult:
        """List the workflows that ``run`` reaches, or give the schema of one."""
        if asked.name is not None:
            cls = self._options.offered(asked.name)
            return reply({"workflow": cls.name, "text": line_of(cls), "fields": schema_of(cls)})
        names = self._options.others()
        return reply({"workflows": {name: line_of(self._options.offered(name)) for name in names}})

    async def jobs(self, asked: JobsList) -> CallToolResult:
        """List jobs, the newest first."""
        records = self._client.jobs.list(limit=asked.limit, state=asked.state)
        return reply({"jobs": [_line(record) for record in records]})

    async def job(self, asked: OneJob) -> CallToolResult:
        """Tell how a job stands."""
        record = self._record(asked.job)
        live = self._calls.live.get(record.id)
        running = {"state": live.job.state, "progress": round(live.fraction, 2)} if live is not None else {}
        return reply({**_line(record), **running, "files": record.saved, "error": record.error, "inputs": record.inputs})

    async def result(self, context: Context, asked: OneJob) -> CallToolResult:
        """Show what a job made; wait for one that runs.

        Raises:
            RylaGenError: it failed, its result is gone, or it is a person's and lies where an agent may not read.

        """
        record = self._record(asked.job)
        self._check_readable(record)
        # Before anything is awaited: a job whose files are saved meanwhile is no longer live, and this record does not name them.
        live = self._calls.live.get(record.id)
        if live is not None:
            return await self._calls.wait(context, live)
        kept = await asyncio.to_thread(_pictures, record.saved)
        if record.state == "succeeded" and kept:
            return reply({**_line(record), "files": record.saved}, kept)
        if record.state in FINAL_STATES and record.error:
            return failed(record.error)
        return await self._calls.wait(context, self._calls.follow(await self._client.jobs.get(record.id)))

    async def cancel(self, asked: OneJob) -> CallToolResult:
        """Stop a job that an agent started.

        Raises:
            InvalidInputError: a person started it.

        """
        record = self._record(asked.job)
        if AGENT_TAG not in record.tags:
            hint = f"Tell the person, who can stop it: ryla-gen jobs cancel {record.id}"
            raise InvalidInputError(f"The job {record.id} was not started by an agent, so an agent cannot stop it.", hint)
        if record.state not in FINAL_STATES:
            live = self._calls.live.get(record.id)
            if live is not None:
                await live.job.cancel()
            elif not await self._client.jobs.stop(record):
                await (await self._client.jobs.get(record.id)).cancel()
        return reply(_line(self._record(record.id)))

    async def costs(self, asked: Since) -> CallToolResult:
        """Sum up what was spent, and what is left."""
        since = asked.since or budget.today()
        rows = self._client.costs("workflow", since=since)
        spent = {row.key: {"usd": round(row.usd, 6), "jobs": row.jobs, "succeeded": row.succeeded} for row in rows}
        return reply(
            {"since": since, "usd": round(sum(row.usd for row in rows), 6), "by_workflow": spent, "budgets": self._budgets()}
        )

    async def gallery(self, asked: Pictures) -> CallToolResult:
        """List the newest pictures and videos of the output folder."""
        folder = self._options.output
        folder.mkdir(parents=True, exist_ok=True)
        found = await asyncio.to_thread(collect, folder, self._client.history, since=asked.since)
        items = found.items[: asked.limit]
        small = await asyncio.to_thread(_thumbnails, items) if asked.thumbnails else []
        return reply({"folder": str(folder), "items": [_item(item) for item in items], "in_all": len(found.items)}, small)

    def _record(self, job: str) -> Record:
        record = self._client.history.get(job)
        if record is None:
            raise JobNotFoundError(f"No job {job!r} is in the journal of this machine.", "List them with the tool jobs.")
        return record

    def _check_readable(self, record: Record) -> None:
        """Refuse the result of a person's job, unless its files lie where an agent may read."""
        folders = (self._options.output.resolve(), *self._options.allowed)
        places = [Path(place).resolve() for place in record.saved]
        inside = bool(places) and all(any(place.is_relative_to(folder) for folder in folders) for place in places)
        if AGENT_TAG not in record.tags and not inside:
            hint = f"Ask the person, who can start the server with --allow-folder, or see it: ryla-gen jobs result {record.id}"
            raise InvalidInputError(f"The job {record.id} is a person's, and its files are in no folder that is allowed.", hint)

    def _budgets(self) -> dict[str, Any]:
        """Tell what this process, a day and a call may spend, and what is left of each."""
        settings, history = self._client.settings, self._client.history
        told: dict[str, Any] = {}
        if settings.allowance is not None:
            spent, held = history.tagged_usd(settings.allowance.tag)
            told["server"] = _left(settings.allowance.usd, spent + held) | {
                "spent_usd": round(spent, 6),
                "held_usd": round(held, 6),
            }
        if settings.max_usd_per_day is not None:
            told["day"] = _left(settings.max_usd_per_day, history.taken_usd(budget.today()))
        if settings.max_usd is not None:
            told["call"] = {"limit_usd": settings.max_usd}
        return told


def _left(limit: float, taken: float) -> dict[str, float]:
    return {"limit_usd": limit, "left_usd": round(max(0.0, limit - taken), 6)}


def _line(record: Record) -> dict[str, Any]:
    prompt = record.inputs.get("prompt")
    told: dict[str, Any] = {
        "job": record.id,
        "workflow": record.workflow,
        "state": record.state,
        "backend": record.backend,
        "seed": record.seed,
    }
    told |= {"prompt": prompt[:LONGEST_PROMPT]} if isinstance(prompt, str) else {}
    told |= {"created_at": record.created_at, "finished_at": record.finished_at, "usd": record.cost_usd}
    return told | {"started_by": "an agent" if AGENT_TAG in record.tags else "a person"}


def _pictures(saved: list[str]) -> list[ContentBlock]:
    """Return the first of the files of a job that are still there and can be shown."""
    paths = saved[:MOST_SHOWN]
    return [block for path in paths if (block := _shown(Path(path), most=MOST_BYTES // len(paths))) is not None]


def _thumbnails(items: tuple[GalleryItem, ...]) -> list[ContentBlock]:
    return [block for item in items if (block := _shown(item.path, THUMBNAIL_SIDE)) is not None]


def _shown(path: Path, side: int | None = None, most: int = MOST_BYTES) -> ContentBlock | None:
    """Return a file as a picture; None for one that is none, too large, or gone."""
    try:
        if path.stat().st_size > media.VIDEO_LIMIT_BYTES:
            return None
        return shown(path.read_bytes(), **({"side": side} if side else {}), most=most)
    except (OSError, RylaGenError):
        return None


def _item(item: GalleryItem) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "path": str(item.path),
        "kind": item.kind,
        "workflow": item.workflow,
        "made_at": item.made_at,
        "seed": item.seed,
    }
    return {**told, "prompt": item.prompt[:LONGEST_PROMPT], "job": item.job, "usd": item.cost_usd}
