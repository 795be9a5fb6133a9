"""Paint a picture for a prompt, the same one every time: sky, light, ground, a few silhouettes, a portrait.

It is no model and does not look like one: what a prompt names beyond that is written under the picture in the prompt's own words.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..conditioning import stable_key
from .canvas import Array, Canvas, Colour, Light
from .figures import paint_figures
from .places import paint_place, paint_weather
from .scene import Scene, read

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_LIGHTS: dict[str, tuple[Colour, Colour]] = {
    "day": ((1.0, 1.0, 0.98), (1.0, 0.97, 0.88)), "dusk": ((0.80, 0.62, 0.68), (1.0, 0.68, 0.42)),
    "dawn": ((0.98, 0.88, 0.88), (1.0, 0.86, 0.70)), "night": ((0.36, 0.43, 0.64), (0.72, 0.82, 1.0)),
}  # fmt: skip
"""The tint of everything and the colour of the light itself, by hour."""
KEPT_PIXELS = 96 * 96
"""Paintings of at most so many pixels are kept, 256 of them: some 30 MB at most."""
_DULL = {"rain": 0.80, "storm": 0.66, "cloudy": 0.88, "fog": 0.95}


def paint(text: str, width: int, height: int, layout: int = 0, time: float = 0.0) -> Array:
    """Paint a prompt as [height, width, 3] in 0..1; an empty one is neutral grey.

    Args:
        text: the prompt.
        width: in pixels.
        height: in pixels.
        layout: which of the prompt's compositions.
        time: latent frames (a quarter of a second each) since the start of a video; clouds, water and figures move with it.

    """
    if not text.strip():
        return np.full((height, width, 3), 0.5, np.float32)
    small = width * height <= KEPT_PIXELS
    return (_paint_once if small else _paint)(text, width, height, layout, time)


@lru_cache(maxsize=256)
def _paint_once(text: str, width: int, height: int, layout: int, time: float) -> Array:
    """Paint a small picture, or return it again: each run of a prompt looks at one of each of its compositions."""
    image = _paint(text, width, height, layout, time)
    image.flags.writeable = False
    return image


def _paint(text: str, width: int, height: int, layout: int, time: float) -> Array:
    scene = read(text)
    seed = (stable_key(text.strip().lower()), layout)
    canvas = Canvas(width, height, seed, _light(scene, np.random.Generator(np.random.PCG64(seed))), time)
    ground = paint_place(canvas, scene)
    paint_figures(canvas, scene, ground)
    paint_weather(canvas, scene, ground.horizon)
    return _finish(canvas)


def _light(scene: Scene, draw: np.random.Generator) -> Light:
    (red, green, blue), glow = _LIGHTS[scene.hour]
    dull = _DULL.get(scene.weather, 1.0)
    return Light((red * dull, green * dull, min(1.0, blue * (dull + 1) / 2)), 1.0 if draw.random() < 0.5 else -1.0, glow)


def _finish(canvas: Canvas) -> Array:
    """Finish the painting: light areas shine a little into their surroundings, a brush leaves its grain, and corners are darker."""
    image: Array = np.clip(canvas.image, 0.0, 1.0)
    small = Image.fromarray((image[::4, ::4] * 255).astype(np.uint8))
    soft = small.filter(ImageFilter.GaussianBlur(max(0.6, 0.006 * canvas.unit)))
    shine = np.asarray(soft.resize((canvas.width, canvas.height), Image.Resampling.BILINEAR), np.float32) / np.float32(255)
    bright = image + 0.16 * shine * shine * (1 - image)
    strokes = canvas.noise(0.03, 2) + canvas.noise(0.012, 2, stretch=3.0)
    far = (canvas.x[None, :] / canvas.right) ** 2 + (canvas.y[:, None] / canvas.bottom) ** 2
    shade = 1 + 0.018 * strokes - np.float32(0.12) * np.clip(far - 0.35, 0, 2)
    return np.clip(bright * shade[..., None], 0.0, 1.0).astype(np.float32)


SMALLEST_CAPTIONED = 96
"""Pixels of the shorter side below which a caption is left out: it could not be read, and would cover the picture."""
LETTERS = 0.024
"""Height of a caption's letters as a share of the shorter side."""
SMALLEST_LETTERS = 10
"""Pixels of the painting, which the latent doubles: smaller ones do not survive it."""
LINES, LONGEST = 2, 1000
"""The most lines of a caption, and the most characters that are looked at; what does not fit ends in an ellipsis."""


def add_caption(picture: Array, texts: Iterable[str]) -> Array:
    """Write what the paintings of some prompts do not show under a picture [H, W, 3] in 0..1, in the prompts' own words.

    A picture of which everything is painted, and one too small for letters, is returned as it is.
    """
    caption = " + ".join(found for found in (read(text).caption for text in texts) if found)
    height, width = picture.shape[:2]
    if not caption or min(width, height) < SMALLEST_CAPTIONED:
        return picture
    shade, light = _letters(caption, width, height)
    captioned = picture.copy()
    under = captioned[height - len(light) :] * (1 - shade)
    captioned[height - len(light) :] = under + light * (1 - under)
    return captioned


@lru_cache(maxsize=64)
def _letters(caption: str, width: int, height: int) -> tuple[Array, Array]:
    """Draw the dark strip of a caption and its light letters, both [rows, width, 1]."""
    size = max(SMALLEST_LETTERS, round(LETTERS * min(width, height)))
    # Drawn four times as large: at the size of the painting the spaces between letters would be rounded away.
    font, fine = _font(4 * size), 4
    lines = _wrap(legible(caption[:LONGEST]), font, fine * (width - 2 * size))
    # The strip reaches below the letters, where the "emulated" mark is put into the corner.
    step = round(size * 1.35)
    strip = Image.new("L", (fine * width, fine * (step * len(lines) + round(1.7 * size))))
    for index, line in enumerate(lines):
        ImageDraw.Draw(strip).text((fine * size, fine * (size // 4 + index * step)), line, fill=255, font=font)
    light = np.asarray(strip.reduce(fine), np.float32)[..., None] / np.float32(255)
    fade = np.clip(np.arange(len(light), dtype=np.float32) / size, 0, 1)
    return np.broadcast_to(np.float32(0.62) * fade[:, None, None], light.shape), light * np.float32(0.96)


def _wrap(text: str, font: Font, room: int) -> list[str]:
    """Break a text into lines of at most ``room`` pixels; what does not fit into the last line is cut."""
    letters = max(2, int(1.3 * len(text) * room / max(1.0, font.getlength(text))))
    while True:
        lines = textwrap.wrap(text, letters, max_lines=LINES, placeholder="…")
        if letters <= 2 or all(font.getlength(line) <= room for line in lines):
            return lines
        letters -= 1


def legible(text: str) -> str:
    """Convert a text to letters that the font has: drop accents where needed, write an ellipsis for what is missing."""
    found = ""
    for letter in unicodedata.normalize("NFC", text):
        plain = unicodedata.normalize("NFKD", letter)[:1]
        kind = unicodedata.category(letter)
        if _has_glyph(letter) or _has_glyph(plain):
            found += letter if _has_glyph(letter) else plain
        elif kind == "Cc":
            found += " "
        elif kind[0] not in "CM" and not found.endswith("…"):  # marks that join or turn letters may be dropped
            found += "…"
    if any(letter.isalnum() for letter in found):
        return f"“{' '.join(found.split())}”"
    # Nothing of it can be written; a number still tells two such prompts apart.
    return f"prompt #{stable_key(text) % 10**6:06} in other letters"


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)  # included in Pillow: a caption looks the same on every machine


@lru_cache(maxsize=4096)
def _has_glyph(letter: str) -> bool:
    """Whether the font draws a letter as itself and not as the box for a missing one."""
    font = _font(SMALLEST_LETTERS)
    return letter == " " or (letter.isprintable() and bytes(font.getmask(letter)) != bytes(font.getmask("\uffff")))
