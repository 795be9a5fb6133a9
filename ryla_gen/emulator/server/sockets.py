"""Keep the open websockets and the messages that wait for each. Runs on the server's event loop; other threads only post.

A reader that is slow, or does not read at all, never delays another client: each socket has a bounded queue, previews are dropped
first, then progress, and a socket that still cannot keep up is closed.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from .knobs import Knobs, Stats

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_WAITING = 2**16
"""Messages one socket may have waiting: thousands of prompts of a client that is busy elsewhere."""
MOST_WAITING_PROGRESS = 2**10
"""Once so many of them wait, progress is dropped: a graph of thousands of quick nodes outruns any reader."""
MOST_WAITING_BYTES = 64 * 2**20
"""Bytes one socket may have waiting: a batch of whole pictures through SaveImageWebsocket."""
MOST_WAITING_PREVIEWS = 2
"""Previews that wait; a newer one replaces the oldest, since old ones are of no use."""
PREVIEW_SIZE = 512
"""Longest edge of a preview in pixels; ComfyUI's default."""

_PROGRESS = ("progress", "progress_state")
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
_FORMATS = {"JPEG": (1, "image/jpeg"), "PNG": (2, "image/png")}


@dataclass(slots=True)
class _Message:
    payload: str | bytes
    preview: bool = False
    progress: bool = False


@dataclass(eq=False, slots=True)
class ClientSocket:
    """One open websocket."""

    client_id: str
    websocket: web.WebSocketResponse
    transport: asyncio.WriteTransport | None
    metadata: bool = False
    """The client understands previews with metadata."""
    waiting: deque[_Message] = field(default_factory=deque)
    waiting_bytes: int = 0
    waiting_previews: int = 0
    waiting_progress: int = 0
    sent: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, message: _Message) -> bool:
        """Queue a message; False when the reader is so far behind that the socket must be cut."""
        if message.preview and self.waiting_previews >= MOST_WAITING_PREVIEWS:
            # The oldest preview goes: only the newest picture is of use to a slow reader.
            oldest = next(item for item in self.waiting if item.preview)
            self.waiting.remove(oldest)
            self._count(oldest, -1)
        if self.waiting_progress >= MOST_WAITING_PROGRESS:
            self._drop_progress()
        self.waiting.append(message)
        self._count(message, 1)
        self.wake.set()
        return len(self.waiting) <= MOST_WAITING and self.waiting_bytes <= MOST_WAITING_BYTES

    def pop(self) -> _Message:
        """Remove and return the next message."""
        message = self.waiting.popleft()
        self._count(message, -1)
        return message

    def _drop_progress(self) -> None:
        for message in self.waiting:
            if message.progress:
                self._count(message, -1)
        self.waiting = deque(message for message in self.waiting if not message.progress)

    def _count(self, message: _Message, sign: int) -> None:
        self.waiting_bytes += sign * len(message.payload)
        self.waiting_previews += sign * message.preview
        self.waiting_progress += sign * message.progress

    def abort(self) -> None:
        """Break the connection without a goodbye."""
        if self.transport is not None:
            self.transport.abort()


class Hub:
    """All open sockets, by client id."""

    def __init__(self, loop: asyncio.AbstractEventLoop, knobs: Knobs, stats: Stats, plain_previews: bool) -> None:
        self._loop = loop
        self._plain_previews = plain_previews
        self._knobs = knobs
        self._stats = stats
        self._sockets: dict[str, ClientSocket] = {}
        self._open: set[ClientSocket] = set()

    # From any thread ---------------------------------------------------------------------------------------------

    def send(self, event: str, data: Mapping[str, Any], client_id: str | None) -> None:
        """Send an event to one client, or to all when ``client_id`` is None."""
        if self.listening(client_id):
            self._post(_Message(json.dumps({"type": event, "data": data}), progress=event in _PROGRESS), client_id)

    def send_picture(
        self, image: Image, form: Literal["JPEG", "PNG"], about: Mapping[str, Any], client_id: str | None, metadata: bool
    ) -> None:
        """Send a binary frame to those sockets of the client that do (or do not) take metadata."""
        if not any(socket.metadata == metadata for socket in self._of(client_id)):
            return
        if form == "JPEG" and not metadata and not self._plain_previews:
            return
        code, media_type = _FORMATS[form]
        if metadata:
            text = json.dumps({**about, "image_type": media_type}).encode()
            head = struct.pack(">II", _PREVIEW_WITH_METADATA, len(text)) + text
        else:
            head = struct.pack(">II", _PREVIEW, code)
        self._post(_Message(head + _encode(image, form), preview=form == "JPEG"), client_id, metadata)

    def listening(self, client_id: str | None) -> bool:
        """Whether a message to this client would be received."""
        return bool(self._sockets) if client_id is None else client_id in self._sockets

    def wants_preview(self, client_id: str | None) -> bool:
        """Whether a client listens that has taken the earlier previews."""
        return any(
            socket.waiting_previews < MOST_WAITING_PREVIEWS and (socket.metadata or self._plain_previews)
            for socket in self._of(client_id)
        )

    def _of(self, client_id: str | None) -> list[ClientSocket]:
        if client_id is None:
            return list(self._sockets.values())
        socket = self._sockets.get(client_id)
        return [socket] if socket else []

    def _post(self, message: _Message, client_id: str | None, metadata: bool | None = None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, message, client_id, metadata)
        except RuntimeError:  # the loop is closed: the server is gone, and all clients with it
            return

    # On the loop -------------------------------------------------------------------------------------------------

    def _deliver(self, message: _Message, client_id: str | None, metadata: bool | None) -> None:
        for socket in self._of(client_id):
            if metadata in (None, socket.metadata) and not socket.push(message):
                socket.abort()

    def add(self, socket: ClientSocket) -> None:
        """Add a socket; an older one of the same client id receives nothing any more, as in ComfyUI."""
        self._open.add(socket)
        self._sockets[socket.client_id] = socket
        self._stats.sockets = len(self._open)

    def remove(self, socket: ClientSocket) -> None:
        """Forget a closed socket."""
        self._open.discard(socket)
        # A client that reconnected has a newer socket under the same id, which stays.
        if self._sockets.get(socket.client_id) is socket:
            del self._sockets[socket.client_id]
        self._stats.sockets = len(self._open)

    async def write(self, socket: ClientSocket) -> None:
        """Send what waits for one socket until it closes."""
        while True:
            await socket.wake.wait()
            # Cleared before the queue is read: a message that arrives during a send sets it again.
            socket.wake.clear()
            while socket.waiting:
                if self._knobs.away:
                    socket.abort()
                    return
                payload = socket.pop().payload
                await (socket.websocket.send_str(payload) if isinstance(payload, str) else socket.websocket.send_bytes(payload))
                socket.sent += 1
                limit = self._knobs.drop_websocket_after
                if limit is not None and socket.sent >= limit:
                    self._knobs.drop_websocket_after = None
                    socket.abort()
                    return

    async def close(self) -> None:
        """Close the websocket of every client."""
        for socket in list(self._open):
            try:
                await asyncio.wait_for(socket.websocket.close(), 0.5)
            except TimeoutError:
                socket.abort()


def _encode(image: Image, form: Literal["JPEG", "PNG"]) -> bytes:
    from PIL.PngImagePlugin import PngInfo  # imported late: the server is up before a picture is needed

    buffer = io.BytesIO()
    if form == "JPEG":
        small = image.convert("RGB")
        small.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
        small.save(buffer, "JPEG", quality=90)
    else:
        text = PngInfo()
        text.add_text("ryla:emulated", "true")
        image.save(buffer, "PNG", compress_level=1, pnginfo=text)
    return buffer.getvalue()
