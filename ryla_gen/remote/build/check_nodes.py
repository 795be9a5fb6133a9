"""Start ComfyUI in the image and fail the build unless every node class that the family's graphs use is registered.

A node pack whose import fails is only a line in ComfyUI's log; here it ends the build. Standard library only.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BOOT_SECONDS = 300.0
LAST_LINES = 80


def registered(url: str, process: subprocess.Popen[bytes], within: float = BOOT_SECONDS) -> dict[str, Any]:
    """Wait until ComfyUI answers and return its node classes.

    Raises:
        SystemExit: it ended, or does not answer in time.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"ComfyUI ended while it started, with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/object_info", timeout=60) as answer:  # noqa: S310 - our own loopback
                found: dict[str, Any] = json.load(answer)
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.25)
    sys.exit(f"ComfyUI did not answer within {within:g} s")


def free_port() -> int:
    """A port of the loopback that no process listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def main(arguments: list[str]) -> None:
    """Run ``check_nodes.py "COMMAND with {port}" CLASS…``: start the server, compare its node classes, stop it."""
    command, *wanted = arguments
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(shlex.split(command.replace("{port}", str(port))), stdout=log, stderr=log)  # noqa: S603
        try:
            missing = sorted(set(wanted) - set(registered(f"http://127.0.0.1:{port}", process)))
            if missing:
                sys.exit(f"ComfyUI does not have these node classes: {', '.join(missing)}")
        except SystemExit:
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()[-LAST_LINES:]
            sys.stderr.write("\n".join([f"{Path(sys.argv[0]).name}: the end of ComfyUI's log:", *lines, ""]))
            raise
        finally:
            process.kill()
            process.wait()
    sys.stdout.write(f"all {len(wanted)} node classes are registered\n")


if __name__ == "__main__":
    main(sys.argv[1:])
