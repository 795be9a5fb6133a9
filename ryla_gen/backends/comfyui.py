"""Run jobs on a ComfyUI server of your own, with the engine in the caller's process. Must not know how the server was started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..comfy.client import ComfyClient
from ..comfy.log import ServerLog, lora_files
from ..contract import USUAL_OPTIONS, Options
from ..engine import Engine
from ..engine.lora_effect import LoraWatch, PromptLog
from ..engine.loras import LoraResolver
from ..engine.output_hooks import OnOutput
from ..engine.progress import Emit
from ..errors import BackendUnreachableError, JobNotFoundError, RefusedError, ServerUnhealthyError, before_start
from ..events import Started
from ..results import Generation
from ..settings.base import QUEUE_SECONDS
from ..workflows.base import Workflow
from .base import Ticket
from .tickets import TaskTicket, contact_lost

Work = Callable[[Emit], Coroutine[Any, Any, Generation]]


class EngineWork(Protocol):
    """Runs or resumes one workflow on an engine."""

    async def __call__(self, *, emit: Emit) -> Generation:
        """Run it to its end, and emit its events."""
        ...


class EngineTicket(TaskTicket):
    """A job whose engine runs as a task of this process."""

    def __init__(
        self, handle: str, job: str, work: Work, engine: Engine, on_output: OnOutput | None = None, *, taken_up: bool = False
    ) -> None:
        super().__init__(job, on_output)
        self._handle = handle
        self._taken_up = taken_up
        """Whether an earlier process sent it: that its server cannot be reached says nothing of its end."""
        self._engine_work = work
        self._engine = engine

    @property
    def handle(self) -> str:
        """Backend and prompt id."""
        return self._handle

    async def cancel(self) -> None:
        """Stop the job, and wait until the server has received the request to stop it.

        Raises:
            BackendUnreachableError: the request did not reach it; the job may run on there.
        """
        if not self._task.done():
            await self._begun.wait()  # a task canceled before its first step would never reach the code that stops the prompt
            self._task.cancel()
            await asyncio.wait([self._task])
        elif not self._has_ended:
            await self._engine.stop(self._log.job)
        if self._log.job in self._engine.uncancelled:
            raise self._not_stopped()

    def _not_stopped(self) -> BackendUnreachableError:
        job = self._log.job
        text = f"The server could not be told to stop the job {job}; it may run on there."
        return BackendUnreachableError(text, f"Try again: ryla-gen jobs cancel {job}", {"job": job, "contact_lost": True})

    async def _checked(self) -> Generation:
        try:
            return await super()._checked()
        except RefusedError as error:
            await self._engine.forget(self._log.job, error)
            raise

    async def _work(self) -> Generation:
        try:
            return await self._engine_work(self._log.add)
        except asyncio.CancelledError:
            if self._log.job in self._engine.uncancelled:  # its end is not known, so it must not count as canceled
                raise self._not_stopped() from None
            raise
        except (BackendUnreachableError, ServerUnhealthyError) as error:
            # Only the server knows how it ended, unless it never had the job or has reported it as lost.
            never_sent = not self._taken_up and (error.started == "no" or not error.details.get("sent"))
            if never_sent or error.details.get("lost"):
                raise
            raise contact_lost(error, self._log.job) from None


class ComfyBackend:
    """Runs jobs on one ComfyUI server.

    Args:
        url: address of the server.
        hourly_usd: what an hour of it costs.
        loras: looks up the LoRAs of requests, where this machine reaches the server's folder of LoRAs.
        connect: makes the client, where the server asks for credentials or has a certificate of its own.
        queue_timeout: seconds that a job may wait until its graph starts.
        lora_folder: the server's folder of LoRAs, where this machine reaches it.
        on_output: the hook that the client was given.

    """

    name = "comfyui"
    measures_consistency = False
    uploads = False

    def __init__(
        self,
        url: str,
        *,
        hourly_usd: float = 0.0,
        loras: LoraResolver | None = None,
        connect: Callable[[], ComfyClient] | None = None,
        queue_timeout: float = QUEUE_SECONDS,
        lora_folder: Path | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        self._url = url
        self._on_output = on_output
        self._connect = connect
        self._loras = loras
        self._watch: LoraWatch | None = None
        """Reads the log of a server in this process; one elsewhere sends it over HTTP."""
        self._judge = LoraWatch(ServerLog(), () if lora_folder is None else (lora_folder,))
        self._hourly_usd = hourly_usd
        self._queue_timeout = queue_timeout
        self._opened: tuple[ComfyClient, Engine] | None = None

    def usd_per_second(self, workflow: Workflow) -> float:
        """Return the configured hourly rate, by the second."""
        return self._hourly_usd / 3600

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, options: Options = USUAL_OPTIONS
    ) -> Ticket:
        """Start the engine on this job.

        Raises:
            LoraIncompatibleError: a LoRA was made for another base model; nothing was sent.
        """
        with before_start():
            names = await self._loras.names(workflow) if self._loras is not None else {}
        engine = await self._engine()

        run = partial(engine.run, workflow, job=job, timeout=timeout, loras=names)
        return self._ticket(job, partial(self._listen, workflow, run), engine)

    async def _listen(self, workflow: Workflow, run: EngineWork, emit: Emit) -> Generation:
        """Run a workflow, and read what the server's log says about its LoRAs."""
        if self._watch is not None:
            mark = self._watch.mark()
            generation = await run(emit=emit)
            found = await self._watch.notices(generation.graph, mark)
        elif self._opened is None or not any(lora_files(workflow.build().to_api())):
            return await run(emit=emit)
        else:
            log = PromptLog(self._opened[0].log)

            def note(kind: Any, **fields: Any) -> None:
                if kind is Started:
                    log.begin()
                emit(kind, **fields)

            try:
                generation = await run(emit=note)
                found = self._judge.judge(list(lora_files(generation.graph)), await log.lines(), whole=False)
            finally:
                log.close()
        return replace(generation, warnings=generation.warnings + found) if found else generation

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Follow a prompt that another process submitted.

        Raises:
            JobNotFoundError: the handle belongs to another backend.

        """
        backend, _, prompt_id = handle.partition(":")
        if backend != self.name:
            raise JobNotFoundError(f"The handle {handle} does not belong to the {self.name} backend.")
        engine = await self._engine()

        run = partial(engine.resume, workflow, job=prompt_id)
        return self._ticket(prompt_id, partial(self._listen, workflow, run), engine, taken_up=True)

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
            client = self._connect() if self._connect is not None else ComfyClient(await self._address())
            engine = Engine(client, backend=self.name, hourly_usd=self._hourly_usd, queue_timeout=self._queue_timeout)
            self._opened = (client, engine)
        return self._opened[1]

    def _ticket(self, job: str, work: Work, engine: Engine, *, taken_up: bool = False) -> EngineTicket:
        return EngineTicket(f"{self.name}:{job}", job, work, engine, self._on_output, taken_up=taken_up)
