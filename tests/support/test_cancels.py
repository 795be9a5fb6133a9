"""A library may answer a cancel with an error of its own: that is noticed, and leaves nothing behind of which Python complains."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from ryla_gen.support.cancels import cancels, end, end_all


async def answer_with_an_error() -> None:
    """Wait for ever; told to end, raise another error, as Modal's client does."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise OSError("the connection is gone") from None


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What Python complains of on this loop."""
    found = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_a_task_that_was_told_to_end_knows_it_although_an_error_came_instead() -> None:
    seen = list[int]()

    async def try_again() -> None:
        before = cancels()
        while True:
            try:
                await answer_with_an_error()
            except OSError:
                seen.append(cancels() - before)
                if cancels() > before:
                    raise asyncio.CancelledError from None

    task = asyncio.create_task(try_again())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), seen) == (True, [1])


async def test_the_end_of_a_time_limit_is_no_cancel_afterwards() -> None:
    before = cancels()
    with pytest.raises(OSError, match="the connection is gone"):
        async with asyncio.timeout(0):
            await answer_with_an_error()
    assert cancels() == before


async def test_tasks_that_answer_a_cancel_with_an_error_are_ended_without_a_complaint(complaints: list[dict[str, Any]]) -> None:
    tasks = [asyncio.create_task(answer_with_an_error()) for _ in range(3)]
    await asyncio.sleep(0)
    await end(tasks.pop(), 240)
    await end_all(tasks)
    assert all(task.done() for task in tasks)
    del tasks
    gc.collect()
    assert complaints == []


async def test_a_task_is_ended_also_where_its_owner_is_canceled_meanwhile() -> None:
    release = asyncio.Event()
    closed = list[int]()

    async def close_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
            closed.append(1)

    inner = asyncio.create_task(close_slowly())
    await asyncio.sleep(0)
    owner = asyncio.create_task(end(inner, 240))
    await asyncio.sleep(0)
    owner.cancel()
    await asyncio.sleep(0)
    assert not owner.done()
    release.set()
    await asyncio.wait([owner])
    assert (owner.cancelled(), closed) == (True, [1])
