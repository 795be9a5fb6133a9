"""Holds ComfyUI against what a start without a GPU assumes of it, and fails the build where it is not so. Standard library only.

``check_snapshot.py FOLDER`` reads the source. ``check_snapshot.py FOLDER COMMAND`` also starts it as a snapshot does, freezes it,
lets it go on, chooses the device again and runs the smallest graph.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __package__:
    from .check_nodes import free_port, registered
else:  # in the image, where it lies beside the other
    from check_nodes import free_port, registered  # type: ignore[import-not-found,no-redef]

MODULE = "comfy/model_management.py"
"""The one module that decides about the device, while it is imported."""
FLAGS = ("--cpu", "--use-pytorch-cross-attention")
CHOICE = "if args.cpu:\n    cpu_state = CPUState.CPU"
"""The decision, as the module's own statement."""
HARMLESS = frozenset({"processing_interrupted", "cast_to", "FORCE_UPCAST_ATTENTION_DTYPE"})
"""What others keep of that module: two functions, whose globals are the module's own, and a value that only macOS decides."""
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
RUN_SECONDS = 60.0


def check_source(folder: Path) -> None:
    """Make sure that one module decides about the device, and that no other keeps what it decided.

    Raises:
        SystemExit: the source is another one than this was made for.
    """
    flags = (folder / "comfy" / "cli_args.py").read_text(encoding="utf-8")
    for flag in FLAGS:
        if f'"{flag}"' not in flags:
            sys.exit(f"{folder}: ComfyUI does not know {flag}")
    module = ast.parse((folder / MODULE).read_text(encoding="utf-8"))
    if CHOICE not in {ast.unparse(node) for node in module.body}:
        sys.exit(f"{folder / MODULE}: {CHOICE!r} is not a statement of the module")
    for path in sorted([*folder.glob("*.py"), *(folder / "comfy").rglob("*.py"), *(folder / "comfy_extras").rglob("*.py")]):
        if kept := sorted(set(_kept(ast.parse(path.read_text(encoding="utf-8")))) - HARMLESS):
            sys.exit(f"{path} keeps what {MODULE} decided while it is imported: {', '.join(kept)}")


def _kept(tree: ast.Module) -> Iterator[str]:
    """Names that a module takes out of model_management as it is imported."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("model_management"):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "model_management." in ast.unparse(node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (ast.unparse(target) for target in targets)


def check_life(command: str) -> None:
    """Start ComfyUI without a GPU, freeze it, let it go on, choose the device again and run a graph.

    Raises:
        SystemExit: one of these fails.
    """
    port = free_port()
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    with tempfile.TemporaryFile() as log:
        words = shlex.split(command.replace("{port}", str(port)))
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)  # noqa: S603
        try:
            url = f"http://127.0.0.1:{port}"
            registered(url, process)
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
            device = _post(f"{url}/ryla/device", {})["device"]
            prompt = _post(f"{url}/prompt", {"prompt": GRAPH})["prompt_id"]
            _wait_for(f"{url}/history/{prompt}", prompt)
        except (SystemExit, OSError, KeyError, ValueError) as error:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-8000:])
            sys.exit(f"ComfyUI does not go on after a snapshot: {error!r}")
        finally:
            process.kill()
            process.wait()
    sys.stdout.write(f"started without a GPU, frozen and let go on: the device is {device}, and the smallest graph ran\n")


def _wait_for(url: str, prompt: str) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url, timeout=RUN_SECONDS) as answer:  # noqa: S310 - our own loopback
            found = json.load(answer).get(prompt)
        if found is not None:
            if found["status"]["status_str"] != "success":
                sys.exit(f"the graph ended as {found['status']}")
            return
        time.sleep(0.1)
    sys.exit(f"the graph did not end within {RUN_SECONDS:g} s")


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=RUN_SECONDS) as answer:  # noqa: S310 - our own loopback
        found: dict[str, Any] = json.load(answer)
        return found


def main(arguments: list[str]) -> None:
    """``check_snapshot.py FOLDER [COMMAND]``: read the source, and try it where a command is given."""
    folder, *command = arguments
    check_source(Path(folder))
    sys.stdout.write("the source is as a start without a GPU expects it\n")
    if command:
        check_life(command[0])


if __name__ == "__main__":
    main(sys.argv[1:])
