"""Define fields that workflows take pictures by, and the nodes that bring a picture or a mask to the size of the output.

Fitting happens in the graph, by ComfyUI's own nodes, so a request does the same on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..errors import InvalidInputError
from ..graphs.graph import Graph, Link, Node
from ..media import References, has_transparency, is_black, on_black, probe_image, shows_through
from ..support.numbers import is_number
from .base import Files, Notice, PromptedWorkflow, SampledWorkflow, Workflow
from .fields import ImageInput, bounds, held_media
from .parts import Part

Fit = Literal["crop", "pad", "stretch"]
"""How a picture of another shape is brought to the output's."""
AspectRatio = Literal["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"]
"""Width to height of an output."""
MOST_SIDE = 16384
"""Pixels of the longest side that ComfyUI's nodes take (its MAX_RESOLUTION)."""
SMALLEST_SHARE = 0.01
"""The least of a picture that is redrawn, above nothing: the step of ComfyUI's own fields."""
Area = tuple[int, int, int, int]
"""A part of a picture: its left, upper, right and lower edge, in pixels from the upper left corner."""
SHAPE_TOLERANCE = 0.02
"""How far the shapes of two pictures may differ, as a share, and still count as the same: sizes are multiples of 8 or 16."""


def fitted(graph: Graph, picture: Node | Link, width: int, height: int, fit: Fit) -> Node:
    """Add the node that brings a picture to a size."""
    if fit == "pad":
        size = {"target_width": width, "target_height": height}
        return graph.add("ResizeAndPadImage", image=picture, **size, padding_color="black", interpolation="lanczos")
    crop = "center" if fit == "crop" else "disabled"
    return graph.add("ImageScale", image=picture, upscale_method="lanczos", width=width, height=height, crop=crop)


def kept_area(size: tuple[int, int], output: tuple[int, int], fit: Fit) -> Area:
    """Return the part of a picture that is left when it is brought to a size: its middle for crop, as ImageScale cuts it."""
    width, height = size
    if fit != "crop":
        return 0, 0, width, height
    wider = (width * output[1]) / (height * output[0])
    left = round(width * (1 - 1 / wider) / 2) if wider > 1 else 0
    upper = round(height * (1 - wider) / 2) if wider < 1 else 0
    return left, upper, width - left, height - upper


def fit_notice(field: str, data: object, width: int, height: int, fit: Fit) -> tuple[Notice, ...]:
    """Return what becomes of a picture that was read and has another shape than the output; nothing for one that fits."""
    size = picture_size(data)
    if size is None or same_shape(size, (width, height)):
        return ()
    done = {"crop": "its edges are cut off", "pad": "black bars are added", "stretch": "it is stretched"}[fit]
    text = f"{field} is {size[0]}×{size[1]}, the output {width}×{height}: {done} (fit={fit})."
    return (Notice("picture_fitted", text),)


def ignored(request: Workflow, field: str, why: str) -> tuple[Notice, ...]:
    """Return that a field has no effect, and why (``without image``), where it holds another value than its default."""
    if getattr(request, field) == type(request).model_fields[field].default:
        return ()
    return (Notice(f"{field}_ignored", f"{field} has no effect {why}."),)


def picture_size(picture: object) -> tuple[int, int] | None:
    """Return the width and height of a picture that was read; None for one that was not, or is not there."""
    if not isinstance(picture, bytes) or not picture:
        return None
    info = probe_image(picture)
    return info.width, info.height


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes, each a width and a height, have the same shape."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= SHAPE_TOLERANCE


def redrawn_share(value: float) -> float:
    """Validate how much of a picture is redrawn: ComfyUI computes a schedule of steps ÷ share, which has to end."""
    if 0 < value < SMALLEST_SHARE:
        raise PydanticCustomError("redrawn_share", "Must be 0, or at least 0.01", {"nearest": SMALLEST_SHARE})
    return value


class FitField(Workflow):
    """The field of workflows that bring a picture to the size of their output."""

    added: ClassVar[frozenset[str]] = frozenset({"fit"})

    fit: Fit = Field(default="crop")
    """How a picture of another shape becomes ``width`` × ``height``: crop scales it to fill the output and cuts off what is
    outside the middle; pad scales it into the output and adds black bars; stretch ignores its shape."""

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, that there is nothing to fit among it."""
        if any(held_media(name, getattr(self, name)) for name in self.media_fields()):
            return super().notices()
        return (*super().notices(), *ignored(self, "fit", "without a picture"))


class ImageToImage(FitField, SampledWorkflow):
    """The fields of workflows that may begin with a picture in the place of noise, and what they add to the graph."""

    added: ClassVar[frozenset[str]] = frozenset({"image", "denoise"})

    image: ImageInput | None = Field(default=None, repr=False)
    """Picture to begin with: it is redrawn after the prompt. Without one the picture is made from the prompt alone."""
    denoise: float = Field(default=0.6, ge=0, le=1)
    """How much of ``image`` is redrawn: 0 (nothing), or 0.01 to 1 (all). 0.6, unmeasured on a GPU. No effect without ``image``."""

    _some = field_validator("denoise")(redrawn_share)

    def _latent(self, graph: Graph, vae: Any, files: Files) -> Any:
        if self.image is None:
            return super()._latent(graph, vae, files)
        picture = graph.add("LoadImage", image=files.of("image"))
        pixels = fitted(graph, picture, self.width, self.height, self.fit)
        latent = graph.add("VAEEncode", pixels=pixels, vae=vae)
        copies = getattr(self, "batch_size", 1)
        return latent if copies == 1 else graph.add("RepeatLatentBatch", samples=latent, amount=copies)

    def _denoise(self) -> float:
        return 1.0 if self.image is None else self.denoise

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know, that the picture had another shape than the output among it."""
        unused = ignored(self, "denoise", "without image") if self.image is None else ()
        return (*super().notices(), *unused, *fit_notice("image", self.image, self.width, self.height, self.fit))


class EditSizeFields(PromptedWorkflow):
    """The size of what an edit makes: that of its picture, unless it is given."""

    width: int | None = Field(default=None, ge=256, le=2048, multiple_of=16)
    """Width in pixels, 256 to 2048, a multiple of 16; with ``height``. The picture decides when neither is given."""
    height: int | None = Field(default=None, ge=256, le=2048, multiple_of=16)
    """Height in pixels, 256 to 2048, a multiple of 16; with ``width``."""

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise PydanticCustomError("half_a_size", "Give both width and height, or neither: then the picture decides")
        return self

    def pixels(self) -> int:
        """Return the pixels of the output, a megapixel where the picture decides."""
        return (self.width or 1024) * (self.height or 1024)


class AspectRatioField(SampledWorkflow):
    """The field that fills in a width and a height."""

    sizes: ClassVar[Mapping[str, tuple[int, int]]] = {}
    """Width and height of each aspect ratio; one that is not here has the area of the default size."""

    aspect_ratio: AspectRatio | None = Field(default=None)
    """Width to height. It fills in ``width`` and ``height``, or the one of them that is not given."""

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        ratio = data.get("aspect_ratio") if isinstance(data, dict) else None
        return {**cls.size_of(ratio, data), **data} if isinstance(ratio, str) and ratio in get_args(AspectRatio) else data

    @classmethod
    def size_of(cls, ratio: str, given: Mapping[str, Any]) -> dict[str, int]:
        """Return the width and height that an aspect ratio stands for; beside one that is given, the other that fits it."""
        across, down = (int(side) for side in ratio.split(":"))
        sides = {name: given[name] for name in ("width", "height") if given.get(name) is not None}
        if not all(is_number(side) and 0 < side < MOST_SIDE for side in sides.values()):
            return {}  # refused by the field itself
        if sides.keys() == {"width"}:
            return cls._beside("width", "height", sides["width"], down / across, ratio)
        if sides.keys() == {"height"}:
            return cls._beside("height", "width", sides["height"], across / down, ratio)
        if ratio in cls.sizes:
            return dict(zip(("width", "height"), cls.sizes[ratio], strict=True))
        area = cls.usual_pixels(given)
        width = (area * across / down) ** 0.5
        return {"width": round(width / 16) * 16, "height": round(area / width / 16) * 16}

    @classmethod
    def _beside(cls, given: str, other: str, side: int, share: float, ratio: str) -> dict[str, int]:
        """Return the other side beside a given one; refuse one that makes a side which is too short or too long."""
        (low, high, grid), (least, most, _) = _side_bounds(cls, given), _side_bounds(cls, other)
        made = {value: round(value * share / 16) * 16 for value in (side, *range(low, high + 1, grid))}
        fits = [value for value, found in made.items() if low <= value <= high and value % grid == 0 and least <= found <= most]
        if side in fits:
            return {other: made[side]}
        if not low <= side <= high or side % grid:
            return {}  # refused by the field itself
        limit = f"at least {least}" if made[side] < least else f"at most {most}"
        told = {"given": given, "side": side, "ratio": ratio, "other": other, "made": made[side], "limit": limit}
        nearest = f"{given}={min(fits, key=lambda value: abs(value - side))}"
        text = "{given}={side} at {ratio} makes a {other} of {made}; it must be {limit}"
        raise PydanticCustomError("aspect_ratio_side", text, {**told, "nearest": nearest})

    @classmethod
    def usual_pixels(cls, given: Mapping[str, Any]) -> int:
        """Return the pixels of a picture whose size nobody gives; ``given`` are the other fields."""
        usual: int = cls.model_fields["width"].default * cls.model_fields["height"].default
        return usual


class Box(Part):
    """A rectangle in a picture, in its own pixels."""

    x: int = Field(ge=0, le=16384)
    """Pixels from the left edge, 0 to 16384."""
    y: int = Field(ge=0, le=16384)
    """Pixels from the upper edge, 0 to 16384."""
    width: int = Field(ge=1, le=16384)
    """Width in pixels, 1 to 16384."""
    height: int = Field(ge=1, le=16384)
    """Height in pixels, 1 to 16384."""


def _side_bounds(cls: type[Workflow], name: str) -> tuple[int, int, int]:
    low, high, grid = bounds(cls.model_fields[name])
    return low or 1, high or MOST_SIDE, grid or 1


class MaskFields(Workflow):
    """The fields that say which part of a picture is redrawn: a picture, a box, or the transparent part of the picture itself."""

    mask_ways: ClassVar[str] = "Give a mask (white is redrawn) or mask_box, or a picture that is transparent there"
    """How a request says what is redrawn: what to do where none does."""

    mask: ImageInput | None = Field(default=None, repr=False)
    """Picture of the same shape: what is white is redrawn, what is black or transparent stays."""
    mask_box: Box | None = Field(default=None)
    """Rectangle to redraw, in the picture's own pixels: x, y, width, height. In place of ``mask``."""

    @model_validator(mode="after")
    def _one_mask(self) -> Self:
        if self.mask is not None and self.mask_box is not None:
            raise PydanticCustomError("mask_choice", "Say what is redrawn by either mask or mask_box")
        return self

    def needs_mask(self) -> bool:
        """Return whether a picture without a mask has to have a transparent part: what is redrawn then."""
        return True

    def _masked_picture(self) -> Any:
        """Return the picture that the mask belongs to, as the request holds it."""
        raise NotImplementedError(f"{type(self).__name__} must define _masked_picture()")

    def _kept(self, size: tuple[int, int]) -> Area:
        """Return the part of a picture of a size that is in the output."""
        raise NotImplementedError(f"{type(self).__name__} must define _kept()")

    def _is_transparent(self) -> bool:
        """Whether the picture itself says what is redrawn, by a transparent part; not known before it was read."""
        given, picture = self.mask is not None or self.mask_box is not None, self._masked_picture()
        return not given and isinstance(picture, bytes) and bool(picture) and has_transparency(picture)

    def _mask(self, graph: Graph, picture: Node, files: Files) -> Node:
        """Add the mask of a loaded picture, at the picture's own size or shape, and return it as a picture."""
        if self.mask is not None:
            return self._mask_picture(graph, graph.add("LoadImage", image=files.of("mask")))
        if self.mask_box is None:
            return graph.add("MaskToImage", mask=picture[1])
        size = graph.add("GetImageSize", image=picture)
        box = graph.add("SolidMask", value=1.0, width=self.mask_box.width, height=self.mask_box.height)
        empty = graph.add("SolidMask", value=0.0, width=size, height=size[1])
        place = {"x": self.mask_box.x, "y": self.mask_box.y, "operation": "add"}
        return graph.add("MaskToImage", mask=graph.add("MaskComposite", destination=empty, source=box, **place))

    def _mask_picture(self, graph: Graph, mask: Node) -> Node:
        """Bring a mask to the size of its picture, where both are known and differ."""
        sizes = [picture_size(picture) for picture in (self.mask, self._masked_picture())]
        if sizes[0] is None or sizes[1] is None or sizes[0] == sizes[1]:
            return mask
        size = {"width": sizes[1][0], "height": sizes[1][1]}
        return graph.add("ImageScale", image=mask, upscale_method="bilinear", **size, crop="disabled")

    async def resolved(self, references: References | None = None) -> Self:
        """Return this request with every picture read, after a look at whether the mask fits its picture.

        A mask painted on a transparent layer becomes one on black: ComfyUI reads its colours, also where none are seen.

        Raises:
            InvalidInputError: a picture cannot be read, the mask has another shape, or nothing is masked.

        """
        import asyncio

        ready = await super().resolved(references)
        if isinstance(ready.mask, bytes) and ready.mask:
            seen = await asyncio.to_thread(on_black, ready.mask)
            ready = ready if seen is ready.mask else ready.changed(mask=seen)
        await asyncio.to_thread(ready.check_mask)
        return ready

    def check_mask(self) -> None:
        """Refuse a mask that is not one of its picture.

        Raises:
            InvalidInputError: its shape is another, the box lies outside, or nothing is masked.

        """
        data, mask = self._masked_picture(), picture_size(self.mask)
        size = picture_size(data)
        if size is None:
            return  # rebuilt from the journal, without its pictures
        if mask is not None:
            if not same_shape(mask, size):
                text = f"mask is {mask[0]}×{mask[1]}, the picture {size[0]}×{size[1]}: their shapes differ."
                raise InvalidInputError(text, "Make the mask from the picture, at its size.", {"field": "mask"})
            if isinstance(self.mask, bytes) and is_black(self.mask):
                text = "The mask is black all over: nothing would be redrawn."
                raise InvalidInputError(text, "Make white what is redrawn.", {"field": "mask"})
        elif self.mask is None and self.mask_box is None and self.needs_mask() and not has_transparency(data):
            text = "Nothing says what is redrawn: the picture has no transparent part."
            raise InvalidInputError(text, f"{self.mask_ways}.", {"field": "mask"})
        elif self.mask_box is not None and (self.mask_box.x >= size[0] or self.mask_box.y >= size[1]):
            text = f"mask_box begins at {self.mask_box.x}, {self.mask_box.y}, outside the picture of {size[0]}×{size[1]}."
            raise InvalidInputError(text, "Count its pixels from the upper left corner.", {"field": "mask_box"})
        self._check_reach(size)

    def _check_reach(self, size: tuple[int, int]) -> None:
        """Refuse a mask that lies wholly in what is cut off of a picture of that size."""
        kept, box = self._kept(size), self.mask_box
        if kept == (0, 0, *size):
            return
        if box is not None:
            field = "mask_box"
            reaches = box.x < kept[2] and box.y < kept[3] and box.x + box.width > kept[0] and box.y + box.height > kept[1]
        elif isinstance(self.mask, bytes) and self.mask:
            field, reaches = "mask", not is_black(self.mask, _scaled_area(kept, size, picture_size(self.mask) or size))
        elif self._is_transparent():
            field, reaches = "the transparent part", shows_through(self._masked_picture(), kept)
        else:
            return
        if not reaches:
            edges = f"{kept[0]} to {kept[2]} across and {kept[1]} to {kept[3]} down"
            text = f"Nothing would be redrawn: {field} lies in what is cut off. Of {size[0]}×{size[1]} pixels {edges} are kept."
            hint = "Move it inside, or give a width and a height with fit=pad or fit=stretch, which cut nothing off."
            raise InvalidInputError(text, hint, {"field": field if field.startswith("mask") else "mask"})


def _scaled_area(area: Area, size: tuple[int, int], other: tuple[int, int]) -> Area:
    """Return a part of a picture of one size in the pixels of another, those that lie in it by half included."""
    left, upper, right, lower = area
    across, down = other[0] / size[0], other[1] / size[1]
    return floor(left * across), floor(upper * down), ceil(right * across), ceil(lower * down)
