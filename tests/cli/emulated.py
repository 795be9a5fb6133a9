"""What its worker thread does on an emulated server: waited for, or held at a moment that a test could miss."""

from __future__ import annotations

import time
from typing import Any

from ryla_gen.emulator.server import Emulator

from .shell import SECONDS


def wait_until_left(server: Emulator, count: int) -> None:
    """Wait until so many prompts wait or run: one that is told to stop counts until the worker has let go of it."""
    end = time.monotonic() + SECONDS
    while server.queue.remaining() != count:
        assert time.monotonic() < end, f"{server.queue.remaining()} are left"
        time.sleep(0.01)


def hold_after_the_first(server: Emulator) -> None:
    """Let one prompt end, and hold the nodes of all further ones, from before anybody hears of that end."""
    remember = server.queue.remember

    def remember_and_hold(prompt_id: str, entry: dict[str, Any], size: int = 0) -> None:
        if not server.queue.history():
            server.knobs.hold_nodes = True
        remember(prompt_id, entry, size)

    server.queue.remember = remember_and_hold  # type: ignore[method-assign]
