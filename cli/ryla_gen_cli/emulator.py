"""``ryla-gen emulator``: serves the embedded ComfyUI look-alike in the foreground until Ctrl-C."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import RylaGenError, ServerUnhealthyError

from .common import Json, example, screen_of, single

app = single()


@app.command("emulator", epilog=example("ryla-gen emulator --port 8188"))
def emulator(
    context: typer.Context,
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="Port; 0 takes a free one.")] = 8188,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; anyone who reaches it may use it.")
    ] = "127.0.0.1",
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Keeps input, output and models here.")] = None,
    as_json: Json = False,
) -> None:
    """Serve an emulated ComfyUI for any client, until Ctrl-C. Its pictures are marked as emulated."""
    screen = screen_of(context, as_json=as_json)
    try:
        server = Emulator(folder.expanduser() if folder is not None else None, host=host, port=port)
    except OSError as error:
        raise ServerUnhealthyError(
            f"The folder {folder} cannot be used: {error.strerror}.", "Name another one: --folder DIR"
        ) from None
    try:
        server.start()
    except (OSError, OverflowError) as error:
        server.close()
        raise _refused(host, port, error) from None
    use = f'Use it: ryla-gen run flux-dev "a fox" --url {server.url}   (or any ComfyUI client). Stop it: Ctrl-C'
    try:
        screen.result({"url": server.url, "folder": str(server.folder)}, f"Emulated ComfyUI at {server.url}")
        screen.note(use)
        server.serve_forever()
    except KeyboardInterrupt:  # before it serves: the same end
        server.close()


def _refused(host: str, port: int, error: Exception) -> RylaGenError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return ServerUnhealthyError(
            f"Port {port} is in use.",
            f"Take another: ryla-gen emulator --port {port + 1 if port < 65535 else 0} (0 takes a free one)",
        )
    if number == errno.EACCES:
        return ServerUnhealthyError(f"Port {port} needs more rights.", "Take one above 1023: ryla-gen emulator --port 8188")
    return ServerUnhealthyError(f"Cannot listen on {host}:{port}: {error}.", "Take an address of this machine: --host 127.0.0.1")
