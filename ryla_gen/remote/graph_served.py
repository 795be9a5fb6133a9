"""Find the lock that the app of this process is of, for the modules that define such an app. Defines none itself.

Which lock it is says a variable: at the deploy the path of the lock's file, in a container its name.
"""

from __future__ import annotations

import os
from pathlib import Path

import modal

from ..locks.graph_lock import lock_digest
from ..locks.lock_reading import read_graph_lock
from ..workflows.registry import LOCKS_VARIABLE
from . import image
from .faults import app_variable
from .graph_deploy import LOCK_VARIABLE

if not modal.is_local():
    # Beside our source: there the lock is found by its name.
    os.environ[LOCKS_VARIABLE] = str(Path(__file__).resolve().parents[2] / image.LOCKS_IN_IMAGE)

LOCK_FILE = Path(os.environ.get(LOCKS_VARIABLE, "") if not modal.is_local() else "") / os.environ[LOCK_VARIABLE]
LOCK = read_graph_lock(LOCK_FILE)
DIGEST = lock_digest(LOCK_FILE.read_text(encoding="utf-8"))
TOLD = {LOCK_VARIABLE: f"{LOCK.name}.lock", **app_variable(LOCK.app)}

if modal.is_local():
    os.environ.setdefault(image.BUILDER_VARIABLE, LOCK.builder)


def weights_image() -> modal.Image:
    """Return the image of a CPU class."""
    return image.with_lock(image.weights_image(TOLD), LOCK, LOCK_FILE)
