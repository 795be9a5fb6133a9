"""Define the Wan2.2 workflow: a video from a prompt, from a picture, or between two pictures; 14B in two experts, or 5B.

Graphs: ComfyUI's templates video_wan2_2_14B_t2v, 03_video_wan2_2_14B_i2v_subgraphed, video_wan2_2_14B_flf2v and
video_wan2_2_5B_ti2v (comfyui-workflow-templates-json 0.1.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from .base import Files, Notice, largest
from .choices import Sampler, Scheduler
from .facts import Duration, Example
from .fields import ImageInput
from .loras import Lora, LoraFields, Loras, patched_model
from .pictures import FitField, fit_notice, fitted
from .wan2 import WanWorkflow

UNETS = {
    "text": ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"),
    "picture": ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"),
}
"""What a video comes from → the expert that begins it (high noise) and the one that ends it (low noise)."""
LIGHTNING_LORAS = {
    "text": (
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors",
    ),
    "picture": (
        "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    ),
}
"""As above, the LoRA of each expert for four steps."""
SMALL_UNET, SMALL_VAE = "wan2.2_ti2v_5B_fp16.safetensors", "wan2.2_vae.safetensors"
VAE = "wan_2.1_vae.safetensors"
TEXT_ENCODER = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
SMALL = {"width": 1280, "height": 704, "length": 121, "fps": 24.0, "cfg": 5.0, "shift": 8.0, "sampler": "uni_pc"}
"""What the template sets for the 5B model, which was trained for 720p at 24 frames a second."""
LIGHTNING = {"steps": 4, "cfg": 1.0}
"""What the LoRAs for four steps were made for; the templates'."""
TIME_LIMIT = {"14B": 2400.0, "5B": 1200.0}
"""Seconds for the default shape and steps. Not measured: a bound against a runaway bill, generous for an L40S."""
MEASURED = (
    "RYLA's own calls took 369 s with a start of the container and a face swap in them; nothing nearer was published for an L40S"
)
"""Source of the expected durations."""


class Wan22(FitField, LoraFields, WanWorkflow):
    """Wan2.2: a short video from a prompt, a picture, or a first and a last picture. Apache-2.0, free for commercial use."""

    name: ClassVar[str] = "wan22"
    family: ClassVar[str] = "video"
    lora_base: ClassVar[str | None] = "wan"
    durations: ClassVar[Mapping[str, Duration]] = {
        "14B": Duration(120.0, 400.0, 1200.0, MEASURED, known=False),
        # 60, 180 and 600 s for what 5B sets, 1280×704 and 121 frames. As every entry it is written for the class's default of
        # 832×480 and 81 frames, which is 3.33 times less work.
        "5B": Duration(18.0, 54.0, 180.0, MEASURED, known=False),
    }
    smallest: ClassVar[Mapping[str, Any]] = {**WanWorkflow.smallest, "steps": 2}
    example: ClassVar[Example | None] = Example(
        {"prompt": "waves at dusk", "width": 416, "height": 256, "length": 9, "steps": 4, "seed": 7},
        "waves.mp4",
        after='`speed="lightning"` needs four steps in the place of twenty. `image` is what the video begins with, `last_image` '
        "what it ends with.",
    )

    width: int = Field(default=832, ge=256, le=1280, multiple_of=16)
    """Width in pixels, 256 to 1280, a multiple of 16 (of 32 for 5B). 832×480 is 480p as Wan is trained for it; 5B sets 1280."""
    height: int = Field(default=480, ge=256, le=1280, multiple_of=16)
    """Height in pixels, 256 to 1280, a multiple of 16 (of 32 for 5B). 480 as for the width; 5B sets 704 unless you set it."""
    length: int = Field(default=81, ge=1, le=161)
    """Frames, 4n+1, 1 to 161. 81 is the template's, five seconds; 5B sets 121 unless you set it."""
    fps: float = Field(default=16.0, ge=1, le=120)
    """Frames per second of the file, 1 to 120. 14B was trained at 16; 5B, at 24, sets that unless you set it."""
    steps: int = Field(default=20, ge=2, le=100)
    """Sampling steps, 2 to 100, half of them by each expert. 20 is the template's; lightning sets 4 unless you set them."""
    cfg: float = Field(default=3.5, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 3.5 is the template's; 5B sets 5 and lightning 1 unless you set it."""
    shift: float = Field(default=5.0, ge=0, le=100)
    """Shift of the noise schedule towards high noise, 0 to 100. 5 is the template's; 5B sets 8 unless you set it."""
    sampler: Sampler = Field(default="euler")
    """Sampler. euler is the template's; 5B sets uni_pc, its template's, unless you set it."""
    scheduler: Scheduler = Field(default="simple")
    """Noise schedule. simple is the templates'."""
    image: ImageInput | None = Field(default=None, repr=False)
    """Picture that the video begins with."""
    last_image: ImageInput | None = Field(default=None, repr=False)
    """Picture that the video ends with; with ``image``, for the 14B model only."""
    model: Literal["14B", "5B"] = Field(default="14B")
    """14B: two experts of that size, one after the other. 5B: one smaller model for 720p at 24 frames a second."""
    speed: Literal["quality", "lightning"] = Field(default="quality")
    """lightning: LoRAs for four steps at cfg 1, for the 14B model only."""
    high_noise_loras: Loras = Field(default=(), max_length=8)
    """Stored LoRAs for the expert that begins the video, applied after ``loras``; at most 8."""
    low_noise_loras: Loras = Field(default=(), max_length=8)
    """Stored LoRAs for the expert that ends the video, applied after ``loras``; at most 8."""

    # 1280×720, the largest size that Wan2.2 is trained for.
    _fits = largest(0.93, 16)

    @model_validator(mode="before")
    @classmethod
    def _chosen_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        small = SMALL if data.get("model") == "5B" else {}
        return {**small, **(LIGHTNING if data.get("speed") == "lightning" else {}), **data}

    @model_validator(mode="after")
    def _fits_the_model(self) -> Self:
        if self.last_image is not None and self.image is None:
            raise PydanticCustomError("first_picture", "last_image needs image, the picture that the video begins with")
        if self.model == "14B":
            return self
        wrong = {
            "last_image": self.last_image is not None,
            'speed="lightning"': self.speed == "lightning",
            "high_noise_loras": bool(self.high_noise_loras),
            "low_noise_loras": bool(self.low_noise_loras),
        }
        for field in (name for name, given in wrong.items() if given):
            raise PydanticCustomError("small_model", '{field} is for the 14B model only; leave out model="5B"', {"field": field})
        if self.width % 32 or self.height % 32:
            nearest = f"width={self.width // 32 * 32}, height={self.height // 32 * 32}"
            raise PydanticCustomError("grid", "The 5B model works on multiples of 32", {"nearest": nearest})
        return self

    def time_limit(self) -> float:
        """Return 2,400 s (14B) or 1,200 s (5B) for the default shape and steps, and in proportion for more work."""
        usual = 20 * (832 * 480 * 81 if self.model == "14B" else 1280 * 704 * 121)
        return TIME_LIMIT[self.model] * max(1.0, self.steps * self.width * self.height * self.length / usual)

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, which pictures had another shape than the video among it."""
        fits = (fit_notice(name, getattr(self, name), self.width, self.height, self.fit) for name in ("image", "last_image"))
        return sum(fits, super().notices())

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return text encoder, one model or two experts, sampler, decoder and the chosen container."""
        graph = Graph()
        clip = graph.add("CLIPLoader", clip_name=TEXT_ENCODER, type="wan", device="default")
        vae = graph.add("VAELoader", vae_name=VAE if self.model == "14B" else SMALL_VAE)
        texts = [graph.add("CLIPTextEncode", text=text, clip=clip) for text in (self.prompt, self.negative_prompt)]
        sampled = self._experts(graph, texts, vae, files) if self.model == "14B" else self._small(graph, texts, vae, files)
        self._save(graph, graph.add("VAEDecode", samples=sampled, vae=vae), files)
        return graph

    def _picture(self, graph: Graph, field: str, files: Files) -> Node:
        loaded = graph.add("LoadImage", image=files.of(field))
        return fitted(graph, loaded, self.width, self.height, self.fit)

    def _size(self) -> dict[str, int]:
        return {"width": self.width, "height": self.height, "length": self.length, "batch_size": 1}

    def _small(self, graph: Graph, texts: list[Node], vae: Node, files: Files) -> Node:
        loaded = graph.add("UNETLoader", unet_name=SMALL_UNET, weight_dtype="default")
        model = patched_model(graph, loaded, self.ordered_loras(), files)
        start = {} if self.image is None else {"start_image": self._picture(graph, "image", files)}
        return graph.add(
            "KSampler",
            model=graph.add("ModelSamplingSD3", model=model, shift=self.shift),
            positive=texts[0],
            negative=texts[1],
            latent_image=graph.add("Wan22ImageToVideoLatent", vae=vae, **self._size(), **start),
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=1.0,
        )

    def _experts(self, graph: Graph, texts: list[Node], vae: Node, files: Files) -> Node:
        """Add both experts, each with half of the steps: the second one goes on from the noise that the first one leaves."""
        positive, negative, latent = self._bound(graph, texts, vae, files)
        given = {"positive": positive, "negative": negative, "steps": self.steps, "cfg": self.cfg}
        names = {"sampler_name": self.sampler, "scheduler": self.scheduler}
        half = self.steps // 2
        begun = graph.add(
            "KSamplerAdvanced",
            model=self._expert(graph, 0, self.high_noise_loras, files),
            latent_image=latent,
            **given,
            **names,
            add_noise="enable",
            noise_seed=self.seed or 0,
            start_at_step=0,
            end_at_step=half,
            return_with_leftover_noise="enable",
        )
        return graph.add(
            "KSamplerAdvanced",
            model=self._expert(graph, 1, self.low_noise_loras, files),
            latent_image=begun,
            **given,
            **names,
            add_noise="disable",
            noise_seed=0,
            start_at_step=half,
            end_at_step=self.steps,
            return_with_leftover_noise="disable",
        )

    def _expert(self, graph: Graph, which: int, own: Loras, files: Files) -> Node:
        """Add one of the experts with its LoRAs and its shift."""
        kind = "text" if self.image is None else "picture"
        model = graph.add("UNETLoader", unet_name=UNETS[kind][which], weight_dtype="default")
        if self.speed == "lightning":
            name = LIGHTNING_LORAS[kind][which]
            model = graph.add("LoraLoaderModelOnly", model=model, lora_name=name, strength_model=1.0)
        loras: tuple[Lora, ...] = (*self.ordered_loras(), *own)
        return graph.add("ModelSamplingSD3", model=patched_model(graph, model, loras, files), shift=self.shift)

    def _bound(self, graph: Graph, texts: list[Node], vae: Node, files: Files) -> tuple[Node | Link, Node | Link, Node | Link]:
        """Return texts and empty video; with pictures, bound to them."""
        if self.image is None:
            return texts[0], texts[1], graph.add("EmptyHunyuanLatentVideo", **self._size())
        given: dict[str, Any] = {"positive": texts[0], "negative": texts[1], "vae": vae, **self._size()}
        given["start_image"] = self._picture(graph, "image", files)
        if self.last_image is None:
            bound = graph.add("WanImageToVideo", **given)
        else:
            bound = graph.add("WanFirstLastFrameToVideo", **given, end_image=self._picture(graph, "last_image", files))
        return bound, bound[1], bound[2]
