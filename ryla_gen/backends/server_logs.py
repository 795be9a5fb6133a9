"""Show the log of a ComfyUI server of one's own: what it shows over HTTP, or the file of this machine's. Starts nothing."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ..comfy.client import ComfyClient
from ..comfy.connect import connect
from ..comfy.log_stream import Piece
from ..errors import BackendUnreachableError
from ..settings import Settings
from ..support.log_text import LogText
from .logs import LogLine, LogRequest, until

LOCAL_LOG = Path("local") / "comfyui.log"
"""The log of the ComfyUI that ``ryla-gen local`` starts, in the home folder."""
NEWEST = 2000
"""Lines shown of that file, which holds every start of the server."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def server_lines(settings: Settings, wanted: LogRequest) -> AsyncGenerator[LogLine, None]:
    """Yield the newest lines of the server that a job was sent to; it has one log for all its jobs, and shows 300 pieces of it.

    Args:
        settings: address and credentials of the user's own server.
        wanted: the job.

    Raises:
        BackendNotConfiguredError: there is no address.
        BackendUnreachableError: it does not answer, and is not the one that this package started on this machine.
    """
    where = settings_for_server(settings, wanted.server)
    try:
        async with connect(where) as server, contextlib.aclosing(_lines(server, wanted)) as lines:
            async for line in lines:
                yield line
    except BackendUnreachableError as error:
        file = settings.home / LOCAL_LOG
        if urlsplit(where.comfyui_url or "").hostname not in LOOPBACK or not file.is_file():
            hint = "A server that is gone shows no log: look where it ran, at what it wrote to its terminal or its file."
            raise BackendUnreachableError(error.message, hint, error.details) from None
        for line in _file_lines(file):
            yield line


def settings_for_server(settings: Settings, address: str | None) -> Settings:
    """Return settings that mean the server of a job, unless this call names one; credentials go to the configured server alone."""
    if address is None or address == settings.comfyui_url or settings.origins.get("comfyui.url") == "argument":
        return settings
    return Settings.load(backend="comfyui", comfyui_url=address)


async def _lines(server: ComfyClient, wanted: LogRequest) -> AsyncGenerator[LogLine, None]:
    seen, text = set[Piece](), LogText()

    def fresh(pieces: Iterable[Piece]) -> Iterator[LogLine]:
        for piece in pieces:
            if piece not in seen:
                seen.add(piece)
                yield from (LogLine(line, "comfyui", server.address) for line in text.add(piece[1]))

    for line in fresh(await server.log()):
        yield line
    if wanted.ended is not None:
        async with contextlib.aclosing(until(server.log_stream(), wanted.ended)) as pieces:
            async for piece in pieces:
                for line in fresh([piece]):
                    yield line
        await wanted.ended  # also where the server sends no log: what it shows at the end is all there is
        for line in fresh(await server.log()):
            yield line
    for last in text.end():
        yield LogLine(last, "comfyui", server.address)


def _file_lines(path: Path) -> Iterator[LogLine]:
    text = LogText()
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        lines = deque((line for piece in file for line in text.add(piece)), maxlen=NEWEST)
    for line in [*lines, *text.end()]:
        yield LogLine(line, "comfyui", str(path))
