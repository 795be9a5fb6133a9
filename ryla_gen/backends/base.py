"""Define the protocols of a backend, which takes a job, and of the ticket it returns. Must not send or store anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from ..contract import USUAL_OPTIONS, Options
from ..events import Event, Finished, Preview, Progress, Queued, Started, State
from ..results import Generation
from ..workflows.base import Workflow


class Ticket(Protocol):
    """One job on its way through a backend."""

    @property
    def handle(self) -> str:
        """Backend and its own id of the job, such as ``comfyui:<prompt id>``: valid on any machine that reaches it."""
        ...

    @property
    def state(self) -> State:
        """The job's state, by the events that this process has received."""
        ...

    def events(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Yield every event from the first one on, then the end. Several readers may follow one job."""
        ...

    async def result(self) -> Generation:
        """Wait for the result, or raise its typed error. May be awaited more than once."""
        ...

    async def cancel(self) -> None:
        """Stop the job, queued or running, and nothing else. Canceling a finished job does nothing."""
        ...


class Backend(Protocol):
    """A place where engines live."""

    name: str
    measures_consistency: bool
    """Whether it can measure how similar a result's face is to the reference; elsewhere the result says that it was not."""
    uploads: bool
    """Whether the files of a result are uploaded where they are made; else this process does it."""

    def usd_per_second(self, workflow: Workflow) -> float:
        """Return what a second of running costs here, in US dollars; 0 is free."""
        ...

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, options: Options = USUAL_OPTIONS
    ) -> Ticket:
        """Submit a resolved and seeded workflow; return as soon as it is on its way.

        Args:
            workflow: what to run, its pictures read into bytes.
            job: the id under which the caller journaled it.
            timeout: seconds of running, instead of the workflow's own limit.
            options: what is wanted besides the files; a backend ignores what it cannot do, and the client does it then.

        Raises:
            BackendError: it refused before anything started.

        """
        ...

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Find a job again that another process submitted.

        Raises:
            JobExpiredError: the backend no longer knows it.

        """
        ...

    async def find(self, job: str) -> str | None:
        """Return the handle of a job whose caller died before it received one; None when the job never arrived.

        Raises:
            JobNotFoundError: the backend cannot tell (``details["maybe_taken"]``); only a person may send it again.

        """
        ...

    async def close(self) -> None:
        """Close every connection. Jobs on a server of their own go on."""
        ...


@runtime_checkable
class StopsById(Protocol):
    """A backend that stops a job by its id alone, even when no process has received a handle for it."""

    async def stop(self, job: str) -> None:
        """Stop a job, wherever it is on its way.

        Raises:
            BackendUnreachableError: the backend does not answer; the job may run.
        """
        ...


class EventLog:
    """The events of one job: every reader sees all of them; of the previews, only the newest.

    Args:
        job: its id.
        previews: whether it has any: they would show what a hook may refuse.

    """

    def __init__(self, job: str, *, previews: bool = True) -> None:
        self.job = job
        self._previews = previews
        self.state: State = "queued"
        self._events: list[Event] = []
        self._preview: Preview | None = None
        self._seq = 0
        self._changed = asyncio.Event()
        self._fraction = 0.0
        self.queued_at = asyncio.get_running_loop().time()
        """When the job began to wait, on the event loop's clock: anew when its container was lost."""
        self.started_at: float | None = None
        """When the graph began, the last time that it did; None while the job waits."""

    @property
    def finished(self) -> bool:
        """Whether the last event has been added."""
        return bool(self._events) and isinstance(self._events[-1], Finished)

    def add(self, kind: type[Event], **fields: object) -> None:
        """Append an event with the next number; nothing after the last one. Fractions fall only after another start."""
        if kind is Started:
            self._fraction = 0.0
        if "fraction" in fields:
            self._fraction = fields["fraction"] = max(self._fraction, float(str(fields["fraction"])))
        self.put(kind(job=self.job, seq=self._seq, **fields))  # type: ignore[arg-type]

    def put(self, event: Event) -> None:
        """Append an event that was numbered elsewhere; one that came before is dropped, and so is all after the last one."""
        # Two containers may send events of one job: after a restart the numbers go on, so an older number is a late duplicate.
        if self.finished or event.seq < self._seq or self._repeats(event):
            return
        self._seq = event.seq + 1
        self._clock(event)
        if isinstance(event, Preview):
            self._preview = event if self._previews else None
        else:
            self._events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    def _clock(self, event: Event) -> None:
        """Start the running or the waiting clock at this event. Both start again when the container was lost."""
        now = asyncio.get_running_loop().time()
        if isinstance(event, Started) or (isinstance(event, Progress | Preview) and self.started_at is None):  # Started may be lost
            self.state, self.started_at = "running", now
        elif isinstance(event, Queued) and self.started_at is not None:
            self.state, self.started_at, self.queued_at = "queued", None, now

    def _repeats(self, event: Event) -> bool:
        """Whether the event repeats the place in the queue that was reported last."""
        last = self._events[-1] if self._events else None
        return isinstance(event, Queued) and isinstance(last, Queued) and last.position == event.position

    async def read(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Yield every event so far, then those that come, until the job is finished."""
        at, told = 0, -1
        while True:
            # Taken before looking: an event that is added in between sets this ``changed``, so no wake-up is missed.
            changed, preview = self._changed, self._preview if previews else None
            ahead = self._events[at].seq if at < len(self._events) else None
            if preview is not None and preview.seq > told and not self.finished and (ahead is None or preview.seq < ahead):
                told = preview.seq
                yield preview
            elif ahead is not None:
                told, at = ahead, at + 1
                yield self._events[at - 1]
            elif self.finished:
                return
            else:
                await changed.wait()
