"""Where a figure stands and how large it is, so that its parts can be placed by their own measures. Knows no figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .painter_canvas import Canvas, Colour, Patch, Point

_ROUND = 30.0
"""Latent frames (a quarter second each) in a sixth of a way there and back; longer than Wan's usual 21."""


@dataclass(frozen=True)
class Pose:
    """Where a figure sits, to place its parts by offsets in units of its size."""

    canvas: Canvas
    x: float
    foot: float
    size: float
    flip: float

    def at(self, dx: float, dy: float) -> Point:
        """``dy`` counts upwards from the foot."""
        return (self.x + dx * self.size * self.flip, self.foot - dy * self.size)

    def shape(self, points: list[Point]) -> Patch | None:
        """A smooth outline."""
        return self.canvas.polygon([self.at(dx, dy) for dx, dy in points], smooth=True)

    def sharp(self, points: list[Point]) -> Patch | None:
        """A straight outline."""
        return self.canvas.polygon([self.at(dx, dy) for dx, dy in points])

    def disc(self, dx: float, dy: float, rx: float, ry: float | None = None, soft: float = 0.0) -> Patch | None:
        """An ellipse."""
        return self.canvas.ellipse(*self.at(dx, dy), rx * self.size, (ry or rx) * self.size, soft=soft * self.size)

    def fur(self, patch: Patch | None, colour: Colour, depth: float = 0.09, contrast: float = 0.75) -> None:
        """A furry body."""
        self.canvas.solid(patch, self.canvas.lit(colour), depth=depth * self.size, contrast=contrast, grain=0.035)

    def box(self, left: float, low: float, right: float, high: float, corner: float = 0.03) -> Patch | None:
        """A rectangle with round corners."""
        middles = ((right - corner, high - corner), (left + corner, high - corner), (left + corner, low + corner))
        points: list[Point] = []
        for k, (dx, dy) in enumerate((*middles, (right - corner, low + corner))):
            turns = np.linspace(k, k + 1, 6) * (np.pi / 2)
            points += [(dx + corner * float(np.cos(a)), dy + corner * float(np.sin(a))) for a in turns]
        return self.sharp(points)

    def limb(self, points: list[Point], widths: list[float]) -> Patch | None:
        """A leg, an arm or a tail: a line of points with a width at each."""
        line = np.asarray(points, np.float64)
        along = np.gradient(line, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.hypot(along[:, 0], along[:, 1])[:, None]
        half = np.asarray(widths, np.float64)[:, None] / 2
        outline = np.concatenate([line + across * half, (line - across * half)[::-1]])
        return self.shape([(float(dx), float(dy)) for dx, dy in outline])


def heading(canvas: Canvas, x: float, count: int = 1) -> float:
    """Which way something that moves looks: mostly towards the middle, so that it stays in the picture.

    Several (``count``) go the same way, so that none runs into another.
    """
    if count > 1:
        return -canvas.light.side
    inward = -1.0 if x > 0 else 1.0
    return inward if canvas.draw.random() < 0.5 or abs(x) > 0.1 else -inward


def travelled(canvas: Canvas, speed: float) -> float:
    """How far something has come by now at ``speed`` units per latent frame: it sets out evenly and never leaves for good."""
    return speed * _ROUND * float(np.sin(canvas.time / _ROUND))
