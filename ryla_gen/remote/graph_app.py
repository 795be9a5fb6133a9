"""Define the Modal app of one locked graph: ``ryla-NAME`` with the class ``Graph``. The worker is the one of the families.

Deploy it with ``ryla-gen deploy NAME.lock``. Anyone calls it, with or without this SDK:
``modal.Cls.from_name("ryla-portrait", "Graph")().generate.remote({"inputs": {"prompt": "a woman in a café"}})``.
"""

from __future__ import annotations

from typing import Any

import modal

from ..settings import Settings
from . import config, graph_config, image
from .deployed_tags import graph_tags
from .graph_description import describe
from .graph_served import DIGEST, LOCK, LOCK_FILE, TOLD, weights_image
from .served import MODELS_MOUNT, WEIGHTS_OPTIONS, Served, WeightsServed, built, secrets_of

SETTINGS = Settings.load() if modal.is_local() else Settings.load({"HOME": "/root"})
CONFIG = graph_config.deployed_graph(LOCK, SETTINGS) if modal.is_local() else graph_config.graph_inside(LOCK)
app = modal.App(LOCK.app, tags=graph_tags(LOCK.image.release, DIGEST)[0], include_source=False)


def graph_image() -> modal.Image:
    """Return the image of the GPU class."""
    variables = TOLD | config.container_environment(CONFIG, graph_config.usual_config(LOCK))
    return image.graph_image(LOCK, LOCK_FILE, CONFIG, variables)


@app.cls(image=built(graph_image), volumes=MODELS_MOUNT, secrets=secrets_of(SETTINGS), **config.class_options(CONFIG))
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


@app.cls(image=built(weights_image), **WEIGHTS_OPTIONS)
@modal.concurrent(max_inputs=config.WEIGHTS_INPUTS)
class Weights(WeightsServed):
    """The graph's models on the volume. ``HF_TOKEN`` is attached at call time, and to nothing else."""

    lock = LOCK

    @modal.method()
    async def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what ``Graph.describe`` does, without a GPU."""
        return describe(LOCK, LOCK_FILE, CONFIG, request)
