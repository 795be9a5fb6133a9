"""Records what a deploy of the Modal app registers: classes, methods, resources, the steps of every image. Reaches no account.

The app is deployed with Modal's own command onto the tests' control plane on this machine. A change of what is deployed then
shows in ``tests/remote/deployed.json``, where it is read before it is agreed to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ryla_gen.names import APP

RECORD = "tests/remote/deployed.json"
FOREIGN = ("RYLA_", "MODAL_", "COMFYUI_", "RUNPOD_")
"""Beginnings of variables that would change a deploy, or send it elsewhere."""


def deploy_record(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of the record.

    Raises:
        RuntimeError: the app cannot be deployed.

    """
    sys.path.insert(0, str(root))  # the control plane is part of the tests
    from tests.modal_loopback import Loopback

    with TemporaryDirectory(prefix="ryla-gen-deploy-") as home, Loopback(python=Path(sys.executable)) as loopback:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        environment = {**kept, **loopback.env, "RYLA_GEN_HOME": home, "PYTHONPATH": str(root)}
        call = [sys.executable, "-m", "modal", "deploy", "-m", "ryla_gen.remote.app"]
        done = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, timeout=120)  # noqa: S603 - our own app
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        yield RECORD, json.dumps(loopback.registered(APP), indent=1) + "\n"
