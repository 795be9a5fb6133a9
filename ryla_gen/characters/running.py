"""One character job under way: sends what was not sent, follows what was, keeps each picture as it comes. Builds no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from .. import media
from ..client import AsyncClient, AsyncJob
from ..contract import new_job_id
from ..errors import GenerationTimeoutError, InvalidInputError, JobCanceledError, JobNotFoundError, RylaGenError, error_from_data
from ..events import FINAL_STATES, Started, State, now
from ..events import Progress as StepProgress
from ..history import Record
from ..jobs import state_of
from . import recipes
from .base import Kind, Part, Picture, Plan, Progress, progress_of, state_of_parts
from .results import CharacterResult, compose, failure
from .shelf import Shelf

ATTEMPTS = 2
"""Times a picture is paid for without being asked again: one fault of a machine is mended, a second one is for a person."""
FIRST_LOOK, FURTHER_LOOK = 3.0, 0.5
"""Seconds that :meth:`AsyncCharacterJob.look` waits for the first news, and for each further one."""


class AsyncCharacterJob:
    """One job of several pictures. Get one from ``AsyncCharacters``; it follows its pictures until the client is closed."""

    def __init__(self, client: AsyncClient, shelf: Shelf, plan: Plan, base_image: bytes | None = None) -> None:
        self._client = client
        self._shelf = shelf
        self._plan = plan
        self._base_image = base_image
        self._live: dict[str, AsyncJob] = {}
        self._changed = asyncio.Event()
        self._outcome: asyncio.Task[None] | None = None
        self._arrivals: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.kind} {self.state}>"

    @property
    def id(self) -> str:
        """The job's id, a uuid4; valid in any process of this machine."""
        return self._plan.id

    @property
    def kind(self) -> Kind:
        """``base``, ``swap`` or ``sheet``."""
        return self._plan.kind

    @property
    def plan(self) -> Plan:
        """What it was asked for."""
        return self._plan

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every picture that was asked for, and where each is."""
        return tuple(self._plan.parts)

    @property
    def state(self) -> State:
        """Where the job is; ``failed`` when every picture has ended and one did not come."""
        return state_of_parts(self._plan.parts)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return progress_of(self._plan.parts)

    @property
    def done(self) -> bool:
        """Whether nothing more happens by itself."""
        return self._outcome is None or self._outcome.done()

    @property
    def pictures(self) -> list[Picture]:
        """Every picture that is there already, in order."""
        made = [part for part in self._plan.parts if part.path is not None]
        return [Picture(part.name, part.label, part.seed, part.job, part.path or Path()) for part in made]

    async def updates(self) -> AsyncIterator[Progress]:
        """How far it is, now and after every change, until it has ended."""
        while True:
            changed = self._changed
            yield self.progress
            if self.done:
                return
            await changed.wait()

    async def handed_in(self) -> None:
        """Wait until every picture is with its backend, so that this process may end."""
        if self._arrivals is not None:
            await asyncio.wait([self._arrivals])

    async def look(self) -> None:
        """Wait until nothing new has been heard for a moment, or the end: enough to say where each picture is."""
        await self.handed_in()
        patience = FIRST_LOOK
        while not self.done:
            try:
                await asyncio.wait_for(self._changed.wait(), patience)
            except TimeoutError:
                return
            patience = FURTHER_LOOK if any(part.state != "queued" for part in self._plan.parts) else FIRST_LOOK

    async def result(self, timeout: float | None = None) -> CharacterResult:
        """Wait for all pictures. Stopping to wait does not stop the job.

        Args:
            timeout: seconds to wait here; the job goes on afterwards.

        Raises:
            GenerationTimeoutError: it has not ended while we waited.
            RylaGenError: a picture failed, with that picture's own class; the others are kept, see :attr:`pictures`.

        """
        if self._outcome is not None:
            done, _ = await asyncio.wait([self._outcome], timeout=timeout)
            if not done:
                text = f"The character job {self.id} has not ended after {timeout:g} s of waiting; it goes on."
                raise GenerationTimeoutError(text, f"Look again: ryla-gen character status {self.id[:8]}", {"job": self.id})
            self._outcome.result()
        if self.state != "succeeded":
            raise failure(self._plan)
        sheet = self._shelf.sheet if self._shelf.sheet.exists() else None
        return CharacterResult(self.id, self.kind, tuple(self.pictures), sheet, self._cost())

    async def cancel(self) -> None:
        """Stop every picture that has not ended; those that are there stay. Cancelling a job that has ended does nothing."""
        for part in self._plan.parts:
            if not part.ended and part.name not in self._live:
                self._journal(part, JobCanceledError(f"The picture {part.name} was cancelled before it was sent."))
        await asyncio.gather(*(job.cancel() for job in self._live.values() if not job.done))
        if self._outcome is not None:
            await asyncio.wait([self._outcome])
        if self.state in FINAL_STATES and not self._settled():
            await self._finish()

    async def start(
        self,
        *,
        send: bool = True,
        resumed: bool = False,
        again: bool = False,
        only: Sequence[str] | None = None,
        source: Any = None,
    ) -> None:
        """Send what was not sent, find what was, and follow it all.

        Args:
            send: whether anything may be sent; else it is only followed.
            resumed: whether an earlier process may have sent some of it.
            again: whether pictures that a machine's fault cost are tried once more.
            only: names of ended pictures to try again whatever their fault, as a person asked for.
            source: the reference picture, given again.

        Raises:
            RylaGenError: nothing could be sent, or the backend cannot be asked.

        """
        self._resumed = resumed
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._shelf.held())
            self._refresh()
            sent, failed = list[AsyncJob](), list[RylaGenError]()
            for part in self._plan.parts:
                if part.state == "succeeded":
                    continue
                job = await self._begun(part, send=send, again=again, forced=only is not None and part.name in only, source=source)
                if isinstance(job, RylaGenError):
                    failed.append(job)
                elif job is not None and job.id in self._fresh:
                    sent.append(job)
            if failed and not self._live and not self.pictures:
                await self._finish()
                raise failed[0]
            held = stack.pop_all()
        self._arrivals = asyncio.create_task(_arrived(sent, held), name=f"ryla-gen arrivals {self.id}")
        if self._live or self.state not in FINAL_STATES or not self._settled():
            self._outcome = asyncio.create_task(self._work(again=again), name=f"ryla-gen character {self.id}")

    # -- one picture ---------------------------------------------------------------------------------------------------

    _resumed = False
    _fresh: frozenset[str] = frozenset()
    """Ids of the jobs that this process sent itself."""

    async def _begun(self, part: Part, *, send: bool, again: bool, forced: bool, source: Any) -> AsyncJob | RylaGenError | None:
        """Find or send one picture; None when it has ended, the error when it was refused."""
        record = self._client.history.get(part.job) or (self._written_again(part) if self._resumed else None)
        if record is not None and record.state in FINAL_STATES and record.state != "succeeded":
            error = error_from_data(record.error) if record.error else JobCanceledError(f"The picture {part.name} was cancelled.")
            part.state, part.error = cast(State, record.state), error
            if not forced and not (again and self._worth_it(part)):
                return None
            self._renew(part)
        elif record is not None:
            try:
                return self._followed(part, await self._client.jobs.get(part.job))
            except JobNotFoundError as unknown:
                if unknown.details.get("maybe_taken"):
                    part.state, part.error = "failed", unknown
                    return unknown
                # It never arrived: the same id is sent again, and a backend that can tell runs no job twice.
        if not send:
            return None
        return await self._sent(part, source)

    async def _sent(self, part: Part, source: Any = None) -> AsyncJob | RylaGenError:
        try:
            if self._base_image is None:
                self._base_image = await recipes.read_again(self._plan, source)
            request = recipes.request(self._plan, part, self._base_image)
            job = await self._client.submit(request, job=part.job, parent=self.id, tags=self._plan.tags)
        except InvalidInputError as error:
            if self._client.history.get(part.job) is None:
                raise
            part.state, part.error = "failed", error
            return error
        except RylaGenError as error:
            part.state, part.error = "failed", error
            return error
        self._fresh = self._fresh | {job.id}
        return self._followed(part, job)

    def _followed(self, part: Part, job: AsyncJob) -> AsyncJob:
        part.state, part.error, part.fraction = job.state if job.state in ("queued", "running") else "running", None, 0.0
        self._live[part.name] = job
        return job

    def _worth_it(self, part: Part) -> bool:
        """Whether a picture may be tried again unasked: a machine's fault, and not paid for too often."""
        error = part.error
        if error is None or not (error.http_status >= 500 or error.code in ("job_expired", "result_expired")):
            return False
        if error.details.get("maybe_taken"):
            return False  # it may be running, and be paid for: only a person can know
        records = [self._client.history.get(job) for job in part.jobs]
        return sum(record is not None and record.handle is not None for record in records) < ATTEMPTS

    def _renew(self, part: Part) -> None:
        """Give a failed picture another job, and write that down before it is sent."""
        part.jobs.append(new_job_id())
        part.state, part.error, part.fraction = "queued", None, 0.0
        self._shelf.write(self._plan)

    def _refresh(self) -> None:
        """Take over what another process did since the plan was read."""
        for part, fresh in zip(self._plan.parts, self._shelf.read().parts, strict=True):
            part.jobs = fresh.jobs
            self._shelf.look(part)

    async def _follow(self, part: Part, job: AsyncJob, *, again: bool) -> None:
        """Follow one picture to its end, and once more when a machine lost it."""
        while True:
            try:
                await self._kept(part, job)
            except RylaGenError as error:
                if self._client.closed:
                    return  # only let go of
                part.state, part.error = state_of(error), error
                renewed = await self._once_more(part) if again and self._worth_it(part) else None
                if isinstance(renewed, AsyncJob):
                    job = renewed
                    continue
            self._tell()
            return

    async def _once_more(self, part: Part) -> AsyncJob | RylaGenError | None:
        failed = part.job
        async with self._shelf.held():
            self._refresh()
            if part.state == "succeeded":
                return None
            if part.job != failed:  # another process was faster
                return self._followed(part, await self._client.jobs.get(part.job))
            self._renew(part)
            job = await self._sent(part)
            if isinstance(job, AsyncJob):
                await _taken(job)
            return job

    async def _kept(self, part: Part, job: AsyncJob) -> None:
        async for event in job.events():
            if isinstance(event, Started):
                part.state = "running"
            elif isinstance(event, StepProgress):
                part.state, part.fraction = "running", event.fraction
            self._tell()
        generation = await job.result()
        output = generation.output
        await asyncio.to_thread(self._shelf.keep, part, output.data, output.suffix)

    # -- all of them ---------------------------------------------------------------------------------------------------

    async def _work(self, *, again: bool) -> None:
        parts = {part.name: part for part in self._plan.parts}
        self._client.history.update(self.id, state="running", started_at=self._plan.created_at)
        await asyncio.gather(*(self._follow(parts[name], job, again=again) for name, job in list(self._live.items())))
        if not self._client.closed and self.state in FINAL_STATES:
            await self._finish()
        self._tell()

    async def _finish(self) -> None:
        """Compose the sheet and journal the end of the whole."""
        made = self.pictures
        if made and len(self._plan.parts) > 1:
            data = await asyncio.to_thread(compose, self._plan)
            await asyncio.to_thread(media.save_atomically, self._shelf.sheet, data, overwrite=True)
        state = self.state
        outputs = [{"name": item.path.name, "media_type": "image/png", "bytes": item.path.stat().st_size} for item in made]
        error = None if state == "succeeded" else failure(self._plan).to_data()
        self._client.history.update(self.id, state=state, finished_at=now(), outputs=outputs, error=error)

    def _settled(self) -> bool:
        """Whether the end of the whole was journaled, and its sheet composed, by an earlier process."""
        record = self._client.history.get(self.id)
        whole = self._shelf.sheet.exists() or len(self._plan.parts) == 1 or not self.pictures
        return record is not None and record.state == self.state and whole

    def _written_again(self, part: Part) -> Record | None:
        """Journal a picture that an earlier process may have sent, should the journal not know it, so that its backend is asked."""
        plan, history = self._plan, self._client.history
        picture = plan.base_image and {"reference_image": {name: plan.base_image[name] for name in ("sha256", "bytes")}}
        inputs = {"prompt": part.prompt, "seed": part.seed, **plan.fields, **(picture or {})}
        history.record(
            part.job, backend=plan.backend, workflow=plan.workflow, inputs=inputs, seed=part.seed, tags=plan.tags, parent=plan.id
        )
        return history.get(part.job)

    def _journal(self, part: Part, error: RylaGenError) -> None:
        """Write down the end of a picture that has no job to do it."""
        history = self._client.history
        self._written_again(part)
        part.state, part.error = state_of(error), error
        history.update(part.job, state=part.state, finished_at=now(), error=error.to_data())

    def _cost(self) -> float:
        return sum(item.cost_usd or 0.0 for item in self._client.history.list(parent=self.id, limit=None))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _arrived(sent: Sequence[AsyncJob], held: AsyncExitStack) -> None:
    """Let other processes look at the job once its backend has everything that was sent."""
    async with held:
        await asyncio.gather(*(_taken(job) for job in sent))


async def _taken(job: AsyncJob) -> None:
    """Wait for the first event after the one that every job begins with: the backend has it, or it has ended."""
    if job.backend == "modal":
        return  # its submit returns when the call is on its way
    async for event in job.events():
        if event.seq > 0:
            return
