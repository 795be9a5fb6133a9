"""Pictures in requests: several in one field, the size they are brought to, masks. Seen on what the emulator makes of them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ryla_gen import (
    SDXL,
    Client,
    CustomWorkflow,
    Flux,
    Flux2Klein,
    FluxDev,
    FluxFill,
    FluxKontext,
    FluxLora,
    InstantID,
    QwenImage,
    QwenImageEdit,
    Wan22,
    Workflow,
    ZImage,
)
from ryla_gen.errors import InvalidInputError
from ryla_gen.results import Generation
from ryla_gen.workflows.pictures import Box, kept_area

SMALL = {"width": 256, "height": 256, "steps": 2, "seed": 7}
MARK = 20
"""Rows at the lower edge in which the emulator writes its mark."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """The embedded emulator."""
    with Client("emulator") as opened:
        yield opened


def png(width: int, height: int, *, alpha: bool = False) -> bytes:
    """A picture with a red left and a blue right half; with ``alpha``, the blue half is transparent."""
    picture = Image.new("RGBA", (width, height), (200, 40, 30, 255))
    ImageDraw.Draw(picture).rectangle((width // 2, 0, width, height), fill=(30, 60, 200, 0 if alpha else 255))
    return encoded(picture if alpha else picture.convert("RGB"))


def mask(width: int, height: int, box: tuple[int, int, int, int] | None) -> bytes:
    """A black picture with a white box, its far edges not in it."""
    picture = Image.new("L", (width, height), 0)
    if box:
        ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return encoded(picture)


def hole(width: int, height: int, box: tuple[int, int, int, int]) -> bytes:
    """The picture of :func:`png`, transparent in a box."""
    picture = Image.open(io.BytesIO(png(width, height))).convert("RGBA")
    picture.paste((0, 0, 0, 0), box)
    return encoded(picture)


def encoded(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def pixels(made: Generation | bytes) -> Any:
    """The pixels of what was made, less the rows with the emulator's mark."""
    picture = Image.open(io.BytesIO(made)) if isinstance(made, bytes) else made.image
    return np.asarray(picture.convert("RGB"), dtype=int)[:-MARK]


@pytest.mark.parametrize("cls", [Flux, FluxDev, ZImage, SDXL])
def test_denoise_says_how_much_of_a_picture_is_redrawn(client: Client, cls: type[Workflow]) -> None:
    given = pixels(png(256, 256))
    far = []
    for denoise in (0.0, 0.4, 1.0):
        made = client.run(cls(prompt="a lighthouse", image=png(256, 256), denoise=denoise, **SMALL))
        far.append(float(np.abs(pixels(made) - given).mean()))
    assert far[0] < 6 < far[1] < far[2], far


def test_without_a_picture_denoise_changes_nothing(client: Client) -> None:
    one, other = (client.run(ZImage(prompt="a boat", denoise=denoise, **SMALL)) for denoise in (0.2, 0.6))
    assert one.image.tobytes() == other.image.tobytes()


def test_a_picture_of_another_shape_is_cropped_padded_or_stretched_and_said_to_be(client: Client) -> None:
    wide = png(512, 256)
    made = {fit: client.run(Flux(prompt="x", image=wide, denoise=0.0, fit=fit, **SMALL)) for fit in ("crop", "pad", "stretch")}
    for fit, generation in made.items():
        assert generation.image.size == (256, 256)
        [notice] = [item for item in generation.warnings if item.code == "picture_fitted"]
        assert "512×256" in notice.message and f"fit={fit}" in notice.message
    shown = {fit: pixels(generation)[:200] for fit, generation in made.items()}
    assert shown["pad"][:40].mean() < 12, "black bars above"
    assert shown["crop"][:40].mean() > 60 and shown["stretch"][:40].mean() > 60
    same = client.run(Flux(prompt="x", image=png(512, 512), denoise=0.0, **SMALL))
    assert [item.code for item in same.warnings] == []


@pytest.mark.parametrize(
    ("cls", "fields", "codes"),
    [
        (ZImage, {"denoise": 0.3, "fit": "pad"}, ["fit_ignored", "denoise_ignored"]),
        (ZImage, {"denoise": 0.3, "fit": "pad", "image": png(64, 64)}, []),
        (ZImage, {}, []),
        (SDXL, {"fit": "pad", "pose_image": png(64, 64), "control_strength": 0.5}, []),
        (SDXL, {"fit": "pad", "image": png(64, 64), "control_strength": 0.5}, ["control_strength_ignored"]),
        (SDXL, {"control_strength": 0.5}, ["control_strength_ignored"]),
        (SDXL, {"speed": "turbo", "scheduler": "karras"}, ["scheduler_ignored"]),
        (SDXL, {"speed": "lightning", "scheduler": "karras"}, []),
        (SDXL, {"speed": "turbo"}, []),
        (Wan22, {"fit": "stretch"}, ["fit_ignored"]),
        (FluxFill, {"image": png(64, 64), "fit": "pad"}, ["fit_ignored"]),
        (FluxFill, {"image": png(64, 64), "fit": "pad", "width": 256, "height": 256}, []),
    ],
)
def test_a_field_without_effect_is_said_to_have_none(cls: type[Workflow], fields: dict[str, Any], codes: list[str]) -> None:
    notices = cls(prompt="x", **fields).notices()
    assert [item.code for item in notices if item.code.endswith("_ignored")] == codes
    assert all("has no effect with" in item.message for item in notices if item.code.endswith("_ignored"))


def test_turbo_redraws_in_tenths(client: Client) -> None:
    fields = {"prompt": "a forest", "image": png(256, 256), "speed": "turbo", "width": 256, "height": 256, "seed": 7}
    with pytest.raises(InvalidInputError, match="denoise must be 0, or at least 0.1") as caught:
        SDXL(**fields, denoise=0.05)
    assert "Nearest valid: denoise=0.1. " in caught.value.hint
    none, least = (pixels(client.run(SDXL(**fields, denoise=denoise))) for denoise in (0.0, 0.1))
    assert (none != least).any()
    assert SDXL(prompt="x", speed="turbo", denoise=0.05).denoise == 0.05, "without a picture it has no effect"


def test_several_pictures_of_one_request_each_come_out_of_one_picture(client: Client) -> None:
    made = client.run(ZImage(prompt="a boat", image=png(256, 256), batch_size=2, **SMALL))
    assert len(made.outputs) == 2 and made.outputs[0].data != made.outputs[1].data


@pytest.mark.parametrize(
    "fields", [{"mask": mask(256, 256, (0, 0, 128, 256))}, {"mask_box": {"x": 0, "y": 0, "width": 128, "height": 256}}]
)
def test_what_is_outside_a_mask_stays_as_it_was(client: Client, fields: dict[str, Any]) -> None:
    made = client.run(FluxFill(prompt="a forest", image=png(256, 256), steps=2, seed=7, **fields))
    before, after = pixels(png(256, 256)), pixels(made)
    assert (before[:, 128:] == after[:, 128:]).all()
    assert np.abs(before[:, :120] - after[:, :120]).mean() > 20


def test_what_is_transparent_in_a_mask_stays_whatever_colour_it_hides(client: Client) -> None:
    layer = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    ImageDraw.Draw(layer).rectangle((0, 0, 127, 255), fill=(255, 255, 255, 255))
    masks = [encoded(picture) for picture in (layer, layer.convert("LA"), layer.getchannel("A"))]
    made = [pixels(client.run(FluxFill(prompt="a forest", image=png(256, 256), mask=item, steps=2, seed=7))) for item in masks]
    assert (made[0] == made[2]).all() and (made[1] == made[2]).all()
    assert (made[0][:, 128:] == pixels(png(256, 256))[:, 128:]).all()
    with pytest.raises(InvalidInputError, match="black all over"):
        client.run(FluxFill(prompt="x", image=png(256, 256), mask=encoded(Image.new("RGBA", (256, 256), (255, 255, 255, 0)))))


def test_a_soft_edge_reaches_as_far_outward_as_it_is_wide_and_no_further(client: Client) -> None:
    half = mask(256, 256, (0, 0, 128, 256))
    made = client.run(FluxFill(prompt="a forest", image=png(256, 256), mask=half, feather=20, steps=2, seed=7))
    changed = (pixels(png(256, 256)) != pixels(made)).any(axis=(0, 2))
    assert changed[:140].all(), "beside the mask too"
    assert not changed[128 + 20 :].any()


def test_the_transparent_part_of_a_picture_is_its_mask(client: Client) -> None:
    made = client.run(FluxFill(prompt="a forest", image=png(256, 256, alpha=True), steps=2, seed=7))
    before, after = pixels(png(256, 256)), pixels(made)
    assert (before[:, :128] == after[:, :128]).all()
    assert np.abs(before[:, 136:] - after[:, 136:]).mean() > 20


def test_padding_draws_around_a_picture_of_any_size(client: Client) -> None:
    made = client.run(
        FluxFill(prompt="a forest", image=png(261, 259), padding={"right": 64, "top": 32}, feather=0, steps=2, seed=7)
    )
    assert made.image.size == (256 + 64, 256 + 32)
    before = np.asarray(Image.open(io.BytesIO(png(261, 259))), dtype=int)[1:257, 2:258]
    after = np.asarray(made.image.convert("RGB"), dtype=int)[32:, :256]
    assert (before == after)[:-MARK].all()


def test_beside_what_is_added_around_it_the_transparent_part_of_a_picture_is_redrawn_too(client: Client) -> None:
    holed = hole(256, 256, (160, 80, 224, 160))
    made = client.run(FluxFill(prompt="a forest", image=holed, padding={"left": 64}, feather=0, steps=2, seed=7))
    before, after = pixels(png(256, 256)), pixels(made)[:, 64:]
    outside = np.ones(before.shape[:2], dtype=bool)
    outside[80:160, 160:224] = False
    assert (before == after)[outside].all()
    drawn = after[84:156, 164:220]
    assert drawn.mean() > 20 and drawn.std() > 5, "neither the hidden black nor one colour"


HIDDEN: list[tuple[type[Workflow], dict[str, Any], list[str]]] = [
    (ZImage, {"image": png(256, 256, alpha=True)}, ["image"]),
    (FluxKontext, {"image": png(1024, 1024, alpha=True)}, ["image"]),
    (Flux2Klein, {"images": [png(256, 256), png(256, 256, alpha=True)]}, ["images[1]"]),
    (Wan22, {"image": png(832, 480, alpha=True)}, ["image"]),
    (SDXL, {"pose_image": png(256, 256, alpha=True), "width": 256, "height": 256}, ["pose_image"]),
    (InstantID, {"reference_image": png(256, 256, alpha=True)}, ["reference_image"]),
    (QwenImageEdit, {"images": [png(256, 256, alpha=True), png(256, 256, alpha=True)]}, ["images[1]"]),
    (QwenImageEdit, {"images": png(256, 256, alpha=True), "mask_box": {"x": 0, "y": 0, "width": 9, "height": 9}}, ["images[0]"]),
    (FluxFill, {"image": png(256, 256, alpha=True), "mask": mask(256, 256, (0, 0, 9, 9))}, ["image"]),
    (FluxFill, {"image": png(256, 256, alpha=True)}, []),
    (FluxFill, {"image": png(256, 256, alpha=True), "padding": {"left": 64}}, []),
    (CustomWorkflow, {"graph": ZImage(prompt="x", image=b"x").build().to_api(), "images": {"image.png": png(9, 9, alpha=True)}},
     ["images[image.png]"]),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "fields", "places"), HIDDEN)
def test_the_hidden_colours_of_a_picture_whose_transparency_says_nothing_are_not_used_without_a_word(
    cls: type[Workflow], fields: dict[str, Any], places: list[str]
) -> None:
    request = asyncio.run(cls(prompt="x", **fields).resolved())
    found = [item.message for item in request.notices() if item.code == "hidden_colours_used"]
    assert [text.partition(" has a transparent part; its hidden colours are used")[0] for text in found] == places
    opaque = asyncio.run(ZImage(prompt="x", image=png(256, 256)).resolved())
    assert [item.code for item in opaque.notices() if item.code == "hidden_colours_used"] == []


def test_a_smaller_mask_of_the_same_shape_is_brought_to_the_pictures_size(client: Client) -> None:
    made = client.run(FluxFill(prompt="a forest", image=png(256, 256), mask=mask(64, 64, (0, 0, 32, 64)), steps=2, seed=7))
    assert (pixels(png(256, 256))[:, 140:] == pixels(made)[:, 140:]).all()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "Nothing says what is redrawn"),
    ({"mask": mask(256, 256, None)}, "black all over"),
    ({"mask": mask(256, 128, (0, 0, 9, 9))}, "their shapes differ"),
    ({"mask_box": {"x": 300, "y": 0, "width": 9, "height": 9}}, "outside the picture"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_a_mask_that_is_none_of_its_picture_is_refused_before_anything_is_sent(
    client: Client, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        client.run(FluxFill(prompt="x", image=png(256, 256), **fields))
    ways = ("mask (white", "mask_box", "transparent", "padding")
    assert fields or all(way in caught.value.hint for way in ways), "every way is named where none was taken"


EDGE = {"x": 0, "y": 0, "width": 100, "height": 30}
CUT = {"width": 512, "height": 256}
CUT_OFF: list[tuple[type[Workflow], dict[str, Any]]] = [
    (FluxFill, {"image": png(320, 384), "mask_box": EDGE, **CUT}),
    (FluxFill, {"image": png(320, 384), "mask": mask(320, 384, (0, 0, 100, 30)), **CUT}),
    (FluxFill, {"image": png(320, 384), "mask": mask(160, 192, (0, 0, 50, 15)), **CUT}),
    (FluxFill, {"image": png(320, 384), "mask_box": EDGE, "padding": {"left": 64}, **CUT}),
    (FluxFill, {"image": hole(320, 384, (0, 0, 100, 30)), **CUT}),
    (FluxFill, {"image": png(263, 256), "mask_box": {"x": 0, "y": 0, "width": 3, "height": 256}}),
    (FluxFill, {"image": png(263, 256), "mask_box": {"x": 259, "y": 0, "width": 4, "height": 256}}),
    (QwenImageEdit, {"images": png(320, 384), "mask_box": EDGE, **CUT}),
    (QwenImageEdit, {"images": hole(320, 384, (0, 0, 100, 30)), **CUT}),
]


@pytest.mark.parametrize(("cls", "fields"), CUT_OFF)
def test_a_mask_that_is_cut_off_with_the_edges_of_its_picture_is_refused_before_anything_is_sent(
    client: Client, cls: type[Workflow], fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match="Nothing would be redrawn: .* lies in what is cut off") as caught:
        client.run(cls(prompt="x", steps=1, **fields))
    assert "fit=pad" in caught.value.hint


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (FluxFill, {"image": png(320, 384), "mask_box": {**EDGE, "height": 113}, **CUT}),
        (FluxFill, {"image": png(320, 384), "mask_box": EDGE, "fit": "pad", **CUT}),
        (FluxFill, {"image": png(320, 384), "mask": mask(320, 384, (0, 0, 100, 113)), **CUT}),
        (FluxFill, {"image": hole(320, 384, (0, 0, 100, 30)), "padding": {"left": 64}, **CUT}),
        (FluxFill, {"image": png(263, 256), "mask_box": {"x": 0, "y": 0, "width": 4, "height": 256}}),
        (QwenImageEdit, {"images": png(320, 384), "mask_box": {**EDGE, "height": 113}, **CUT}),
    ],
)
def test_a_mask_of_which_something_is_left_is_taken(cls: type[Workflow], fields: dict[str, Any]) -> None:
    asyncio.run(cls(prompt="x", **fields).resolved())


@pytest.mark.parametrize("size", [(320, 384), (511, 300), (300, 511), (256, 256)])
def test_what_is_kept_of_a_picture_is_what_the_emulator_keeps(client: Client, size: tuple[int, int]) -> None:
    left, upper, right, lower = kept_area(size, (512, 256), "crop")
    shade = np.zeros((size[1], size[0], 3), np.uint8)
    shade[upper:lower, left:right] = 255
    made = client.run(Flux(prompt="x", image=encoded(Image.fromarray(shade)), denoise=0.0, steps=1, seed=7, **CUT))
    assert pixels(made).min() > 180, "all white: not less was cut off, and what was is black"
    inner = np.zeros_like(shade)
    inner[upper + 2 : lower - 2, left + 2 : right - 2] = 255
    framed = pixels(client.run(Flux(prompt="x", image=encoded(Image.fromarray(inner)), denoise=0.0, steps=1, seed=7, **CUT)))
    assert framed[:, 0].max() < 100 and framed[0].max() < 100, "and not more"


BOX = {"x": 0, "y": 0, "width": 9, "height": 9}
SIZES: list[tuple[dict[str, Any], str, str]] = [
    ({"image": png(4000, 3000), "mask_box": BOX}, "4000×3000 is 12.0 megapixels", "width=2048 and height=1536"),
    ({"image": png(1, 1), "mask_box": BOX}, "must have 64 to 16384 pixels", "width=256 and height=256"),
    ({"image": png(17000, 100), "mask_box": BOX}, "must have 64 to 16384 pixels", "width=2048 and height=256"),
    ({"image": png(1024, 1024), "padding": {"left": 2048, "top": 2048}}, "3072×3072 with its padding", "Add less"),
]


@pytest.mark.parametrize(("fields", "says", "hint"), SIZES, ids=["large", "a single pixel", "a strip", "padded"])
def test_a_picture_that_cannot_be_drawn_into_at_its_size_is_refused_before_anything_is_sent(
    client: Client, fields: dict[str, Any], says: str, hint: str
) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        client.run(FluxFill(prompt="x", **fields))
    assert hint in caught.value.hint


def test_a_picture_that_is_drawn_into_at_its_own_size_is_said_to_lose_what_is_over_a_multiple_of_8(client: Client) -> None:
    upright, turned = Image.open(io.BytesIO(png(333, 251))), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.save(turned, "JPEG", exif=exif)
    for data, size in ((png(333, 251), (328, 248)), (turned.getvalue(), (248, 328))):
        made = client.run(FluxFill(prompt="x", image=data, mask_box={"x": 64, "y": 64, "width": 64, "height": 64}, steps=1, seed=7))
        assert made.image.size == size
        [notice] = [item for item in made.warnings if item.code == "picture_fitted"]
        assert f"{size[0]}×{size[1]}" in notice.message and "cut off" in notice.message
    assert FluxFill(prompt="x", image=png(256, 248)).notices() == ()


def test_what_is_added_around_a_picture_counts() -> None:
    plain, padded = ({"image": b"x", "prompt": "x", **fields} for fields in ({}, {"padding": {"left": 1024}}))
    assert FluxFill.work(padded).amount == 2 * FluxFill.work(plain).amount
    with pytest.raises(InvalidInputError, match="5.24 megapixels"):
        FluxFill(**plain, width=2048, height=2048, padding={"left": 512})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mask": b"x", "mask_box": Box(x=0, y=0, width=8, height=8)}, "either mask or mask_box"),
        ({"padding": {"left": 0}}, "padding adds nothing"),
        ({"padding": {"left": 7}}, "multiple of 8"),
        ({"width": 512}, "both width and height"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        FluxFill(prompt="x", image=b"x", **fields)


def test_an_edit_keeps_the_pictures_shape_and_layout(client: Client, tmp_path: Path) -> None:
    made = client.run(FluxKontext(prompt="make it night", image=png(640, 320), steps=2, seed=7))
    assert abs(made.image.width / made.image.height - 2) < 0.15
    left, right = (pixels(made)[:, half].mean(axis=(0, 1)) for half in (slice(0, 400), slice(-400, None)))
    assert left[0] > right[0] and right[2] > left[2], "red is left and blue is right, as they were"
    assert [item.code for item in made.warnings if item.code == "picture_fitted"] == [], "next to nothing of it is cut off"
    [notice] = FluxKontext(prompt="make it night", image=png(640, 360)).notices()
    assert (notice.code, "640×360" in notice.message, "1392×752" in notice.message) == ("picture_fitted", True, True)
    other = client.run(FluxKontext(prompt="make it night", image=png(640, 320), width=512, height=512, steps=2, seed=7))
    assert other.image.size == (512, 512)


def test_pictures_are_taken_in_their_order_and_one_needs_no_list(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(png(512, 256))
    alone, listed = Flux2Klein(prompt="x", images=file), Flux2Klein(prompt="x", images=[str(file)])
    assert alone.images == (file,) and listed.images == (str(file),)
    made = [client.run(Flux2Klein(prompt="a hat", images=pictures, steps=2, seed=7)) for pictures in (file, [file, png(64, 64)])]
    assert [item.image.size[0] > item.image.size[1] for item in made] == [True, True], "the first picture gives the shape"
    assert made[0].outputs[0].data != made[1].outputs[0].data, "the second one counts too"
    with pytest.raises(InvalidInputError, match="images"):
        Flux2Klein(prompt="x", images=[b"x"] * 5)


def test_a_request_with_several_pictures_is_described_rebuilt_and_made_again(client: Client, tmp_path: Path) -> None:
    from ryla_gen import load

    made = client.run(Flux2Klein(prompt="a hat", images=[png(64, 64), png(32, 32)], steps=1, seed=7, width=256, height=256))
    record = client.history.get(made.job)
    assert record is not None and [item["bytes"] > 0 for item in record.inputs["images"]] == [True, True]
    [path] = made.save(tmp_path / "hat.png")
    with pytest.raises(InvalidInputError, match="images") as caught:
        load(path)
    assert "--image FILE --image FILE" in caught.value.hint
    again = client.run(load(path, images=[png(64, 64), png(32, 32)]))
    assert again.image.tobytes() == made.image.tobytes()


def test_an_aspect_ratio_fills_in_what_is_not_given() -> None:
    wide = ZImage(prompt="x", aspect_ratio="16:9")
    assert (wide.width, wide.height) == (1360, 768)
    assert ZImage(prompt="x", aspect_ratio="1:1").width == 1024
    beside = ZImage(prompt="x", aspect_ratio="16:9", height=512), ZImage(prompt="x", aspect_ratio="3:4", width=768)
    assert [(item.width, item.height) for item in beside] == [(912, 512), (768, 1024)]
    assert ZImage(prompt="x", aspect_ratio="16:9", width=512, height=512).height == 512
    turbo = SDXL(prompt="x", speed="turbo", aspect_ratio="16:9")
    assert (turbo.width, turbo.height) == (688, 384), "as many pixels as turbo has without it"
    assert ZImage.from_plain(wide.to_plain()) == wide
    with pytest.raises(InvalidInputError, match="aspect_ratio"):
        ZImage(prompt="x", aspect_ratio="7:1")


@pytest.mark.parametrize(
    ("cls", "fields", "says", "nearest"),
    [
        (
            ZImage,
            {"aspect_ratio": "16:9", "width": 256},
            "at 16:9 makes a height of 144; it must be at least 256",
            (448, 256),
        ),
        (QwenImage, {"aspect_ratio": "9:16", "width": 2048}, "makes a height of 3648; it must be at most 2048", (1152, 2048)),
        (SDXL, {"aspect_ratio": "9:16", "height": 256}, "height=256 at 9:16 makes a width of 144", (256, 448)),
    ],
)
def test_a_side_that_an_aspect_ratio_would_make_too_short_or_too_long_is_told_by_the_one_that_was_given(
    cls: type[Workflow], fields: dict[str, Any], says: str, nearest: tuple[int, int]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cls(prompt="x", **fields)
    given = "width" if "width" in fields else "height"
    value = nearest[0] if given == "width" else nearest[1]
    assert says in caught.value.message and f"Nearest valid: {given}={value}. " in caught.value.hint
    fits: Any = cls(prompt="x", **{**fields, given: value})
    assert (fits.width, fits.height) == nearest
    with pytest.raises(InvalidInputError, match="width: must be a multiple of 16") as other:
        ZImage(prompt="x", aspect_ratio="16:9", width=1001)
    assert "height" not in other.value.message


def test_a_lora_may_act_against_what_it_was_trained_on() -> None:
    graph = ZImage(prompt="x", loras=[{"id": "ada", "strength": -1.5}]).build().to_api()
    [loader] = [node for node in graph.values() if node["class_type"] == "LoraLoader"]
    assert loader["inputs"]["strength_model"] == -1.5
    assert FluxLora(prompt="x", lora_id="ada", lora_strength=-2).lora_strength == -2
    with pytest.raises(InvalidInputError, match="strength"):
        SDXL(prompt="x", loras=[{"id": "ada", "strength": 2.5}])


def test_more_detail_and_a_larger_picture_cost_more_time() -> None:
    plain, detailed = ZImage(prompt="x"), ZImage(prompt="x", sampler="detailed")
    assert (plain.steps, detailed.steps) == (8, 20)
    described = [ZImage(prompt="x", **fields).described() for fields in ({}, {"sampler": "detailed", "steps": 8}, {"upscale": 2.0})]
    amounts = [ZImage.work(fields).amount for fields in described]
    assert amounts == [amounts[0], 2 * amounts[0], 5 * amounts[0]], "its estimate is not that of a plain run"
    assert plain.time_limit() < detailed.time_limit() < ZImage(prompt="x", sampler="detailed", upscale=2.0).time_limit()


def test_the_larger_picture_is_larger_and_shows_the_same(client: Client) -> None:
    plain, larger = (client.run(ZImage(prompt="a boat", upscale=upscale, **SMALL)) for upscale in (1.0, 1.5))
    assert larger.image.size == (384, 384)
    small = np.asarray(larger.image.convert("L").resize((256, 256)), dtype=float)[:-MARK]
    alike = np.corrcoef(small.ravel(), np.asarray(plain.image.convert("L"), dtype=float)[:-MARK].ravel())[0, 1]
    assert alike > 0.8


@pytest.mark.parametrize("field", ["pose_image", "depth_image", "edge_image"])
def test_a_guiding_picture_is_followed_as_strongly_as_asked(client: Client, field: str) -> None:
    guide = mask(256, 256, (64, 64, 192, 192))
    plain = pixels(client.run(SDXL(prompt="a stone", **SMALL)))
    strengths = (0.0, 0.4, 1.5)
    made = (pixels(client.run(SDXL(prompt="a stone", **{field: guide}, control_strength=s, **SMALL))) for s in strengths)
    off, some, more = (float(np.abs(picture - plain).mean()) for picture in made)
    assert off == 0.0 < some < more
