"""Journal a job, then send it to the first backend that takes it: the only way in.

Must not follow a job to its end, nor journal that end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import telemetry
from ..backends.rates import rate_of
from ..contract import NOT_MEASURED
from ..costs.admission import admit
from ..costs.estimates import Estimate
from ..errors import PlainData, RylaGenError
from ..events import Started
from ..history import History
from ..settings import Settings
from ..workflows.base import Notice, Workflow
from .fallback import first_accepting, moves_on, notices, wait_accepted
from .requests import references_of

if TYPE_CHECKING:
    from ..backends.base import Backend, Ticket


@dataclass(frozen=True, slots=True)
class Order:
    """The options of a call besides the workflow."""

    job: str
    """The job's id."""
    timeout: float | None = None
    """Seconds the graph may run, instead of the workflow's own limit."""
    tags: Sequence[str] = ()
    measure_consistency: bool = False
    parent: str | None = None
    """The job that it is a part of."""
    journaled: bool = False
    """Whether the journal has it already: an earlier process did not come to send it."""
    followed: bool = True
    """Whether this process stays and stops the job at its time limit."""


@dataclass(frozen=True, slots=True)
class SentJob:
    """A job that a backend has."""

    job: str
    workflow: Workflow
    """The request, with its seed."""
    backend: str
    ticket: Ticket
    skipped: Sequence[PlainData] = ()
    """Backends that refused it before."""
    notices: tuple[Notice, ...] = ()
    """What its result says besides: who refused it, that nothing measured the face."""
    started_at: str | None = None
    """When its graph began, where the journal has that from an earlier process; ISO 8601 UTC."""

    def to_data(self) -> dict[str, Any]:
        """Return as plain data where the job is."""
        seed = getattr(self.workflow, "seed", None)
        told = {"job": self.job, "handle": self.ticket.handle, "workflow": self.workflow.name, "backend": self.backend}
        return {**told, "seed": seed, "skipped": list(self.skipped)}


class Submission:
    """Sends one job to the first backend that takes it.

    Args:
        history: the journal.
        settings: the backends in their order, and the budgets.
        backend: returns a backend by its name.
        note: called with the estimate of a job before it is sent; None where running is free.

    """

    def __init__(
        self,
        history: History,
        settings: Settings,
        backend: Callable[[str], Backend],
        note: Callable[[str, Estimate | None], None],
    ) -> None:
        self._history, self._settings, self._backend, self._note = history, settings, backend, note

    async def send(self, workflow: Workflow, order: Order) -> SentJob:
        """Journal the job, send it, and return once a backend has it.

        Raises:
            RylaGenError: a picture cannot be read, it would cost too much, or no backend took it.

        """
        ready, names = (await workflow.resolved(references_of(self._settings))).seeded(), self._settings.backend_names
        seeded = getattr(workflow, "seed", None) is not None

        async def attempt(name: str) -> tuple[Ticket, bool]:
            backend, moved = self._backend(name), name != names[0]
            # Written before anything is spent: whatever happens now, the job can be found.
            admitted = admit(
                self._history,
                self._settings,
                ready,
                name,
                rate_of(ready, name, self._settings),
                job=order.job,
                timeout=order.timeout,
                tags=order.tags,
                parent=order.parent,
                moved=moved or order.journaled,
                followed=order.followed,
            )
            self._note(order.job, admitted.estimate)
            if not moved and not order.journaled:
                telemetry.emit(telemetry.describe_request(ready, job=order.job, backend=name, has_seed=seeded), self._settings)
            measure = order.measure_consistency
            # From here on money may be spent: everything that can refuse the job has run before.
            ticket = await backend.submit(ready, job=order.job, timeout=admitted.timeout, measure_consistency=measure)
            await self._wait_arrived(ticket, name, order, last=name == names[-1])
            return ticket, backend.measures_consistency

        name, (ticket, measures), skipped = await first_accepting(names, attempt)
        told: Mapping[str, list[PlainData]] = {"skipped": [item.to_data() for item in skipped]} if skipped else {}
        # By its handle another process finds the job. After a crash before this line, the backend is asked by the job's id.
        self._history.update(order.job, handle=ticket.handle, **told)
        said = notices(told.get("skipped", []), name)
        if order.measure_consistency and not measures:
            text = f"The likeness of the face was not measured: the {name} backend does not; only Modal's containers do."
            said = (*said, Notice(NOT_MEASURED, text))
        return SentJob(order.job, ready, name, ticket, told.get("skipped", []), said)

    async def _wait_arrived(self, ticket: Ticket, name: str, order: Order, *, last: bool) -> None:
        """Wait until a server that stays has the job: the caller may end then. What it refuses may go to the next backend."""
        if last and name == "emulator":
            return  # the emulator ends with this process
        try:
            started = await wait_accepted(ticket, name)
        except Exception as error:
            if not order.followed or (isinstance(error, RylaGenError) and moves_on(error)):
                raise
            return  # not movable: job.result() will raise it
        if isinstance(started, Started) and not order.followed:
            self._history.update(order.job, state="running", started_at=started.at)
