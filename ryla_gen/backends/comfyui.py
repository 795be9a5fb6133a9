"""A ComfyUI server of your own: the engine runs in the caller's process against it. The emulator is this with another URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ..comfy.client import ComfyClient
from ..engine import Engine
from ..errors import JobCanceledError, JobNotFoundError
from ..events import Event, Finished, Queued, State
from ..results import Generation
from ..running import Emit
from ..workflows.base import Workflow
from .base import EventLog, Ticket

Work = Callable[[Emit], Coroutine[Any, Any, Generation]]


class EngineTicket:
    """A job whose engine runs as a task of this process."""

    def __init__(self, handle: str, job: str, work: Work) -> None:
        self._handle = handle
        self._log = EventLog(job)
        self._log.add(Queued, position=0)
        self._begun = asyncio.Event()
        self._task = asyncio.create_task(self._run(work), name=f"ryla-gen job {job}")
        # A task that is cancelled before its first step never comes to its own end.
        self._task.add_done_callback(lambda task: self._end("canceled" if task.cancelled() else "failed"))

    @property
    def handle(self) -> str:
        """Backend and prompt id."""
        return self._handle

    @property
    def state(self) -> State:
        """Where the job is."""
        return self._log.state

    def events(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Every event from the first one on, then the end."""
        return self._log.read(previews=previews)

    async def result(self) -> Generation:
        """Wait for the result; stopping to wait does not stop the job."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                raise JobCanceledError(f"The job {self._log.job} was cancelled.") from None
            raise

    async def cancel(self) -> None:
        """Stop the job and wait until the server has been told."""
        if not self._task.done():
            await self._begun.wait()  # a task cancelled before its first step could not tell the server
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, work: Work) -> Generation:
        self._begun.set()
        try:
            generation = await work(self._emit)
        except BaseException as error:
            gone = isinstance(error, asyncio.CancelledError | JobCanceledError)
            self._end("canceled" if gone else "failed")
            raise
        self._end("succeeded")
        return generation

    def _end(self, state: State) -> None:
        if self._log.finished:
            return
        self._log.state = state
        self._log.add(Finished, state=state)

    def _emit(self, kind: type[Event], **fields: object) -> None:
        self._log.add(kind, **fields)


class ComfyBackend:
    """Runs jobs on one ComfyUI server.

    Args:
        url: address of the server.
        hourly_usd: what an hour of it costs.

    """

    name = "comfyui"

    def __init__(self, url: str, *, hourly_usd: float = 0.0) -> None:
        self._url = url
        self._hourly_usd = hourly_usd
        self._opened: tuple[ComfyClient, Engine] | None = None

    def usd_per_second(self, workflow: Workflow) -> float:
        """The hourly rate of the configuration, by the second."""
        return self._hourly_usd / 3600

    async def submit(self, workflow: Workflow, *, job: str, timeout: float | None = None) -> Ticket:
        """Start the engine on this job."""
        engine = await self._engine()

        async def work(emit: Emit) -> Generation:
            return await engine.run(workflow, job=job, emit=emit, timeout=timeout)

        return self._ticket(job, work)

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a prompt that another process submitted.

        Raises:
            JobNotFoundError: the handle belongs to another backend.

        """
        backend, _, prompt_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} is not of the {self.name} backend.")
        engine = await self._engine()

        async def work(emit: Emit) -> Generation:
            return await engine.resume(workflow, job=prompt_id, emit=emit)

        return self._ticket(prompt_id, work)

    async def find(self, job: str) -> str | None:
        """Return the handle of a job that the server has: the prompt's id is the job's own."""
        engine = await self._engine()
        return f"{self.name}:{job}" if await engine.knows(job) else None

    async def close(self) -> None:
        """Close the connection. Prompts on the server go on; their tasks here end."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[0].close()

    async def _address(self) -> str:
        return self._url

    async def _engine(self) -> Engine:
        if self._opened is None:
            client = ComfyClient(await self._address())
            self._opened = (client, Engine(client, backend=self.name, hourly_usd=self._hourly_usd))
        return self._opened[1]

    def _ticket(self, job: str, work: Work) -> EngineTicket:
        return EngineTicket(f"{self.name}:{job}", job, work)
