"""``ryla-gen emulator``: serves the embedded ComfyUI look-alike in the foreground until Ctrl-C."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import InvalidInputError, RylaGenError, ServerUnhealthyError
from ryla_gen.models.node_schemas import GRAPH_VERSION

from ..common import ComfyUI, Json, example, screen_of, single

app = single()


@app.command("emulator", epilog=example("ryla-gen emulator --port 8188"))
def emulator(
    context: typer.Context,
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="Port; 0 takes a free one.")] = 8188,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; anyone who reaches it may use it.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A host name under which others may ask for it; repeatable."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Keeps input, output and models here.")] = None,
    comfyui: ComfyUI = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse names of weights that are not there, as ComfyUI does, instead of standing in.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve an emulated ComfyUI for any client, until Ctrl-C. Its pictures are marked as emulated."""
    screen = screen_of(context, as_json=as_json)
    if not host.strip():  # the system would take it for every address
        raise InvalidInputError("--host is empty.", "Name an address of this machine: --host 127.0.0.1; 0.0.0.0 is every one.")
    try:
        root = folder.expanduser() if folder is not None else None
        server = Emulator(root, host=host, port=port, comfyui=comfyui or GRAPH_VERSION, allow_hosts=allow_host or (), strict=strict)
    except OSError as error:
        raise ServerUnhealthyError(
            f"The folder {folder} cannot be used: {error.strerror}.", "Name another one: --folder DIR"
        ) from None
    try:
        server.start()
    except (OSError, OverflowError) as error:
        server.close()
        raise _refused(host, port, error) from None
    url, everywhere = _reachable(server)
    use = f'Use it: ryla-gen run flux-dev "a fox" --url {url}   (or any ComfyUI client). Stop it: Ctrl-C'
    try:
        screen.result(
            {"url": url, "folder": str(server.folder), "comfyui": server.comfyui}, f"Emulated ComfyUI {server.comfyui} at {url}"
        )
        if everywhere:
            screen.note(f"warning: it listens on every address of this machine (--host {host}): anyone who reaches it may use it.")
            screen.note("It answers to addresses and to this machine's own names; to another one with --allow-host NAME.")
        screen.note(use)
        server.serve_forever()
    except KeyboardInterrupt:  # before it serves: the same end
        server.close()


def _reachable(server: Emulator) -> tuple[str, bool]:
    """An address that clients here can use, and whether it listens on all of them: 0.0.0.0 and :: are none to connect to."""
    try:
        everywhere = ip_address(server.host).is_unspecified
    except ValueError:  # a name
        everywhere = False
    if not everywhere:
        return server.url, False
    return f"http://{'[::1]' if ':' in server.host else '127.0.0.1'}:{server.port}", True


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
