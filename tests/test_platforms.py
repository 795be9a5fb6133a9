"""Every module can be imported on a system that lacks what only POSIX has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ryla_gen.remote.graph_deploy import LOCK_VARIABLE
from tests.locks.locking import colour_lock, write_lock

ROOT = Path(__file__).resolve().parent.parent

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import asyncio, shutil, ssl, subprocess, tempfile, multiprocessing  # the standard library chooses by the real system
import filelock, mcp.server.stdio  # so do these

POSIX_ONLY = {"fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "readline", "syslog"}


class Windows:
    def find_spec(self, name, path=None, target=None):
        if name in POSIX_ONLY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for name in POSIX_ONLY & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, Windows())

import ryla_gen, ryla_gen_cli

count = 0
for package in (ryla_gen, ryla_gen_cli):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(("__main__", "snapshot_node")):  # the latter runs inside ComfyUI
            importlib.import_module(module.name)
            count += 1
print(count)
"""


def test_every_module_can_be_imported_without_the_modules_that_windows_lacks(tmp_path: Path) -> None:
    environment = {**os.environ, LOCK_VARIABLE: str(write_lock(colour_lock(), tmp_path))}  # the app of a lock asks which one
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
