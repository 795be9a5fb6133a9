"""Send a job's events out of a container: few, small, in order. Must never delay or fail the generation they describe.

A full queue, a slow one, a broken one: the events are lost and nothing else happens. Knows no ComfyUI and no workflow.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..errors import PlainData
from ..events import Event, Finished, Preview, Progress, Queued, Started, State

if TYPE_CHECKING:
    import modal

log = logging.getLogger("ryla_gen.remote")

PAUSE = 0.1
"""Seconds that one event takes: at most ten a second."""
PREVIEW_PAUSE = 0.5
"""Seconds between two previews: at most two a second."""
PREVIEW_EDGE = 512
"""Pixels of a preview's longer edge."""
PREVIEW_BYTES = 200_000
"""A preview that is still longer is not sent; Modal's queues are for small items."""
PARTITION_SECONDS = 600.0
"""A partition holds 5,000 items. Spacing events by the job's age over this keeps the longest job (a day) just below."""
PUT_SECONDS = 5.0
"""How long the queue may take for one delivery before it counts as lost."""
FLUSH_SECONDS = 0.2
"""How long the reply waits for the last events; then they go on by themselves. A delivery takes 5 ms on a loopback."""

Put = Callable[[list[PlainData]], Awaitable[None]]
"""Delivers items, or raises."""


def put_into(queue: modal.Queue, job: str) -> Put:
    """Return what delivers items into the partition of a job; a full queue raises at once."""

    async def put(items: list[PlainData]) -> None:
        await queue.put_many.aio(items, block=False, partition=job)

    return put


class Outbox:
    """Items for one partition. Those with a key replace the unsent one with the same key."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._items: dict[str, Callable[[], PlainData | None]] = {}
        self._numbers = 0
        self._began = time.monotonic()
        self._wake = asyncio.Event()
        self._closing = False
        self._hurry = asyncio.Event()
        self._task = asyncio.create_task(self._deliver(), name="ryla-events")

    def add(self, make: Callable[[], PlainData | None], key: str | None = None) -> None:
        """Queue an item; ``make`` is called just before it is sent, and may give None after all. Returns at once."""
        if self._closing:
            return
        self._numbers += 1
        self._items[key or f"#{self._numbers}"] = make
        self._wake.set()

    async def close(self) -> None:
        """Send what is left at once. Waits a moment for it, then lets it go on alone."""
        self._closing = True
        # Cuts the pause between two batches short: the last events should arrive before the reply.
        self._hurry.set()
        self._wake.set()
        await asyncio.wait([self._task], timeout=FLUSH_SECONDS)

    async def _deliver(self) -> None:
        while self._items or not self._closing:
            await self._wake.wait()
            # Taken out before sending: items that are added meanwhile go into the next batch.
            made, self._items = list(self._items.values()), {}
            if not self._closing:
                self._wake.clear()
            items = [item for make in made if (item := _made(make)) is not None]
            if items:
                await self._send(items)
            if not self._closing and items:
                # One event, one pause: a burst of three is followed by three.
                pause = max(PAUSE, (time.monotonic() - self._began) / PARTITION_SECONDS) * len(items)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), pause)

    async def _send(self, items: list[PlainData]) -> None:
        try:
            async with asyncio.timeout(PUT_SECONDS):
                await self._put(items)
        except Exception as error:  # a failure of the queue must not stop the generation
            log.debug("%d events were lost: %s", len(items), error)


def _made(make: Callable[[], PlainData | None]) -> PlainData | None:
    """Return an item; None for one that cannot be made, so that those behind it are still sent."""
    try:
        return make()
    except Exception:  # for example a preview of an unknown kind: events only inform
        log.exception("an event could not be made")
        return None


class Publisher:
    """The events of one job, numbered and thinned out; does nothing at all when none were requested.

    Args:
        job: id of the job.
        put: delivers to the job's partition; None when no events are wanted.
        previews: whether pictures are wanted too.
        first: the number of the first event; above those that an earlier container sent.
    """

    def __init__(self, job: str, put: Put | None, *, previews: bool, first: int = 0) -> None:
        self._job = job
        self._outbox = Outbox(put) if put is not None else None
        self._previews = previews
        self._seq = first
        self._fraction = 0.0
        self._shown = float("-inf")

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Queue an event; it is sent in order, unless a newer one of its kind replaces it first."""
        if self._outbox is None or (kind is Preview and not self._wants_preview()):
            return
        if kind is Started:
            self._fraction = 0.0  # a second start, after ComfyUI died: the graph begins again
        if kind is Progress:
            self._fraction = fields["fraction"] = max(self._fraction, float(fields["fraction"]))
        key = kind.type if kind in (Progress, Queued, Preview) else None
        self._outbox.add(lambda: self._number(kind, fields), key)

    async def finish(self, state: State | None) -> None:
        """Send the last event, and what was still unsent before it.

        Args:
            state: how the job ended; None when it did not, and waits for another container.
        """
        if self._outbox is not None:
            if state is None:
                self.emit(Queued, position=0)
            else:
                self.emit(Finished, state=state)
            await self._outbox.close()

    def _wants_preview(self) -> bool:
        now = time.monotonic()
        if not self._previews or now - self._shown < PREVIEW_PAUSE:
            return False
        self._shown = now
        return True

    def _number(self, kind: type[Event], fields: dict[str, Any]) -> PlainData | None:
        if kind is Preview:
            small = shrunk(fields["data"], fields["media_type"])
            if small is None:
                return None
            fields["media_type"], fields["data"] = small
        event = kind(job=self._job, seq=self._seq, **fields)
        # Numbered when sent, not when queued: an event that a newer one replaced leaves no hole in the numbers.
        self._seq += 1
        return event.to_data()


def shrunk(data: bytes, media_type: str) -> tuple[str, bytes] | None:
    """Return a preview of at most 512 pixels, with its media type; None for one that cannot be read or stays too long."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if max(picture.size) > PREVIEW_EDGE:
                small = picture.convert("RGB")
                small.thumbnail((PREVIEW_EDGE, PREVIEW_EDGE))
                buffer = io.BytesIO()
                small.save(buffer, "JPEG", quality=80)
                media_type, data = "image/jpeg", buffer.getvalue()
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        log.debug("a preview could not be read: %s", error)
        return None
    return (media_type, data) if len(data) <= PREVIEW_BYTES else None
