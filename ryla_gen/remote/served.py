"""Hold what the classes of every Modal app share: volumes, and the life of a container with ComfyUI in it. Defines no app."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import modal

from ..locks.graph_lock import GraphLock
from ..names import MODELS_VOLUME
from ..settings import Settings
from .config import LONGEST_TIMEOUT, STARTUP, WEIGHTS_CPU, WEIGHTS_MEMORY, FamilyConfig
from .container_paths import HUB_VOLUME, VOLUME_ROOT

if TYPE_CHECKING:
    from .weights import Keeper
    from .worker import Worker

models = modal.Volume.from_name(MODELS_VOLUME, create_if_missing=True)
hub_cache = modal.Volume.from_name(HUB_VOLUME, create_if_missing=True)

Mounts = dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]
MODELS_MOUNT: Mounts = {f"{VOLUME_ROOT}/{MODELS_VOLUME}": models}
WEIGHTS_MOUNTS: Mounts = {**MODELS_MOUNT, f"{VOLUME_ROOT}/{HUB_VOLUME}": hub_cache}
WEIGHTS_OPTIONS: dict[str, Any] = {
    "volumes": WEIGHTS_MOUNTS,
    "cpu": WEIGHTS_CPU,
    "memory": WEIGHTS_MEMORY,
    "timeout": LONGEST_TIMEOUT,
    "startup_timeout": STARTUP,
}
"""The arguments of ``App.cls`` for every class of files, beside its image."""


def built(make: Callable[[], modal.Image]) -> modal.Image:
    """Return an image where it is deployed; inside a container, which runs on it already, something in its place."""
    return make() if modal.is_local() else modal.Image.debian_slim()


SECRETS_VARIABLE = "RYLA_GEN_MODAL_SECRETS"
"""Tells a container which secrets its class has: inside, Modal's client must find the class as it was deployed."""


def secrets_of(settings: Settings) -> list[modal.Secret]:
    """Return the secrets that the owner of the app gives to its GPU containers."""
    names = settings.modal_secrets if modal.is_local() else os.environ.get(SECRETS_VARIABLE, "").split(",")
    found = [name for name in names if name]
    told: dict[str, str | None] = {SECRETS_VARIABLE: ",".join(found)}
    return [*map(modal.Secret.from_name, found), modal.Secret.from_dict(told)] if found else []


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


class WeightsServed:
    """Base of the CPU classes: the files on the volume."""

    lock: GraphLock | None = None
    """The locked graph whose models it keeps; None: the weights of workflows."""
    keeper: Keeper

    @modal.enter()
    async def start(self) -> None:
        """Open the volume."""
        from .weights import Keeper, LockKeeper

        self.keeper = Keeper() if self.lock is None else LockKeeper(self.lock)

    @modal.method()
    async def sync(self, request: dict[str, Any]) -> dict[str, Any]:
        """Download what is missing."""
        return await self.keeper.run("sync", request)

    @modal.method()
    async def verify(self, request: dict[str, Any]) -> dict[str, Any]:
        """Hash what is there."""
        return await self.keeper.run("verify", request)

    @modal.method()
    async def status(self, request: dict[str, Any]) -> dict[str, Any]:
        """List what is there, by size."""
        return await self.keeper.run("status", request)

    @modal.method()
    async def needs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what has to stay on the volume for this app."""
        return await self.keeper.run("needs", request)

    @modal.method()
    async def prune(self, request: dict[str, Any]) -> dict[str, Any]:
        """List what no app and no lock needs, or remove it."""
        return await self.keeper.run("prune", request)
