"""Balloon, rocket, car, robot; snowman, fire and candle. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_pose import Pose, heading, travelled
from .painter_words import Scene


def balloon(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A hot-air balloon with stripes."""
    y = -0.16 + 0.012 * np.sin(0.25 * canvas.time) - travelled(canvas, 0.002)
    x -= travelled(canvas, 0.006) * canvas.light.side
    if scene.counts.get("balloon", 1) > 1:
        y += float(canvas.draw.uniform(-0.16, 0.12))
    base = scene.colours.get("balloon", (0.84, 0.24, 0.18))
    r = size * 0.42
    body = canvas.polygon(
        [
            (x, y - r),
            (x + 0.72 * r, y - 0.74 * r),
            (x + r, y - 0.1 * r),
            (x + 0.66 * r, y + 0.62 * r),
            (x + 0.2 * r, y + 1.16 * r),
            (x - 0.2 * r, y + 1.16 * r),
            (x - 0.66 * r, y + 0.62 * r),
            (x - r, y - 0.1 * r),
            (x - 0.72 * r, y - 0.74 * r),
        ],
        smooth=True,
    )
    canvas.solid(body, canvas.lit(base), depth=r * 0.4, contrast=0.85)
    if body is not None:
        across = (canvas.x[body.columns][None, :] - x) / (
            r * np.sqrt(np.clip(1.05 - ((canvas.y[body.rows][:, None] - y) / (1.3 * r)) ** 2, 0.05, 1))
        )
        stripes = (np.sin(np.arcsin(np.clip(across, -1, 1)) * 5) > 0).astype(np.float32)
        body.alpha[:] *= stripes
        canvas.lay(body, canvas.lit((0.98, 0.92, 0.78)), 0.62)
    for side in (-1, 1):
        canvas.lay(
            canvas.polygon(
                [
                    (x + side * 0.18 * r, y + 1.15 * r),
                    (x + side * 0.17 * r, y + 1.55 * r),
                    (x + side * 0.15 * r, y + 1.55 * r),
                    (x + side * 0.16 * r, y + 1.15 * r),
                ]
            ),
            canvas.lit((0.2, 0.15, 0.1)),
        )
    canvas.solid(
        canvas.polygon(
            [(x - 0.2 * r, y + 1.52 * r), (x + 0.2 * r, y + 1.52 * r), (x + 0.16 * r, y + 1.84 * r), (x - 0.16 * r, y + 1.84 * r)]
        ),
        canvas.lit((0.52, 0.36, 0.2)),
        depth=0.01,
    )


def rocket(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A rocket on its flame."""
    pose = Pose(canvas, x, 0.28 - travelled(canvas, 0.006), size, 1.0)
    hull = scene.colours.get("rocket", (0.92, 0.92, 0.94))
    fin: Colour = (0.82, 0.18, 0.16)
    canvas.glow(*pose.at(0, -0.1), 0.22 * size, (1.0, 0.6, 0.2), 0.9)
    canvas.solid(
        pose.shape([(-0.09, 0.12), (-0.06, -0.12), (0.0, -0.42), (0.06, -0.12), (0.09, 0.12)]), (1.0, 0.66, 0.18), depth=0.02
    )
    canvas.lay(pose.shape([(-0.045, 0.1), (0.0, -0.22), (0.045, 0.1)]), (1, 0.96, 0.75))
    for side in (-1.0, 1.0):
        canvas.solid(
            pose.shape([(side * 0.12, 0.36), (side * 0.30, 0.12), (side * 0.28, 0.0), (side * 0.12, 0.14)]),
            canvas.lit(fin, 1.4),
            depth=0.02,
        )
    canvas.solid(
        pose.shape([(0, 1.0), (-0.10, 0.82), (-0.155, 0.50), (-0.12, 0.12), (0.12, 0.12), (0.155, 0.50), (0.10, 0.82)]),
        canvas.lit(hull, 1.5),
        depth=0.07 * size,
        contrast=0.9,
    )
    canvas.solid(pose.shape([(0, 1.0), (-0.10, 0.82), (0.0, 0.80), (0.10, 0.82)]), canvas.lit(fin, 1.4), depth=0.03)
    canvas.solid(pose.disc(0, 0.60, 0.075), canvas.lit((0.6, 0.62, 0.66), 1.3), depth=0.02)
    canvas.lay(pose.disc(0, 0.60, 0.055), (0.25, 0.55, 0.80))


def car(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A small car from the side."""
    flip = heading(canvas, x, scene.counts.get("car", 1))
    x += flip * travelled(canvas, 0.010)
    pose = Pose(canvas, x, foot, size, flip)
    paint = scene.colours.get("car", (0.95, 0.76, 0.16) if "taxi" in scene.words else (0.75, 0.16, 0.15))
    canvas.shadow(x, foot, size * 0.62, size * 0.05, 0.7)
    canvas.solid(
        pose.shape(
            [
                (-0.62, 0.10),
                (-0.64, 0.26),
                (-0.44, 0.33),
                (-0.26, 0.50),
                (0.12, 0.52),
                (0.34, 0.34),
                (0.60, 0.28),
                (0.64, 0.12),
                (0.3, 0.08),
                (-0.3, 0.08),
            ]
        ),
        canvas.lit(paint),
        depth=0.05,
        contrast=0.9,
    )
    canvas.solid(
        pose.shape([(-0.36, 0.34), (-0.22, 0.47), (-0.05, 0.475), (-0.05, 0.34)]), canvas.lit((0.42, 0.56, 0.66)), depth=0.01
    )
    canvas.solid(pose.shape([(0.0, 0.34), (0.0, 0.475), (0.10, 0.47), (0.25, 0.34)]), canvas.lit((0.42, 0.56, 0.66)), depth=0.01)
    for dx in (-0.36, 0.38):
        canvas.solid(pose.disc(dx, 0.10, 0.125), canvas.lit((0.10, 0.10, 0.12)), depth=0.02)
        canvas.solid(pose.disc(dx, 0.10, 0.065), canvas.lit((0.72, 0.74, 0.78)), depth=0.01)
    canvas.lay(pose.disc(0.60, 0.22, 0.035, 0.03), (1.0, 0.95, 0.75))
    if canvas.light.night or scene.hour == "dusk":
        canvas.glow(*pose.at(0.68, 0.21), 0.12 * size, (1.0, 0.92, 0.7), 0.9)


def robot(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A friendly robot."""
    pose = Pose(canvas, x, foot, size, 1.0)
    metal = scene.colours.get("robot", (0.60, 0.68, 0.74))
    eye = scene.colours.get("eyes", (0.30, 0.90, 1.0))
    canvas.shadow(x, foot, size * 0.3, size * 0.05, 0.6)
    for side in (-1.0, 1.0):
        canvas.solid(
            pose.shape([(side * 0.05, 0.24), (side * 0.17, 0.24), (side * 0.18, 0.03), (side * 0.04, 0.03)]),
            canvas.lit(scaled(metal, 0.8)),
            depth=0.02,
        )
        canvas.solid(pose.disc(side * 0.12, 0.03, 0.10, 0.045), canvas.lit(scaled(metal, 0.6)), depth=0.02)
        canvas.solid(
            pose.shape([(side * 0.24, 0.54), (side * 0.36, 0.46), (side * 0.37, 0.24), (side * 0.31, 0.24), (side * 0.29, 0.42)]),
            canvas.lit(scaled(metal, 0.8)),
            depth=0.02,
        )
        canvas.solid(pose.disc(side * 0.34, 0.21, 0.052), canvas.lit(scaled(metal, 0.6)), depth=0.02)
    canvas.solid(
        pose.shape([(-0.22, 0.58), (0.22, 0.58), (0.26, 0.42), (0.20, 0.20), (-0.20, 0.20), (-0.26, 0.42)]),
        canvas.lit(metal),
        depth=0.08 * size,
        contrast=0.85,
    )
    canvas.lay(pose.disc(0, 0.42, 0.07), canvas.lit(scaled(metal, 0.45)))
    canvas.glow(*pose.at(0, 0.42), 0.05 * size, eye, 0.9)
    canvas.lay(pose.sharp([(-0.008, 1.08), (0.008, 1.08), (0.010, 0.9), (-0.010, 0.9)]), canvas.lit(scaled(metal, 0.6)))
    canvas.solid(pose.disc(0, 1.09, 0.03), (0.95, 0.35, 0.25), depth=0.01)
    canvas.solid(
        pose.shape([(-0.24, 0.90), (0.24, 0.90), (0.29, 0.76), (0.24, 0.62), (-0.24, 0.62), (-0.29, 0.76)]),
        canvas.lit(metal, 1.05),
        depth=0.08 * size,
        contrast=0.85,
    )
    canvas.lay(
        pose.shape([(-0.20, 0.85), (0.20, 0.85), (0.23, 0.76), (0.20, 0.68), (-0.20, 0.68), (-0.23, 0.76)]), (0.05, 0.08, 0.11)
    )
    for side in (-1.0, 1.0):
        canvas.glow(*pose.at(side * 0.095, 0.77), 0.05 * size, eye, 0.7)
        canvas.lay(pose.disc(side * 0.095, 0.77, 0.042), eye)
        canvas.lay(pose.disc(side * 0.095 + 0.012, 0.785, 0.012), (1, 1, 1))


def snowman(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """Three balls of snow, a carrot, a scarf."""
    pose = Pose(canvas, x, foot, size, 1.0)
    white: Colour = (0.96, 0.97, 1.0)
    canvas.shadow(x, foot, size * 0.32, size * 0.05, 0.4)
    for y, r in ((0.22, 0.27), (0.56, 0.20), (0.84, 0.15)):
        canvas.solid(pose.disc(0, y, r, r * 0.95), canvas.lit(white), depth=r * size * 0.7, contrast=0.6, grain=0.02)
    scarf = scene.colours.get("clothes", (0.80, 0.18, 0.18))
    canvas.solid(
        pose.shape([(-0.15, 0.74), (0.0, 0.69), (0.15, 0.74), (0.15, 0.67), (0.0, 0.63), (-0.15, 0.67)]),
        canvas.lit(scarf),
        depth=0.02,
    )
    canvas.solid(pose.shape([(0.06, 0.68), (0.14, 0.68), (0.16, 0.46), (0.09, 0.45)]), canvas.lit(scarf), depth=0.02)
    for side in (-1.0, 1.0):
        canvas.lay(pose.disc(side * 0.05, 0.88, 0.016), (0.05, 0.05, 0.07))
    canvas.solid(pose.sharp([(0.0, 0.85), (0.15, 0.82), (0.0, 0.81)]), canvas.lit((0.96, 0.50, 0.12)), depth=0.01)
    for y in (0.60, 0.51):
        canvas.lay(pose.disc(0, y, 0.017), (0.06, 0.06, 0.08))
    canvas.solid(pose.sharp([(-0.11, 0.96), (0.11, 0.96), (0.10, 1.14), (-0.10, 1.14)]), canvas.lit((0.14, 0.14, 0.17)), depth=0.02)
    canvas.solid(pose.disc(0, 0.96, 0.17, 0.025), canvas.lit((0.14, 0.14, 0.17)), depth=0.01)


def fire(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A camp fire."""
    pose = Pose(canvas, x, foot, size, 1.0)
    canvas.glow(x, foot - 0.3 * size, size * 0.95, (1.0, 0.50, 0.16), 0.7)
    for a in (-0.3, 0.3):
        canvas.solid(
            pose.sharp([(-0.42, 0.02 + a * 0.3), (0.42, 0.14 - a * 0.5), (0.42, 0.04 - a * 0.5), (-0.42, -0.08 + a * 0.3)]),
            canvas.lit((0.32, 0.20, 0.12)),
            depth=0.01,
        )
    lick = 0.05 * np.sin(1.3 * canvas.time)
    for scale, colour in ((1.0, (0.95, 0.35, 0.08)), (0.72, (1.0, 0.62, 0.14)), (0.42, (1.0, 0.93, 0.60))):
        points = [
            (-0.30, 0.06),
            (-0.34, 0.36),
            (-0.18, 0.52),
            (-0.16, 0.80),
            (0.02 + lick, 1.10),
            (0.10, 0.74),
            (0.24, 0.60),
            (0.32, 0.30),
            (0.26, 0.06),
        ]
        canvas.lay(pose.shape([(dx * scale, 0.06 + (dy - 0.06) * scale) for dx, dy in points]), colour, 0.92)


def candle(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A burning candle."""
    pose = Pose(canvas, x, foot, size, 1.0)
    wax = scene.colours.get("candle", (0.95, 0.90, 0.78))
    canvas.shadow(x, foot, size * 0.2, size * 0.04, 0.6)
    canvas.solid(
        pose.sharp([(-0.11, 0.62), (0.11, 0.62), (0.12, 0.0), (-0.12, 0.0)]), canvas.lit(wax), depth=0.06 * size, contrast=0.8
    )
    canvas.solid(pose.disc(0, 0.62, 0.11, 0.025), canvas.lit(mix(wax, (1, 0.8, 0.5), 0.5)), depth=0.01)
    lick = 0.008 * np.sin(1.1 * canvas.time)
    canvas.glow(*pose.at(0, 0.78), 0.38 * size, (1.0, 0.66, 0.28), 0.6)
    canvas.lay(pose.shape([(-0.035, 0.68), (-0.03, 0.78), (lick, 0.94), (0.03, 0.78), (0.035, 0.68)]), (1.0, 0.72, 0.25))
    canvas.lay(pose.shape([(-0.016, 0.69), (lick / 2, 0.84), (0.016, 0.69)]), (1.0, 0.97, 0.80))
