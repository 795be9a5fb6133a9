"""Define the Z-Image Turbo workflow. Graph: ComfyUI's template image_z_image_turbo (comfyui-workflow-templates-json 0.1.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, largest
from .choices import OutputFormat
from .facts import Duration, Example, Work, number
from .loras import LoraFields
from .pictures import AspectRatioField, ImageToImage

MODEL = "z_image_turbo_bf16.safetensors"
TEXT_ENCODER = "qwen_3_4b.safetensors"
VAE = "ae.safetensors"
MEGAPIXELS = 4.2
"""The largest picture that the model draws, in millions of pixels: four times the size it was trained at."""
SHIFT = 3.0
"""Shift of the noise schedule; the template's."""
DETAILED_STEPS = 20
"""Steps of the detailed sampling; of RYLA's own graph."""
BETA = 0.4
"""Both parameters of the beta schedule of the detailed sampling; of RYLA's own graph."""
SECOND_PASS = 0.5
"""How much the second pass of an enlarged picture redraws. Unmeasured on a GPU."""
MEASURED = "RYLA's own calls took 29 to 61 s with a start of the container in them; none without one was published"
"""Source of the expected durations."""


class ZImage(LoraFields, ImageToImage, AspectRatioField):
    """Z-Image Turbo: a photograph-like picture in eight steps. Apache-2.0, free for commercial use."""

    name: ClassVar[str] = "z_image"
    family: ClassVar[str] = "z_image"
    lora_base: ClassVar[str | None] = "z_image"
    durations: ClassVar[Mapping[str, Duration]] = {"": Duration(3.0, 6.0, 20.0, MEASURED, known=False)}
    example: ClassVar[Example | None] = Example(
        {"prompt": "a woman in a cafe, window light", "width": 512, "height": 512, "seed": 7},
        "cafe.png",
        after="Begin here: it is fast, and what it makes may be sold. A picture of your own to begin with: `image` and `denoise`.",
    )

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to show, in whole sentences, English or Chinese. At most 20,000 characters."""
    width: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Width in pixels before ``upscale``, 256 to 2048, a multiple of 16. 1024 is the template's."""
    height: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Height in pixels before ``upscale``, 256 to 2048, a multiple of 16. 1024 is the template's."""
    steps: int = Field(default=8, ge=1, le=50)
    """Sampling steps, 1 to 50. 8 is the template's; ``sampler="detailed"`` sets 20 unless you set them."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 1, the template's: Turbo is distilled and needs none."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    sampler: Literal["fast", "detailed"] = Field(default="fast")
    """fast: res_multistep on the simple schedule, the template's. detailed: heun, which runs the model twice a step, on a
    beta schedule, after RYLA's own graph; 20 steps unless you set them."""
    upscale: float = Field(default=1.0, ge=1, le=2)
    """Enlarges the finished picture, 1 (not at all) to 2, and draws half of it anew at that size: at most 4.2 megapixels."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    _fits = largest(MEGAPIXELS, 16)

    @model_validator(mode="before")
    @classmethod
    def _detailed_steps(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("sampler") == "detailed":
            return {"steps": DETAILED_STEPS, **data}
        return data

    @model_validator(mode="after")
    def _enlarged_fits(self) -> Self:
        pixels = self.width * self.height
        if pixels * self.upscale**2 > MEGAPIXELS * 1e6:
            text = "{width}×{height} enlarged {upscale} times is {given} megapixels; this model draws at most {limit}"
            most = int((MEGAPIXELS * 1e6 / pixels) ** 0.5 * 100) / 100
            given = {"width": self.width, "height": self.height, "given": round(pixels * self.upscale**2 / 1e6, 2)}
            told = {**given, "upscale": f"{self.upscale:g}", "limit": MEGAPIXELS, "nearest": f"upscale={most:g}"}
            raise PydanticCustomError("too_many_pixels", text, told)
        return self

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its fields, its second pass and its sampler among them."""
        found = super().work(inputs)
        return Work(found.variant, found.amount * _passes(number(inputs, "upscale", 1), inputs.get("sampler")))

    def time_limit(self) -> float:
        """Return 120 s for a picture of a megapixel and default steps, and in proportion for more work."""
        work = self.steps * _passes(self.upscale, self.sampler) * self.width * self.height * self.batch_size
        return IMAGE_TIME_LIMIT * max(1.0, work / (8 * 1024 * 1024))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model with its shift → LoRAs → text → sampler → picture, enlarged when that is asked for."""
        graph = Graph()
        loaded = graph.add("UNETLoader", unet_name=MODEL, weight_dtype="default")
        encoder = graph.add("CLIPLoader", clip_name=TEXT_ENCODER, type="lumina2", device="default")
        vae = graph.add("VAELoader", vae_name=VAE)
        patched, clip = self._patched(graph, loaded, encoder, files)
        model = graph.add("ModelSamplingAuraFlow", model=patched, shift=SHIFT)
        positive = graph.add("CLIPTextEncode", text=self.prompt, clip=clip)
        texts = {"positive": positive, "negative": self._negative(graph, clip, positive)}
        picture = self._sampled(graph, model, texts, self._latent(graph, vae, files), vae, self._denoise())
        if self.upscale > 1:
            larger = graph.add("ImageScaleBy", image=picture, upscale_method="lanczos", scale_by=self.upscale)
            encoded = graph.add("VAEEncode", pixels=larger, vae=vae)
            picture = self._sampled(graph, model, texts, encoded, vae, SECOND_PASS)
        graph.add("SaveImage", images=picture, filename_prefix=files.prefix)
        return graph

    def _negative(self, graph: Graph, clip: Node | Link, positive: Node) -> Node:
        if self.cfg == 1.0:
            return graph.add("ConditioningZeroOut", conditioning=positive)
        return graph.add("CLIPTextEncode", text=self.negative_prompt, clip=clip)

    def _empty(self, graph: Graph) -> Node:
        return graph.add("EmptySD3LatentImage", width=self.width, height=self.height, batch_size=self.batch_size)

    def _sampled(self, graph: Graph, model: Node, texts: Mapping[str, Node], latent: Node, vae: Node, denoise: float) -> Node:
        """Add one pass of the sampler and what decodes it."""
        given = {"model": model, **texts, "latent_image": latent, "cfg": self.cfg}
        if self.sampler == "fast":
            names = {"sampler_name": "res_multistep", "scheduler": "simple", "denoise": denoise}
            done = graph.add("KSampler", **given, **names, seed=self.seed or 0, steps=self.steps)
        else:
            steps = max(self.steps, round(self.steps / denoise)) if denoise > 0 else self.steps
            sigmas = graph.add("BetaSamplingScheduler", model=model, steps=steps, alpha=BETA, beta=BETA)
            kept = graph.add("SplitSigmasDenoise", sigmas=sigmas, denoise=denoise)[1] if denoise < 1 else sigmas
            sampler = graph.add("KSamplerSelect", sampler_name="heun")
            done = graph.add("SamplerCustom", **given, add_noise=True, noise_seed=self.seed or 0, sampler=sampler, sigmas=kept)
        return graph.add("VAEDecode", samples=done, vae=vae)


def _passes(upscale: float, sampler: object) -> float:
    """Return how often the model runs in a step, with the second pass of an enlarged picture in units of the first."""
    twice = 2 if sampler == "detailed" else 1
    return twice * (1 + (upscale**2 if upscale > 1 else 0))
