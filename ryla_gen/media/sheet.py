"""Draw a contact sheet: pictures in an even grid, each with its label. Must not know a job or a file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

LONGEST_SIDE = 512
"""Pixels of a picture on the sheet: four in a row fit a wide screen, and a face is still to be judged."""
GAP, MARGIN = 24, 40
"""Pixels between the pictures, and around all of them."""
LABEL, TITLE, NOTE = 24, 40, 20
"""Heights of the letters in pixels."""
BACKGROUND, INK, FAINT, HOLLOW = "#f6f5f2", "#1d1d1f", "#6b6a66", "#e4e2dc"
SCREEN = 1.5
"""Width over height that a sheet tends to."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One place of the sheet."""

    label: str
    data: bytes | None
    """The encoded picture; None leaves the place empty and says so."""


def contact_sheet(tiles: Sequence[Tile], *, title: str = "", note: str = "") -> bytes:
    """Draw pictures into one PNG, in an even grid, each above its label.

    Args:
        tiles: the pictures, row by row.
        title: a line above them.
        note: a smaller line below the title.

    Raises:
        InvalidInputError: there are none, or one is not a picture.

    """
    from PIL import Image, ImageDraw

    if not tiles:
        raise InvalidInputError("A contact sheet needs at least one picture.", "Give one Tile for each.")
    pictures = [None if tile.data is None else fit_picture(tile.data, LONGEST_SIDE) for tile in tiles]
    cell = cell_size([picture for picture in pictures if picture is not None], LONGEST_SIDE)
    columns = columns_for(len(tiles), cell[0] / cell[1])
    rows = math.ceil(len(tiles) / columns)
    head = (TITLE + 12 if title else 0) + (NOTE + 12 if note else 0) + (20 if title or note else 0)
    row_height = cell[1] + LABEL + 36
    size = (2 * MARGIN + columns * (cell[0] + GAP) - GAP, 2 * MARGIN + head + rows * row_height - 12)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _heading(draw, title, note, size[0] - 2 * MARGIN)
    for index, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        corner = (MARGIN + index % columns * (cell[0] + GAP), MARGIN + head + index // columns * row_height)
        _place(sheet, draw, tile.label, picture, corner, cell)
    file = io.BytesIO()
    sheet.save(file, "PNG", compress_level=4)
    return file.getvalue()


def columns_for(count: int, shape: float) -> int:
    """Choose the columns of the grid: few empty places first, then an outline like a screen's.

    Args:
        count: pictures.
        shape: width of one over its height.

    """

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        empty = rows * columns - count
        return abs(math.log(columns * shape / rows / SCREEN)) + 0.9 * empty / columns

    return min(range(1, min(count, 6) + 1), key=badness)


def fit_picture(data: bytes, side: int) -> Image:
    """Read a picture and make its longer side at most so many pixels.

    Raises:
        InvalidInputError: it is no picture.
    """
    from PIL.Image import Resampling

    from .images import normalise, open_picture

    with open_picture(data) as opened:
        picture = normalise(opened).convert("RGB")
    picture.thumbnail((side, side), Resampling.LANCZOS)
    return picture


def cell_size(pictures: Sequence[Image], default: int) -> tuple[int, int]:
    """Return the size of every place: that of the largest picture, so that none is cut; a square where there is none."""
    if not pictures:
        return default, default
    return max(picture.width for picture in pictures), max(picture.height for picture in pictures)


def _heading(draw: ImageDraw, title: str, note: str, room: int) -> None:
    top = MARGIN
    for text, height, ink in ((title, TITLE, INK), (note, NOTE, FAINT)):
        if text:
            _line(draw, text, (MARGIN, top), height, ink, room)
            top += height + 12


def _place(
    sheet: Image, draw: ImageDraw, label: str, picture: Image | None, corner: tuple[int, int], cell: tuple[int, int]
) -> None:
    left, top = corner
    if picture is None:
        draw.rectangle((left, top, left + cell[0] - 1, top + cell[1] - 1), fill=HOLLOW)
        middle = (left + cell[0] // 2, top + cell[1] // 2)
        draw.text(middle, "missing", fill=FAINT, font=_font(LABEL), anchor="mm")
    else:
        sheet.paste(picture, (left + (cell[0] - picture.width) // 2, top + (cell[1] - picture.height) // 2))
    _line(draw, label, (left, top + cell[1] + 10), LABEL, INK, cell[0])


def _line(draw: ImageDraw, text: str, corner: tuple[int, int], height: int, ink: str, room: int) -> None:
    """Write one line, cut where the room ends."""
    font = _font(height)
    if draw.textlength(text, font=font) > room:
        while text and draw.textlength(f"{text}…", font=font) > room:
            text = text[:-1]
        text = f"{text.rstrip()}…"
    draw.text(corner, text, fill=ink, font=font)


def _font(height: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(height)  # included in Pillow: a sheet looks the same on every machine
