"""Stop a sync, retry after a passing fault, hash in pieces. Must not know the hub or the table of weights."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ...errors import BackendUnreachableError
from ...support.retry import RetryPolicy

T = TypeVar("T")

BLOCK = 1 << 20
"""Bytes hashed at once: large enough that the loop costs nothing, small enough that Ctrl-C is felt."""
PAUSES = RetryPolicy(first_pause=0.5, longest_pause=60.0)
"""Between two tries. A server that asks us to stay away for longer is asked again after the longest pause."""


class StoppedError(Exception):
    """The caller of the sync gave up; never leaves this package."""


class PassingError(Exception):
    """A fault that may be gone at the next try; ``error`` is what to raise when it is not."""

    def __init__(self, error: BackendUnreachableError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


class CancelToken:
    """One flag that every thread of a sync looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Tell every thread to stop."""
        self._event.set()

    def check(self) -> None:
        """Raise StoppedError once a stop was requested."""
        if self._event.is_set():
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until a stop is requested."""
        self._event.wait(seconds)
        self.check()


def patiently(action: Callable[[], T], moved: Callable[[], int], tries: int, stop: CancelToken) -> T:
    """Repeat ``action`` after passing faults; give up after ``tries`` in a row in which ``moved()`` did not grow."""
    fruitless, reached = 0, moved()
    while True:
        stop.check()
        try:
            return action()
        except PassingError as fault:
            if moved() > reached:
                fruitless, reached = 0, moved()
            fruitless += 1
            if fruitless >= tries:
                raise fault.error from None
            stop.sleep(PAUSES.pause(fruitless - 1) if fault.wait is None else min(fault.wait, PAUSES.longest_pause))


def sha256_of(path: Path, seen: Callable[[int], None], stop: CancelToken) -> str:
    """Hash a file; ``seen`` is called with the bytes that each step read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            stop.check()
            digest.update(block)
            seen(len(block))
    return digest.hexdigest()
