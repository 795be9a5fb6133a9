"""Define the FLUX.1 workflows that change a picture: Kontext after an instruction, Fill inside a mask or around the picture.

Graphs: ComfyUI's templates flux_kontext_dev_basic, flux_fill_inpaint_example and flux_fill_outpaint_example
(comfyui-workflow-templates-json 0.1.9), with LoRAs; Fill puts what it drew over the picture, so that the rest stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..errors import InvalidInputError
from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, Notice, PromptedWorkflow, largest
from .choices import OutputFormat, Sampler, Scheduler
from .facts import Duration, Example, Work, number
from .fields import ImageInput
from .flux import CACHE_MEASURED, DEV_MEASURED
from .loras import LoraFields
from .parts import Part
from .pictures import (
    MOST_SIDE,
    Area,
    EditSizeFields,
    FitField,
    MaskFields,
    fit_notice,
    fitted,
    ignored,
    kept_area,
    picture_size,
    same_shape,
)

KONTEXT = "flux1-dev-kontext_fp8_scaled.safetensors"
FILL = "flux1-fill-dev.safetensors"
CLIP = "clip_l.safetensors"
T5 = {KONTEXT: "t5xxl_fp8_e4m3fn_scaled.safetensors", FILL: "t5xxl_fp16.safetensors"}
"""Text encoder beside CLIP, as each template pairs it with its model."""
VAE = "ae.safetensors"
KONTEXT_SHAPES = (
    *((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104), (1024, 1024)),
    *((1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672)),
)
"""Sizes to the nearest of which FluxKontextImageScale brings a picture (ComfyUI 0.28.2, comfy_extras/nodes_flux.py)."""
USUAL_PIXELS = 1024 * 1024
"""Pixels that the time limit is for."""
MEGAPIXELS = 4.2
"""The largest picture that is drawn, in millions of pixels; as for the other FLUX.1 workflows."""
SMALLEST_SIDE = 64
"""Pixels of the shortest side that Fill draws into: more than the edge that ``feather`` softens."""
OUTPAINT_FEATHER = 24
"""Pixels of the soft edge towards what is added; the outpaint template's."""
GRID = 8
"""Pixels of one latent: Fill works on a picture of multiples of it."""


KONTEXT_MEASURED = f"{DEV_MEASURED}; the picture, read with every step, about doubles that"
"""Source of the expected durations of edits with Kontext."""


class FluxEdit(LoraFields, EditSizeFields, PromptedWorkflow):
    """The fields that the workflows share which change a picture with FLUX.1."""

    lora_base: ClassVar[str | None] = "flux"

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to change, or what to draw. At most 20,000 characters; the text encoders read the first 512 tokens (T5) closely."""
    steps: int = Field(default=20, ge=1, le=100)
    """Sampling steps, 1 to 100. 20 is the template's."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 1, the template's, runs the model once a step, anything else twice."""
    sampler: Sampler = Field(default="euler")
    """Sampler. euler is the template's."""
    output_format: OutputFormat = Field(default="png")
    """File type of the picture: png (lossless), jpeg or webp."""

    _fits = largest(MEGAPIXELS, 16)

    def time_limit(self) -> float:
        """Return 120 s for a megapixel and default steps, and in proportion for more work."""
        passes = 1 if self.cfg == 1.0 else 2
        work = self.steps * passes * self.pixels() * getattr(self, "batch_size", 1)
        return IMAGE_TIME_LIMIT * max(1.0, work / (20 * USUAL_PIXELS))

    def _negative(self, graph: Graph, clip: Node | Link, text: Node) -> Node:
        """Add the negative prompt; at cfg 1, where it has no effect, what the templates have there."""
        if self.cfg == 1.0:
            return graph.add("ConditioningZeroOut", conditioning=text)
        return graph.add("CLIPTextEncode", text=self.negative_prompt, clip=clip)

    def _loaded(self, graph: Graph, model: str, files: Files) -> tuple[Node | Link, Node | Link, Node]:
        """Add model, text encoders and VAE, with the LoRAs."""
        loaded = graph.add("UNETLoader", unet_name=model, weight_dtype="default")
        clip = graph.add("DualCLIPLoader", clip_name1=CLIP, clip_name2=T5[model], type="flux", device="default")
        patched, patched_clip = self._patched(graph, loaded, clip, files)
        return patched, patched_clip, graph.add("VAELoader", vae_name=VAE)


class FluxKontext(FluxEdit):
    """FLUX.1 Kontext: changes a picture after an instruction, and keeps the rest. Its licence is non-commercial."""

    name: ClassVar[str] = "flux_kontext"
    family: ClassVar[str] = "flux"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(25.0, 60.0, 90.0, KONTEXT_MEASURED, known=False),
        "balanced": Duration(13.5, 32.0, 90.0, f"{KONTEXT_MEASURED}; {CACHE_MEASURED}", known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "make it night", "image": "photo.png", "steps": 8, "seed": 7},
        "night.png",
        before="`photo.png` is any picture. Say what changes, and what must stay: the same face, the same pose.",
        after="To change one part only, and leave every other pixel as it is: [flux-fill](flux-fill.md).",
    )

    image: ImageInput = Field(repr=False)
    """Picture to change. It is brought to about a megapixel, in the nearest of the shapes that Kontext was trained on."""
    guidance: float = Field(default=2.5, ge=0, le=30)
    """Distilled guidance, 0 to 30: higher follows the instruction more closely. 2.5 is the template's."""
    scheduler: Scheduler = Field(default="simple")
    """Noise schedule. simple is the template's."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    speed: Literal["quality", "balanced"] = Field(default="quality")
    """quality: every step; balanced: EasyCache skips steps that change little."""

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, that edges of the picture are cut off among it."""
        size = picture_size(self.image)
        if size is None:
            return super().notices()
        read = min(KONTEXT_SHAPES, key=lambda shape: abs(size[0] / size[1] - shape[0] / shape[1]))
        if same_shape(size, read):
            return super().notices()
        text = f"image is {size[0]}×{size[1]}, and Kontext reads it at {read[0]}×{read[1]}: its edges are cut off."
        return (*super().notices(), Notice("picture_fitted", text))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model and texts, the picture as a reference, sampler, picture."""
        graph = Graph()
        model, clip, vae = self._loaded(graph, KONTEXT, files)
        if self.speed == "balanced":
            # The values of ComfyUI's template flux1_dev_uso_reference_image_gen.
            reuse = {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False}
            model = graph.add("EasyCache", model=model, **reuse)
        scaled = graph.add("FluxKontextImageScale", image=graph.add("LoadImage", image=files.of("image")))
        reference = graph.add("VAEEncode", pixels=scaled, vae=vae)
        text = graph.add("CLIPTextEncode", text=self.prompt, clip=clip)
        shown = graph.add("ReferenceLatent", conditioning=text, latent=reference)
        sampled = graph.add(
            "KSampler",
            model=model,
            positive=graph.add("FluxGuidance", conditioning=shown, guidance=self.guidance),
            negative=self._negative(graph, clip, text),
            latent_image=self._start(graph, reference),
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=1.0,
        )
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=sampled, vae=vae), filename_prefix=files.prefix)
        return graph

    def _start(self, graph: Graph, reference: Node) -> Node:
        """Return the latent to draw: of the picture's shape, or of the size that was asked for."""
        if self.width is not None:
            return graph.add("EmptySD3LatentImage", width=self.width, height=self.height, batch_size=self.batch_size)
        if self.batch_size > 1:
            return graph.add("RepeatLatentBatch", samples=reference, amount=self.batch_size)
        return reference


class Padding(Part):
    """What is added to each side of a picture."""

    left: int = Field(default=0, ge=0, le=2048, multiple_of=8)
    """Pixels on the left, 0 to 2048, a multiple of 8."""
    top: int = Field(default=0, ge=0, le=2048, multiple_of=8)
    """Pixels above, 0 to 2048, a multiple of 8."""
    right: int = Field(default=0, ge=0, le=2048, multiple_of=8)
    """Pixels on the right, 0 to 2048, a multiple of 8."""
    bottom: int = Field(default=0, ge=0, le=2048, multiple_of=8)
    """Pixels below, 0 to 2048, a multiple of 8."""


class FluxFill(FitField, MaskFields, FluxEdit):
    """FLUX.1 Fill: draws inside a mask, or around a picture; every other pixel stays as it is. Its licence is non-commercial.

    Its feather softens the edge of the mask outward too: up to that many pixels beside the mask are mixed with what is drawn.
    """

    name: ClassVar[str] = "flux_fill"
    family: ClassVar[str] = "flux"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(18.0, 35.0, 60.0, f"{DEV_MEASURED}; Fill is FLUX.1 dev with a picture and a mask beside it", known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "a red scarf", "image": "photo.png", "mask": "mask.png", "steps": 8, "seed": 7},
        "scarf.png",
        before="`mask.png` is as large as `photo.png`: white where something new is drawn, black where nothing changes.",
        after="A rectangle needs no picture: `mask_box`. A picture whose part to redraw is transparent needs neither. "
        "`padding` draws what lies beyond the edges.",
    )

    mask_ways: ClassVar[str] = f"{MaskFields.mask_ways}; padding draws around it"

    image: ImageInput = Field(repr=False)
    """Picture to draw into, taken at its own size, less what is over a multiple of 8, unless ``width`` and ``height`` are given."""
    guidance: float = Field(default=30.0, ge=0, le=100)
    """Distilled guidance, 0 to 100. 30 is the template's."""
    scheduler: Scheduler = Field(default="normal")
    """Noise schedule. normal is the template's."""
    padding: Padding | None = Field(default=None)
    """What is drawn around the picture: pixels ``left``, ``top``, ``right`` and ``bottom``. They come on top of its size."""
    feather: int = Field(default=0, ge=0, le=31)
    """Pixels over which the edge of the mask is softened, inward and outward, 0 to 31. With ``padding`` it is 24, the template's,
    unless you set it."""

    @model_validator(mode="before")
    @classmethod
    def _feathered(cls, data: Any) -> Any:
        return {"feather": OUTPAINT_FEATHER, **data} if isinstance(data, dict) and data.get("padding") else data

    @model_validator(mode="after")
    def _some_padding(self) -> Self:
        if self.padding is not None and not any(self.padding.model_dump().values()):
            raise PydanticCustomError("no_padding", "padding adds nothing: give left, top, right or bottom")
        return self

    @model_validator(mode="after")
    def _padded_fits(self) -> Self:
        if self.width is not None and self.padding is not None and self.pixels() > MEGAPIXELS * 1e6:
            raise PydanticCustomError(
                "too_many_pixels", "{text}", {"text": f"{self._too_many()}. Add less, or give a smaller size"}
            )
        return self

    def _masked_picture(self) -> Any:
        return self.image

    def _kept(self, size: tuple[int, int]) -> Area:
        if self.width is not None and self.height is not None:
            return kept_area(size, (self.width, self.height), self.fit)
        (left, upper), (width, height) = ((side % GRID // 2 for side in size), (side // GRID * GRID for side in size))
        return left, upper, left + width, upper + height

    def _check_reach(self, size: tuple[int, int]) -> None:
        if self.padding is None or not self._is_transparent():  # what is added around it is drawn all the same
            super()._check_reach(size)

    def check_mask(self) -> None:
        """Refuse a picture that is too large or too small to draw into, and a mask that is not one of it.

        Raises:
            InvalidInputError: the size does not fit, or the mask.

        """
        own = picture_size(self.image)
        if own is not None and self.width is None:
            self._check_size(own)
        super().check_mask()

    def _check_size(self, own: tuple[int, int]) -> None:
        """Refuse the size that a picture gives to the output."""
        if min(self._size()) < SMALLEST_SIDE or max(own) > MOST_SIDE:
            text = f"The picture is {own[0]}×{own[1]}: its sides must have {SMALLEST_SIDE} to {MOST_SIDE} pixels."
        elif self.pixels() > MEGAPIXELS * 1e6:
            text = f"{self._too_many()}."
        else:
            return
        shrink = min(1.0, 2048 / max(own), (MEGAPIXELS * 1e6 / max(1, self.pixels())) ** 0.5)
        near = [max(256, int(side * shrink) // 16 * 16) for side in own]
        hint = f"Give width={near[0]} and height={near[1]}: the picture is brought to that size (fit={self.fit})."
        if self.padding is not None:
            hint = "Add less around it, or give a smaller width and height: the picture is brought to that size."
        raise InvalidInputError(text, hint, {"field": "image"})

    def _too_many(self) -> str:
        width, height = self._whole_size()
        given = round(width * height / 1e6, 2)
        added = " with its padding" if self.padding else ""
        return f"{width}×{height}{added} is {given} megapixels; this model takes at most {MEGAPIXELS}"

    def needs_mask(self) -> bool:
        """Return whether the picture itself must have a mask: not when something is drawn around it."""
        return self.padding is None

    def pixels(self) -> int:
        """Return the pixels of the output."""
        width, height = self._whole_size()
        return width * height

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its fields; what is added around a picture is drawn like the rest."""
        padding = inputs.get("padding")
        added: Mapping[str, Any] = padding if isinstance(padding, Mapping) else {}
        width = number(inputs, "width", 1024) + number(added, "left", 0) + number(added, "right", 0)
        height = number(inputs, "height", 1024) + number(added, "top", 0) + number(added, "bottom", 0)
        return super().work({**inputs, "width": width, "height": height})

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, that the picture had another shape than the output among it."""
        own, found = picture_size(self.image), super().notices()
        if self.width is not None and self.height is not None:
            return (*found, *fit_notice("image", self.image, self.width, self.height, self.fit))
        found = (*found, *ignored(self, "fit", "without width and height"))
        if own is None or own == self._size():
            return found
        width, height = self._size()
        text = f"image is {own[0]}×{own[1]}, and is taken at {width}×{height}, multiples of {GRID}: its edges are cut off."
        return (*found, Notice("picture_fitted", text))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return model and texts, the picture and its mask, sampler, and what was drawn put over the picture."""
        graph = Graph()
        patched, clip, vae = self._loaded(graph, FILL, files)
        picture, mask = self._picture_and_mask(graph, files)
        text = graph.add("CLIPTextEncode", text=self.prompt, clip=clip)
        bound = graph.add(
            "InpaintModelConditioning",
            positive=graph.add("FluxGuidance", conditioning=text, guidance=self.guidance),
            negative=self._negative(graph, clip, text),
            vae=vae,
            pixels=picture,
            mask=mask,
            noise_mask=self.padding is None,
        )
        sampled = graph.add(
            "KSampler",
            model=graph.add("DifferentialDiffusion", model=patched, strength=1.0),
            positive=bound,
            negative=bound[1],
            latent_image=bound[2],
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=1.0,
        )
        drawn = graph.add("VAEDecode", samples=sampled, vae=vae)
        over = {"source": drawn, "x": 0, "y": 0, "resize_source": False, "mask": mask}
        graph.add("SaveImage", images=graph.add("ImageCompositeMasked", destination=picture, **over), filename_prefix=files.prefix)
        return graph

    def _picture_and_mask(self, graph: Graph, files: Files) -> tuple[Node, Node | Link]:
        """Add picture and mask, both at the size that is worked on."""
        loaded = graph.add("LoadImage", image=files.of("image"))
        picture = self._sized(graph, loaded)
        if self.padding is None:
            return picture, self._soft_mask(graph, self._sized(graph, self._mask(graph, loaded, files)))
        sides = {"left": self.padding.left, "top": self.padding.top, "right": self.padding.right, "bottom": self.padding.bottom}
        padded = graph.add("ImagePadForOutpaint", image=picture, **sides, feathering=self.feather)
        if self.mask is None and self.mask_box is None and not self._is_transparent():
            return padded, padded[1]
        inside = graph.add("ImagePadForOutpaint", image=self._sized(graph, self._mask(graph, loaded, files)), **sides, feathering=0)
        both = {"source": padded[1], "x": 0, "y": 0, "operation": "add"}
        return padded, graph.add("MaskComposite", destination=self._soft_mask(graph, inside), **both)

    def _soft_mask(self, graph: Graph, picture: Node) -> Node:
        if self.feather and self.padding is None:
            picture = graph.add("ImageBlur", image=picture, blur_radius=self.feather, sigma=max(0.1, min(10.0, self.feather / 2)))
        return graph.add("ImageToMask", image=picture, channel="red")

    def _sized(self, graph: Graph, picture: Node) -> Node:
        """Bring a picture to the size that was asked for, or cut off what is over a multiple of 8."""
        if self.width is not None and self.height is not None:
            return fitted(graph, picture, self.width, self.height, self.fit)
        own = self._own_size()
        left, upper, right, lower = self._kept(own)
        if (left, upper, right, lower) == (0, 0, *own):
            return picture
        return graph.add("ImageCrop", image=picture, width=right - left, height=lower - upper, x=left, y=upper)

    def _size(self) -> tuple[int, int]:
        if self.width is not None and self.height is not None:
            return self.width, self.height
        width, height = self._own_size()
        return width // GRID * GRID, height // GRID * GRID

    def _whole_size(self) -> tuple[int, int]:
        """Return the size of the output, with what is added around the picture."""
        width, height = self._size()
        added = self.padding or Padding()
        return width + added.left + added.right, height + added.top + added.bottom

    def _own_size(self) -> tuple[int, int]:
        """Return the picture's size; a usual one as long as it was not read."""
        return picture_size(self.image) or (1024, 1024)
