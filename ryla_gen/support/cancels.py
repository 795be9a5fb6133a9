"""Notice that the running task is canceled where a library raises its own error instead, and end tasks that run beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from ..errors import RylaGenError


def cancels() -> int:
    """Return how often the running task was canceled.

    Modal's client works in a thread of its own: when its caller is canceled it waits for what that thread says, and raises that, an
    error or the end of a time limit. Whoever tries again after an error compares this with the number before it began: otherwise it
    would go on although it was told to end, and nobody would tell it again.
    """
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


async def end(task: asyncio.Task[Any], seconds: float) -> None:
    """Cancel a task, and wait until it has ended, also where the running task is canceled meanwhile.

    Args:
        task: what is not needed any more.
        seconds: how long its end may take.

    Raises:
        asyncio.CancelledError: the running task was canceled while it waited.
    """
    task.cancel()
    before, clock = cancels(), asyncio.get_running_loop().time
    until = clock() + seconds
    while not task.done() and clock() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=until - clock())
    if task.done() and not task.cancelled():
        task.exception()  # looked at: it is nobody's any more, and Python would complain of that
    if cancels() > before:
        raise asyncio.CancelledError


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Await what has to come to its end, such as closing, also where the running task is canceled meanwhile.

    Raises:
        asyncio.CancelledError: the running task was canceled while it waited.
    """
    task, before = asyncio.ensure_future(work), cancels()
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()
    if cancels() > before:
        raise asyncio.CancelledError


@contextlib.contextmanager
def noted(error: BaseException) -> Iterator[None]:
    """Add a fault to the interrupt for which something is ended, as its cause and a note, instead of raising it in its place."""
    try:
        yield
    except RylaGenError as failed:
        error.__cause__ = failed
        error.add_note(str(failed))


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait until all have ended; what they raise meanwhile is nobody's any more.

    Raises:
        asyncio.CancelledError: the running task was canceled while it waited.
    """
    for task in (given := list(tasks)):
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)
