"""Journal a job, then send it to the first backend that takes it: the only way in.

Must not follow a job to its end, nor journal that end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import telemetry
from ..backends.rates import rate_of
from ..contract import NOT_MEASURED, USUAL_OPTIONS, Options
from ..costs.admission import admit
from ..costs.budget import MoneyLimit
from ..costs.estimates import Estimate
from ..delivery import is_bucket
from ..delivery.uploads import require_uploads
from ..errors import InvalidInputError, PlainData, RylaGenError
from ..events import Started
from ..history import History
from ..history.webhooks import Outbox
from ..settings import Settings
from ..workflows.base import Notice, Workflow
from .fallback import first_accepting, moves_on, notices, wait_accepted
from .requests import references_of, user_for_events

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
    options: Options = USUAL_OPTIONS
    """What is wanted besides the files: the likeness of a face, where the files go, who is told of the end."""
    parent: str | None = None
    """The job that it is a part of."""
    journaled: bool = False
    """Whether the journal has it already: an earlier process did not come to send it."""
    followed: bool = True
    """Whether this process stays and stops the job at its time limit."""
    user: str | None = None
    """The user of the app for whom it runs; neither a backend nor a file is told."""


def check_hook(order: Order, backends: Sequence[str], *, given: bool) -> None:
    """Refuse a call whose outputs would never reach the hook that the client was given.

    Args:
        order: the options of the call.
        backends: where it may run.
        given: whether the client was given one.

    Raises:
        InvalidInputError: Modal's container would put the outputs into a bucket itself; nothing was sent.

    """
    if given and "modal" in backends and order.options.output_to is not None:
        text = "With output_to the container on Modal stores the outputs itself, so that on_output of this client is never asked."
        hint = "Offer the hook as a plug-in, which runs in the container: docs/safety-hook.md. Or leave output_to out."
        raise InvalidInputError(text, hint, {"fields": ["output_to"]})


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
    options: Options = USUAL_OPTIONS
    """What is wanted besides its files; of a job of an earlier process, what the journal has of that."""
    money: MoneyLimit | None = None
    """The money that bounds how long it may run; None where only its time limit does."""
    started_at: str | None = None
    """When its graph began, where the journal has that from an earlier process; ISO 8601 UTC."""

    def to_data(self) -> dict[str, Any]:
        """Return as plain data where the job is."""
        seed = getattr(self.workflow, "seed", None)
        told = {"job": self.job, "handle": self.ticket.handle, "workflow": self.workflow.name, "backend": self.backend}
        return {**told, "seed": seed, "skipped": list(self.skipped)}


def _require_follower(order: Order, backend: str) -> None:
    """Refuse signed addresses that nobody would bring a file to.

    Raises:
        InvalidInputError: this process leaves the job alone, no other one knows the addresses, and the server uploads nothing.

    """
    if not order.followed and order.options.output_to is not None and not is_bucket(order.options.output_to):
        text = f"Nobody would upload to a signed address: on {backend} the process that waits does, and this one does not wait."
        hint = "Name a bucket (s3://bucket/prefix), whose address the journal keeps, or wait for the result: ryla-gen run."
        raise InvalidInputError(text, hint)


class Submission:
    """Sends one job to the first backend that takes it.

    Args:
        history: the journal.
        settings: the backends in their order, and the budgets.
        backend: returns a backend by its name.
        note: called with the estimate of a job before it is sent; None where running is free.
        has_hook: whether the client was given ``on_output``.

    """

    def __init__(
        self,
        history: History,
        settings: Settings,
        backend: Callable[[str], Backend],
        note: Callable[[str, Estimate | None], None],
        *,
        has_hook: bool = False,
    ) -> None:
        self._has_hook = has_hook
        self._history, self._settings, self._backend, self._note = history, settings, backend, note

    async def send(self, workflow: Workflow, order: Order) -> SentJob:
        """Journal the job, send it, and return once a backend has it.

        Raises:
            RylaGenError: a picture cannot be read, it would cost too much, or no backend took it.

        """
        check_hook(order, self._settings.backend_names, given=self._has_hook)
        ready, names = (await workflow.resolved(references_of(self._settings))).seeded(), self._settings.backend_names
        seeded = getattr(workflow, "seed", None) is not None

        async def attempt(name: str) -> tuple[Ticket, bool, MoneyLimit | None]:
            backend, moved = self._backend(name), name != names[0]
            if not backend.uploads:
                require_uploads(order.options.output_to)
                _require_follower(order, name)
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
                user=order.user,
            )
            self._note(order.job, admitted.estimate)
            self._note_delivery(order)
            if not moved and not order.journaled:
                user = user_for_events(self._history, self._settings, order.user)
                asked = telemetry.describe_request(ready, job=order.job, backend=name, has_seed=seeded, user=user)
                telemetry.emit(asked, self._settings)
            # From here on money may be spent: everything that can refuse the job has run before.
            ticket = await backend.submit(ready, job=order.job, timeout=admitted.timeout, options=order.options)
            await self._wait_arrived(ticket, name, order, last=name == names[-1])
            return ticket, backend.measures_consistency, admitted.money

        name, (ticket, measures, money), skipped = await first_accepting(names, attempt)
        told: Mapping[str, list[PlainData]] = {"skipped": [item.to_data() for item in skipped]} if skipped else {}
        # By its handle another process finds the job. After a crash before this line, the backend is asked by the job's id.
        self._history.update(order.job, handle=ticket.handle, **told)
        said = notices(told.get("skipped", []), name)
        if order.options.measure_consistency and not measures:
            text = f"The likeness of the face was not measured: the {name} backend does not; only Modal's containers do."
            said = (*said, Notice(NOT_MEASURED, text))
        return SentJob(order.job, ready, name, ticket, told.get("skipped", []), said, order.options, money)

    def _note_delivery(self, order: Order) -> None:
        """Journal where the files go and who is told, for whoever sees the end; no signature of an address."""
        options = order.options
        if is_bucket(options.output_to):
            self._history.update(order.job, output_to=options.output_to)
        if options.webhook is not None:
            Outbox(self._history).register(order.job, options.webhook, include_prompt=options.webhook_prompt)

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
