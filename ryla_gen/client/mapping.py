"""Keep a few jobs under way and yield what each gives. Must not submit anything itself, nor know what a job is sent with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any

from ..errors import RylaGenError
from ..results import Generation
from ..support.cancels import end_all
from ..workflows.base import Workflow


async def results_of(
    workflows: Iterable[Workflow],
    run: Callable[[Workflow], Coroutine[Any, Any, Generation]],
    *,
    in_flight: int,
    ordered: bool,
) -> AsyncGenerator[Generation | RylaGenError]:
    """Run workflows, ``in_flight`` at a time, and yield each result or error. Closing this cancels what runs.

    Args:
        workflows: what to run; read as needed.
        run: runs one of them.
        in_flight: how many may be under way at once, 1 or more.
        ordered: whether results come in the order of the workflows, or as they finish.
    """
    source, pending = iter(workflows), list[asyncio.Task[Generation]]()
    try:
        while True:
            while len(pending) < in_flight and (workflow := next(source, None)) is not None:
                pending.append(asyncio.create_task(run(workflow)))
            if not pending:
                return
            finished = await _next_finished(pending, ordered=ordered)
            error = finished.exception()
            if error is not None and not isinstance(error, RylaGenError):
                raise error
            yield finished.result() if error is None else error
    finally:
        await end_all(pending)


async def _next_finished(pending: list[asyncio.Task[Generation]], *, ordered: bool) -> asyncio.Task[Generation]:
    """Wait for the first task of the list, or for any, and take it out."""
    if ordered:
        await asyncio.wait(pending[:1])
        return pending.pop(0)
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    first = next(task for task in pending if task in done)
    pending.remove(first)
    return first
