"""What is painted for words that mean nothing to the painter: flowing ribbons of light, with colours from the words."""

from __future__ import annotations

import colorsys

import numpy as np

from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_words import Scene


def _palette(canvas: Canvas, scene: Scene) -> list[Colour]:
    """Five colours that go together: neighbours on the wheel and one from across."""
    draw = canvas.draw
    if scene.accents:
        base = scene.accents
        return [base[k % len(base)] if k < len(base) * 2 else mix(base[0], (1, 1, 1), 0.5) for k in range(5)]
    hue = draw.random()
    turns = (0.0, draw.uniform(0.06, 0.12), draw.uniform(-0.13, -0.06), 0.5 + draw.uniform(-0.07, 0.07), 0.04)
    return [colorsys.hsv_to_rgb((hue + turn) % 1, draw.uniform(0.45, 0.85), draw.uniform(0.6, 0.98)) for turn in turns]


def paint_abstract(canvas: Canvas, scene: Scene) -> None:
    """A dark gradient, ribbons that overlap softly, a few orbs."""
    palette = _palette(canvas, scene)
    deep = scaled(palette[0], 0.22)
    canvas.vertical([(0, deep), (0.6, mix(scaled(palette[1], 0.40), deep, 0.3)), (1, scaled(palette[2], 0.55))])
    mist = np.clip(0.35 + 0.5 * canvas.noise(0.7, 3, drift=0.02 * canvas.time), 0, 1)[..., None]
    canvas.image += mist * np.float32(0.45) * (np.asarray(palette[3], np.float32) - canvas.image)
    tilt = canvas.draw.uniform(-0.35, 0.35)
    for k in range(8):
        _ribbon(canvas, palette[k % 5], k, tilt)
    for k in range(5):
        _orb(canvas, palette[(k + 3) % 5])


def _ribbon(canvas: Canvas, colour: Colour, number: int, tilt: float) -> None:
    """One silk band: bright at its upper edge, fading below."""
    base = -canvas.bottom * 0.75 + number * 0.19 * canvas.bottom * 2 / 1.1 * 0.62
    line = base + tilt * canvas.x + 0.17 * canvas.ridge(0.75, 3, 0.3, drift=0.02 * canvas.time * (1 + 0.2 * number))
    depth = canvas.y[:, None] - line[None, :]
    wide = 0.10 + 0.12 * canvas.draw.random() + 0.05 * canvas.ridge(0.6, 2)[None, :]
    edge = 1.5 / canvas.unit
    body = np.clip(depth / edge + 0.5, 0, 1) * np.clip(1 - depth / np.clip(wide, 0.05, 1), 0, 1) ** 1.4
    fold = 0.80 + 0.26 * np.sin(9.0 * depth / np.clip(wide, 0.05, 1) + 6 * canvas.ridge(0.5, 2)[None, :])
    bright = np.exp(-np.clip(depth, 0, 1) / 0.018) * np.clip(depth / edge + 0.5, 0, 1)
    tone = np.asarray(colour, np.float32) * fold[..., None]
    tone = tone + bright[..., None] * np.float32(0.55) * (1 - tone)
    canvas.image += (body * 0.86)[..., None].astype(np.float32) * (tone - canvas.image)


def _orb(canvas: Canvas, colour: Colour) -> None:
    draw = canvas.draw
    x, y = draw.uniform(-0.8, 0.8) * canvas.right, draw.uniform(-0.75, 0.75) * canvas.bottom
    size = 0.02 + 0.075 * draw.random() ** 2
    y = y + 0.01 * np.sin(0.4 * canvas.time + 7 * x)
    canvas.shadow(x + 0.01, y + size * 0.6, size, size * 0.8, 0.25)
    canvas.solid(canvas.ellipse(x, y, size, size), colour, depth=size * 0.8, contrast=0.9)
    canvas.glow(x + canvas.light.side * size * 0.35, y - size * 0.4, size * 0.28, (1, 1, 1), 0.7)
