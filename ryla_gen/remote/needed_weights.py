"""Say which weights the workflows and locks that are known here need. Asks no one; what cannot be read is an error."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InvalidInputError
from ..locks.graph_lock import SUFFIX
from ..locks.lock_reading import LARGEST_FILE, parse_lock
from ..locks.model_prune import NeededFiles, needed_by_lock
from ..models.weights_table import all_weights
from ..settings import home_folder
from ..workflows.registry import LOCKS_VARIABLE, graph_names, workflow_class, workflow_names
from .variants import variants


def needed_by_workflows() -> NeededFiles:
    """Return what the built-in workflows and the plug-ins need with any of their options, and the whole table of weights.

    Raises:
        InvalidInputError: a plug-in cannot be loaded.

    """
    locks = graph_names()
    classes = [workflow_class(name) for name in workflow_names() if name not in locks]
    rows = (row for cls in classes if not cls.own_graph for request in variants(cls) for row in request.required_weights())
    return NeededFiles(frozenset(row.label for row in (*rows, *all_weights())))


def needed_by_kept_locks() -> NeededFiles:
    """Return what the locks need that are kept on this machine: in the home folder, and in the folder of ``RYLA_LOCKS``.

    Raises:
        InvalidInputError: one of them cannot be read, so that it is unknown what it needs.

    """
    folders = {home_folder() / "locks", Path(os.environ.get(LOCKS_VARIABLE) or home_folder() / "locks")}
    found = NeededFiles()
    for path in (path for folder in folders for path in sorted(folder.glob(f"[!.]*{SUFFIX}"))):
        found |= _needed_by_file(path)
    return found


def _needed_by_file(path: Path) -> NeededFiles:
    try:
        text = path.read_bytes()[: LARGEST_FILE + 1].decode("utf-8")
        return needed_by_lock(parse_lock(text, path.name))
    except (OSError, ValueError) as error:  # an InvalidInputError is a ValueError
        message = error.message if isinstance(error, InvalidInputError) else str(error)
        text = f"The lock {path} cannot be read, so that it is unknown which models it needs: {message}"
        raise InvalidInputError(text, "Remove the lock, or make it again: ryla-gen graph lock FILE.json") from None
