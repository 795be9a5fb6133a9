"""Give ComfyUI the models of a lock under the names that its graph has for them: links to files of the volume."""

from __future__ import annotations

from pathlib import Path

from ..locks.graph_lock import GraphLock, LockedModel
from ..locks.model_places import stored_file
from ..models.weights_table import Weights
from .container_paths import Places


class ModelLinks:
    """The links of one container.

    Args:
        lock: what the graph loads.
        places: where the volume is, and the container's own models folder.
    """

    def __init__(self, lock: GraphLock, places: Places) -> None:
        self._models = {item.label: item for item in lock.models if item.needed}
        self._places = places

    def make(self) -> None:
        """Link every file that is on the volume."""
        for model in self._models.values():
            self._link(model)

    def find(self, row: Weights) -> Path | None:
        """Return the link of a file, made now where the file came after the start; None where it is not on the volume."""
        model = self._models.get(row.label)
        return None if model is None else self._link(model)

    def _link(self, model: LockedModel) -> Path | None:
        link, file = self._places.own_models / model.folder / model.file, stored_file(model, self._places.models)
        if file is None:
            link.unlink(missing_ok=True)
            return None
        if not link.is_symlink() or link.readlink() != file:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(file)
        return link


def folders_of(lock: GraphLock) -> tuple[str, ...]:
    """Return the folders below ``models`` that a lock's models are in."""
    return tuple(sorted({item.folder.partition("/")[0] for item in lock.models if item.needed}))
