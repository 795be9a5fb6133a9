"""Implement ``ryla-gen emulator``: serve the emulated ComfyUI server in the foreground until Ctrl-C."""

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
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="Port; 0 chooses a free one.")] = 8188,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; anyone who can reach it can use it.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another host name that requests may use; repeatable."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Folder for input, output and models.")] = None,
    comfyui: ComfyUI = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse weights that are not there, as ComfyUI does, instead of standing in for them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve an emulated ComfyUI to any client until Ctrl-C. Its pictures are marked as emulated."""
    screen = screen_of(context, as_json=as_json)
    if not host.strip():  # the system would treat an empty host as every address
        raise InvalidInputError("--host is empty.", "Use an address of this machine: --host 127.0.0.1; 0.0.0.0 means all of them.")
    try:
        root = folder.expanduser() if folder is not None else None
        server = Emulator(root, host=host, port=port, comfyui=comfyui or GRAPH_VERSION, allow_hosts=allow_host or (), strict=strict)
    except OSError as error:
        raise ServerUnhealthyError(
            f"The folder {folder} cannot be used: {error.strerror}.", "Use another folder: --folder DIR"
        ) from None
    try:
        server.start()
    except (OSError, OverflowError) as error:
        server.close()
        raise _cannot_listen(host, port, error) from None
    url, everywhere = _reachable(server)
    use = f'Use it: ryla-gen run flux-dev "a fox" --url {url}   (or any ComfyUI client). Stop it: Ctrl-C'
    try:
        if everywhere:
            screen.note(
                f"warning: it listens on every address of this machine (--host {host}): anyone who can reach it can use it."
            )
            screen.note(
                "It answers requests for IP addresses and for this machine's own names; allow another name with --allow-host NAME."
            )
        screen.result(
            {"url": url, "folder": str(server.folder), "comfyui": server.comfyui}, f"Emulated ComfyUI {server.comfyui} at {url}"
        )
        screen.note(use)
        server.serve_forever()
    except KeyboardInterrupt:  # Ctrl-C before it serves ends the same way
        server.close()


def _reachable(server: Emulator) -> tuple[str, bool]:
    """Return an address that clients can use, and whether the server listens on all: 0.0.0.0 and :: cannot be connected to."""
    try:
        everywhere = ip_address(server.host).is_unspecified
    except ValueError:  # the host is a name, not an IP address
        everywhere = False
    if not everywhere:
        return server.url, False
    return f"http://{'[::1]' if ':' in server.host else '127.0.0.1'}:{server.port}", True


def _cannot_listen(host: str, port: int, error: Exception) -> RylaGenError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return ServerUnhealthyError(
            f"Port {port} is in use.",
            f"Use another port: ryla-gen emulator --port {port + 1 if port < 65535 else 0} (0 chooses a free one)",
        )
    if number == errno.EACCES:
        return ServerUnhealthyError(
            f"Port {port} needs administrator rights.", "Use a port above 1023: ryla-gen emulator --port 8188"
        )
    return ServerUnhealthyError(f"Cannot listen on {host}:{port}: {error}.", "Use an address of this machine: --host 127.0.0.1")
