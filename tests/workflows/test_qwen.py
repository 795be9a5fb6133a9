"""Qwen-Image: its own sizes and defaults, edits that keep what they are not told to change, seen on the emulator."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ryla_gen import Client, QwenImage, QwenImageEdit, Workflow
from ryla_gen.errors import InvalidInputError
from ryla_gen.results import Generation
from ryla_gen.workflows.qwen import near_megapixel

MARK = 20
"""Rows at the lower edge in which the emulator writes its mark."""
FEW: dict[str, Any] = {"steps": 3, "seed": 7}
SMALL: dict[str, Any] = {**FEW, "width": 320, "height": 256}
NIGHT = "make it night"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """The embedded emulator."""
    with Client("emulator") as opened:
        yield opened


def photo(width: int = 320, height: int = 256, *, alpha: bool = False) -> bytes:
    """A picture with a red left and a blue right half; with ``alpha``, the blue half is transparent."""
    picture = Image.new("RGBA", (width, height), (200, 40, 30, 255))
    ImageDraw.Draw(picture).rectangle((width // 2, 0, width, height), fill=(30, 60, 200, 0 if alpha else 255))
    return encoded(picture if alpha else picture.convert("RGB"))


def mask(width: int = 320, height: int = 256) -> bytes:
    """A mask whose right half is white."""
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).rectangle((width // 2, 0, width, height), fill=255)
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


def test_every_aspect_ratio_has_the_size_that_its_makers_name() -> None:
    sizes = {ratio: (made.width, made.height) for ratio in QwenImage.sizes for made in [QwenImage(prompt="x", aspect_ratio=ratio)]}
    assert sizes["1:1"] == (1328, 1328) and sizes["16:9"] == (1664, 928) and sizes["2:3"] == (1056, 1584)
    for ratio, (width, height) in sizes.items():
        across, down = map(int, ratio.split(":"))
        assert abs(width / height / (across / down) - 1) < 0.01 and width % 16 == height % 16 == 0
    assert QwenImage(prompt="x", aspect_ratio="16:9", width=512).width == 512


@pytest.mark.parametrize(("cls", "steps"), [(QwenImage, 50), (QwenImageEdit, 40)])
def test_lightning_sets_steps_and_cfg_unless_they_are_given(cls: type[Workflow], steps: int) -> None:
    fields: dict[str, Any] = {"prompt": "x"} | ({"images": photo()} if cls is QwenImageEdit else {})
    usual, fast, own = cls(**fields), cls(**fields, speed="lightning"), cls(**fields, speed="lightning", steps=8, cfg=2.0)
    assert [(item.steps, item.cfg) for item in (usual, fast, own)] == [(steps, 4.0), (4, 1.0), (8, 2.0)]  # type: ignore[attr-defined]
    assert {node["class_type"] for node in fast.build().to_api().values()} >= {"LoraLoaderModelOnly"}
    assert fast.notices() == (), "the negative prompt is the workflow's own: its user has nothing to know"


def test_a_negative_prompt_of_ones_own_is_told_to_have_no_effect_with_lightning() -> None:
    [notice] = QwenImage(prompt="x", negative_prompt="blur", speed="lightning").notices()
    assert notice.code == "negative_prompt_ignored"


def test_more_work_has_more_time_and_a_usual_one_has_plenty() -> None:
    usual, fast = QwenImage(prompt="x"), QwenImage(prompt="x", speed="lightning")
    assert usual.time_limit() >= 3 * QwenImage.durations[""].high and fast.time_limit() >= 300
    assert QwenImage(prompt="x", batch_size=2).time_limit() == 2 * usual.time_limit()
    one, three = QwenImageEdit(prompt="x", images=b"x"), QwenImageEdit(prompt="x", images=[b"x"] * 3)
    assert three.time_limit() == 2 * one.time_limit(), "every picture goes through every step"


def test_expected_seconds_are_those_of_the_table_for_one_picture_and_more_for_three() -> None:
    with Client("modal") as remote:
        found = {count: remote.estimate(QwenImageEdit(prompt="x", images=[photo()] * count)) for count in (1, 3)}
        fast = remote.estimate(QwenImage(prompt="x", speed="lightning")).seconds.likely
    assert found[1].seconds.likely == QwenImageEdit.durations[""].likely
    assert found[3].seconds.likely == 2 * found[1].seconds.likely
    assert 5 < fast < 30


@pytest.mark.parametrize("cls", [QwenImage, QwenImageEdit])
def test_a_seed_makes_the_same_picture_again_and_another_one_another(client: Client, cls: type[Workflow]) -> None:
    fields: dict[str, Any] = {"prompt": "a boat, dusk"} | ({"images": photo()} if cls is QwenImageEdit else {})
    first, again, other = (client.run(cls(**fields, **(SMALL | {"seed": seed}))) for seed in (7, 7, 8))
    assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("cls", [QwenImage, QwenImageEdit])
def test_a_lora_of_strength_0_changes_nothing_and_one_of_strength_1_does(client: Client, cls: type[Workflow]) -> None:
    fields: dict[str, Any] = {"prompt": "a boat"} | ({"images": photo()} if cls is QwenImageEdit else {})
    bare = client.run(cls(**fields, **SMALL))
    off, on = (client.run(cls(**fields, **SMALL, loras=[{"id": "character", "strength": s}])) for s in (0.0, 1.0))
    assert off.image.tobytes() == bare.image.tobytes() != on.image.tobytes()


def test_a_batch_is_of_different_pictures(client: Client) -> None:
    made = client.run(QwenImage(prompt="a boat", batch_size=2, **SMALL))
    edited = client.run(QwenImageEdit(prompt=NIGHT, images=photo(), batch_size=2, mask=mask(), **SMALL))
    for generation in (made, edited):
        assert len(generation.outputs) == 2 and generation.outputs[0].data != generation.outputs[1].data


SHAPES = [((4000, 3000), (1184, 880)), ((1920, 1080), (1360, 768)), ((100, 100), (1024, 1024)), ((5000, 100), (2048, 256))]


@pytest.mark.parametrize(("size", "found"), SHAPES)
def test_an_edit_has_the_shape_of_its_picture_at_about_a_megapixel(size: tuple[int, int], found: tuple[int, int]) -> None:
    assert near_megapixel(*size) == found
    assert near_megapixel(*reversed(size)) == found[::-1]


def test_the_size_that_was_found_is_in_the_record(client: Client) -> None:
    made = client.run(QwenImageEdit(prompt=NIGHT, images=[photo(640, 320), photo(64, 256)], speed="lightning", steps=1, seed=7))
    record = client.history.get(made.job)
    assert made.image.size == (1456, 720)
    assert record is not None and (record.inputs["width"], record.inputs["height"]) == (1456, 720)
    assert made.warnings == (), "nothing of the picture is cut off"


def test_an_edit_keeps_the_layout_and_a_second_picture_counts(client: Client) -> None:
    alone = client.run(QwenImageEdit(prompt=NIGHT, images=photo(), **SMALL))
    left, right = (pixels(alone)[:, half].mean(axis=(0, 1)) for half in (slice(0, 140), slice(-140, None)))
    assert left[0] > right[0] and right[2] > left[2], "red is left and blue is right, as they were"
    green = encoded(Image.new("RGB", (64, 64), (0, 200, 0)))
    assert client.run(QwenImageEdit(prompt=NIGHT, images=[photo(), green], **SMALL)).image.tobytes() != alone.image.tobytes()


def test_denoise_says_how_much_of_the_first_picture_is_drawn_anew(client: Client) -> None:
    edits = [client.run(QwenImageEdit(prompt=NIGHT, images=photo(), denoise=denoise, **SMALL)) for denoise in (0.0, 0.5, 1.0)]
    far = [float(np.abs(pixels(made) - pixels(photo())).mean()) for made in edits]
    assert far[0] < 6 < far[2] and far[0] < far[1], far


@pytest.mark.parametrize(
    "fields",
    [{"mask": mask()}, {"mask": mask(160, 128)}, {"mask_box": {"x": 160, "y": 0, "width": 160, "height": 256}}],
    ids=["mask", "smaller mask", "box"],
)
def test_outside_the_mask_every_pixel_stays(client: Client, fields: dict[str, Any]) -> None:
    made = client.run(QwenImageEdit(prompt="a green forest", images=photo(), **fields, **SMALL))
    before, after = pixels(photo()), pixels(made)
    assert (before[:, :152] == after[:, :152]).all()
    assert np.abs(before[:, 168:] - after[:, 168:]).mean() > 20


def test_a_transparent_part_is_what_is_redrawn_and_the_caller_is_told(client: Client) -> None:
    made = client.run(QwenImageEdit(prompt="a green forest", images=photo(alpha=True), **SMALL))
    before, after = pixels(photo()), pixels(made)
    assert (before[:, :160] == after[:, :160]).all()
    assert np.abs(before[:, 168:] - after[:, 168:]).mean() > 20
    assert [item.code for item in made.warnings] == ["transparent_part_redrawn"]
    boxed = QwenImageEdit(prompt="x", images=photo(alpha=True), mask_box={"x": 0, "y": 0, "width": 9, "height": 9})
    assert "transparent_part_redrawn" not in [item.code for item in boxed.notices()]


def test_another_shape_is_fitted_as_asked_and_said(client: Client) -> None:
    made = client.run(QwenImageEdit(prompt=NIGHT, images=photo(512, 256), fit="pad", **(SMALL | {"width": 256})))
    assert made.image.size == (256, 256)
    assert [item.code for item in made.warnings] == ["picture_fitted"] and "images[0] is 512×256" in made.warnings[0].message


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"images": ()}, "images: must have at least 1 item, not 0"),
        ({"images": [b"x"] * 4}, "images: must have at most 3 items, not 4"),
        ({"images": b"x", "width": 512}, "both width and height"),
        ({"images": b"x", "mask": b"x", "mask_box": {"x": 0, "y": 0, "width": 8, "height": 8}}, "either mask or mask_box"),
        ({"images": b"x", "loras": [{"id": "mira", "strength": 3}]}, "strength"),
    ],
)
def test_what_an_edit_cannot_use_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        QwenImageEdit(prompt="x", **fields)


def test_a_mask_of_another_shape_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="their shapes differ"):
        client.run(QwenImageEdit(prompt="x", images=photo(), mask=mask(256, 256)))
