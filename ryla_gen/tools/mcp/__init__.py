"""Serve workflows to agents over the Model Context Protocol, the extra ``mcp``: one process, one budget, stdin and stdout.

What an agent writes is data: no text of a call becomes a path, an address or a command that a person did not allow.
"""

from __future__ import annotations

from .base import ServerOptions, settings_for

__all__ = ["ServerOptions", "serve", "settings_for"]


def serve(options: ServerOptions) -> int:
    """Serve one agent until it leaves, or the process is asked to end.

    Returns:
        The exit code: 0 when the agent left, 128 and the signal's number after a signal.

    Raises:
        BackendNotConfiguredError: the extra is not installed.
        InvalidInputError: a workflow or a folder that the options name is not there.

    """
    import asyncio

    from ...errors import BackendNotConfiguredError

    try:
        import mcp.server  # noqa: F401 - whether it is there
    except ImportError:
        raise BackendNotConfiguredError("Serving agents needs the MCP SDK.", "pip install 'ryla-gen[mcp]'") from None
    from .server import run

    return asyncio.run(run(options))
