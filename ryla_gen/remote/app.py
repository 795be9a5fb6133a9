"""Define the Modal app: thin classes that callers reach by name, one per model family. Each method is one line into the worker.

The methods between ``begin generated`` and ``end generated`` come from the registry of workflows: ``python -m docs_tools``.

Deploy it with ``ryla-gen deploy`` or ``modal deploy -m ryla_gen.remote.app``. Anyone calls it, with or without this SDK:
``modal.Cls.from_name("ryla-comfyui", "Flux")().flux_dev.remote({"inputs": {"prompt": "a fox"}})``.
"""

from __future__ import annotations

import os
from typing import Any

import modal

from ..names import APP
from ..settings import Settings
from . import config, image
from .deployed_tags import app_tags
from .faults import app_variable
from .served import MODELS_MOUNT, WEIGHTS_OPTIONS, Served, WeightsServed, built, secrets_of

# In a container there is no config.toml, and what was deployed is known already.
SETTINGS = Settings.load() if modal.is_local() else Settings.load({"HOME": "/root"})

if modal.is_local():
    os.environ.setdefault(image.BUILDER_VARIABLE, image.BUILDER)  # read by Modal's client when it resolves an image

FAMILIES = config.deployed_families()
SECRETS = secrets_of(SETTINGS)
NAME = SETTINGS.modal_app or APP
TOLD = app_variable(NAME)
app = modal.App(NAME, tags=app_tags(FAMILIES), include_source=False)
left_out = modal.App("left-out", include_source=False)
"""Takes the classes that this deploy leaves out. It is never deployed."""


def configured(name: str) -> config.FamilyConfig:
    """Return a family as it is deployed, or inside a container as it was."""
    return config.deployed_family(name, SETTINGS) if modal.is_local() else config.inside(name)


class FamilyServed(Served):
    """Base of the families' classes."""

    family = ""

    @classmethod
    def configured(cls) -> config.FamilyConfig | None:
        """Return what the class runs on."""
        return configured(cls.family) if cls.family else None


def app_of(name: str) -> modal.App:
    """Return the app that a family's class belongs to."""
    return app if name in FAMILIES else left_out


def family(name: str) -> dict[str, Any]:
    """Return the arguments of ``App.cls`` for a GPU family."""
    chosen = configured(name)
    # A class that is left out is not deployed: its image is neither worked out nor built.
    made = built(lambda: image.family_image(chosen, TOLD)) if name in FAMILIES else modal.Image.debian_slim()
    return {"image": made, "volumes": MODELS_MOUNT, "secrets": SECRETS, **config.class_options(chosen)}


@app_of("z_image").cls(**family("z_image"))
@modal.concurrent(**config.concurrency("z_image"))
class ZImage(FamilyServed):
    """Z-Image Turbo: pictures."""

    family = "z_image"

    # begin generated: z_image

    @modal.method()
    async def z_image(self, request: dict[str, Any]) -> dict[str, Any]:
        """Z-Image Turbo: a photograph-like picture in eight steps."""
        return await self.worker.run("z_image", request)

    # end generated: z_image


@app_of("qwen").cls(**family("qwen"))
@modal.concurrent(**config.concurrency("qwen"))
class Qwen(FamilyServed):
    """Qwen-Image: pictures, and edits of pictures."""

    family = "qwen"

    # begin generated: qwen

    @modal.method()
    async def qwen_image(self, request: dict[str, Any]) -> dict[str, Any]:
        """Qwen-Image 2512: a picture with legible text in it, English and Chinese."""
        return await self.worker.run("qwen_image", request)

    @modal.method()
    async def qwen_image_edit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Qwen-Image-Edit 2511: changes a picture as told, with things of two others."""
        return await self.worker.run("qwen_image_edit", request)

    # end generated: qwen


@app_of("flux").cls(**family("flux"))
@modal.concurrent(**config.concurrency("flux"))
class Flux(FamilyServed):
    """FLUX.1: schnell, dev, Kontext, Fill."""

    family = "flux"

    # begin generated: flux

    @modal.method()
    async def flux(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 schnell: a picture in four steps."""
        return await self.worker.run("flux", request)

    @modal.method()
    async def flux_dev(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 dev: the better picture, in twenty steps."""
        return await self.worker.run("flux_dev", request)

    @modal.method()
    async def flux_lora(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 dev with one or several LoRAs: a character, a style."""
        return await self.worker.run("flux_lora", request)

    @modal.method()
    async def flux_kontext(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 Kontext: changes a picture after an instruction, and keeps the rest."""
        return await self.worker.run("flux_kontext", request)

    @modal.method()
    async def flux_fill(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 Fill: draws inside a mask, or around a picture; every other pixel stays as it is."""
        return await self.worker.run("flux_fill", request)

    # end generated: flux


@app_of("flux2").cls(**family("flux2"))
@modal.concurrent(**config.concurrency("flux2"))
class Flux2(FamilyServed):
    """FLUX.2 klein: pictures, and edits of pictures."""

    family = "flux2"

    # begin generated: flux2

    @modal.method()
    async def flux2_klein(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.2 klein: a picture from a prompt, or an edit of up to four pictures, in four steps."""
        return await self.worker.run("flux2_klein", request)

    # end generated: flux2


@app_of("sdxl").cls(**family("sdxl"))
@modal.concurrent(**config.concurrency("sdxl"))
class Sdxl(FamilyServed):
    """SDXL: any checkpoint of it."""

    family = "sdxl"

    # begin generated: sdxl

    @modal.method()
    async def sdxl(self, request: dict[str, Any]) -> dict[str, Any]:
        """SDXL, any checkpoint of it: with LoRAs, and after a pose, a depth map or edges."""
        return await self.worker.run("sdxl", request)

    # end generated: sdxl


@app_of("faces").cls(**family("faces"))
@modal.concurrent(**config.concurrency("faces"))
class Faces(FamilyServed):
    """The face of a reference picture in a new one."""

    family = "faces"

    # begin generated: faces

    @modal.method()
    async def instantid(self, request: dict[str, Any]) -> dict[str, Any]:
        """SDXL with InstantID: the face of a reference picture in a new scene."""
        return await self.worker.run("instantid", request)

    @modal.method()
    async def flux_instantid(self, request: dict[str, Any]) -> dict[str, Any]:
        """An InstantID picture refined by FLUX.1 dev in the same graph."""
        return await self.worker.run("flux_instantid", request)

    @modal.method()
    async def flux_pulid(self, request: dict[str, Any]) -> dict[str, Any]:
        """FLUX.1 dev with PuLID: the face of a reference picture inside Flux itself."""
        return await self.worker.run("flux_pulid", request)

    # end generated: faces


@app_of("video").cls(**family("video"))
@modal.concurrent(**config.concurrency("video"))
class Video(FamilyServed):
    """Wan2.1 and Wan2.2: short videos."""

    family = "video"

    # begin generated: video

    @modal.method()
    async def wan22(self, request: dict[str, Any]) -> dict[str, Any]:
        """Wan2.2: a short video from a prompt, a picture, or a first and a last picture."""
        return await self.worker.run("wan22", request)

    @modal.method()
    async def wan2(self, request: dict[str, Any]) -> dict[str, Any]:
        """Wan2.1: a short video from a prompt or a picture."""
        return await self.worker.run("wan2", request)

    # end generated: video


@app_of("upscale").cls(**family("upscale"))
@modal.concurrent(**config.concurrency("upscale"))
class Upscale(FamilyServed):
    """SeedVR2: larger pictures and videos."""

    family = "upscale"

    # begin generated: upscale

    @modal.method()
    async def seedvr2(self, request: dict[str, Any]) -> dict[str, Any]:
        """SeedVR2 upscaling of one picture or one video."""
        return await self.worker.run("seedvr2", request)

    # end generated: upscale


@app_of("custom").cls(**family("custom"))
@modal.concurrent(**config.concurrency("custom"))
class Custom(FamilyServed):
    """Any graph, with every node pack; and the workflows of plug-ins."""

    family = "custom"

    # begin generated: custom

    @modal.method()
    async def workflow(self, request: dict[str, Any]) -> dict[str, Any]:
        """Any ComfyUI graph in the API format."""
        return await self.worker.run("workflow", request)

    # end generated: custom

    @modal.method()
    async def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the workflow that the request names."""
        return await self.worker.run(None, request)


@app.cls(image=built(lambda: image.weights_image(TOLD)), **WEIGHTS_OPTIONS)
@modal.concurrent(max_inputs=config.WEIGHTS_INPUTS)
class Weights(WeightsServed):
    """The files on the volume. ``HF_TOKEN`` is attached at call time (``with_options(secrets=…)``), and to nothing else."""
