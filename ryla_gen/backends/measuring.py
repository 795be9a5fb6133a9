"""Face consistency across backends: those that measure are asked to, the others' results say that nobody did. Carries nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar, Protocol, runtime_checkable

from ..events import Event, State
from ..results import Generation
from ..workflows.base import Notice, Workflow
from .base import Backend, Ticket

NOT_MEASURED = "consistency_not_measured"
"""Code of the warning; the worker uses the same."""


@runtime_checkable
class Measuring(Protocol):
    """A backend that can measure how like the reference the face of a result is."""

    measures_consistency: ClassVar[bool]

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, measure_consistency: bool = False
    ) -> Ticket:
        """As ``Backend.submit``."""
        ...


async def handed_in(backend: Backend, workflow: Workflow, *, job: str, timeout: float | None, measure_consistency: bool) -> Ticket:
    """Submit a job; see ``Backend.submit``.

    Args:
        backend: where to.
        workflow: what to run.
        job: the id under which the caller journaled it.
        timeout: seconds of running, instead of the workflow's own limit.
        measure_consistency: whether ``face_similarity`` is wanted on the result.

    """
    if not measure_consistency:
        return await backend.submit(workflow, job=job, timeout=timeout)
    if isinstance(backend, Measuring):
        return await backend.submit(workflow, job=job, timeout=timeout, measure_consistency=True)
    return _Unmeasured(await backend.submit(workflow, job=job, timeout=timeout), backend.name)


class _Unmeasured:
    """A ticket whose result says that nobody measured."""

    def __init__(self, ticket: Ticket, backend: str) -> None:
        self._ticket = ticket
        self._backend = backend

    @property
    def handle(self) -> str:
        """Backend and its own id of the job."""
        return self._ticket.handle

    @property
    def state(self) -> State:
        """Where the job is."""
        return self._ticket.state

    def events(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Every event from the first one on."""
        return self._ticket.events(previews=previews)

    async def result(self) -> Generation:
        """Wait for the result, and note that its consistency is not known."""
        generation = await self._ticket.result()
        text = f"The similarity of the face was not measured: only Modal's containers do that, not the {self._backend} backend."
        return replace(generation, warnings=(*generation.warnings, Notice(NOT_MEASURED, text)))

    async def cancel(self) -> None:
        """Stop the job."""
        await self._ticket.cancel()
