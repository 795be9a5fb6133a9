"""Define the Qwen-Image workflows: 2512 makes pictures, Edit 2511 changes them.

Graphs: ComfyUI's templates image_qwen_Image_2512 and image_qwen_image_edit_2511 (comfyui-workflow-templates-json 0.1.9). The edit
differs from its template in one node: its first picture keeps its shape, where the template cuts it to the nearest of seventeen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..graphs.graph import Graph, Link, Node
from ..media import References
from .base import Files, Notice, PromptedWorkflow, largest
from .choices import OutputFormat
from .facts import Duration, Example, Work, number, sampling_work
from .fields import ImageInputs
from .loras import LoraFields
from .pictures import (
    Area,
    AspectRatioField,
    EditSizeFields,
    FitField,
    MaskFields,
    fit_notice,
    fitted,
    kept_area,
    picture_size,
    redrawn_share,
)

MODEL = "qwen_image_2512_fp8_e4m3fn.safetensors"
EDIT_MODEL = "qwen_image_edit_2511_fp8mixed.safetensors"
TEXT_ENCODER = "qwen_2.5_vl_7b_fp8_scaled.safetensors"
VAE = "qwen_image_vae.safetensors"
LIGHTNING_LORA = "Qwen-Image-2512-Lightning-4steps-V1.0-fp32.safetensors"
EDIT_LIGHTNING_LORA = "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors"
LIGHTNING = {"steps": 4, "cfg": 1.0}
"""What the Lightning LoRAs were distilled for; the templates set the same."""
SHIFT = 3.1
"""Shift of the noise schedule; the templates'."""
NEGATIVE = "低分辨率，低画质，肢体畸形，手指畸形，画面过饱和，蜡像感，人脸无细节，过度光滑，画面具有AI感。构图混乱。文字模糊，扭曲"
"""Qwen-Image's own negative prompt, in the language it was trained with."""
REFERENCE_PIXELS = 1024 * 1024
"""Pixels to which TextEncodeQwenImageEditPlus scales every picture that it encodes."""
USUAL_WORK = 50 * 2 * 1328 * 1328
"""Steps, runs of the model in each, and pixels of a picture by the defaults of Qwen-Image."""
QWEN_TIME_LIMIT, SHORTEST_TIME_LIMIT = 900.0, 300.0
"""Seconds for that work, and for the least: reading 30 GB of weights counts. A bound, five times what is expected."""
MEASURED = (
    "ComfyUI's page says 71 s for 20 steps at 1328² on an RTX 4090D, which is about as fast; RYLA's own calls took 103 to 117 s, "
    "of unknown steps and with a start of the container"
)
"""Source of the expected durations."""
LIGHTNING_MEASURED = (
    "ComfyUI's page says 34 s for 8 steps with such a LoRA at 1328² on an RTX 4090D; RYLA's own calls took 73 to 86 s, with a "
    "start of the container"
)
EDITS_MEASURED = "guessed from Qwen-Image, for 40 steps and one picture; RYLA's own calls took 53 to 54 s, of unknown steps"


class QwenWorkflow(LoraFields, PromptedWorkflow):
    """The fields that the Qwen-Image workflows share."""

    family: ClassVar[str] = "qwen"
    lora_base: ClassVar[str | None] = "qwen"
    lightning_lora: ClassVar[str]
    """The LoRA of ``speed="lightning"``."""

    cfg: float = Field(default=4.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 4 is the template's. 1 takes half the time, without the negative prompt."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    speed: Literal["quality", "lightning"] = Field(default="quality")
    """quality: every step. lightning: the 4-step Lightning LoRA, some twenty times as fast; it sets ``steps`` to 4 and ``cfg`` to 1
    unless you set them."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    @model_validator(mode="before")
    @classmethod
    def _lightning_defaults(cls, data: Any) -> Any:
        return {**LIGHTNING, **data} if isinstance(data, dict) and data.get("speed") == "lightning" else data

    def time_limit(self) -> float:
        """Return 900 s for the work of Qwen-Image's defaults, in proportion for more or less, and never less than 300 s."""
        return max(SHORTEST_TIME_LIMIT, QWEN_TIME_LIMIT * self.work(self.described()).amount / USUAL_WORK)

    def _lightning(self, graph: Graph, model: Node | Link) -> Node | Link:
        """Return the model with the Lightning LoRA, where it is asked for."""
        if self.speed == "quality":
            return model
        return graph.add("LoraLoaderModelOnly", model=model, lora_name=self.lightning_lora, strength_model=1.0)

    def _sampled(self, graph: Graph, model: Node | Link, positive: Node, negative: Node, latent: Node, denoise: float) -> Node:
        return graph.add(
            "KSampler",
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent,
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name="euler",
            scheduler="simple",
            denoise=denoise,
        )


class QwenImage(AspectRatioField, QwenWorkflow):
    """Qwen-Image 2512: a picture with legible text in it, English and Chinese. Apache-2.0, free for commercial use."""

    name: ClassVar[str] = "qwen_image"
    lightning_lora: ClassVar[str] = LIGHTNING_LORA
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(90.0, 175.0, 300.0, MEASURED, known=False),
        # Written for the 50 steps of the default, as every entry: 4 steps that run the model once take a 25th of it.
        "lightning": Duration(200.0, 300.0, 700.0, LIGHTNING_MEASURED, known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "a neon sign with the words OPEN LATE", "width": 512, "height": 512, "speed": "lightning", "seed": 7},
        "sign.png",
        after="Without `speed` it takes 50 steps, each with the negative prompt: minutes, and the better picture.",
    )
    sizes: ClassVar[Mapping[str, tuple[int, int]]] = {
        "1:1": (1328, 1328),
        "4:3": (1472, 1104),
        "3:4": (1104, 1472),
        "3:2": (1584, 1056),
        "2:3": (1056, 1584),
        "16:9": (1664, 928),
        "9:16": (928, 1664),
    }

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to show, at most 20,000 characters. Words that shall be read in the picture stand in quotation marks."""
    negative_prompt: str = Field(default=NEGATIVE, max_length=20_000)
    """What to avoid. The default is Qwen-Image's own list (low resolution, deformed hands, waxy skin, blurred text …)."""
    width: int = Field(default=1328, ge=256, le=2048, multiple_of=16)
    """Width in pixels, 256 to 2048, a multiple of 16. 1328 is the template's."""
    height: int = Field(default=1328, ge=256, le=2048, multiple_of=16)
    """Height in pixels, 256 to 2048, a multiple of 16. 1328 is the template's."""
    steps: int = Field(default=50, ge=1, le=100)
    """Sampling steps, 1 to 100. 50 is the template's; ``speed="lightning"`` sets 4 unless you set them."""

    _fits = largest(4.2, 16)

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model → LoRAs → shift → text → sampler → picture."""
        graph = Graph()
        loaded = graph.add("UNETLoader", unet_name=MODEL, weight_dtype="default")
        encoder = graph.add("CLIPLoader", clip_name=TEXT_ENCODER, type="qwen_image", device="default")
        vae = graph.add("VAELoader", vae_name=VAE)
        patched, clip = self._patched(graph, self._lightning(graph, loaded), encoder, files)
        model = graph.add("ModelSamplingAuraFlow", model=patched, shift=SHIFT)
        positive = graph.add("CLIPTextEncode", text=self.prompt, clip=clip)
        negative = graph.add("CLIPTextEncode", text=self.negative_prompt, clip=clip)
        empty = graph.add("EmptySD3LatentImage", width=self.width, height=self.height, batch_size=self.batch_size)
        done = self._sampled(graph, model, positive, negative, empty, 1.0)
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=done, vae=vae), filename_prefix=files.prefix)
        return graph


def near_megapixel(width: int, height: int) -> tuple[int, int]:
    """Return the size of about a megapixel that has the shape of a picture: multiples of 16, from 256 to 2048."""
    scale = min((REFERENCE_PIXELS / (width * height)) ** 0.5, 2048 / max(width, height))
    sides = [max(256, round(side * scale / 16) * 16) for side in (width, height)]
    return sides[0], sides[1]


class QwenImageEdit(FitField, MaskFields, EditSizeFields, QwenWorkflow):
    """Qwen-Image-Edit 2511: changes a picture as told, with things of two others. Apache-2.0, free for commercial use.

    With a mask, or a first picture that is transparent somewhere, only that part is drawn anew, and what was drawn is laid over the
    fitted picture by the mask: outside it every pixel keeps its value.
    """

    name: ClassVar[str] = "qwen_image_edit"
    lightning_lora: ClassVar[str] = EDIT_LIGHTNING_LORA
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(50.0, 160.0, 300.0, EDITS_MEASURED, known=False),
        # Written for the 40 steps of the default: 4 steps that run the model once take a 20th of it.
        "lightning": Duration(160.0, 240.0, 600.0, EDITS_MEASURED, known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "make it night", "images": ["photo.png"], "speed": "lightning", "seed": 7},
        "night.png",
        after="From a second picture: *give her the coat of image 2*. To change one part alone: `mask` or `mask_box`.",
    )

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to change, as an instruction, at most 20,000 characters. The pictures are called image 1, image 2 and image 3 in it."""
    images: ImageInputs = Field(min_length=1, max_length=3, repr=False)
    """Pictures, 1 to 3: the first is changed, the instruction may take things from the others. A transparent part of the first says
    what is redrawn, as a mask does. Without ``width`` and ``height`` the output has its shape, at about one megapixel."""
    steps: int = Field(default=40, ge=1, le=100)
    """Sampling steps, 1 to 100. 40 is the template's; ``speed="lightning"`` sets 4 unless you set them."""
    denoise: float = Field(default=1.0, ge=0, le=1)
    """How much of the first picture's own pixels is drawn anew: 0 (nothing), or 0.01 to 1 (all). 1 is the template's: the model
    sees the picture all the same, and keeps what the instruction leaves."""

    _some = field_validator("denoise")(redrawn_share)

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request: each picture goes through every step beside the output, at about one megapixel."""
        plain = sampling_work(inputs)
        seen = len(inputs.get("images") or ()) * REFERENCE_PIXELS
        pixels = number(inputs, "width", 1024) * number(inputs, "height", 1024)
        return Work(plain.variant, plain.amount * (1 + seen / pixels))

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know: that the first picture had another shape, or only its transparent part is redrawn."""
        found = (*super().notices(), *fit_notice("images[0]", self.images[0], *self._size(), self.fit))
        if not self._is_transparent():
            return found
        text = "images[0] has a transparent part, and only that is redrawn. Give a mask, or an opaque picture, for another part."
        return (*found, Notice("transparent_part_redrawn", text))

    async def resolved(self, references: References | None = None) -> Self:
        """Return this request with every picture read, and with a width and a height.

        Raises:
            InvalidInputError: a picture cannot be read, or the mask is not one of the first picture.

        """
        ready = await super().resolved(references)
        return ready.changed(**dict(zip(("width", "height"), ready._size(), strict=True)))

    def needs_mask(self) -> bool:
        """Return that no picture must have a mask: without one all of it may change."""
        return False

    def _masked_picture(self) -> Any:
        return self.images[0]

    def _kept(self, size: tuple[int, int]) -> Area:
        return kept_area(size, self._size(), self.fit)

    def _size(self) -> tuple[int, int]:
        """Return width and height of the output; a usual one as long as they are not given and no picture was read."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        return near_megapixel(*(picture_size(self.images[0]) or (1024, 1024)))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model → LoRAs → shift → text and pictures → sampler → picture, laid over the first one where there is a mask."""
        graph = Graph()
        loaded = graph.add("UNETLoader", unet_name=EDIT_MODEL, weight_dtype="default")
        encoder = graph.add("CLIPLoader", clip_name=TEXT_ENCODER, type="qwen_image", device="default")
        vae = graph.add("VAELoader", vae_name=VAE)
        patched, clip = self._patched(graph, loaded, encoder, files)
        shifted = graph.add("ModelSamplingAuraFlow", model=patched, shift=SHIFT)
        model = self._lightning(graph, graph.add("CFGNorm", model=shifted, strength=1.0))
        first, *others = [graph.add("LoadImage", image=files.of(f"images[{place}]")) for place in range(len(self.images))]
        picture = fitted(graph, first, *self._size(), self.fit)
        read = {"clip": clip, "vae": vae} | {f"image{place}": image for place, image in enumerate((picture, *others), 1)}
        positive, negative = (self._text(graph, text, read) for text in (self.prompt, self.negative_prompt))
        mask = self._fitted_mask(graph, first, files)
        latent = self._of_picture(graph, picture, vae, mask)
        sampled = self._sampled(graph, model, positive, negative, latent, self.denoise)
        decoded = graph.add("VAEDecode", samples=sampled, vae=vae)
        done = decoded if mask is None else self._laid_over(graph, picture, decoded, mask)
        graph.add("SaveImage", images=done, filename_prefix=files.prefix)
        return graph

    def _text(self, graph: Graph, text: str, read: Mapping[str, Node | Link]) -> Node:
        encoded = graph.add("TextEncodeQwenImageEditPlus", prompt=text, **read)
        return graph.add(
            "FluxKontextMultiReferenceLatentMethod", conditioning=encoded, reference_latents_method="index_timestep_zero"
        )

    def _fitted_mask(self, graph: Graph, first: Node, files: Files) -> Node | None:
        """Add the mask at the size of the output, where something says what is redrawn."""
        if self.mask is None and self.mask_box is None and not self._is_transparent():
            return None
        image = fitted(graph, self._mask(graph, first, files), *self._size(), self.fit)
        return graph.add("ImageToMask", image=image, channel="red")

    def _of_picture(self, graph: Graph, picture: Node, vae: Node, mask: Node | None) -> Node:
        """Add the latent that is sampled from."""
        latent = graph.add("VAEEncode", pixels=picture, vae=vae)
        if self.batch_size > 1:
            latent = graph.add("RepeatLatentBatch", samples=latent, amount=self.batch_size)
        return latent if mask is None else graph.add("SetLatentNoiseMask", samples=latent, mask=mask)

    def _laid_over(self, graph: Graph, picture: Node, decoded: Node, mask: Node) -> Node:
        below = picture if self.batch_size == 1 else graph.add("RepeatImageBatch", image=picture, amount=self.batch_size)
        place = {"x": 0, "y": 0, "resize_source": False}
        return graph.add("ImageCompositeMasked", destination=below, source=decoded, mask=mask, **place)
