"""Define the FLUX.2 klein workflow: a picture from a prompt, or from up to four pictures and an instruction.

Graphs: ComfyUI's templates image_flux2_klein_text_to_image and image_flux2_klein_image_edit_4b_distilled
(comfyui-workflow-templates-json 0.1.9), each picture scaled by lanczos in the place of nearest-exact, which frays edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, largest
from .choices import OutputFormat, Sampler
from .facts import Duration, Example, Work, number
from .fields import ImageInputs
from .loras import LoraFields
from .pictures import EditSizeFields

KleinModel = Literal["4B", "9B", "4B-base", "9B-base"]
"""Distilled models and the ones that they were made from."""
MODELS: Mapping[KleinModel, str] = {
    "4B": "flux-2-klein-4b.safetensors",
    "9B": "flux-2-klein-9b-fp8.safetensors",
    "4B-base": "flux-2-klein-base-4b.safetensors",
    "9B-base": "flux-2-klein-base-9b-fp8.safetensors",
}
TEXT_ENCODERS = {"4B": "qwen_3_4b.safetensors", "9B": "qwen_3_8b_fp8mixed.safetensors"}
VAE = "flux2-vae.safetensors"
BASE_DEFAULTS = {"steps": 20, "cfg": 5.0}
"""What the templates set for the models that are not distilled."""
MEASURED = "a warm klein 9B took 4.1 to 11.6 s on an L40S (yuvraj97.com); the others are in proportion to that"
"""Source of the expected durations."""


class Flux2Klein(LoraFields, EditSizeFields):
    """FLUX.2 klein: a picture from a prompt, or an edit of up to four pictures, in four steps. The 4B models are Apache-2.0."""

    name: ClassVar[str] = "flux2_klein"
    family: ClassVar[str] = "flux2"
    lora_base: ClassVar[str | None] = "flux2"
    durations: ClassVar[Mapping[str, Duration]] = {
        "4B": Duration(2.0, 3.0, 8.0, MEASURED, known=False),
        "9B": Duration(4.1, 6.2, 11.6, MEASURED),
        # Written for the 4 steps at cfg 1 of the class's default: 20 steps of two passes each are then ten times that.
        "4B-base": Duration(2.0, 3.0, 8.0, MEASURED, known=False),
        "9B-base": Duration(4.1, 6.2, 11.6, MEASURED, known=False),
    }
    smallest: ClassVar[Mapping[str, Any]] = {"steps": 1, "width": 512, "height": 512, "seed": 0}
    example: ClassVar[Example | None] = Example(
        {"prompt": "a hedgehog in a party hat", "width": 512, "height": 512, "seed": 7},
        "hedgehog.png",
        after='With pictures it edits them: `images=["bag.png", "logo.png"]` and "put the logo on the bag".',
    )

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to show, or what to change. At most 20,000 characters; the text encoder reads the first 512 tokens closely."""
    images: ImageInputs = Field(default=(), max_length=4, repr=False)
    """Pictures to change or to take from, at most 4, named in the prompt by their order. Each is brought to a megapixel."""
    model: KleinModel = Field(default="4B")
    """Model: 4B and 9B need four steps; 4B-base and 9B-base are not distilled: more variety, twenty steps of twice the work.
    The 9B models are larger, and not for commercial use."""
    steps: int = Field(default=4, ge=1, le=100)
    """Sampling steps, 1 to 100. 4 is the template's; a base model sets 20 unless you set them."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 1 is the template's; a base model sets 5 unless you set it."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    sampler: Sampler = Field(default="euler")
    """Sampler. euler is the templates'."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    _fits = largest(4.2, 16)

    @model_validator(mode="before")
    @classmethod
    def _base_defaults(cls, data: Any) -> Any:
        is_base = isinstance(data, dict) and str(data.get("model")).endswith("-base")
        return {**BASE_DEFAULTS, **data} if is_base else data

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its fields; every picture is read with every step, like a part of the output."""
        found = super().work(inputs)
        images = inputs.get("images")
        pictures = len(images) if isinstance(images, list | tuple) else 0
        pixels = number(inputs, "width", 1024) * number(inputs, "height", 1024)
        return Work(found.variant, found.amount * (1 + pictures * 1024 * 1024 / max(pixels, 1.0)))

    def time_limit(self) -> float:
        """Return 120 s for twenty steps of a megapixel, five times the default, and in proportion for more work."""
        passes = 1 if self.cfg == 1.0 else 2
        work = self.steps * passes * (self.pixels() * self.batch_size + len(self.images) * 1024 * 1024)
        return IMAGE_TIME_LIMIT * max(1.0, work / (20 * 1024 * 1024))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model and texts, every picture as a reference, guider and schedule, sampler, picture."""
        graph = Graph()
        loaded = graph.add("UNETLoader", unet_name=MODELS[self.model], weight_dtype="default")
        encoder = graph.add("CLIPLoader", clip_name=TEXT_ENCODERS[self.model[:2]], type="flux2", device="default")
        vae = graph.add("VAELoader", vae_name=VAE)
        model, clip = self._patched(graph, loaded, encoder, files)
        positive = graph.add("CLIPTextEncode", text=self.prompt, clip=clip)
        negative = self._negative(graph, clip, positive)
        pictures = [self._scaled(graph, files.of(f"images[{index}]")) for index in range(len(self.images))]
        for picture in pictures:
            latent = graph.add("VAEEncode", pixels=picture, vae=vae)
            positive = graph.add("ReferenceLatent", conditioning=positive, latent=latent)
            negative = graph.add("ReferenceLatent", conditioning=negative, latent=latent)
        size = self._size(graph, pictures)
        sampled = graph.add(
            "SamplerCustomAdvanced",
            noise=graph.add("RandomNoise", noise_seed=self.seed or 0),
            guider=graph.add("CFGGuider", model=model, positive=positive, negative=negative, cfg=self.cfg),
            sampler=graph.add("KSamplerSelect", sampler_name=self.sampler),
            sigmas=graph.add("Flux2Scheduler", steps=self.steps, **size),
            latent_image=graph.add("EmptyFlux2LatentImage", **size, batch_size=self.batch_size),
        )
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=sampled, vae=vae), filename_prefix=files.prefix)
        return graph

    def _negative(self, graph: Graph, clip: Node | Link, positive: Node) -> Node:
        if self.cfg == 1.0:
            return graph.add("ConditioningZeroOut", conditioning=positive)
        return graph.add("CLIPTextEncode", text=self.negative_prompt, clip=clip)

    def _scaled(self, graph: Graph, file: str) -> Node:
        scale = {"upscale_method": "lanczos", "megapixels": 1.0, "resolution_steps": 1}
        return graph.add("ImageScaleToTotalPixels", image=graph.add("LoadImage", image=file), **scale)

    def _size(self, graph: Graph, pictures: list[Node]) -> dict[str, Any]:
        """Return the output's sides: as they were asked for, or those of the first picture."""
        if self.width is not None or not pictures:
            return {"width": self.width or 1024, "height": self.height or 1024}
        size = graph.add("GetImageSize", image=pictures[0])
        return {"width": size, "height": size[1]}
