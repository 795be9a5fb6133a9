"""Define the SDXL workflow: any checkpoint of it, with LoRAs and ControlNets.

Graphs: ComfyUI's templates sdxl_simple_example and sdxlturbo_example (comfyui-workflow-templates-json 0.1.9), without the refiner,
which checkpoints of today do without; ControlNets as ComfyUI's ControlNetApplyAdvanced takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, Notice, largest
from .choices import OutputFormat, Sampler, Scheduler
from .facts import Duration, Example, Work, sampling_work
from .fields import CheckpointName, ImageInput, model_file
from .loras import LoraFields
from .pictures import AspectRatioField, ImageToImage, fit_notice, fitted, ignored

BASE = "sd_xl_base_1.0.safetensors"
TURBO = "sd_xl_turbo_1.0_fp16.safetensors"
LIGHTNING_LORA = "sdxl_lightning_4step_lora.safetensors"
CONTROLNET = "xinsir-controlnet-union-sdxl-1.0-promax.safetensors"
KINDS = {"pose_image": "openpose", "depth_image": "depth", "edge_image": "canny/lineart/anime_lineart/mlsd"}
"""Field of a guiding picture → what the ControlNet calls its kind."""
SPEEDS: Mapping[str, Mapping[str, Any]] = {
    "turbo": {"steps": 1, "cfg": 1.0, "sampler": "euler_ancestral", "width": 512, "height": 512, "checkpoint": TURBO},
    "lightning": {"steps": 4, "cfg": 1.0, "sampler": "euler", "scheduler": "sgm_uniform"},
}
"""What a speed sets unless it is given: the template's for turbo, and the model card's of SDXL-Lightning."""

SDXL_MEASURED = "SDXL takes 8–10 s for 50 steps on an A100 (Baseten)"
"""Source of the expected durations of everything made with SDXL."""
GUIDE_SHARE = 0.5
"""What a ControlNet adds to each step, in runs of the model. An assumption, not measured: it has about half as many weights."""
TURBO_STEPS = 10
"""The most steps that ComfyUI's schedule for SDXL Turbo has."""


class SDXL(LoraFields, ImageToImage, AspectRatioField):
    """SDXL, any checkpoint of it: with LoRAs, and after a pose, a depth map or edges. Its licence allows commercial use."""

    name: ClassVar[str] = "sdxl"
    family: ClassVar[str] = "sdxl"
    lora_base: ClassVar[str | None] = "sdxl"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(
            3.0,
            8.0,
            20.0,
            f"{SDXL_MEASURED}; each guiding picture is assumed to add half of it, which was not measured",
            known=False,
        )
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "a glass bottle with a galaxy in it", "width": 512, "height": 512, "steps": 8, "seed": 7},
        "bottle.png",
        after='`speed="lightning"` needs four steps. A checkpoint of your own: store it beside the others, and name it.',
    )

    width: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Width in pixels, 256 to 2048, a multiple of 16. 1024 is the template's; turbo sets 512 unless you set it."""
    height: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Height in pixels, 256 to 2048, a multiple of 16. 1024 as for the width."""
    steps: int = Field(default=25, ge=1, le=100)
    """Sampling steps, 1 to 100. 25 is the template's; turbo sets 1 and lightning 4 unless you set them."""
    cfg: float = Field(default=8.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 8 is the template's; turbo and lightning set 1 unless you set it."""
    checkpoint: CheckpointName = Field(default=BASE)
    """SDXL checkpoint file on the server. SDXL's own unless another is given; turbo sets SDXL Turbo."""
    clip_skip: int = Field(default=1, ge=1, le=12)
    """Layers of the text encoders from the end whose output is read, 1 to 12: 1 the last; many anime checkpoints want 2."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    sampler: Sampler = Field(default="euler")
    """Sampler. euler is the template's; turbo sets euler_ancestral, its template's."""
    scheduler: Scheduler = Field(default="normal")
    """Noise schedule. normal is the template's; lightning sets sgm_uniform, its model card's. Turbo has its own."""
    speed: Literal["quality", "turbo", "lightning"] = Field(default="quality")
    """quality: every step; turbo: SDXL Turbo, one step at 512²; lightning: ByteDance's LoRA, four steps with any checkpoint."""
    pose_image: ImageInput | None = Field(default=None, repr=False)
    """Picture of a skeleton, as OpenPose draws it, whose pose is kept."""
    depth_image: ImageInput | None = Field(default=None, repr=False)
    """Depth map, near parts white, whose space is kept."""
    edge_image: ImageInput | None = Field(default=None, repr=False)
    """White lines on black, as Canny finds them, whose outlines are kept."""
    control_strength: float = Field(default=0.8, ge=0, le=2)
    """How strongly pose, depth and edges act, 0 (not at all) to 2. 0.8, unmeasured on a GPU."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    _safe_checkpoint = field_validator("checkpoint")(model_file)
    # SDXL was trained at about one megapixel; twice that repeats heads.
    _fits = largest(2.4, 16)

    @model_validator(mode="before")
    @classmethod
    def _speed_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        found = dict(SPEEDS.get(str(data.get("speed")), {}))
        if data.get("aspect_ratio") is not None:  # which fills in the size, of as many pixels
            found = {name: value for name, value in found.items() if name not in ("width", "height")}
        return {**found, **data}

    @model_validator(mode="after")
    def _turbo_steps(self) -> Self:
        if self.speed == "turbo" and self.steps > TURBO_STEPS:
            text = 'speed="turbo" takes at most {most} steps'
            raise PydanticCustomError("turbo_steps", text, {"most": TURBO_STEPS, "nearest": f"steps={TURBO_STEPS}"})
        if self.speed == "turbo" and self.image is not None and 0 < self.denoise < 1 / TURBO_STEPS:
            text = 'speed="turbo" redraws in tenths: denoise must be 0, or at least {least}'
            raise PydanticCustomError("turbo_denoise", text, {"least": 1 / TURBO_STEPS, "nearest": f"denoise={1 / TURBO_STEPS}"})
        return self

    @classmethod
    def usual_pixels(cls, given: Mapping[str, Any]) -> int:
        """Return the pixels of a picture whose size nobody gives: fewer for turbo."""
        turbo = SPEEDS["turbo"]
        return turbo["width"] * turbo["height"] if given.get("speed") == "turbo" else super().usual_pixels(given)

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request: each picture that guides runs a ControlNet with every step."""
        plain = sampling_work(inputs)
        guides = sum(inputs.get(field) is not None for field in KINDS)
        return Work(plain.variant, plain.amount * (1 + GUIDE_SHARE * guides))

    def time_limit(self) -> float:
        """Return 120 s for a picture of a megapixel and 25 steps, and in proportion for more work."""
        return IMAGE_TIME_LIMIT * max(1.0, self.steps * self.width * self.height * self.batch_size / (25 * 1024 * 1024))

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, which pictures had another shape than the output among it."""
        fits = (fit_notice(field, getattr(self, field), self.width, self.height, self.fit) for field in KINDS)
        unused: tuple[Notice, ...] = ()
        if self.speed == "turbo":
            unused += ignored(self, "scheduler", 'with speed="turbo", which has a schedule of its own')
        if all(getattr(self, field) is None for field in KINDS):
            unused += ignored(self, "control_strength", f"without {' or '.join(KINDS)}")
        return sum(fits, (*super().notices(), *unused))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return checkpoint → LoRAs → texts → ControlNets → sampler → picture."""
        graph = Graph()
        checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name=self.checkpoint)
        model, clip = self._chain(graph, checkpoint, files)
        text, other = (graph.add("CLIPTextEncode", text=words, clip=clip) for words in (self.prompt, self.negative_prompt))
        positive, negative = self._guided(graph, text, other, checkpoint[2], files)
        given = {"model": model, "positive": positive, "negative": negative, "cfg": self.cfg}
        latent = self._latent(graph, checkpoint[2], files)
        sampled = self._sampled(graph, {**given, "latent_image": latent}, checkpoint)
        picture = graph.add("VAEDecode", samples=sampled, vae=checkpoint[2])
        graph.add("SaveImage", images=picture, filename_prefix=files.prefix)
        return graph

    def _chain(self, graph: Graph, checkpoint: Node, files: Files) -> tuple[Node | Link, Node | Link]:
        """Return the model and the text encoder, after whatever patches them."""
        model: Node | Link = checkpoint
        if self.speed == "lightning":
            model = graph.add("LoraLoaderModelOnly", model=model, lora_name=LIGHTNING_LORA, strength_model=1.0)
        model, clip = self._patched(graph, model, checkpoint[1], files)
        return model, clip if self.clip_skip == 1 else graph.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-self.clip_skip)

    def _empty(self, graph: Graph) -> Node:
        return graph.add("EmptyLatentImage", width=self.width, height=self.height, batch_size=self.batch_size)

    def _guided(self, graph: Graph, positive: Node, negative: Node, vae: Link, files: Files) -> tuple[Node | Link, Node | Link]:
        """Bind the texts to each picture that guides."""
        found: tuple[Node | Link, Node | Link] = (positive, negative)
        for field, kind in KINDS.items():
            if getattr(self, field) is None:
                continue
            control = graph.add("ControlNetLoader", control_net_name=CONTROLNET)
            picture = graph.add("LoadImage", image=files.of(field))
            bound = graph.add(
                "ControlNetApplyAdvanced",
                positive=found[0],
                negative=found[1],
                control_net=graph.add("SetUnionControlNetType", control_net=control, type=kind),
                image=fitted(graph, picture, self.width, self.height, self.fit),
                strength=self.control_strength,
                start_percent=0.0,
                end_percent=1.0,
                vae=vae,
            )
            found = bound, bound[1]
        return found

    def _sampled(self, graph: Graph, given: Mapping[str, Any], checkpoint: Node) -> Node:
        if self.speed != "turbo":
            names = {"sampler_name": self.sampler, "scheduler": self.scheduler, "denoise": self._denoise()}
            return graph.add("KSampler", **given, **names, seed=self.seed or 0, steps=self.steps)
        sampler = graph.add("KSamplerSelect", sampler_name=self.sampler)
        sigmas = graph.add("SDTurboScheduler", model=given["model"], steps=self.steps, denoise=self._denoise())
        return graph.add("SamplerCustom", **given, add_noise=True, noise_seed=self.seed or 0, sampler=sampler, sigmas=sigmas)
