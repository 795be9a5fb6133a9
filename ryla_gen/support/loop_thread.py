"""Run a private event loop on its own thread, so that synchronous code can drive async code, also in Jupyter. Knows no job."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from ..errors import InternalError

T = TypeVar("T")

STOP_SECONDS = 10.0
"""How long an interrupted call may take to cancel its work: one HTTP round trip is milliseconds, a pod far away is seconds."""

FINISH_SECONDS = 2.0
"""How long the end of a program waits for clients that were not closed, and an abandoned loop for its source to close."""

LOOK_SECONDS = 0.5
"""How often a call that waits lets Python look for signals: one that comes while its thread is about to wait wakes nobody."""


class LoopThread:
    """Runs coroutines on one event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._process: int | None = None
        self._last: Callable[[], Coroutine[Any, Any, None]] | None = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result; Ctrl-C cancels it, waits for that, and goes on up."""
        try:
            loop = self._running()
        except BaseException:
            work.close()
            raise
        if threading.current_thread() is self._thread:
            work.close()
            raise InternalError("The synchronous client cannot be used from inside its own event loop.", "Use AsyncClient there.")
        errand = _CancellableCall(work)
        try:
            loop.call_soon_threadsafe(errand.begin)
            while not errand.ended.acquire(timeout=LOOK_SECONDS):
                pass
            return errand.result()
        except BaseException:  # an interrupt may come before the future is assigned: the call object knows what to stop
            if not errand.done:
                loop.call_soon_threadsafe(errand.stop)
                self._drain()
            raise

    def iterate(self, source: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        """Walk through an async iterator from plain code; leaving early closes it."""
        holder: list[AsyncIterator[T]] = []

        async def advance() -> T:
            if not holder:
                holder.append(source())
            return await anext(holder[0])

        def close() -> Coroutine[Any, Any, None] | None:
            closing = getattr(holder[0], "aclose", None) if holder else None
            return closing() if closing is not None else None

        try:
            while True:
                try:
                    yield self.call(advance())
                except StopAsyncIteration:
                    return
        except GeneratorExit:
            # No call() here: a generator may be closed by the garbage collector, on the loop's own thread.
            self._close_soon(close())
            raise
        except BaseException:
            if (closing := close()) is not None:
                self.call(closing)
            raise

    def _close_soon(self, closing: Coroutine[Any, Any, None] | None) -> None:
        """Close what a loop was left without; waits no longer than a moment, since the garbage collector may be asking."""
        with self._lock:
            loop, thread = self._loop, self._thread
        if closing is None or loop is None:
            return
        future = asyncio.run_coroutine_threadsafe(closing, loop)
        if threading.current_thread() is not thread:
            # Waiting on the loop's own thread would block the loop for which it waits.
            with contextlib.suppress(TimeoutError):
                future.result(FINISH_SECONDS)

    def close(self) -> None:
        """Stop the loop and its thread. Calling it twice is fine."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or loop.is_closed():
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_rest(), loop).result(STOP_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)

    def end_with(self, owner: object, last: Callable[[], Coroutine[Any, Any, None]]) -> weakref.finalize[..., object]:
        """Run one last coroutine and stop when the owner is gone, or the program ends; what remains when it was not closed."""
        _open.add(self)
        self._last = last
        finalizer = weakref.finalize(owner, self._finish)
        finalizer.atexit = False  # the end of the program waits a little for all of them: see _leave
        return finalizer

    def _finish(self) -> None:
        """Begin to stop, and wait for nothing: the garbage collector may have stopped any thread, with any lock in its hand."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._last is None or not loop.is_running():
            return
        _leaving.add(thread)
        asyncio.run_coroutine_threadsafe(_finish(self._last, loop), loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._process not in (None, os.getpid()):  # looked at without the lock: the parent's threads may hold it for ever
            raise InternalError(
                "This client was used before os.fork(): its connections are the parent's.", "Make a new Client here."
            )
        with self._lock:
            self._process = os.getpid()
            if self._loop is None:
                made = Future[asyncio.AbstractEventLoop]()
                self._thread = threading.Thread(target=_serve, args=(made,), name="ryla-gen", daemon=True)
                self._thread.start()
                try:
                    self._loop = made.result()
                except BaseException:  # an interrupt: nobody will know this loop
                    made.add_done_callback(_stop_made)
                    raise
                _leaving.difference_update([thread for thread in _leaving if not thread.is_alive()])
            return self._loop

    def _drain(self) -> None:
        """Wait a moment for canceled work to tell its server."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(TimeoutError):  # it blocks its loop: the interrupt goes on up all the same
                asyncio.run_coroutine_threadsafe(_settle(), loop).result(STOP_SECONDS + 1)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own; for commands, which have no client that keeps one."""
    loop_thread = LoopThread()
    try:
        return loop_thread.call(work)
    finally:
        loop_thread.close()


class _CancellableCall(Generic[T]):
    """A coroutine that can be stopped as soon as it is submitted, whether or not it has begun."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self.done = False
        self.ended = threading.Lock()
        """Free once it has ended. One lock of Python's own: an interrupt that strikes in a condition of ``threading``, or of a
        future, leaves it locked, and the loop's thread would wait for it for ever."""
        self.ended.acquire()

    def begin(self) -> None:
        """Begin it; called on the loop."""
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._end)

    def stop(self) -> None:
        """Cancel it; called on the loop."""
        if self._task is None:
            self._work.close()  # it was never handed over
        elif not self.done:
            self._task.cancel()

    def result(self) -> T:
        """Return what it returned, or raise what it raised."""
        assert self._task is not None
        try:
            return self._task.result()
        except asyncio.CancelledError:
            raise CancelledError from None  # the loop was closed beneath it; as a future of threads says it

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # looked at: of a call that was interrupted nobody else looks, and Python would complain
        self.done = True
        self.ended.release()


_open: weakref.WeakSet[LoopThread] = weakref.WeakSet()
"""Portals that end with their owner."""
_leaving: set[threading.Thread] = set()
"""Threads of the loops whose owner is gone."""


@atexit.register
def _leave() -> None:
    """Stop every loop thread that was not closed at the end of the program, and give them a moment."""
    for loop_thread in list(_open):
        loop_thread._finish()
    deadline = time.monotonic() + FINISH_SECONDS
    for thread in list(_leaving):
        thread.join(max(0.0, deadline - time.monotonic()))


def _serve(made: Future[asyncio.AbstractEventLoop]) -> None:
    try:
        loop = asyncio.new_event_loop()  # on this thread: an interrupt of another one would leave it half made
    except BaseException as error:  # no descriptor is left, say: who waits for the loop has to hear of it
        made.set_exception(error)
        return
    asyncio.set_event_loop(loop)
    made.set_result(loop)
    try:
        loop.run_forever()
    finally:
        # On this thread: asynchronous generators must be closed on the loop that ran them.
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _stop_made(made: Future[asyncio.AbstractEventLoop]) -> None:
    if made.exception() is None:
        made.result().call_soon_threadsafe(made.result().stop)


async def _finish(last: Callable[[], Coroutine[Any, Any, None]], loop: asyncio.AbstractEventLoop) -> None:
    try:
        await last()
        await _cancel_rest()
    finally:
        loop.stop()


async def _settle() -> None:
    """Wait until the tasks that are being canceled have ended."""
    ending = [task for task in _others() if task.cancelling()]
    if ending:
        await asyncio.wait(ending, timeout=STOP_SECONDS)


async def _cancel_rest() -> None:
    """Cancel every other task, and wait until they have ended, with what they begin in order to close."""
    # A task that is canceled before its first step drops what it was given, be it the closing of a connection.
    await asyncio.sleep(0)
    for task in _others():
        if not task.cancelling():  # a second one would break off the closing that the first one asked for
            task.cancel()
    clock = asyncio.get_running_loop().time
    end = clock() + STOP_SECONDS / 2
    while (rest := _others()) and clock() < end:
        await asyncio.wait(rest, timeout=end - clock())


def _others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
