"""Remove from the volume what nothing needs, as a caller asks who asked every app before. Connects to nothing but the marks.

A removal has three requests: a list (``needed``), a mark that makes downloads wait (``hold`` alone), after which the caller asks
the apps again, and the removal (``needed``, ``hold`` and ``remove``). No word of a request is a path: what is removed comes from a
list made here, anew each time, and ``remove`` chooses from it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, PlainData, StorageFailedError
from ..locks.model_prune import (
    NeededFiles,
    UnneededFile,
    find_unneeded,
    is_needed,
    needed_from,
    remove_files,
    unknown_hashes,
)
from ..models.downloads import SyncProgress
from .weights_marks import WeightsMarks


def prune_volume(
    request: PlainData,
    models: Path,
    own: NeededFiles,
    marks: WeightsMarks,
    *,
    commit: Callable[[], None],
    progress: Callable[[SyncProgress], None],
) -> PlainData:
    """Do one of the three requests; blocks.

    Args:
        request: what was sent.
        models: the volume.
        own: what this app needs.
        marks: those of this environment.
        commit: the volume's.
        progress: called as files are read and removed; what it raises ends the removal.

    Raises:
        InvalidInputError: the request has another shape.
        StorageFailedError: it cannot be known now what is needed.

    """
    hold = request.get("hold")
    if hold is not None and (not isinstance(hold, str) or not hold):
        raise InvalidInputError("hold must be the name of a removal.")
    if hold is not None and "needed" not in request:
        marks.hold(hold)
        return {"ok": True, "files": []}
    needed = own | needed_from(request.get("needed")) | _needed_by_syncs(marks, models)
    found = find_unneeded(models, needed)
    if "remove" not in request:
        return {"ok": True, "files": [item.to_data() for item in found]}
    if hold is None:
        raise InvalidInputError("A removal needs the name that it was marked with: hold.")
    chosen = _chosen(request["remove"], found)
    marks.require(hold)

    def may_go(item: UnneededFile) -> bool:
        marks.hold(hold)  # reading a large file takes a while; renewed first, so that a download which begins now waits
        return not is_needed(item, _needed_by_syncs(marks, models), models)

    removals = remove_files(chosen, models, may_go, commit=commit, progress=progress)
    return {"ok": True, "files": [item.to_data() for item in removals]}


def _chosen(names: Any, found: list[UnneededFile]) -> list[UnneededFile]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError("remove must be a list of files, as they were listed.")
    wanted = set(names)
    return [item for item in found if item.file in wanted]


def _needed_by_syncs(marks: WeightsMarks, models: Path) -> NeededFiles:
    """Return what running downloads need.

    Raises:
        StorageFailedError: one of them has still to fix the hash of its file, which may be one that is here already.

    """
    needed = marks.needed_by_syncs()
    if unknown_hashes(needed, models):
        text = "A download runs whose file has no known hash yet, so that it is unknown which file it needs."
        raise StorageFailedError(text, "Wait until it has ended, and try again: ryla-gen weights prune")
    return needed
