"""Compare a lock with a server: its ComfyUI, the node classes it has, the files it lists. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...comfy.schema import Schemas, input_specs
from ...locks.base import NodePack
from ...locks.graph_lock import GraphLock, LockedModel


@dataclass(frozen=True, slots=True)
class ServerLacks:
    """What a server lacks for a lock; false when it lacks nothing."""

    release: str | None
    """ComfyUI of the server."""
    wanted: str
    """ComfyUI of the lock."""
    classes: tuple[str, ...]
    """Node classes that it does not have."""
    packs: tuple[NodePack, ...]
    """Packs of the lock that have them."""
    models: tuple[LockedModel, ...]
    """Files that none of its lists has."""

    def __bool__(self) -> bool:
        return bool(self.classes or self.models)

    @property
    def other_release(self) -> bool:
        """Whether its ComfyUI is another one than the lock's; it may run the graph all the same."""
        return self.release != self.wanted

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        packs = [{"name": pack.name, "repo": pack.repo, "commit": pack.commit} for pack in self.packs]
        return {
            "ok": not self,
            "comfyui": {"server": self.release, "lock": self.wanted},
            "classes": list(self.classes),
            "packs": packs,
            "models": [item.to_data() for item in self.models],
        }


def server_lacks(lock: GraphLock, schemas: Schemas, release: str | None) -> ServerLacks:
    """Find what a server lacks.

    Args:
        lock: the lock.
        schemas: the server's ``/object_info``.
        release: its ComfyUI, as it says.

    """
    classes = tuple(sorted(lock.classes - set(schemas)))
    packs = tuple(pack for pack in lock.image.packs if set(classes).intersection(pack.nodes))
    there = _listed(lock.graph, schemas)
    models = tuple(item for item in lock.models if item.needed and _named(lock.graph, item.file) and item.file not in there)
    return ServerLacks(release, lock.image.release, classes, packs, models)


def _listed(graph: Mapping[str, Any], schemas: Schemas) -> set[str]:
    """Return every file that the lists of the graph's own inputs have, in the spelling of the lock."""
    found: set[str] = set()
    for node in graph.values():
        specs = input_specs(schemas.get(node["class_type"]) or {})
        for name in node["inputs"]:
            if name in specs and specs[name].options is not None:
                found.update(str(option).replace("\\", "/") for option in specs[name].options or ())
    return found


def _named(graph: Mapping[str, Any], file: str) -> bool:
    """Whether a node names the file: what a class loads by itself stands in no list."""
    return any(file in (value for value in node["inputs"].values() if isinstance(value, str)) for node in graph.values())
