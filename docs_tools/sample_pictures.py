"""Draw the pictures of ``ryla-gen samples`` again, with the emulator's painter: ``python -m docs_tools.sample_pictures``.

What is shipped was drawn once: another Pillow writes other bytes of the same picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ryla_gen.emulator.painting import paint
from ryla_gen.tools.samples import FILES

NECK = 240
"""Row of photo.png from which on mask.png is white, over the middle half."""


def _painted(prompt: str, width: int, height: int, layout: int = 0) -> Image.Image:
    return Image.fromarray((paint(prompt, width, height, layout) * 255 + 0.5).astype(np.uint8))


def _save(path: Path, picture: Image.Image, size: tuple[int, int], colours: int) -> None:
    """Save a picture with few colours: a few kilobytes, and no grain that a model would copy."""
    small = picture.resize(size, Image.Resampling.LANCZOS)
    small.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def draw(folder: Path) -> None:
    """Draw every picture into a folder."""
    woman = _painted("portrait of a woman with red hair", 800, 800, 2).crop((150, 20, 700, 570))
    _save(folder / "face.png", woman, (384, 384), 64)
    _save(folder / "photo.png", _painted("portrait of a man in a green coat", 640, 768), (320, 384), 48)
    _save(folder / "small.png", _painted("a house in the mountains at dawn", 512, 512), (256, 256), 32)
    mask = Image.new("L", (320, 384), 0)
    mask.paste(255, (80, NECK, 240, 384))
    mask.save(folder / "mask.png", "PNG", optimize=True)


if __name__ == "__main__":
    draw(FILES)
