"""Draw pictures in rows, each above its label, as one picture as wide as a cell. Knows no result and no kernel.

``media.sheet`` draws what is kept and shown to others; this one is for comparing: no frame, and labels that are not cut short.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..media.sheet import Tile, cell_size, fit_picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH = 1040
"""Pixels that the output of a cell has on a common screen."""
LARGEST, SMALL, FEW = 384, 256, 6
"""Pixels of a picture's longer side: of up to six, and of more."""
GAP, LETTERS, LINES = 12, 14, 3
"""Pixels between pictures, height of the letters, and most lines of a label."""
INK, HOLLOW = "#3c3c3c", "#e6e6e6"


def rows(tiles: Sequence[Tile]) -> Image:
    """Draw pictures in even rows; one that is missing keeps its place.

    Raises:
        InvalidInputError: one is no picture.

    """
    from PIL import Image, ImageDraw, ImageFont

    side = LARGEST if len(tiles) <= FEW else SMALL
    pictures = [None if tile.data is None else fit_picture(tile.data, side) for tile in tiles]
    cell = cell_size([picture for picture in pictures if picture is not None], SMALL)
    font = ImageFont.load_default(LETTERS)
    labels = [_wrap(tile.label, cell[0], font) for tile in tiles]
    columns = _columns(len(tiles), cell[0])
    row = cell[1] + max(len(label) for label in labels) * (LETTERS + 6) + GAP
    drawn = Image.new("RGB", (columns * (cell[0] + GAP) - GAP, math.ceil(len(tiles) / columns) * row), "white")
    draw = ImageDraw.Draw(drawn)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = place % columns * (cell[0] + GAP), place // columns * row
        if picture is None:
            draw.rectangle((left, top, left + cell[0] - 1, top + cell[1] - 1), fill=HOLLOW)
        else:
            drawn.paste(picture, (left + (cell[0] - picture.width) // 2, top + cell[1] - picture.height))
        for line, text in enumerate(label):
            draw.text((left, top + cell[1] + 5 + line * (LETTERS + 6)), text, fill=INK, font=font)
    return drawn


def jpeg(picture: Image) -> bytes:
    """Encode what stands for files and is none: small, and shown by every reader of a notebook."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def _columns(count: int, width: int) -> int:
    """Choose as many columns as fit, but rows of one length where possible: four are 2 and 2, not 3 and 1."""
    fit = max(1, (WIDTH + GAP) // (width + GAP))
    return math.ceil(count / math.ceil(count / fit))


def _wrap(text: str, room: int, font: FreeTypeFont | ImageFont) -> list[str]:
    """Break a label between words, after so many lines with a sign that there is more."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], f"{lines[LINES - 1]} …"]
