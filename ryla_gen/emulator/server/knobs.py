"""Define the faults that a test may switch on in a running emulator, and its counters. Plain data, no actions."""

from __future__ import annotations

from dataclasses import dataclass


class OutOfMemoryError(RuntimeError):
    """PyTorch's exception for a full GPU memory, under its name."""

    __module__ = "torch"


@dataclass(slots=True)
class Knobs:
    """Switches for faults. Set them while the server runs; all are off by default."""

    drop_websocket_after: int | None = None
    """Cut a websocket without a goodbye after it was sent this many messages; once, then the knob is None again."""
    away: bool = False
    """Answer no request, and cut each websocket that has something to send, as behind a broken line; prompts go on."""
    slow_answers: float = 0.0
    """Seconds from taking a prompt to saying so."""
    refuse_cancels: int | None = None
    """HTTP status that ``POST /interrupt`` and ``POST /queue`` answer instead of stopping something."""
    delay_per_node: float = 0.0
    """Seconds that every node takes longer; an interrupt ends them."""
    hold_nodes: bool = False
    """Let no node run until this is False again; an interrupt ends the wait. Tests hold a prompt so for as long as they need."""
    silent_seconds: float = 0.0
    """Seconds of silence after ``execution_start``, as while a cold model loads."""
    refuse_prompts: int | None = None
    """HTTP status that ``POST /prompt`` answers instead of accepting."""
    die_on_prompt: bool = False
    """Vanish when the next prompt begins to run, as after kill -9: connections break, nothing answers any more."""
    thread_dies: bool = False
    """The thread that runs prompts ends when the next one begins, as when a node raises SystemExit: HTTP goes on, nothing runs."""
    lose_history: bool = False
    """``GET /history`` stays empty."""
    out_of_memory_at: str | None = None
    """Class of the node that raises as a GPU does when its memory is full."""
    raise_at: str | None = None
    """Class of the node that raises a ValueError."""
    device: str = "emulated"
    """What ``POST /ryla/device`` answers; ``cpu`` is a restore that finds no GPU."""
    partial_node_errors: bool = False
    """Answer an accepted prompt with ``node_errors``, as if some of its outputs had been dropped."""


@dataclass(slots=True)
class Stats:
    """The server's counters since it started."""

    prompts: int = 0
    """Prompts accepted."""
    executed: int = 0
    """Nodes that ran; cached ones do not count."""
    previews: int = 0
    """Previews drawn."""
    sockets: int = 0
    """Websockets open now."""
    requests: int = 0
    """HTTP requests answered, websockets included."""
