"""A ComfyUI that cannot be told to stop: the emulator behind a relay that breaks such requests off. Run as a script."""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from ryla_gen.emulator.server import Emulator

UNHEARD = re.compile(rb"POST /(interrupt|queue|api/jobs/[^ ]+/cancel)")


async def serve(port: int, server: Emulator) -> None:
    """Relay every connection to the server."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(server.host, server.port)
        back = asyncio.create_task(pass_on(inner_reader, writer))
        await pass_on(reader, inner_writer)
        back.cancel()
        writer.transport.abort()

    async with await asyncio.start_server(relay, "127.0.0.1", port) as listening:
        await listening.serve_forever()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until a connection ends or asks to stop a prompt."""
    try:
        while (data := await reader.read(65536)) and not UNHEARD.match(data):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("ryla_gen.emulator", help="what it stands in for, by which the tests find its process")
    given = parser.parse_args()
    with Emulator(given.folder) as emulator:
        emulator.start()
        asyncio.run(serve(given.port, emulator))
