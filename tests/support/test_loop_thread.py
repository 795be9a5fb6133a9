"""The bridge from plain to async code, when interrupts strike at any moment."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import FrameType
from typing import Any

import pytest

from ryla_gen.support.loop_thread import LoopThread

ROUNDS = 300
EARLY = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
"""An interrupt may strike before the work is handed over."""


class StruckError(BaseException):
    """What the signal raises, like KeyboardInterrupt."""


@pytest.fixture(autouse=True)
def no_collection_by_itself() -> Iterator[None]:
    """Python ignores what a signal raises in a callback of its garbage collection, and hypothesis has one."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


@pytest.fixture
def struck() -> Iterator[None]:
    def strike(number: int, frame: FrameType | None) -> None:
        raise StruckError

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupt_after(seconds: float) -> threading.Thread:
    """Make a thread that sends this one the signal, a little after it was started."""
    target = threading.get_ident()

    def send() -> None:
        time.sleep(seconds)
        signal.pthread_kill(target, signal.SIGUSR1)

    return threading.Thread(target=send)


@EARLY
def test_an_interrupt_at_any_moment_ends_the_walk_and_closes_the_source(loop_thread: LoopThread, struck: None) -> None:
    opened: list[int] = []
    closed: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        opened.append(1)
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            closed.append(1)

    luck = random.Random(5)
    for _ in range(ROUNDS):
        walk = loop_thread.iterate(numbers)
        seen = 0
        thread = interrupt_after(luck.random() * 0.004)  # made before: the strike may come before it could be kept
        with pytest.raises(StruckError):
            thread.start()
            for number in walk:
                seen += number
        thread.join(60)
    assert len(closed) == len(opened)


@EARLY
def test_an_interrupt_at_any_moment_cancels_the_call(loop_thread: LoopThread, struck: None) -> None:
    running = 0

    async def long() -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(60)
        finally:
            running -= 1

    luck = random.Random(6)
    for _ in range(ROUNDS // 3):
        thread = interrupt_after(luck.random() * 0.001)
        with pytest.raises(StruckError):
            thread.start()
            loop_thread.call(long())
        thread.join(60)
        assert running == 0


def test_an_interrupt_that_wakes_nobody_ends_the_call(loop_thread: LoopThread, struck: None) -> None:
    """As one that comes while the caller has not begun to wait, but cannot look any more: its thread is not woken by it."""
    ended: list[bool] = []

    async def long() -> None:
        await asyncio.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(True)

    with pytest.raises(StruckError):
        loop_thread.call(long())
    assert ended == [True]


@EARLY
def test_an_interrupt_in_the_first_moments_of_a_call_leaves_the_loop_alive(loop_thread: LoopThread) -> None:
    """It may come while the caller holds a lock that the loop's thread needs."""

    def strike(number: int, frame: FrameType | None) -> None:
        raise StruckError

    async def long() -> None:
        await asyncio.sleep(1000)

    luck, before = random.Random(7), signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(ROUNDS):
            with pytest.raises(StruckError):
                signal.setitimer(signal.ITIMER_REAL, 0.00001 + luck.random() * 0.0004)
                loop_thread.call(long())
                raise AssertionError
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert loop_thread.call(asyncio.sleep(0, "alive")) == "alive"


def test_a_loop_that_cannot_be_made_is_an_error_and_no_silence() -> None:
    code = """
        import asyncio, resource
        from ryla_gen.support.loop_thread import run_async
        resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
        try:
            run_async(asyncio.sleep(0))
        except OSError as error:
            print(type(error).__name__)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.returncode) == ("OSError\n", 0), done.stderr
    assert "never awaited" not in done.stderr


def test_an_interrupt_goes_up_although_the_work_blocks_its_loop(struck: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryla_gen.support.loop_thread.STOP_SECONDS", 0.1)  # how long the work may take to end
    going = threading.Event()

    async def blocking() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        going.wait(240)

    made = LoopThread()
    try:
        with pytest.raises(StruckError):
            made.call(blocking())
    finally:
        going.set()
        made.close()


def test_what_the_garbage_collector_ends_waits_for_no_thread(loop_thread: LoopThread) -> None:
    """It may run in any thread, with any lock of the threading module in its hand."""
    released = threading.Event()

    class Owner:
        pass

    async def last() -> None:
        await asyncio.to_thread(released.wait, 60)

    other, owner = LoopThread(), Owner()
    other.end_with(owner, last)
    other.call(asyncio.sleep(0))
    thread = other._thread
    assert thread is not None
    del owner  # collected here and now, while its last work cannot end yet
    assert thread.is_alive()
    released.set()
    thread.join(60)
    assert not thread.is_alive()


def test_what_began_in_order_to_close_is_not_dropped() -> None:
    """The last work of a client may begin a task and return; a task that is canceled may begin one in order to close."""
    done = list[str]()

    async def close(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.append(asyncio.create_task(close("of a canceled task")))

    async def begin() -> None:
        tasks.append(asyncio.create_task(waiting()))
        await asyncio.sleep(0)

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await close("of a task that was canceled already")

    async def last() -> None:
        tasks.append(asyncio.create_task(slow()))
        await asyncio.sleep(0)
        tasks[-1].cancel()
        await asyncio.sleep(0)

    class Owner:
        pass

    tasks = list[asyncio.Task[None]]()
    loop_thread, owner = LoopThread(), Owner()
    loop_thread.end_with(owner, last)
    loop_thread.call(begin())
    thread = loop_thread._thread
    assert thread is not None
    del owner
    thread.join(60)
    assert sorted(done) == ["of a canceled task", "of a task that was canceled already"]


@pytest.mark.filterwarnings("error")
def test_a_task_that_has_not_begun_takes_its_first_step() -> None:
    begun = list[int]()

    async def inner() -> None:
        begun.append(1)

    async def outer(work: Coroutine[Any, Any, None]) -> None:
        await work

    async def last() -> None:
        tasks.append(asyncio.create_task(outer(inner())))

    class Owner:
        pass

    tasks = list[asyncio.Task[None]]()
    loop_thread, owner = LoopThread(), Owner()
    loop_thread.end_with(owner, last)
    loop_thread.call(asyncio.sleep(0))
    thread = loop_thread._thread
    assert thread is not None
    del owner
    thread.join(60)
    assert begun == [1]
