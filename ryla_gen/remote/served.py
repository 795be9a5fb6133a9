"""Hold what the classes of every Modal app share: volumes, and the life of a container with ComfyUI in it. Defines no app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import modal

from ..locks.graph_lock import GraphLock
from ..names import MODELS_VOLUME
from .config import FamilyConfig
from .container_paths import HUB_VOLUME, VOLUME_ROOT

if TYPE_CHECKING:
    from .worker import Worker

models = modal.Volume.from_name(MODELS_VOLUME, create_if_missing=True)
hub_cache = modal.Volume.from_name(HUB_VOLUME, create_if_missing=True)

Mounts = dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]
MODELS_MOUNT: Mounts = {f"{VOLUME_ROOT}/{MODELS_VOLUME}": models}
WEIGHTS_MOUNTS: Mounts = {**MODELS_MOUNT, f"{VOLUME_ROOT}/{HUB_VOLUME}": hub_cache}


def built(make: Callable[[], modal.Image]) -> modal.Image:
    """Return an image where it is deployed; inside a container, which runs on it already, something in its place."""
    return make() if modal.is_local() else modal.Image.debian_slim()


class Served:
    """Base of the GPU classes: runs ComfyUI from the start of a container to its end."""

    lock: GraphLock | None = None
    """The locked graph that it serves; None: a family's workflows."""
    worker: Worker

    @classmethod
    def configured(cls) -> FamilyConfig | None:
        """Return what the class runs on; None for one that only others build on."""
        return None

    def __init_subclass__(cls) -> None:
        """Have a class with a snapshot do first what the snapshot holds; Modal takes no such method in a class without one."""
        config = cls.configured()
        if config is not None and config.snapshot != "off":
            cls.prepare = modal.enter(snap=True)(Served.prepare)  # type: ignore[assignment]

    async def prepare(self) -> None:
        """Do what a snapshot may hold: where there is one, ComfyUI is started and answers."""
        from .worker import Worker

        self.worker = Worker(self._config(), self.lock)
        await self.worker.prepare()

    @modal.enter()
    async def start(self) -> None:
        """Make ComfyUI ready for requests, in a new container or in one that was restored from a snapshot."""
        if self._config().snapshot == "off":
            await self.prepare()
        await self.worker.start()

    @modal.exit()
    async def stop(self) -> None:
        """End ComfyUI."""
        await self.worker.stop()

    def _config(self) -> FamilyConfig:
        config = self.configured()
        assert config is not None, "this class is deployed"
        return config
