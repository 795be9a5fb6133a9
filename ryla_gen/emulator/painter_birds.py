"""Birds and fish. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, mix, scaled
from .painter_pose import Pose, heading, travelled
from .painter_words import Scene


def owl(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """An owl on a branch."""
    pose = Pose(canvas, x, foot, size, 1.0)
    colour = scene.colours.get("owl", (0.55, 0.42, 0.30))
    pale = mix(colour, (1, 0.97, 0.9), 0.6)
    canvas.solid(
        pose.shape(
            [(-0.8, 0.02), (-0.2, 0.06), (0.3, 0.05), (0.85, 0.12), (0.85, 0.05), (0.3, -0.03), (-0.2, -0.02), (-0.8, -0.05)]
        ),
        canvas.lit((0.34, 0.24, 0.17)),
        depth=0.02,
    )
    pose.fur(
        pose.shape(
            [
                (0.0, 0.98),
                (-0.20, 0.96),
                (-0.30, 0.70),
                (-0.31, 0.34),
                (-0.16, 0.02),
                (0.16, 0.02),
                (0.31, 0.34),
                (0.30, 0.70),
                (0.20, 0.96),
            ]
        ),
        colour,
        0.14,
    )
    pose.fur(pose.disc(0, 0.36, 0.20, 0.30), pale, 0.08, 0.4)
    for row in range(5):
        for k in range(-2, 3):
            canvas.lay(
                pose.shape(
                    [(k * 0.07 - 0.02, 0.50 - row * 0.09), (k * 0.07 + 0.02, 0.50 - row * 0.09), (k * 0.07, 0.455 - row * 0.09)]
                ),
                canvas.lit(scaled(colour, 0.7)),
                0.6,
            )
    for side in (-1.0, 1.0):
        pose.fur(
            pose.shape([(side * 0.27, 0.68), (side * 0.36, 0.40), (side * 0.24, 0.04), (side * 0.20, 0.40)]),
            scaled(colour, 0.72),
            0.05,
        )
        pose.fur(pose.sharp([(side * 0.08, 0.93), (side * 0.25, 1.08), (side * 0.25, 0.84)]), colour, 0.02)
        pose.fur(pose.disc(side * 0.125, 0.77, 0.135), pale, 0.05, 0.45)
        canvas.lay(pose.disc(side * 0.12, 0.77, 0.075), canvas.lit((0.97, 0.70, 0.16), 1.1))
        canvas.lay(pose.disc(side * 0.12, 0.77, 0.043), (0.02, 0.02, 0.03))
        canvas.lay(pose.disc(side * 0.12 + 0.02, 0.795, 0.016), (1, 1, 1))
    canvas.solid(pose.shape([(-0.03, 0.72), (0.03, 0.72), (0.0, 0.62)]), canvas.lit((0.85, 0.60, 0.2)), depth=0.01)


def bird(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A small bird on a twig."""
    pose = Pose(canvas, x, foot - 0.06, size, 1.0 if canvas.draw.random() < 0.5 else -1.0)
    colour = scene.colours.get("bird", ((0.20, 0.45, 0.75), (0.80, 0.30, 0.18), (0.90, 0.72, 0.20))[int(canvas.draw.integers(3))])
    belly = mix(colour, (1.0, 0.93, 0.82), 0.75)
    canvas.solid(
        pose.shape([(-0.9, 0.0), (0.0, 0.05), (0.9, 0.14), (0.9, 0.09), (0.0, 0.0), (-0.9, -0.05)]),
        canvas.lit((0.34, 0.25, 0.18)),
        depth=0.015,
    )
    pose.fur(pose.shape([(-0.30, 0.34), (-0.62, 0.10), (-0.56, 0.04), (-0.20, 0.18)]), scaled(colour, 0.6), 0.03)
    pose.fur(
        pose.shape(
            [
                (-0.36, 0.24),
                (-0.20, 0.52),
                (0.02, 0.66),
                (0.10, 0.86),
                (0.30, 0.90),
                (0.42, 0.74),
                (0.36, 0.50),
                (0.26, 0.18),
                (0.02, 0.06),
                (-0.22, 0.10),
            ]
        ),
        colour,
        0.13,
    )
    pose.fur(pose.shape([(0.10, 0.10), (0.30, 0.24), (0.39, 0.52), (0.34, 0.66), (0.20, 0.56), (0.08, 0.34)]), belly, 0.06, 0.5)
    pose.fur(pose.shape([(-0.40, 0.16), (-0.18, 0.48), (0.06, 0.54), (0.10, 0.36), (-0.06, 0.18)]), scaled(colour, 0.72), 0.05)
    canvas.solid(pose.sharp([(0.40, 0.78), (0.56, 0.71), (0.40, 0.67)]), canvas.lit((0.95, 0.66, 0.20)), depth=0.01)
    canvas.lay(pose.disc(0.28, 0.76, 0.04), (0.03, 0.03, 0.04))
    canvas.lay(pose.disc(0.292, 0.775, 0.013), (1, 1, 1))


def penguin(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A penguin."""
    pose = Pose(canvas, x, foot, size, 1.0)
    black = scene.colours.get("penguin", (0.13, 0.14, 0.18))
    canvas.shadow(x, foot, size * 0.28, size * 0.05)
    for side in (-1.0, 1.0):
        canvas.solid(pose.disc(side * 0.12, 0.02, 0.11, 0.04), canvas.lit((0.95, 0.60, 0.15)), depth=0.02)
        pose.fur(
            pose.shape([(side * 0.24, 0.66), (side * 0.40, 0.34), (side * 0.36, 0.22), (side * 0.24, 0.40)]),
            scaled(black, 0.85),
            0.03,
        )
    pose.fur(
        pose.shape(
            [
                (0, 1.0),
                (-0.18, 0.95),
                (-0.24, 0.74),
                (-0.30, 0.40),
                (-0.24, 0.06),
                (0.24, 0.06),
                (0.30, 0.40),
                (0.24, 0.74),
                (0.18, 0.95),
            ]
        ),
        black,
        0.12,
    )
    pose.fur(
        pose.shape([(0, 0.66), (-0.16, 0.66), (-0.22, 0.36), (-0.16, 0.06), (0.16, 0.06), (0.22, 0.36), (0.16, 0.66)]),
        (0.96, 0.96, 0.95),
        0.10,
        0.5,
    )
    for side in (-1.0, 1.0):
        pose.fur(pose.disc(side * 0.08, 0.80, 0.085, 0.095), (0.96, 0.96, 0.95), 0.03, 0.4)
        canvas.lay(pose.disc(side * 0.075, 0.82, 0.026), (0.03, 0.03, 0.05))
        canvas.lay(pose.disc(side * 0.075 + 0.01, 0.83, 0.009), (1, 1, 1))
    canvas.solid(pose.shape([(-0.05, 0.76), (0.05, 0.76), (0.0, 0.69)]), canvas.lit((0.97, 0.62, 0.15)), depth=0.01)


def fish(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A fish that swims by."""
    count = scene.counts.get("fish", 1)
    flip = heading(canvas, x, count)
    level = float(canvas.draw.uniform(-0.14, 0.30)) if count > 1 else 0.14
    bob = 0.008 * float(np.sin(0.4 * canvas.time + 5 * x))
    pose = Pose(canvas, x + flip * travelled(canvas, 0.009), level + bob, size, flip)
    colour = scene.colours.get("fish", ((0.97, 0.50, 0.12), (0.95, 0.78, 0.2), (0.85, 0.3, 0.4))[int(canvas.draw.integers(3))])
    wag = 0.04 * float(np.sin(0.9 * canvas.time))
    canvas.solid(
        pose.shape([(-0.36, 0.40), (-0.66, 0.64), (-0.60 + wag, 0.42), (-0.66, 0.18)]),
        canvas.lit(scaled(colour, 0.8), 1.1),
        depth=0.03,
    )
    canvas.solid(pose.shape([(-0.20, 0.58), (0.0, 0.78), (0.20, 0.60)]), canvas.lit(scaled(colour, 0.85), 1.1), depth=0.03)
    canvas.solid(
        pose.shape(
            [(-0.44, 0.41), (-0.20, 0.58), (0.12, 0.62), (0.40, 0.50), (0.47, 0.40), (0.36, 0.28), (0.10, 0.20), (-0.20, 0.26)]
        ),
        canvas.lit(colour, 1.1),
        depth=0.12 * size,
        contrast=0.9,
    )
    for k, dx in enumerate((-0.14, 0.12)):
        canvas.lay(
            pose.shape([(dx - 0.03, 0.56), (dx + 0.04, 0.585 + 0.01 * k), (dx + 0.05, 0.24), (dx - 0.03, 0.24)]),
            canvas.lit((0.97, 0.96, 0.92), 1.05),
            0.8,
        )
    canvas.solid(
        pose.shape([(0.02, 0.38), (-0.10, 0.28), (0.0, 0.24), (0.10, 0.34)]), canvas.lit(scaled(colour, 0.75), 1.1), depth=0.02
    )
    canvas.lay(pose.disc(0.33, 0.46, 0.045), (0.97, 0.97, 0.95))
    canvas.lay(pose.disc(0.34, 0.46, 0.026), (0.03, 0.03, 0.05))
    canvas.lay(pose.disc(0.35, 0.475, 0.009), (1, 1, 1))
