"""Distinguish a container that must stop from an input that was canceled: Modal cancels inputs in both cases. Stops nothing."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupts:
    """Records SIGINT, which Modal sends to a container that it takes away (preemption), or that belongs to a stopped app."""

    def __init__(self) -> None:
        self.received = False
        """Whether the container received the signal to stop."""

    def listen(self) -> None:
        """Record the signal from now on. Called for each request, since Modal's runtime sets its own handler between them.

        Modal's handler is one of asyncio's: the loop calls it when a byte arrives on its wakeup descriptor. The handler that Python
        itself calls before that does nothing; this one takes its place, and the loop still calls Modal's.
        """
        if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == self._note:
            return
        signal.signal(signal.SIGINT, self._note)
        signal.siginterrupt(signal.SIGINT, False)  # asyncio's own handler

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
