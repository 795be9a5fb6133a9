"""Run one character job: send its pictures, follow them, save each as it comes. Must not build a request or talk to a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

from ..client import AsyncClient, AsyncJob
from ..client.job_base import state_of
from ..client.requests import references_of
from ..contract import new_job_id
from ..errors import (
    GenerationTimeoutError,
    InvalidInputError,
    JobCanceledError,
    JobExpiredError,
    JobNotFoundError,
    RylaGenError,
    error_from_data,
)
from ..events import FINAL_STATES, Started, State
from ..events import Progress as StepProgress
from ..results import Generation
from . import journal, requests
from .acceptance import release_when_accepted, wait_accepted
from .base import CharacterPlan, CharacterProgress, Kind, Shot, ShotFile, files_of, progress_of, state_of_parts
from .results import CharacterResult, failure, save_sheet
from .retry import contact_lost, may_retry, outcome_unknown
from .store import JobFolder


class AsyncCharacterJob:
    """One job of several pictures. Get one from ``AsyncCharacters``; it follows its pictures until the client is closed.

    Each picture (a shot) goes its own way. *Retry* below is ``again``, or a person's wish for this very shot (``only``).

    ========================================  ==================================================  =====================
    where the shot is                         what happens                                        where it is then
    ========================================  ==================================================  =====================
    its job was never journaled               ``_submit_part``: send it                           followed, or failed
    journaled, no error or its end unknown    ``_reattach``: ask the backend                      followed, or as below
    … the backend has no such job, no error   ``_submit_part``: send the same id                  followed, or failed
    … the job failed, retry allowed           ``_new_attempt``, ``_submit_part``: new id          followed, or failed
    … the job failed, retry not allowed       nothing                                             failed
    followed: the job gave a result           ``_save``                                           succeeded
    followed: the client is closed            nothing: let go of it, the job goes on              as it was
    followed: failed, end unknown, retry      ``_reattach``, once for each job                    followed, or as below
    … contact lost, or no retry allowed       nothing                                             as it was, or failed
    … the job failed, retry allowed           ``_resubmit``, or follow another process's attempt  followed, or failed
    ========================================  ==================================================  =====================

    The first five rows are ``_start_part``, under the folder's lock; the others ``_follow`` and ``_retry_decision``. A new attempt
    is written down before it is sent, so that a process that dies between the two never pays twice for one shot.
    With ``send=False`` nothing is sent: a shot that would be stays where it is.
    """

    def __init__(self, client: AsyncClient, folder: JobFolder, plan: CharacterPlan, base_image: bytes | None = None) -> None:
        self._client = client
        self._folder = folder
        self._plan = plan
        self._base_image = base_image
        self._live: dict[str, AsyncJob] = {}
        self._changed = asyncio.Event()
        self._outcome: asyncio.Task[None] | None = None
        self._arrivals: asyncio.Task[None] | None = None
        self._resumed = False
        self._source: Any = None
        """The reference picture, given again."""
        self._own_jobs: set[str] = set()
        """Ids of the jobs that this process sent itself."""
        self._requested: set[str] = set()
        """Names of pictures that a person wants made again, whatever their fault."""
        self._rechecked: set[str] = set()
        """Ids of jobs whose backend was asked again after an error that left their end open."""

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
    def plan(self) -> CharacterPlan:
        """What it was asked for."""
        return self._plan

    @property
    def parts(self) -> tuple[Shot, ...]:
        """Every picture that was asked for, and where each is."""
        return tuple(self._plan.parts)

    @property
    def state(self) -> State:
        """Where the job is; ``failed`` when every picture has ended and one did not come."""
        return state_of_parts(self._plan.parts)

    @property
    def progress(self) -> CharacterProgress:
        """How far it is."""
        return progress_of(self._plan.parts)

    @property
    def done(self) -> bool:
        """Whether nothing more happens by itself."""
        return self._outcome is None or self._outcome.done()

    @property
    def pictures(self) -> list[ShotFile]:
        """Every picture that is there already, in order."""
        return files_of(self._plan.parts)

    async def updates(self) -> AsyncIterator[CharacterProgress]:
        """Yield the progress, now and after every change, until the job has ended."""
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
                text = f"The character job {self.id} has not ended after {timeout:g} s of waiting; it continues."
                raise GenerationTimeoutError(text, f"Check again: ryla-gen character status {self.id[:8]}", {"job": self.id})
            self._outcome.result()
        if self.state != "succeeded":
            raise failure(self._plan)
        sheet = self._folder.sheet if self._folder.sheet.exists() else None
        return CharacterResult(self.id, self.kind, tuple(self.pictures), sheet, journal.cost(self._client.history, self.id))

    async def cancel(self) -> None:
        """Stop every picture that has not ended; existing ones are kept. Canceling a job that has ended does nothing."""
        for part in self._plan.parts:
            if not part.ended and part.name not in self._live:
                unsent = JobCanceledError(f"The picture {part.name} was canceled before it was sent.")
                journal.ended_unsent(self._client.history, self._plan, part, unsent)
        if self._outcome is None and self._live:  # it is stopped while its pictures are sent
            self._outcome = asyncio.create_task(self._follow_all(again=False), name=f"ryla-gen character {self.id}")
        await asyncio.gather(*(job.cancel() for job in self._live.values() if not job.done))
        if self._outcome is not None:
            await asyncio.wait([self._outcome])
        if self.state in FINAL_STATES and not self._end_is_known():
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
        self._resumed, self._source = resumed, source
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._folder.lock())
            self._refresh()
            sent, failed = list[AsyncJob](), list[RylaGenError]()
            for part in self._plan.parts:
                if part.state == "succeeded":
                    continue
                job = await self._start_part(part, send=send, again=again, forced=only is not None and part.name in only)
                if isinstance(job, RylaGenError):
                    failed.append(job)
                elif job is not None and job.id in self._own_jobs:
                    sent.append(job)
            if failed and not self._live and not self.pictures:
                await self._finish()
                raise failed[0]
            held = stack.pop_all()
        self._arrivals = asyncio.create_task(release_when_accepted(sent, held), name=f"ryla-gen arrivals {self.id}")
        if self._live or self.state not in FINAL_STATES or not self._end_is_known():
            self._outcome = asyncio.create_task(self._follow_all(again=again), name=f"ryla-gen character {self.id}")

    async def attach(self) -> None:
        """Follow what is under way; send nothing, and take no lock, so that another process may send meanwhile."""
        for part in self._plan.parts:
            record = self._client.history.get(part.job)
            if part.state == "succeeded" or record is None:
                continue
            try:
                await self._start_part(part, send=False, again=False, forced=False)
            except RylaGenError as error:  # it cannot be asked now, which says nothing about the picture
                part.state, part.error = "running" if record.state in FINAL_STATES else cast(State, record.state), error
        if self._live or (self.state in FINAL_STATES and not self._end_is_known()):
            self._outcome = asyncio.create_task(self._follow_all(again=False), name=f"ryla-gen character {self.id}")

    # -- one picture ---------------------------------------------------------------------------------------------------

    async def _start_part(self, part: Shot, *, send: bool, again: bool, forced: bool) -> AsyncJob | RylaGenError | None:
        """Find or send one picture; None when it has ended, the error when it was refused."""
        history = self._client.history
        record = history.get(part.job) or (journal.written_again(history, self._plan, part) if self._resumed else None)
        if record is None:
            return await self._submit_part(part) if send else None
        ended = record.state in FINAL_STATES
        # A retry that the user asks for is allowed whatever the error was.
        if ended and forced:
            self._requested.add(part.name)
        if ended and record.state != "succeeded":
            error = error_from_data(record.error) if record.error else JobCanceledError(f"The picture {part.name} was canceled.")
            part.state, part.error = cast(State, record.state), error
        # The job may exist and be paid for, so it is looked for before a new one is sent.
        if part.error is None or outcome_unknown(part.error, taken=record.handle is not None):
            job = await self._reattach(part)
            if job is not None:
                return job
        if part.error is not None:
            if not self._may_retry(part, again=again):
                return None if ended else part.error
            self._new_attempt(part)
        # Otherwise it never arrived: the same id is sent again, and a backend that knows the id does not run it twice.
        return await self._submit_part(part) if send else None

    async def _reattach(self, part: Shot) -> AsyncJob | None:
        """Follow a picture's existing job; None when its backend has none, and then the part's error says why, if known."""
        if part.error is not None:
            self._rechecked.add(part.job)
        try:
            return self._attach(part, await self._client.jobs.get(part.job))
        except JobNotFoundError as unknown:
            if part.error is None and unknown.details.get("maybe_taken"):
                part.state, part.error = "failed", unknown
        except JobExpiredError as expired:
            part.state, part.error = "expired", expired
        return None

    async def _submit_part(self, part: Shot) -> AsyncJob | RylaGenError:
        try:
            if self._base_image is None:
                self._base_image = await requests.read_again(self._plan, self._source, references_of(self._client.settings))
            request = requests.request(self._plan, part, self._base_image)
            job = await self._client.submit(request, job=part.job, parent=self.id, tags=self._plan.tags)
        except InvalidInputError as error:
            # Without a journal entry nothing was sent: the request itself is wrong, and the caller has to know at once.
            if self._client.history.get(part.job) is None:
                raise
            part.state, part.error = "failed", error
            return error
        except RylaGenError as error:
            part.state, part.error = "failed", error
            return error
        self._own_jobs.add(job.id)
        return self._attach(part, job)

    def _attach(self, part: Shot, job: AsyncJob) -> AsyncJob:
        part.state, part.error, part.fraction = job.state if job.state in ("queued", "running") else "running", None, 0.0
        self._live[part.name] = job
        return job

    def _may_retry(self, part: Shot, *, again: bool) -> bool:
        """Whether a failed picture may have another job."""
        if part.name in self._requested:
            return True
        return again and part.error is not None and may_retry(part.error, journal.count_paid(self._client.history, part))

    def _new_attempt(self, part: Shot) -> None:
        """Make another job for a failed picture, and record it before it is sent."""
        self._requested.discard(part.name)
        part.jobs.append(new_job_id())
        part.state, part.error, part.fraction = "queued", None, 0.0
        self._folder.write(self._plan)

    def _refresh(self) -> None:
        """Merge what another process did since the plan was read."""
        for part, fresh in zip(self._plan.parts, self._folder.read().parts, strict=True):
            part.jobs = fresh.jobs
            self._folder.refresh(part)

    async def _follow(self, part: Shot, job: AsyncJob, *, again: bool) -> None:
        """Follow one picture to its end, and further when a machine lost it."""
        while (generation := await self._await_result(part, job)) is None:
            if self._client.closed:
                return  # released, not canceled
            following = await self._retry_decision(part, again=again)
            if following is None:
                break
            job = following
        else:
            await self._save(part, generation)
        self._notify()

    async def _await_result(self, part: Shot, job: AsyncJob) -> Generation | None:
        """Follow one job to its result; None when there is none, and then the part's error says why."""
        try:
            async for event in job.events():
                if isinstance(event, Started):
                    part.state = "running"
                elif isinstance(event, StepProgress):
                    part.state, part.fraction = "running", event.fraction
                self._notify()
            return await job.result()
        except RylaGenError as error:
            if not self._client.closed:
                part.error = error
                part.state = part.state if contact_lost(error) else state_of(error)  # a job out of contact has not ended
            return None

    async def _retry_decision(self, part: Shot, *, again: bool) -> AsyncJob | None:
        """Choose the job to follow after a failure: the same one if its end is open, else a new one, or None."""
        if part.error is None or not (again or part.name in self._requested):
            return None
        if outcome_unknown(part.error) and part.job not in self._rechecked:
            job = await self._reattach(part)
            if job is not None:
                return job
        if contact_lost(part.error) or not self._may_retry(part, again=again):
            return None
        return await self._resubmit(part)

    async def _resubmit(self, part: Shot) -> AsyncJob | None:
        failed = part.job
        async with self._folder.lock():
            # Read again under the lock: another process may have retried or finished this picture meanwhile.
            self._refresh()
            if part.state == "succeeded":
                return None
            if part.job != failed:  # another process did it first
                return self._attach(part, await self._client.jobs.get(part.job))
            self._new_attempt(part)
            try:
                job = await self._submit_part(part)
            except InvalidInputError as error:  # the reference picture cannot be read anywhere: the user has to give it again
                part.state, part.error = "failed", error
                return None
            if isinstance(job, RylaGenError):
                return None
            # The lock is held until the backend has the job, so that no other process sends the picture a second time.
            await wait_accepted(job)
            return job

    async def _save(self, part: Shot, generation: Generation) -> None:
        """Save a picture. Where that fails it is paid for all the same: its job is asked for it again, and never another one."""
        try:
            output = generation.output
            await asyncio.to_thread(self._folder.keep, part, output.data, output.suffix)
        except RylaGenError as error:
            part.state, part.error = "failed", error

    # -- all of them ---------------------------------------------------------------------------------------------------

    async def _follow_all(self, *, again: bool) -> None:
        parts = {part.name: part for part in self._plan.parts}
        self._client.history.update(self.id, state="running", started_at=self._plan.created_at)
        await asyncio.gather(*(self._follow(parts[name], job, again=again) for name, job in list(self._live.items())))
        # A closed client only stops following; the pictures go on, and another process can take them up.
        if not self._client.closed and self.state in FINAL_STATES:
            await self._finish()
        self._notify()

    async def _finish(self) -> None:
        await asyncio.to_thread(save_sheet, self._plan, self._folder.sheet)
        journal.record_end(self._client.history, self._plan)

    def _end_is_known(self) -> bool:
        return journal.end_is_known(self._client.history, self._plan, self._folder)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
