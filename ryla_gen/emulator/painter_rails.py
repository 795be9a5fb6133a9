"""A steam train on its rails and a stone bridge. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, Point, mix, scaled
from .painter_pose import Pose, heading, travelled
from .painter_words import Scene

_IRON: Colour = (0.13, 0.13, 0.15)
DECK = 0.34
"""How high a bridge's road lies over its foot, in units of its size."""


def bridge(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A viaduct over the whole width: piers, round arches, a parapet."""
    stone = scene.colours.get("bridge", (0.66, 0.57, 0.48))
    deck, low = foot - DECK * size, foot + 0.05 * size
    inside = canvas.light.side * 0.03 * size
    canvas.lay(canvas.polygons(_bays(canvas, x + inside, deck, low - 0.02 * size, size)), canvas.lit(scaled(stone, 0.50)))
    canvas.solid(canvas.polygons(_bays(canvas, x, deck, low, size)), canvas.lit(stone), depth=0.02, contrast=0.45, grain=0.03)
    edge = canvas.right + 0.1
    for y, high, tone in ((deck - 0.030 * size, 0.034, 1.14), (deck + 0.004 * size, 0.016, 0.60)):
        low = y + high * size
        canvas.lay(canvas.polygon([(-edge, y), (edge, y), (edge, low), (-edge, low)]), canvas.lit(scaled(stone, tone)))


def _bays(canvas: Canvas, x: float, deck: float, low: float, size: float) -> list[list[Point]]:
    """The stone around each arch."""
    wide = 0.40 * size
    half = wide * 0.39
    count = int(canvas.right / wide) + 2
    crown = min(deck + 0.08 * size + half, low)
    bays = []
    for k in range(-count, count + 1):
        m = x + k * wide
        arch = [(m + half * float(np.cos(a)), crown - half * float(np.sin(a))) for a in np.linspace(0, np.pi, 20)]
        left, right = m - wide / 2 - 0.001, m + wide / 2 + 0.001
        bays.append([(left, deck), (right, deck), (right, low), (m + half, low), *arch, (m - half, low), (left, low)])
    return bays


def train(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A steam engine and its carriages, with its smoke behind it."""
    flip = heading(canvas, x, scene.counts.get("train", 1))
    pose = Pose(canvas, x + flip * (0.10 + travelled(canvas, 0.010)), foot, size, flip)
    paint = scene.colours.get("train", ((0.16, 0.30, 0.22), (0.50, 0.13, 0.12), (0.14, 0.22, 0.36))[int(canvas.draw.integers(3))])
    if "bridge" not in scene.subjects:
        _rails(canvas, foot)
    _smoke(pose)
    for k in range(1 + int((canvas.right + 0.6) / (0.56 * size))):
        _carriage(pose, -0.64 - 0.56 * k, paint, scene)
    _engine(pose, paint, scene)


def _rails(canvas: Canvas, foot: float) -> None:
    edge = canvas.right + 0.1
    bed = [(-edge, foot - 0.006), (edge, foot - 0.006), (edge, foot + 0.035), (-edge, foot + 0.035)]
    canvas.solid(canvas.polygon(bed), canvas.lit((0.44, 0.40, 0.36)), depth=0.01, grain=0.12)
    rail = [(-edge, foot - 0.004), (edge, foot - 0.004), (edge, foot + 0.004), (-edge, foot + 0.004)]
    canvas.lay(canvas.polygon(rail), canvas.lit((0.30, 0.30, 0.33)))


def _smoke(pose: Pose) -> None:
    """Puffs that leave the chimney, grow, rise and fade."""
    canvas = pose.canvas
    steam = canvas.lit((0.93, 0.92, 0.92))
    count = 18
    for k in range(count):
        age = (k + 0.22 * canvas.time) % count / count
        sway = 0.03 * float(np.sin(5 * k))
        size = 0.035 + 0.125 * age
        at = (0.245 - 1.05 * age, 0.47 + 0.34 * age**0.7 + sway * age)
        strength = 0.85 * min(1.0, 0.35 + age * 12) * (1 - age) ** 0.8
        puff = pose.disc(*at, size * 1.25, size, soft=size * 0.5)
        if puff is not None:
            puff.alpha[:] *= np.float32(strength)
            canvas.solid(puff, steam, depth=0.7 * size * pose.size, contrast=0.6)


def _wheel(pose: Pose, dx: float, radius: float, colour: Colour) -> None:
    canvas = pose.canvas
    canvas.solid(pose.disc(dx, radius, radius), canvas.lit(_IRON), depth=0.01)
    canvas.lay(pose.disc(dx, radius, radius * 0.74), canvas.lit(scaled(colour, 0.85)))
    canvas.lay(pose.disc(dx, radius, radius * 0.30), canvas.lit(_IRON))


def _pane(pose: Pose, left: float, low: float, right: float, high: float, scene: Scene) -> None:
    canvas = pose.canvas
    is_dark = scene.hour in ("night", "dusk")
    canvas.lay(pose.box(left, low, right, high, 0.006), (1.0, 0.84, 0.52) if is_dark else canvas.lit((0.62, 0.76, 0.84)))


def _carriage(pose: Pose, dx: float, paint: Colour, scene: Scene) -> None:
    canvas = pose.canvas
    if abs(pose.at(dx, 0)[0]) > canvas.right + 0.4 * pose.size:
        return
    for wheel in (-0.18, -0.09, 0.09, 0.18):
        _wheel(pose, dx + wheel, 0.038, _IRON)
    canvas.lay(pose.box(dx - 0.29, 0.055, dx + 0.29, 0.075, 0.005), canvas.lit(_IRON))
    canvas.solid(pose.box(dx - 0.26, 0.065, dx + 0.26, 0.27, 0.01), canvas.lit(paint), depth=0.02, contrast=0.6)
    canvas.lay(pose.box(dx - 0.26, 0.165, dx + 0.26, 0.255, 0.005), canvas.lit(mix(paint, (0.95, 0.88, 0.72), 0.75)))
    for k in range(5):
        left = dx - 0.235 + 0.098 * k
        _pane(pose, left, 0.175, left + 0.072, 0.240, scene)
    canvas.solid(pose.box(dx - 0.275, 0.262, dx + 0.275, 0.292, 0.014), canvas.lit((0.34, 0.33, 0.34)), depth=0.01)


def _engine(pose: Pose, paint: Colour, scene: Scene) -> None:
    canvas, brass = pose.canvas, (0.86, 0.68, 0.30)
    canvas.lay(pose.box(-0.36, 0.085, 0.36, 0.11, 0.005), canvas.lit((0.52, 0.14, 0.12)))
    canvas.solid(pose.sharp([(0.33, 0.10), (0.44, 0.012), (0.30, 0.012)]), canvas.lit((0.52, 0.14, 0.12)), depth=0.01)
    canvas.solid(
        pose.box(-0.10, 0.11, 0.34, 0.285, 0.03), canvas.lit(mix(paint, _IRON, 0.25)), depth=0.06 * pose.size, contrast=1.0
    )
    for dx in (-0.02, 0.10, 0.22):
        canvas.lay(pose.box(dx, 0.11, dx + 0.012, 0.285, 0.002), canvas.lit(brass), 0.85)
    canvas.solid(pose.box(0.30, 0.115, 0.365, 0.28, 0.02), canvas.lit(_IRON), depth=0.02)
    chimney = [(0.215, 0.27), (0.225, 0.38), (0.19, 0.45), (0.30, 0.45), (0.265, 0.38), (0.275, 0.27)]
    canvas.solid(pose.sharp(chimney), canvas.lit(_IRON), depth=0.02, contrast=0.9)
    canvas.lay(pose.box(0.188, 0.435, 0.302, 0.455, 0.006), canvas.lit(brass))
    canvas.solid(pose.disc(0.07, 0.29, 0.05, 0.055), canvas.lit(brass), depth=0.02)
    canvas.solid(pose.box(-0.36, 0.10, -0.08, 0.38, 0.012), canvas.lit(paint), depth=0.03, contrast=0.6)
    _pane(pose, -0.30, 0.25, -0.15, 0.35, scene)
    canvas.solid(pose.box(-0.39, 0.375, -0.05, 0.41, 0.016), canvas.lit(_IRON), depth=0.01)
    for dx in (-0.26, -0.08, 0.10):
        _wheel(pose, dx, 0.082, (0.58, 0.16, 0.13))
    for dx in (0.22, 0.31):
        _wheel(pose, dx, 0.046, (0.58, 0.16, 0.13))
    turn = 1.1 * canvas.time
    at = (0.03 * float(np.cos(turn)), 0.082 + 0.03 * float(np.sin(turn)))
    canvas.lay(pose.box(-0.28 + at[0], at[1] - 0.008, 0.13 + at[0], at[1] + 0.008, 0.006), canvas.lit((0.72, 0.73, 0.76)))
    canvas.lay(pose.disc(0.35, 0.30, 0.028), canvas.lit(brass))
    if canvas.light.night or scene.hour == "dusk":
        canvas.glow(*pose.at(0.38, 0.30), 0.10 * pose.size, (1.0, 0.9, 0.65), 0.9)
