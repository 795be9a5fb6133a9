"""Serve the emulator in the foreground (``python -m ryla_gen.emulator``), for a supervisor that starts it in ComfyUI's place.

People start it with ``ryla-gen emulator``, which speaks to them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from ..models.node_schemas import GRAPH_VERSION, VERSIONS
from .server import Emulator
from .server.knobs import Knobs


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted or terminated.

    Args:
        arguments: as on the command line; None is this process's.
    """
    parser = argparse.ArgumentParser(prog="python -m ryla_gen.emulator", description="Serve an emulated ComfyUI server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0 chooses a free one")
    parser.add_argument("--folder", type=Path, help="folder for input, output, temp and models")
    parser.add_argument("--stored-models-only", action="store_true", help="serve only the files in models, as ComfyUI does")
    parser.add_argument("--strict", action="store_true", help="refuse weights that are not there, as ComfyUI does")
    parser.add_argument(
        "--knob", action="append", default=[], metavar="NAME=JSON", help="a fault from the start: delay_per_node=0.2"
    )
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="another host name that requests may use")
    parser.add_argument("--comfyui", default=GRAPH_VERSION, choices=VERSIONS, help="release of ComfyUI that it is")
    given = parser.parse_args(arguments)
    models: dict[str, list[str]] | None = {} if given.stored_models_only else None
    server = Emulator(
        given.folder, host=given.host, port=given.port, models=models, log=_to_stderr, allow_hosts=given.allow_host,
        strict=given.strict or None, comfyui=given.comfyui,
    )  # fmt: skip
    known = {item.name for item in fields(Knobs)}
    for knob in given.knob:
        name, _, value = knob.partition("=")
        if name not in known:
            parser.error(f"there is no knob {name!r}; there are: {', '.join(sorted(known))}")
        setattr(server.knobs, name, json.loads(value))
    server.serve_forever()


def _to_stderr(line: str) -> None:
    """Write a line where ComfyUI writes its log: the supervisor of the server reads it there."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
