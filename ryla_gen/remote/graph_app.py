"""Define the Modal app of one locked graph: ``ryla-NAME`` with the class ``Graph``. The worker is the one of the families.

Deploy it with ``ryla-gen deploy NAME.lock``. Anyone calls it, with or without this SDK:
``modal.Cls.from_name("ryla-portrait", "Graph")().generate.remote({"inputs": {"prompt": "a woman in a café"}})``.
Which lock it is says a variable: at the deploy the path of the lock's file, in a container its name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modal

from ..locks.lock_reading import read_graph_lock
from ..settings import Settings
from ..workflows.registry import LOCKS_VARIABLE
from . import config, graph_config, image
from .deployed_tags import graph_tags
from .graph_deploy import LOCK_VARIABLE
from .graph_description import describe
from .served import MODELS_MOUNT, WEIGHTS_MOUNTS, Served, built

if TYPE_CHECKING:
    from .weights import LockKeeper

if not modal.is_local():
    # Beside our source: there the lock is found by its name.
    os.environ[LOCKS_VARIABLE] = str(Path(__file__).resolve().parents[2] / image.LOCKS_IN_IMAGE)

LOCK_FILE = Path(os.environ.get(LOCKS_VARIABLE, "") if not modal.is_local() else "") / os.environ[LOCK_VARIABLE]
LOCK = read_graph_lock(LOCK_FILE)
SETTINGS = Settings.load() if modal.is_local() else Settings.load({"HOME": "/root"})
CONFIG = graph_config.deployed_graph(LOCK, SETTINGS) if modal.is_local() else graph_config.graph_inside(LOCK)
TOLD = {LOCK_VARIABLE: f"{LOCK.name}.lock"}

if modal.is_local():
    os.environ.setdefault(image.BUILDER_VARIABLE, LOCK.builder)

app = modal.App(LOCK.app, tags=graph_tags(LOCK.image.release)[0], include_source=False)


def graph_image() -> modal.Image:
    """Return the image of the GPU class."""
    variables = TOLD | config.container_environment(CONFIG, graph_config.usual_config(LOCK))
    return image.graph_image(LOCK, LOCK_FILE, CONFIG, variables)


def weights_image() -> modal.Image:
    """Return the image of the CPU class."""
    return image.with_lock(image.weights_image(TOLD), LOCK, LOCK_FILE)


@app.cls(image=built(graph_image), volumes=MODELS_MOUNT, **config.class_options(CONFIG))
@modal.concurrent(**config.inputs_of(CONFIG))
class Graph(Served):
    """The graph."""

    lock = LOCK

    @classmethod
    def configured(cls) -> config.FamilyConfig:
        """Return what the class runs on."""
        return CONFIG

    @modal.method()
    async def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the graph with the fields of the request."""
        return await self.worker.run(LOCK.python_name, request)

    @modal.method()
    async def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return fields, price and versions, and the lock itself."""
        return describe(LOCK, LOCK_FILE, CONFIG, request)


@app.cls(
    image=built(weights_image),
    volumes=WEIGHTS_MOUNTS,
    cpu=4.0,
    memory=4096,
    timeout=config.LONGEST_TIMEOUT,
    startup_timeout=config.STARTUP,
)
@modal.concurrent(max_inputs=config.WEIGHTS_INPUTS)
class Weights:
    """The graph's models on the volume. ``HF_TOKEN`` is attached at call time, and to nothing else."""

    @modal.enter()
    async def start(self) -> None:
        """Open the volume."""
        from .weights import LockKeeper

        self.keeper: LockKeeper = LockKeeper(LOCK)

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
    async def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what ``Graph.describe`` does, without a GPU."""
        return describe(LOCK, LOCK_FILE, CONFIG, request)
