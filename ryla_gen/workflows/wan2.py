"""Define the Wan2.1 workflow: text to video, 1.3B and 14B, and picture to video, 14B; and what Wan2.2 shares with it.

Graphs: ComfyUI's templates (comfyui-workflow-templates 0.6.0; with a picture image_to_video_wan of
comfyui-workflow-templates-json 0.1.9, its model in fp8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from .base import Files, Notice, SampledWorkflow, largest
from .choices import Sampler, Scheduler
from .facts import Duration, Example, OutputKind
from .fields import ImageInput, four_n_plus_one
from .loras import LoraFields, patched_model
from .pictures import FitField, fit_notice, fitted

UNET = {"1.3B": "wan2.1_t2v_1.3B_fp16.safetensors", "14B": "wan2.1_t2v_14B_fp8_scaled.safetensors"}
UNET_WITH_PICTURE = "wan2.1_i2v_480p_14B_fp8_scaled.safetensors"
"""The 14B model that begins with a picture."""
CLIP_VISION = "clip_vision_h.safetensors"
TURBO_LORA = "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors"
TURBO = {"steps": 4, "cfg": 1.0, "shift": 5.0}
"""What the 4-step LoRA was distilled for (note in the template video_wan2.1_alpha_t2v_14B)."""
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Wan's own negative prompt, in the language it was trained with."""

MEASURED = "240 s for 81 frames and 50 steps at 480p on an RTX 4090 (Wan2.1's authors), in proportion"
"""Source of the expected durations."""

VIDEO_TIME_LIMIT = {"1.3B": 600.0, "14B": 1800.0}
"""Seconds for the default shape. Not measured: a bound against a runaway bill, generous for an L40S."""


class WanWorkflow(SampledWorkflow):
    """The fields that the video workflows share."""

    output_kind: ClassVar[OutputKind | None] = "video"
    smallest: ClassVar[Mapping[str, Any]] = {**SampledWorkflow.smallest, "length": 1}

    negative_prompt: str = Field(default=NEGATIVE, max_length=20_000)
    """What to avoid. The default is Wan's own list (over-exposed, static, blurred, subtitles, deformed hands …)."""
    length: int = Field(default=33, ge=1, le=161)
    """Frames, 4n+1, 1 to 161. 33 is the template's; the models were trained on 81."""
    fps: float = Field(default=16.0, ge=1, le=120)
    """Frames per second of the file, 1 to 120. Wan was trained at 16."""
    format: Literal["mp4", "webp"] = Field(default="mp4")
    """File type: mp4 (H.264) or animated webp."""

    _frames = field_validator("length")(four_n_plus_one)

    def _save(self, graph: Graph, frames: Node, files: Files) -> None:
        if self.format == "webp":
            graph.add(
                "SaveAnimatedWEBP",
                images=frames,
                filename_prefix=files.prefix,
                fps=self.fps,
                lossless=False,
                quality=90,
                method="default",
            )
            return
        video = graph.add("CreateVideo", images=frames, fps=self.fps)
        graph.add("SaveVideo", video=video, filename_prefix=files.prefix, format="mp4", codec="h264")


class Wan2(FitField, LoraFields, WanWorkflow):
    """Wan2.1: a short video from a prompt or a picture. Apache-2.0, free for commercial use."""

    added: ClassVar[frozenset[str]] = frozenset({"image"})

    name: ClassVar[str] = "wan2"
    family: ClassVar[str] = "video"
    durations: ClassVar[Mapping[str, Duration]] = {
        "1.3B": Duration(30.0, 60.0, 150.0, MEASURED),
        "14B": Duration(120.0, 400.0, 1200.0, f"the 1.3B model's: {MEASURED}, times the parameters", known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "waves at dusk", "width": 416, "height": 256, "length": 9, "steps": 4, "seed": 7},
        "waves.mp4",
        after='`model="14B"` looks better and takes several times as long; with it, `speed="turbo"` needs four steps.',
    )

    width: int = Field(default=832, ge=256, le=1280, multiple_of=16)
    """Width in pixels, 256 to 1280, a multiple of 16. 832×480 is what the 1.3B model was trained for."""
    height: int = Field(default=480, ge=256, le=1280, multiple_of=16)
    """Height in pixels, 256 to 1280, a multiple of 16. 480 as for the width."""
    steps: int = Field(default=30, ge=1, le=100)
    """Sampling steps, 1 to 100. 30 is the template's."""
    cfg: float = Field(default=6.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 6 is the template's."""
    shift: float = Field(default=8.0, ge=0, le=100)
    """Shift of the noise schedule towards high noise, 0 to 100. 8 is the template's."""
    sampler: Sampler = Field(default="uni_pc")
    """Sampler. uni_pc is the template's."""
    scheduler: Scheduler = Field(default="simple")
    """Noise schedule. simple is the template's."""
    model: Literal["1.3B", "14B"] = Field(default="1.3B")
    """Size of the model. 14B looks better and takes several times as long. With ``image`` it is 14B unless you set it."""
    image: ImageInput | None = Field(default=None, repr=False)
    """Picture that the video begins with, for the 14B model only."""
    speed: Literal["quality", "turbo"] = Field(default="quality")
    """turbo: the 4-step LoRA, for the 14B model only; sets steps 4, cfg 1 and shift 5 unless you set them."""

    # 1280×720, the largest size Wan2.1 was trained for.
    _fits = largest(0.93, 16)

    @model_validator(mode="before")
    @classmethod
    def _chosen_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        model = {"model": "14B"} if data.get("image") is not None else {}
        return {**model, **(TURBO if data.get("speed") == "turbo" else {}), **data}

    @model_validator(mode="after")
    def _turbo_needs_14b(self) -> Self:
        if self.speed == "turbo" and self.model != "14B":
            raise PydanticCustomError("turbo_model", 'speed="turbo" exists for the 14B model only; add model="14B"')
        if self.image is not None and self.model != "14B":
            raise PydanticCustomError("picture_model", 'Only the 14B model begins with a picture; add model="14B"')
        if self.image is not None and self.speed == "turbo":
            raise PydanticCustomError(
                "turbo_picture", 'speed="turbo" is for videos without image; wan22 has speed="lightning" for both'
            )
        return self

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, that the picture had another shape than the video among it."""
        return (*super().notices(), *fit_notice("image", self.image, self.width, self.height, self.fit))

    def time_limit(self) -> float:
        """Return 600 s (1.3B) or 1,800 s (14B) for the default shape and steps, and in proportion for more work."""
        work = self.steps * self.width * self.height * self.length / (30 * 832 * 480 * 33)
        return VIDEO_TIME_LIMIT[self.model] * max(1.0, work)

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return text encoder, model with its shift, sampler, decoder and the chosen container."""
        graph = Graph()
        clip = graph.add("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan", device="default")
        vae = graph.add("VAELoader", vae_name="wan_2.1_vae.safetensors")
        unet = UNET[self.model] if self.image is None else UNET_WITH_PICTURE
        model = graph.add("UNETLoader", unet_name=unet, weight_dtype="default")
        if self.speed == "turbo":
            model = graph.add("LoraLoaderModelOnly", model=model, lora_name=TURBO_LORA, strength_model=1.0)
        model = patched_model(graph, model, self.ordered_loras(), files)
        positive, negative, latent = self._bound(graph, clip, vae, files)
        sampled = graph.add(
            "KSampler",
            model=graph.add("ModelSamplingSD3", model=model, shift=self.shift),
            positive=positive,
            negative=negative,
            latent_image=latent,
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=1.0,
        )
        self._save(graph, graph.add("VAEDecode", samples=sampled, vae=vae), files)
        return graph

    def _bound(self, graph: Graph, clip: Node, vae: Node, files: Files) -> tuple[Node | Link, Node | Link, Node | Link]:
        """Add the texts and the empty video; with a picture, bound to it."""
        texts = [graph.add("CLIPTextEncode", text=text, clip=clip) for text in (self.prompt, self.negative_prompt)]
        size = {"width": self.width, "height": self.height, "length": self.length, "batch_size": 1}
        if self.image is None:
            return texts[0], texts[1], graph.add("EmptyHunyuanLatentVideo", **size)
        picture = fitted(graph, graph.add("LoadImage", image=files.of("image")), self.width, self.height, self.fit)
        vision = graph.add("CLIPVisionLoader", clip_name=CLIP_VISION)
        seen = graph.add("CLIPVisionEncode", clip_vision=vision, image=picture, crop="none")
        given = {"positive": texts[0], "negative": texts[1], "vae": vae, "clip_vision_output": seen, "start_image": picture}
        bound = graph.add("WanImageToVideo", **given, **size)
        return bound, bound[1], bound[2]
