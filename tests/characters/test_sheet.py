"""The contact sheet: every picture whole, in an even grid, above its label."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ryla_gen.characters.base import CharacterPlan, Shot
from ryla_gen.characters.results import compose
from ryla_gen.errors import InvalidInputError
from ryla_gen.media.origin import EDITED_BY_MODEL, EMULATED, TOOL
from ryla_gen.media.provenance import read_mark
from ryla_gen.media.sheet import GAP, LABEL, LONGEST_SIDE, MARGIN, Tile, columns_for, contact_sheet
from ryla_gen.media.strip import strip

COLOURS = ["#c02020", "#20a020", "#2040c0", "#c0a000", "#8020a0"]


def plain(colour: str, size: tuple[int, int] = (60, 80)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def drawn(tiles: list[Tile], **words: str) -> Image.Image:
    with Image.open(io.BytesIO(contact_sheet(tiles, **words))) as opened:
        return opened.convert("RGB")


def box_of(sheet: Image.Image, colour: str) -> tuple[int, int, int, int]:
    """Where exactly this colour is."""
    wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    found = sheet.copy()
    found.putdata([(255, 255, 255) if pixel == wanted else (0, 0, 0) for pixel in sheet.get_flattened_data()])
    box = found.getbbox()
    assert box is not None, f"no {colour} on the sheet"
    return box


def test_every_picture_is_whole_in_an_even_grid_with_room_for_its_label() -> None:
    sheet = drawn([Tile(f"Angle {index}", plain(colour)) for index, colour in enumerate(COLOURS)], title="Sheet")
    boxes = [box_of(sheet, colour) for colour in COLOURS]
    assert {(box[2] - box[0], box[3] - box[1]) for box in boxes} == {(60, 80)}
    lefts, tops = sorted({box[0] for box in boxes}), sorted({box[1] for box in boxes})
    assert lefts[0] == MARGIN
    assert {right - left for left, right in pairwise(lefts)} == {60 + GAP}
    assert all(lower - upper > 80 + LABEL for upper, lower in pairwise(tops))
    assert max(box[2] for box in boxes) == sheet.width - MARGIN
    assert sheet.height - max(box[3] for box in boxes) > LABEL + MARGIN


def test_a_label_is_written_below_its_picture_and_never_over_the_next_one() -> None:
    long = "a label that is much longer than its picture is wide"
    sheet = drawn([Tile(long, plain(COLOURS[0])), Tile("", plain(COLOURS[1]))])
    first, second = box_of(sheet, COLOURS[0]), box_of(sheet, COLOURS[1])
    ground = sheet.getpixel((1, 1))
    below = sheet.crop((first[0], first[3], first[2], sheet.height))
    assert any(pixel != ground for pixel in below.get_flattened_data())
    beside = sheet.crop((second[0], second[3], sheet.width, sheet.height))
    assert all(pixel == ground for pixel in beside.get_flattened_data())


def test_pictures_of_any_size_and_shape_are_shrunk_and_never_cut() -> None:
    sheet = drawn([Tile("wide", plain(COLOURS[0], (1600, 800))), Tile("tall", plain(COLOURS[1], (300, 1200)))])
    wide, tall = box_of(sheet, COLOURS[0]), box_of(sheet, COLOURS[1])
    assert (wide[2] - wide[0], wide[3] - wide[1]) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert (tall[2] - tall[0], tall[3] - tall[1]) == (LONGEST_SIDE // 4, LONGEST_SIDE)


def test_a_missing_picture_keeps_its_place() -> None:
    with_gap = drawn([Tile("a", plain(COLOURS[0])), Tile("b", None), Tile("c", plain(COLOURS[1]))])
    whole = drawn([Tile("a", plain(COLOURS[0])), Tile("b", plain(COLOURS[2])), Tile("c", plain(COLOURS[1]))])
    assert with_gap.size == whole.size
    assert box_of(with_gap, COLOURS[1]) == box_of(whole, COLOURS[1])


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (8, 4), (9, 3), (16, 4)])
def test_a_grid_of_squares_has_an_outline_like_a_screen(count: int, columns: int) -> None:
    assert columns_for(count, 1.0) == columns


def test_the_same_pictures_give_the_same_bytes_and_no_pictures_an_error() -> None:
    tiles = [Tile("a", plain(COLOURS[0])), Tile("b", plain(COLOURS[1]))]
    assert contact_sheet(tiles, title="t", note="n") == contact_sheet(tiles, title="t", note="n")
    with pytest.raises(InvalidInputError, match="at least one"):
        contact_sheet([])
    with pytest.raises(InvalidInputError):
        contact_sheet([Tile("text", b"not a picture")])


@pytest.mark.parametrize("is_emulated", [True, False])
def test_a_sheet_of_emulated_pictures_is_no_measure_of_likeness_wherever_they_came_from(tmp_path: Path, is_emulated: bool) -> None:
    text = PngInfo()
    if is_emulated:
        text.add_text("ryla:emulated", "true")
    file = tmp_path / "front.png"
    Image.new("RGB", (300, 300), "#c02020").save(file, pnginfo=text)
    front, back = Shot("front", "Front", "a fox", 3), Shot("back", "Back", "a fox", 3)
    front.path = file
    plan = CharacterPlan("4f1c", "sheet", "comfyui", "flux_pulid", False, 3, "2026-01-01T00:00:00Z", {}, None, [], [front, back])
    said = "emulated: not a measure of likeness · " if is_emulated else ""
    note = f"{said}flux_pulid · seed 3 · 1 of 2 pictures · 4f1c"
    tiles = [Tile("Front", file.read_bytes()), Tile("Back", None)]
    sheet = compose(plan)
    assert strip(sheet, "image/png") == contact_sheet(tiles, title="Character sheet", note=note)
    assert read_mark(sheet, "image/png") == ((EMULATED, f"{TOOL} (emulated)") if is_emulated else (EDITED_BY_MODEL, TOOL))
