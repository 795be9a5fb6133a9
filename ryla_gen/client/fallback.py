"""Try several backends in order, going on only after a refusal before which nothing had started. Knows no backend.

Never after an answer that leaves open whether the job was taken: it might then run, and be paid for, twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

from ..errors import BackendError, ModelNotFoundError, PlainData, RylaGenError, WorkflowInvalidError
from ..events import Finished, Started
from ..support.cancels import noted
from ..workflows.base import Notice

if TYPE_CHECKING:
    from ..backends.base import Ticket

T = TypeVar("T")

IN_PROCESS = frozenset({"comfyui", "emulator"})
"""Backends whose ``submit`` returns before the server took the job: the engine submits in a task of its own."""
MOVABLE = (BackendError, ModelNotFoundError, WorkflowInvalidError)
"""Kinds of refusals that another backend need not share: the server is away, or lacks a node class or weights."""

TOO_LARGE = 413
"""The HTTP status of a request that is over what one server takes; another may take more."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A backend that refused a job before anything started."""

    backend: str
    code: str
    message: str

    def to_data(self) -> PlainData:
        """Return the skipped backend as plain data, for the journal and for an error's details."""
        return asdict(self)


def moves_on(error: RylaGenError) -> bool:
    """Whether another backend may be tried after this error."""
    # Both must hold: certainly nothing started, and another backend could accept what this one refused.
    return error.started == "no" and (isinstance(error, MOVABLE) or error.details.get("status") == TOO_LARGE)


async def first_accepting(names: Sequence[str], attempt: Callable[[str], Awaitable[T]]) -> tuple[str, T, tuple[Skipped, ...]]:
    """Try backends in order until one takes the job; return its name, what the attempt returned, and the refusals before it.

    Args:
        names: the backends.
        attempt: submits the job to one of them, and returns once that one has it.

    Raises:
        RylaGenError: the last one refused, or one failed in a way that leaves open whether the job runs.

    """
    skipped: list[Skipped] = []
    for name in names:
        try:
            return name, await attempt(name), tuple(skipped)
        except RylaGenError as error:
            skipped.append(Skipped(name, error.code, error.message))
            if name == names[-1] or not moves_on(error):
                raise with_skipped(error, [item.to_data() for item in skipped[:-1]]) from None
    raise AssertionError("there is at least one backend")


async def wait_accepted(ticket: Ticket, backend: str) -> Started | None:
    """Wait until a backend has the job; return its start event when that is the first sign of it.

    Raises:
        RylaGenError: the job has ended with it; see :func:`moves_on`.

    """
    if backend not in IN_PROCESS:
        return None  # their submit returns only once the server has taken the job
    try:
        async for event in ticket.events(previews=False):
            if isinstance(event, Finished):
                await ticket.result()
            if event.seq > 0:
                return event if isinstance(event, Started) else None
    except asyncio.CancelledError as error:
        with noted(error):
            await asyncio.shield(ticket.cancel())
        raise
    return None


def notices(skipped: Sequence[PlainData], backend: str) -> tuple[Notice, ...]:
    """Return what a result says of the backends that did not run it."""
    return tuple(
        Notice("fallback", f"{item['backend']} did not run this ({item['code']}): {item['message']} It ran on {backend} instead.")
        for item in skipped
    )


def with_skipped(error: RylaGenError, skipped: Sequence[PlainData]) -> RylaGenError:
    """Add to an error which backends refused before the one that it is of."""
    if skipped and "skipped" not in error.details:
        reasons = " ".join(f"{item['backend']} ({item['code']}): {item['message']}" for item in skipped)
        error.message = f"{error.message} Tried before it: {reasons}"
        error.details["skipped"] = list(skipped)
    return error
