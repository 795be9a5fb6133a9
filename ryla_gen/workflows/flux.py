"""Define the FLUX.1 workflows: schnell, dev, and dev with LoRAs. Graphs: ComfyUI's templates (comfyui-workflow-templates 0.6.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, SampledWorkflow, largest
from .choices import OutputFormat, Sampler, Scheduler
from .facts import Duration, Example
from .fields import CheckpointName, model_file
from .loras import Lora, LoraFields, LoraId
from .pictures import ImageToImage

SCHNELL = "flux1-schnell-fp8.safetensors"
DEV = "flux1-dev-fp8.safetensors"
TURBO_LORA = "flux.1-turbo-alpha.safetensors"
DEV_MEASURED = (
    "RYLA's first system measured 29.7–37 s on L40S for 20 steps at 1024²; an L20 takes 26.4 s for 28 steps (ParaAttention)"
)
"""Source of the expected durations of everything made with FLUX.1 dev."""
CACHE_MEASURED = "EasyCache is reported to be 1.85 times as fast"
"""What ``speed="balanced"`` changes in them."""


class FluxWorkflow(SampledWorkflow):
    """The fields that the Flux workflows share."""

    width: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Width in pixels, 256 to 2048, a multiple of 16. 1024 is the template's."""
    height: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Height in pixels, 256 to 2048, a multiple of 16. 1024 is the template's."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 1, the template's, runs the model once a step, anything else twice."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    sampler: Sampler = Field(default="euler")
    """Sampler. Default of ComfyUI's Flux templates."""
    scheduler: Scheduler = Field(default="simple")
    """Noise schedule. Default of ComfyUI's Flux templates."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    # The published range of FLUX.1 is 0.1 to 2 megapixels; ComfyUI runs more, with repeating structures.
    _fits = largest(4.2, 16)

    def time_limit(self) -> float:
        """Return 120 s for a picture of a megapixel and default steps, and in proportion for more work."""
        usual: int = type(self).model_fields["steps"].default * 1024 * 1024
        return IMAGE_TIME_LIMIT * max(1.0, self.steps * self.width * self.height * self.batch_size / usual)

    def _empty(self, graph: Graph) -> Node:
        return graph.add("EmptySD3LatentImage", width=self.width, height=self.height, batch_size=self.batch_size)

    def _finish(self, graph: Graph, sampled: dict[str, Any], vae: Link, files: Files) -> Graph:
        """Sample, decode, save: the end of every Flux graph."""
        latent = graph.add(
            "KSampler",
            **sampled,
            latent_image=self._latent(graph, vae, files),
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=self._denoise(),
        )
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=latent, vae=vae), filename_prefix=files.prefix)
        return graph


class Flux(ImageToImage, FluxWorkflow):
    """FLUX.1 schnell: a picture in four steps. Apache-2.0, free for commercial use."""

    name: ClassVar[str] = "flux"
    family: ClassVar[str] = "flux"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(2.1, 2.5, 2.9, "RYLA's first system measured 2.1–2.9 s on L40S for 4 steps at 1024²"),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "a fox in the snow", "width": 512, "height": 512, "seed": 7},
        "fox.png",
        after="For drafts: find the prompt here, then make the picture with [flux-dev](flux-dev.md).",
    )

    steps: int = Field(default=4, ge=1, le=50)
    """Sampling steps, 1 to 50. schnell is distilled for 1 to 4 (its model card); 4 is the template's."""

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return checkpoint → text → sampler → picture; schnell has no guidance input."""
        graph = Graph()
        model = graph.add("CheckpointLoaderSimple", ckpt_name=SCHNELL)
        positive = graph.add("CLIPTextEncode", text=self.prompt, clip=model[1])
        negative = graph.add("CLIPTextEncode", text=self.negative_prompt, clip=model[1])
        return self._finish(graph, {"model": model, "positive": positive, "negative": negative}, model[2], files)


class FluxDevWorkflow(FluxWorkflow):
    """The fields that the FLUX.1 dev workflows share."""

    steps: int = Field(default=20, ge=1, le=100)
    """Sampling steps, 1 to 100. 20 is the template's; 28 is what FLUX.1-dev's makers serve."""
    guidance: float = Field(default=3.5, ge=0, le=30)
    """Distilled guidance of FLUX.1 dev, 0 to 30: higher follows the prompt more closely. 3.5 is the template's."""
    checkpoint: CheckpointName = Field(default=DEV)
    """Checkpoint file on the server; the default is the fp8 one of Comfy-Org."""

    _safe_checkpoint = field_validator("checkpoint")(model_file)

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return checkpoint → patches → text with guidance → sampler → picture."""
        graph = Graph()
        checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name=self.checkpoint)
        model, clip = self._chain(graph, checkpoint, files)
        text = graph.add("CLIPTextEncode", text=self._prompt_text(), clip=clip)
        negative = graph.add("CLIPTextEncode", text=self.negative_prompt, clip=clip)
        positive = graph.add("FluxGuidance", conditioning=text, guidance=self.guidance)
        return self._finish(graph, {"model": model, "positive": positive, "negative": negative}, checkpoint[2], files)

    def _chain(self, graph: Graph, checkpoint: Node, files: Files) -> tuple[Node | Link, Node | Link]:
        """Return the model and the text encoder, after whatever patches them."""
        return checkpoint, checkpoint[1]

    def _prompt_text(self) -> str:
        return self.prompt


class FluxDev(ImageToImage, FluxDevWorkflow):
    """FLUX.1 dev: the better picture, in twenty steps. Its licence is non-commercial."""

    name: ClassVar[str] = "flux_dev"
    family: ClassVar[str] = "flux"
    durations: ClassVar[Mapping[str, Duration]] = {
        "quality": Duration(18.0, 33.0, 37.0, DEV_MEASURED),
        "balanced": Duration(10.0, 18.0, 37.0, f"{DEV_MEASURED}; {CACHE_MEASURED}"),
        # Written for the 20 steps of the class's default, as every entry: the 8 steps of turbo then take two fifths of it.
        "turbo": Duration(18.0, 33.0, 40.0, f"{DEV_MEASURED}; turbo takes 8 of the 20 steps"),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "a lighthouse at dusk, red roof", "width": 512, "height": 512, "speed": "turbo", "seed": 7},
        "lighthouse.png",
        after="`speed` is the first thing to try when it is too slow, `steps` and `guidance` when it is not good enough.",
    )

    speed: Literal["quality", "balanced", "turbo"] = Field(default="quality")
    """quality: every step; balanced: EasyCache skips steps that change little; turbo: the 8-step Turbo-Alpha LoRA,
    which sets ``steps`` to 8 unless you set them."""

    @model_validator(mode="before")
    @classmethod
    def _turbo_steps(cls, data: Any) -> Any:
        """Default to 8 steps with Turbo-Alpha, which is trained for them (its model card)."""
        if isinstance(data, dict) and data.get("speed") == "turbo" and "steps" not in data:
            return {**data, "steps": 8}
        return data

    def _chain(self, graph: Graph, checkpoint: Node, files: Files) -> tuple[Node | Link, Node | Link]:
        if self.speed == "turbo":
            # The model card: scale 1, guidance 3.5, 8 steps.
            lora = graph.add(
                "LoraLoader", model=checkpoint, clip=checkpoint[1], lora_name=TURBO_LORA, strength_model=1.0, strength_clip=1.0
            )
            return lora, lora[1]
        if self.speed == "balanced":
            # The values of ComfyUI's template flux1_dev_uso_reference_image_gen.
            cached = graph.add(
                "EasyCache", model=checkpoint, reuse_threshold=0.2, start_percent=0.15, end_percent=0.95, verbose=False
            )
            return cached, checkpoint[1]
        return checkpoint, checkpoint[1]


class FluxLora(LoraFields, ImageToImage, FluxDevWorkflow):
    """FLUX.1 dev with one or several LoRAs: a character, a style."""

    name: ClassVar[str] = "flux_lora"
    family: ClassVar[str] = "flux"
    lora_base: ClassVar[str | None] = "flux"
    durations: ClassVar[Mapping[str, Duration]] = {"": Duration(18.0, 34.0, 45.0, f"{DEV_MEASURED}; a LoRA adds its loading")}
    example: ClassVar[Example | None] = Example(
        {"prompt": "reading in a cafe", "lora_id": "mira", "trigger_word": "mira", "width": 512, "height": 512},
        "mira.png",
        before="`mira.safetensors` is a LoRA trained on FLUX.1 dev. It is stored once, and named by its id afterwards.",
        after="Everything about storing, checking and removing LoRAs: [LoRAs](../loras.md).",
    )

    lora_id: LoraId | None = Field(default=None)
    """Name of one stored LoRA. Either this or ``loras``."""
    lora_strength: float = Field(default=1.0, ge=-2, le=2)
    """How strongly ``lora_id`` acts, -2 to 2: 0 not at all, 1 as trained."""
    trigger_word: str = Field(default="", max_length=200)
    """Word the LoRA was trained on; put in front of the prompt when the prompt lacks it."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.lora_id is None) == (not self.loras):
            raise PydanticCustomError("lora_choice", "Name the LoRA with either lora_id or loras=[Lora(id, strength), …]")
        return self

    def ordered_loras(self) -> tuple[Lora, ...]:
        """Return the LoRAs in the order in which they are applied."""
        return (Lora(self.lora_id, self.lora_strength),) if self.lora_id else tuple(self.loras)

    def _prompt_text(self) -> str:
        word = self.trigger_word.strip()
        return self.prompt if not word or word.lower() in self.prompt.lower() else f"{word}, {self.prompt}"

    def _chain(self, graph: Graph, checkpoint: Node, files: Files) -> tuple[Node | Link, Node | Link]:
        return self._patched(graph, checkpoint, checkpoint[1], files)
