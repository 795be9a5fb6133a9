"""Bring the lock of a deployed graph onto this machine by its name, so that it is called here too. Trusts nothing in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import contract
from ..errors import InvalidInputError, NotDeployedError
from ..locks.graph_lock import SUFFIX, checked_lock_name
from ..locks.kept import keep_lock
from ..locks.lock_reading import parse_lock
from ..names import LOCK_APP_PREFIX
from ..settings import Settings
from ..workflows.locked import workflow_of
from ..workflows.registry import check_graph_name, locks_folder
from . import admin


async def fetch_lock(name: str, settings: Settings) -> Path:
    """Ask the app of a lock for the lock, and keep it where it is found by name. It starts a container without a GPU.

    Args:
        name: the lock's name.
        settings: which Modal environment.

    Raises:
        NotDeployedError: no such app is deployed.
        InvalidInputError, HashMismatchError: what it answers is no lock that can be used.
        BackendError: Modal cannot be asked.
    """
    wanted = checked_lock_name(name.lower())
    reply = await admin.describe_graph(replace(settings, modal_app=f"{LOCK_APP_PREFIX}{wanted}"))
    answer: Any = reply if isinstance(reply, dict) else {}  # whoever deployed that app wrote it
    contract.check_version(answer, theirs="app")
    found = answer.get("describe")
    if not isinstance(found, dict) or not all(isinstance(found.get(part), str) for part in ("lock", "requirements")):
        raise NotDeployedError(
            f"The app ryla-{wanted} does not describe a graph.", f"Deploy it again: ryla-gen deploy {wanted}.lock"
        )
    lock = parse_lock(found["lock"], f"{wanted}.lock")
    if lock.name != wanted:
        raise InvalidInputError(f"The app ryla-{wanted} has the lock of another name.", "Deploy the right one under that name.")
    check_graph_name(lock.python_name)
    workflow_of(lock)  # what makes no workflow is not kept
    keep_lock(found["lock"], found["requirements"], locks_folder())
    return locks_folder() / f"{wanted}{SUFFIX}"
