"""Keep the state of one prompt while it runs: its progress and the files it saved. Must not talk to a server."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..comfy.messages import ExecutionError, ImageFrame, NodeExecuted, clean
from ..errors import ServerUnhealthyError
from ..workflows.base import Notice

SAMPLER_STEPS = 20
"""Weight of a sampler node whose number of steps the graph does not spell out."""

MOST_STEPS = 10_000
"""Steps of a node that count: a graph may name any number."""
TEXT_KEYS = ("text", "string", "strings", "caption", "captions", "tags")
"""What nodes call the texts that they show: ``text`` in ComfyUI's own (PreviewAny), the others in packs."""
MOST_NOTICES = 20
"""Notices of one prompt that are kept; an emulator sends two."""
MOST_ITEMS = 10_000
"""Files, frames and texts of one prompt that are collected: each picture of a batch is one."""
FRAMES_LIMIT = 2 * 2**30
"""Bytes of pictures that one prompt may send over the websocket; they are held in memory."""
_PLACES = ("output", "temp", "input")
"""Folders of the server that ``/view`` reads."""

Emit = Callable[..., None]
"""``emit(kind, **fields)`` appends an event to the job's log."""
View = Callable[[str, str, str], Coroutine[Any, Any, bytes]]
"""Reads a file of the server by its name, subfolder and kind of folder."""


@dataclass(frozen=True, slots=True)
class CollectedItem:
    """One thing that a node made: a file that is being fetched, a picture sent over the websocket, or a text."""

    node: str
    """The node of the graph that made it."""
    shown: str
    """The node that the server named: another one where a node of the graph expanded into several."""
    name: str
    """What the server calls it."""
    place: str = ""
    """Kind of folder of a file; empty for what is no file."""
    task: asyncio.Task[bytes] | None = None
    data: bytes = b""
    text: str | None = None


class Collected:
    """The files, pictures and texts that the nodes of one prompt made, in the order of their messages.

    Args:
        view: reads a file of the server.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._items: list[CollectedItem] = []
        self._known: set[tuple[str, str, str]] = set()
        self._frame_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def take(self, message: NodeExecuted) -> None:
        """Begin to fetch what an output node saved, while the rest of the graph still runs, and keep the texts it showed."""
        node = message.display_node or message.node
        for key, values in message.output.items():
            for value in values if isinstance(values, list | tuple) else ():
                if isinstance(value, str) and key in TEXT_KEYS:
                    self._add(CollectedItem(node, message.node, "text", text=value))
                elif isinstance(value, Mapping):
                    self._fetch(node, message.node, value)

    def _fetch(self, node: str, shown: str, ref: Mapping[str, Any]) -> None:
        name, subfolder, place = ref.get("filename"), ref.get("subfolder") or "", ref.get("type") or "output"
        if not isinstance(name, str) or not isinstance(subfolder, str) or place not in _PLACES or not name:
            return
        if (subfolder, name, place) not in self._known:
            self._known.add((subfolder, name, place))
            task = asyncio.ensure_future(self._view(name, subfolder, place))
            task.add_done_callback(_mark_retrieved)
            self._add(CollectedItem(node, shown, name, place, task))

    def take_frame(self, message: ImageFrame) -> None:
        """Keep a picture that came over the websocket."""
        self._frame_bytes += len(message.data)
        if self._frame_bytes > FRAMES_LIMIT:
            raise ServerUnhealthyError(f"The server sends more than {FRAMES_LIMIT:,} bytes of pictures for one prompt.")
        self._add(CollectedItem(message.node, message.node, "frame.png", data=message.data))

    def _add(self, item: CollectedItem) -> None:
        self._items.append(item)
        if len(self._items) > MOST_ITEMS:
            raise ServerUnhealthyError(f"The server names more than {MOST_ITEMS:,} files for one prompt.")

    def in_graph_order(self, graph: Mapping[str, Any]) -> list[CollectedItem]:
        """List everything that counts as a result, in the graph's order: the order of its nodes, then the order within a node.

        Temporary files (PreviewImage) count only where nothing was saved for good. Nodes report in the order in which they ran, and
        cached ones first, so the same graph may report in another order the next time.
        """
        files = [item for item in self._items if item.place]
        dropped = {id(item) for item in files if item.place != "output"} if any(item.place == "output" for item in files) else set()
        places = {node: place for place, node in enumerate(graph)}
        kept = [item for item in self._items if id(item) not in dropped]
        return sorted(kept, key=lambda item: (places.get(item.node, len(places)), _natural(item.shown)))

    def close(self) -> None:
        """Stop fetching."""
        for item in self._items:
            if item.task is not None:
                item.task.cancel()


def _mark_retrieved(task: asyncio.Task[bytes]) -> None:
    """Retrieve how a fetch ended: if the job failed before awaiting it, asyncio would warn on stderr."""
    if not task.cancelled():
        task.exception()


def _natural(node: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts 5.0.0.2 before 5.0.0.10."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", node) if part)


@dataclass(slots=True)
class PromptProgress:
    """The state of one prompt while it runs."""

    graph: Mapping[str, Any]
    emit: Emit
    collected: Collected
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    done: set[str] = field(default_factory=set)
    node: str = ""
    part: float = 0.0
    """Share of the current node that is done."""
    failure: ExecutionError | None = None
    """The node that raised."""
    server: dict[str, Any] = field(default_factory=dict)
    """Versions and GPU of the server, asked once the outputs are there."""
    heard: float = field(default_factory=time.monotonic)
    """When the last message about it came."""
    server_clock: tuple[float, float] = (0.0, 0.0)
    """Start and end on the server's clock, Unix seconds; 0 for what it did not say."""
    gap: bool = False
    """Whether the connection was lost meanwhile, and pictures sent over it with it."""
    notices: tuple[Notice, ...] = ()
    """What an emulator says of its stand-ins, one of each code."""

    def take_notices(self, told: Any) -> None:
        """Keep what an emulator says beside the files of an output node: ``code`` and ``message`` each.

        A later one of the same code replaces the earlier: beside the last files stands what is missing from all of them.
        """
        for item in told if isinstance(told, list) else ():
            if isinstance(item, dict) and len(self.notices) < MOST_NOTICES:
                notice = Notice(clean(item.get("code") or "", 100), clean(item.get("message") or ""))
                self.notices = (*(other for other in self.notices if other.code != notice.code), notice)

    def weight(self, node_id: str) -> float:
        """Return how long a node takes, in sampling steps: samplers their steps, all others one."""
        inputs = self.graph.get(node_id, {}).get("inputs", {})
        steps = inputs.get("steps")
        if isinstance(steps, int):
            return float(min(max(steps, 1), MOST_STEPS))
        return float(SAMPLER_STEPS) if "sampler" in inputs or "sigmas" in inputs or "dit" in inputs else 1.0

    def fraction(self) -> float:
        """Share of the whole graph that is done, 0 to 1."""
        total = sum(self.weight(node_id) for node_id in self.graph) or 1.0
        done = sum(self.weight(node_id) for node_id in self.done)
        current = self.weight(self.node) * self.part if self.node and self.node not in self.done else 0.0
        return min(1.0, (done + current) / total)

    def enter(self, node_id: str) -> None:
        """Record that another node runs now, so the one before it is done."""
        if self.node:
            self.done.add(self.node)
        self.node, self.part = node_id, 0.0
