"""Define a line of a job's log, and what a reader of logs has to know of a job. Must not read a log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ..support.cancels import end_all

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, its secrets masked. It may hold control characters: whoever shows it on a terminal escapes them."""

    text: str
    """The line, without its end."""
    part: Literal["build", "comfyui"]
    """Whether the build of the image wrote it, or ComfyUI and what runs beside it."""
    source: str
    """Who wrote it, for people: an image, a container, a server, a file."""
    at: str | None = None
    """When it was written; ISO 8601 UTC. None where that is not known."""


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Whose log is wanted."""

    job: str
    """The job's id."""
    handle: str | None
    """The backend's own name for it."""
    app: str
    """The Modal app that serves its workflow."""
    server: str | None = None
    """Address of the server of one's own that it was sent to."""
    begun_at: float | None = None
    """When it started, or was sent: seconds since 1970. None where that is not known."""
    ended_at: float | None = None
    """When it ended; None where it has not, or that is not known."""
    ended: asyncio.Future[None] | None = None
    """Done when the job has ended, where the log shall be followed until then."""


async def until(source: AsyncGenerator[T, None], ended: asyncio.Future[None] | None) -> AsyncGenerator[T, None]:
    """Yield what a source gives until a future is done; what it gives meanwhile comes first. None is until the source ends."""
    step: asyncio.Task[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(_next(source))
            awaited: set[asyncio.Future[Any]] = {step} if ended is None else {step, ended}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                yield step.result()
            except StopAsyncIteration:
                return
    finally:
        if step is not None:
            await end_all([step])


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)
