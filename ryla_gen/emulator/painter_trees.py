"""Trees, near and far. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, Point, mix, scaled

TIERS = 5
"""Storeys of a fir."""


def conifer(canvas: Canvas, x: float, foot: float, tall: float, colour: Colour, snow: Colour | None = None) -> None:
    """A fir in tiers; ``snow`` lies on them."""
    draw = canvas.draw
    wide = tall * draw.uniform(0.19, 0.25)
    reaches = [(wide * (1 - k / TIERS) * draw.uniform(0.85, 1.1), draw.uniform(0.9, 1.1)) for k in range(TIERS)]
    trunk = scaled(mix(colour, (0.25, 0.17, 0.12), 0.6), 0.8)
    half, low = tall * 0.016, foot - tall * 0.2
    canvas.lay(canvas.polygon([(x - half, low), (x + half, low), (x + half, foot), (x - half, foot)]), trunk)
    left: list[Point] = []
    right: list[Point] = []
    for k, (reach, uneven) in enumerate(reaches):
        top, bottom = foot - tall * (0.12 + 0.88 * (k + 1) / TIERS), foot - tall * (0.08 + 0.80 * k / TIERS)
        left += [(x - reach, bottom + tall * 0.012), (x - reach * 0.42, top + tall * 0.03)]
        right += [(x + reach * uneven, bottom + tall * 0.012), (x + reach * 0.42, top + tall * 0.03)]
    shape = canvas.polygon([*left, (x, foot - tall), *reversed(right)])
    if canvas.is_thumbnail:
        canvas.lay(shape, mix(colour, snow, 0.3) if snow else colour)
        return
    canvas.solid(shape, colour, depth=0.02, contrast=0.5)
    if snow is not None:
        caps = [_cap(x, foot - tall * (0.10 + 0.80 * k / TIERS), wide * (1 - k / TIERS) * 0.78, tall) for k in range(TIERS)]
        canvas.lay(canvas.polygons(caps, smooth=True), snow, 0.85)


def _cap(x: float, low: float, reach: float, tall: float) -> list[Point]:
    """The snow on one tier."""
    return [
        (x - reach * 0.95, low - tall * 0.008),
        (x - reach * 0.30, low - tall * 0.085),
        (x + reach * 0.30, low - tall * 0.085),
        (x + reach * 0.95, low - tall * 0.008),
        (x + reach * 0.25, low - tall * 0.035),
        (x - reach * 0.30, low - tall * 0.030),
    ]


def broadleaf(canvas: Canvas, x: float, foot: float, tall: float, colour: Colour, clumps: int = 9) -> None:
    """A round tree: a trunk, clumps of leaves, darker below, and single leaves in the light."""
    draw = canvas.draw
    bark = mix(scaled(colour, 0.45), (0.20, 0.14, 0.11), 0.5)
    low, high = tall * 0.033, tall * 0.018
    canvas.lay(
        canvas.polygon([(x - low, foot), (x - high, foot - tall * 0.5), (x + high, foot - tall * 0.5), (x + low, foot)]), bark
    )
    places = [tuple(draw.uniform((-0.26, -0.22, 0.12, -0.06), (0.26, 0.20, 0.20, 0.06))) for _ in range(clumps)]
    if canvas.is_thumbnail:
        canvas.lay(canvas.ellipse(x, foot - tall * 0.66, tall * 0.34, tall * 0.32), colour)
        return
    for dx, dy, size, tone in sorted(places, key=lambda place: -place[1]):
        cx, cy, r = x + dx * tall, foot - tall * 0.66 + dy * tall, size * tall
        canvas.solid(canvas.ellipse(cx, cy, r, r * 0.88, soft=0.12 * r), scaled(colour, 0.82 - 0.75 * dy + tone), 0.05 * tall, 0.5)
    leaves = canvas.fresh()
    for tone, lift in ((0.66, 0.03), (1.18, -0.03)):
        spots = []
        for _ in range(int(60 + 900 * tall * tall)):
            dx, dy, size, _tone = places[int(leaves.integers(clumps))]
            angle, far = leaves.uniform(0, 6.283), leaves.random() ** 0.5 * 0.98
            across = (dx + size * far * float(np.cos(angle))) * tall
            up = (dy + lift + 0.88 * size * far * float(np.sin(angle))) * tall
            spots.append((x + across, foot - tall * 0.66 + up, tall * leaves.uniform(0.004, 0.010)))
        canvas.lay(canvas.dabs(spots), scaled(colour, tone), 0.42)
