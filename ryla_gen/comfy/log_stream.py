"""Follow the log that a ComfyUI server shows its own page: what it still has, then what it writes. Must not judge a line."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import aiohttp

from .transport import Transport

Piece = tuple[str, str]
"""When the server wrote something (its own local time), and what."""


def pieces_in(data: object) -> list[Piece]:
    """Return the pieces of the log in an answer or a message of the server; what has another shape is left out."""
    entries = data.get("entries") if isinstance(data, dict) else None
    said = [(one.get("t"), one.get("m")) for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    return [(str(at), text) for at, text in said if isinstance(text, str)]


async def stream_pieces(transport: Transport, newest: Callable[[], Awaitable[list[Piece]]]) -> AsyncGenerator[Piece, None]:
    """Yield what the server's log has, then what it writes, until it ends the connection; none at all where it does not offer that.

    Args:
        transport: the connection to the server.
        newest: asks for what its log has. Asked once the server sends all that it writes: nothing falls between the two, and what
            is written meanwhile may come twice.

    Raises:
        BackendUnreachableError: it does not answer.
    """
    client = uuid.uuid4().hex
    socket = await transport.websocket(client)
    try:
        wish = {"clientId": client, "enabled": True}
        if (await transport.call("PATCH", "/internal/logs/subscribe", json=wish)).status != 200:
            return
        for piece in await newest():
            yield piece
        async for message in socket:
            for piece in _pieces(message):
                yield piece
    finally:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await socket.close()


def _pieces(message: aiohttp.WSMessage) -> list[Piece]:
    if message.type is not aiohttp.WSMsgType.TEXT or '"logs"' not in message.data[:40]:
        return []
    try:
        said: Any = json.loads(message.data)
    except ValueError:
        return []
    return pieces_in(said.get("data")) if isinstance(said, dict) and said.get("type") == "logs" else []
