"""Run workflows for an agent: estimate, confirm, send, follow, save. A call that is given up cancels its job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp.types import CallToolRequestParams, CallToolResult, InputRequiredResult

from ...client import AsyncClient, AsyncJob
from ...costs.estimates import Estimate
from ...errors import RylaGenError
from ...events import Event, Progress, Queued, Started
from ...results import Generation
from ...workflows.base import Workflow
from .asking import Asker, Context, with_start
from .base import AGENT_TAG, ServerOptions
from .catalog import schema_place
from .inputs import request_of
from .outputs import content_of, described, save_outputs
from .replies import reply

Made = tuple[Generation, list[Path | None]]
"""A result, and where its files are."""
FINISH_SECONDS = 5.0
"""How long the end of a call waits for its job to be canceled."""
STEP = 0.001
"""Least progress between two notifications: each must be above the one before."""


@dataclass(slots=True)
class Live:
    """A job that this process follows."""

    job: AsyncJob
    made: asyncio.Task[Made]
    """Saves the files as soon as they are there, whether a call still waits or not."""
    own: bool = True
    """Whether this process sent it; another one's goes on when this one ends."""
    fraction: float = 0.0
    """Share of the graph that is done."""


class Calls:
    """The jobs that the agent of one server started.

    Args:
        options: what the server may do.
        client: sends the jobs; its settings hold the budget.

    """

    def __init__(self, options: ServerOptions, client: AsyncClient) -> None:
        self._options, self._client = options, client
        self._asker = Asker(options.confirm_above)
        self._sending: set[asyncio.Task[AsyncJob]] = set()
        self.live: dict[str, Live] = {}
        """Jobs whose ends are not known yet, by their ids."""

    async def generate(
        self, context: Context, call: CallToolRequestParams, cls: type[Workflow], fields: Mapping[str, Any]
    ) -> CallToolResult | InputRequiredResult:
        """Run a workflow, and return what it made, its job when that takes longer, or the question for the person.

        Raises:
            RylaGenError: the request does not fit, is not allowed or failed; each says what to do.

        """
        workflow = await request_of(cls, fields, self._options.allowed, schema=schema_place(self._options, cls))
        question = await self._asker.confirm(context, call, dearest(self._client, workflow))
        if question is not None:
            return question
        live = self._follow(await self._send(workflow))
        async with _canceling(live.job):
            return await self.wait(context, live)

    async def wait(self, context: Context, live: Live) -> CallToolResult:
        """Wait for a job as long as a call may, and tell how it stands.

        Raises:
            RylaGenError: it failed.

        """
        with anyio.move_on_after(self._options.wait):
            await self._report(context, live)
            return await show(*await asyncio.shield(live.made))
        hint = f"It goes on. Wait for it with the tool result, job {live.job.id}; stop it with cancel."
        return reply({"job": live.job.id, "state": live.job.state, "progress": round(live.fraction, 2), "hint": hint})

    def follow(self, job: AsyncJob) -> Live:
        """Follow a job of an earlier process, once."""
        return self.live.get(job.id) or self._follow(job, own=False)

    async def close(self) -> None:
        """Cancel what still runs: the agent that would use it has left. What another server sent is only followed no longer."""
        for task in list(self._sending):
            await asyncio.wait([task])
        jobs = [live.job for live in self.live.values() if live.own and not live.job.done]
        await asyncio.gather(*(job.cancel() for job in jobs), return_exceptions=True)
        for live in self.live.values():
            if not live.own and not live.job.done:
                live.made.cancel()
        tasks = [live.made for live in self.live.values()]
        if tasks:
            await asyncio.wait(tasks)

    async def _send(self, workflow: Workflow) -> AsyncJob:
        """Send a job. It may be on its way when the call is given up: then it is canceled as soon as it can be addressed."""
        sending = asyncio.ensure_future(self._client.submit(workflow, tags=(AGENT_TAG,)))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await _finish(self._stop_sent(sending))
            raise

    async def _stop_sent(self, sending: asyncio.Task[AsyncJob]) -> None:
        with suppress(RylaGenError):  # it was not sent after all
            await (await sending).cancel()

    def _follow(self, job: AsyncJob, *, own: bool = True) -> Live:
        live = Live(job, asyncio.ensure_future(self._save(job)), own)
        self.live[job.id] = live
        live.made.add_done_callback(lambda task: self._ended(job.id, task))
        return live

    def _ended(self, job: str, task: asyncio.Task[Made]) -> None:
        self.live.pop(job, None)
        if not task.cancelled():
            task.exception()  # seen: a job whose call was given up has nobody to raise it to

    async def _save(self, job: AsyncJob) -> Made:
        generation = await job.result()
        paths = await asyncio.to_thread(save_outputs, generation, self._options.output)
        self._client.history.saved(generation.job, [path for path in paths if path is not None])
        return generation, paths

    async def _report(self, context: Context, live: Live) -> None:
        """Pass a job's events on as progress; without a token from the client nothing is sent."""
        told = 0.0
        async for event in live.job.events():
            if isinstance(event, Progress):
                live.fraction = event.fraction
            text = _words(event)
            if text:
                told = min(1.0, max(told + STEP, live.fraction))
                await context.session.report_progress(told, 1.0, text)


def dearest(client: AsyncClient, workflow: Workflow) -> Estimate:
    """Estimate a call where it costs most: what the first backend refuses goes to the next one, and nobody is asked again.

    Raises:
        RylaGenError: the first backend is not set up.

    """
    first, *others = client.settings.backend_names
    found = [client.estimate(workflow, backend=first)]
    for name in others:
        with suppress(RylaGenError):  # not set up: nothing is sent there either
            found.append(client.estimate(workflow, backend=name))
    return max(found, key=with_start)


def _words(event: Event) -> str:
    match event:
        case Queued():
            return f"queued behind {event.position}" if event.position else "queued"
        case Started():
            return "started"
        case Progress():
            return f"{event.node} {event.step}/{event.steps}" if event.steps else event.node or "running"
    return ""


@asynccontextmanager
async def _canceling(job: AsyncJob) -> AsyncIterator[None]:
    """Cancel a job whose call was given up."""
    try:
        yield
    except asyncio.CancelledError:
        await _finish(job.cancel())
        raise


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Do what has to be done although the call was given up; what takes long goes on without it."""
    doing = asyncio.ensure_future(work)
    _finishing.add(doing)
    doing.add_done_callback(_finishing.discard)
    with anyio.move_on_after(FINISH_SECONDS, shield=True):
        await asyncio.shield(doing)


_finishing: set[asyncio.Task[None]] = set()
"""The event loop holds tasks weakly."""


async def show(generation: Generation, paths: list[Path | None]) -> CallToolResult:
    """Return a result for a model: its facts, its pictures small, its texts."""
    return reply(described(generation, paths), await content_of(generation))
