"""Things: fruit, cups, flowers, trees, boats. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_pose import Pose, heading, travelled
from .painter_trees import broadleaf, conifer
from .painter_words import Scene, fruits

_FRUIT: dict[str, Colour] = {
    "orange": (0.97, 0.52, 0.08),
    "apple": (0.80, 0.14, 0.12),
    "lemon": (0.98, 0.85, 0.22),
    "peach": (0.97, 0.62, 0.42),
}


def _fruit(canvas: Canvas, name: str, x: float, y: float, r: float) -> None:
    colour = canvas.lit(_FRUIT[name])
    rx, ry = (r * 1.18, r * 0.88) if name == "lemon" else (r, r * 0.97)
    canvas.lay(canvas.ellipse(x, y + r * 0.25, rx, ry, soft=r * 0.4), scaled(colour, 0.30), 0.55)
    canvas.solid(canvas.ellipse(x, y, rx, ry), colour, depth=r * 0.75, contrast=0.85, grain=0.035 if name == "orange" else 0.01)
    side = canvas.light.side
    canvas.glow(x + side * r * 0.36, y - r * 0.42, r * 0.22, (1.0, 0.98, 0.92), 0.65)
    if name in ("orange", "apple"):
        canvas.lay(
            canvas.ellipse(x - side * r * 0.1, y - r * 0.70, r * 0.09, r * 0.05, soft=r * 0.05), canvas.lit((0.28, 0.34, 0.12)), 0.9
        )
    if name == "apple":
        canvas.lay(
            canvas.polygon(
                [
                    (x - r * 0.03, y - r * 0.7),
                    (x + r * 0.10, y - r * 1.08),
                    (x + r * 0.16, y - r * 1.05),
                    (x + r * 0.04, y - r * 0.7),
                ]
            ),
            canvas.lit((0.30, 0.20, 0.12)),
        )


def bowl(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A bowl full of fruit, and one beside it."""
    kinds = fruits(scene)
    glaze = scene.colours.get("bowl", ((0.30, 0.42, 0.52), (0.86, 0.82, 0.74), (0.36, 0.46, 0.40))[int(canvas.draw.integers(3))])
    wide, rim = size * 0.52, foot - size * 0.34
    canvas.shadow(x - canvas.light.side * size * 0.12, foot, wide * 0.95, size * 0.07, 0.6)
    canvas.solid(canvas.ellipse(x, rim, wide, size * 0.085), canvas.lit(scaled(glaze, 0.6)), depth=0.01)
    r = size * 0.165
    spots = [(-0.30, -0.02), (0.31, -0.02), (0.0, -0.05), (-0.17, -0.22), (0.16, -0.235), (0.0, -0.40)]
    for k, (dx, dy) in enumerate(spots):
        wobble = canvas.draw.uniform(-0.02, 0.02)
        _fruit(
            canvas, kinds[k % len(kinds)], x + (dx + wobble) * size, rim + (dy + wobble) * size, r * canvas.draw.uniform(0.94, 1.06)
        )
    leaf = [
        (x + size * 0.02, rim - size * 0.54),
        (x + size * 0.14, rim - size * 0.64),
        (x + size * 0.24, rim - size * 0.60),
        (x + size * 0.12, rim - size * 0.54),
    ]
    canvas.solid(canvas.polygon(leaf, smooth=True), canvas.lit((0.25, 0.48, 0.18)), depth=0.01)
    body = [
        (x - wide, rim),
        (x - wide * 0.88, rim + size * 0.17),
        (x - wide * 0.42, foot - size * 0.01),
        (x + wide * 0.42, foot - size * 0.01),
        (x + wide * 0.88, rim + size * 0.17),
        (x + wide, rim),
    ]
    outline = [*body, *((x + wide * np.cos(a), rim + size * 0.085 * np.sin(a)) for a in np.linspace(0.05, np.pi - 0.05, 16))]
    canvas.solid(canvas.polygon(outline), canvas.lit(glaze), depth=0.10 * size * 2, contrast=0.8)
    canvas.glow(x + canvas.light.side * wide * 0.55, rim + size * 0.13, size * 0.05, (1, 1, 1), 0.5)
    side = -canvas.light.side
    canvas.shadow(x + side * size * 0.80, foot + size * 0.045, r * 1.1, r * 0.3, 0.55)
    _fruit(canvas, kinds[0], x + side * size * 0.76, foot - r * 0.75, r)


def cup(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A cup on a saucer, with steam."""
    pose = Pose(canvas, x, foot, size, canvas.light.side)
    glaze = scene.colours.get("cup", (0.93, 0.91, 0.87))
    canvas.shadow(x, foot + size * 0.03, size * 0.62, size * 0.09, 0.5)
    canvas.solid(pose.disc(0, 0.02, 0.60, 0.10), canvas.lit(glaze), depth=0.02)
    canvas.lay(pose.disc(0, 0.04, 0.40, 0.055, soft=0.03), canvas.lit(scaled(glaze, 0.75)), 0.7)
    canvas.solid(pose.disc(0.44, 0.38, 0.17, 0.16), canvas.lit(glaze), depth=0.02)
    canvas.lay(pose.disc(0.44, 0.38, 0.10, 0.095), canvas.lit(scaled(glaze, 0.45)), 0.8)
    canvas.solid(
        pose.shape([(-0.42, 0.62), (-0.40, 0.30), (-0.26, 0.07), (0.26, 0.07), (0.40, 0.30), (0.42, 0.62)]),
        canvas.lit(glaze),
        depth=0.16 * size,
        contrast=0.8,
    )
    canvas.solid(pose.disc(0, 0.62, 0.425, 0.085), canvas.lit(scaled(glaze, 0.92)), depth=0.01)
    canvas.lay(pose.disc(0, 0.61, 0.375, 0.066), canvas.lit((0.33, 0.19, 0.10)))
    canvas.lay(pose.disc(0.02, 0.615, 0.17, 0.03, soft=0.03), canvas.lit((0.80, 0.60, 0.40)), 0.8)
    for k in range(3):
        sway = 0.05 * np.sin(0.9 * canvas.time + 2 * k)
        dx = -0.16 + 0.16 * k
        canvas.lay(
            pose.shape(
                [
                    (dx, 0.72),
                    (dx + 0.07 + sway, 0.92),
                    (dx - 0.03 + sway, 1.12),
                    (dx + 0.05, 1.34),
                    (dx - 0.01, 1.12),
                    (dx + 0.02 + sway, 0.92),
                ]
            ),
            (1, 1, 1),
            0.16,
        )


def _bloom(canvas: Canvas, x: float, y: float, r: float, colour: Colour, kind: str) -> None:
    if kind in ("sunflower", "daisy"):
        petal, core = ((0.98, 0.80, 0.15), (0.30, 0.18, 0.09)) if kind == "sunflower" else ((0.97, 0.97, 0.96), (0.95, 0.76, 0.2))
        for ring in range(2):
            for a in np.linspace(0, 2 * np.pi, 17)[:-1] + 0.2 * ring:
                canvas.solid(
                    canvas.ellipse(x + 0.62 * r * np.cos(a), y + 0.62 * r * np.sin(a), r * 0.42, r * 0.13, angle=float(a)),
                    canvas.lit(scaled(petal, 1 - 0.1 * ring)),
                    depth=r * 0.08,
                )
        canvas.solid(canvas.ellipse(x, y, r * 0.38, r * 0.38), canvas.lit(core), depth=r * 0.2, grain=0.25)
        return
    for ring, size in enumerate((1.0, 0.78, 0.55, 0.34)):
        count = 7 - ring
        for a in np.linspace(0, 2 * np.pi, count + 1)[:-1] + 0.5 * ring:
            px, py = x + 0.52 * size * r * np.cos(a), y + 0.46 * size * r * np.sin(a)
            canvas.solid(
                canvas.ellipse(px, py, r * 0.48 * size, r * 0.42 * size),
                canvas.lit(scaled(colour, 0.80 + 0.10 * ring)),
                depth=r * 0.14,
                contrast=0.7,
            )
    canvas.lay(canvas.ellipse(x, y, r * 0.12, r * 0.12, soft=r * 0.05), canvas.lit(scaled(colour, 0.5)), 0.7)


def _flower_look(canvas: Canvas, scene: Scene) -> tuple[str, Colour]:
    kind = next((w for w in scene.words if w in ("sunflower", "daisy", "rose", "tulip", "poppy", "lotus")), "rose")
    usual: dict[str, Colour] = {
        "rose": (0.82, 0.16, 0.24),
        "poppy": (0.92, 0.24, 0.12),
        "tulip": (0.90, 0.30, 0.45),
        "lotus": (0.95, 0.66, 0.78),
    }
    accent = scene.accents[0] if scene.accents else usual.get(kind, (0.9, 0.5, 0.6))
    return kind, scene.colours.get("flower", accent)


def flower(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """One large flower on its stem."""
    kind, colour = _flower_look(canvas, scene)
    sway = 0.012 * np.sin(0.5 * canvas.time)
    pose = Pose(canvas, x, foot, size, 1.0)
    green = canvas.lit((0.26, 0.48, 0.20))
    canvas.solid(
        pose.shape([(-0.018, -0.3), (-0.03, 0.3), (-0.012 + sway, 0.75), (0.012 + sway, 0.75), (0.0, 0.3), (0.022, -0.3)]),
        green,
        depth=0.01,
    )
    for side, y in ((-1.0, 0.22), (1.0, 0.36)):
        canvas.solid(
            pose.shape([(0.0, y), (side * 0.14, y + 0.14), (side * 0.30, y + 0.15), (side * 0.16, y + 0.03)]),
            green,
            depth=0.02,
            contrast=0.8,
        )
    _bloom(canvas, x + sway * size, foot - 0.80 * size, 0.28 * size, colour, kind)


def vase(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A vase with a bunch of flowers."""
    kind, colour = _flower_look(canvas, scene)
    glaze = scene.colours.get("vase", (0.34, 0.47, 0.58))
    pose = Pose(canvas, x, foot, size, 1.0)
    canvas.shadow(x - canvas.light.side * 0.1 * size, foot, size * 0.24, size * 0.05, 0.6)
    spots = [(float(canvas.draw.uniform(-0.34, 0.34)), float(canvas.draw.uniform(0.62, 1.0))) for _ in range(9)]
    for dx, dy in spots:
        canvas.solid(
            pose.shape([(-0.01, 0.38), (dx * 0.6, 0.3 + dy * 0.4), (dx, dy), (dx * 0.6 + 0.015, 0.3 + dy * 0.4), (0.01, 0.38)]),
            canvas.lit((0.24, 0.44, 0.20)),
            depth=0.005,
        )
        canvas.solid(
            pose.shape(
                [
                    (dx * 0.6, dy * 0.75),
                    (dx * 0.6 + 0.10, dy * 0.75 + 0.05),
                    (dx * 0.6 + 0.16, dy * 0.75 - 0.02),
                    (dx * 0.6 + 0.06, dy * 0.75 - 0.03),
                ]
            ),
            canvas.lit((0.28, 0.50, 0.22)),
            depth=0.01,
        )
    for k, (dx, dy) in enumerate(sorted(spots, key=lambda s: -s[1])):
        tone = mix(colour, (1, 1, 1), 0.45) if k % 3 == 2 else colour
        _bloom(canvas, x + dx * size, foot - dy * size, size * float(canvas.draw.uniform(0.085, 0.13)), tone, kind)
    canvas.solid(
        pose.shape(
            [(-0.10, 0.46), (-0.075, 0.38), (-0.17, 0.22), (-0.10, 0.0), (0.10, 0.0), (0.17, 0.22), (0.075, 0.38), (0.10, 0.46)]
        ),
        canvas.lit(glaze),
        depth=0.07 * size,
        contrast=0.9,
    )
    canvas.glow(x + canvas.light.side * 0.08 * size, foot - 0.24 * size, 0.03 * size, (1, 1, 1), 0.6)


def tree(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """One large tree."""
    canvas.shadow(x, foot, size * 0.4, size * 0.05)
    season: Colour = {"autumn": (0.82, 0.40, 0.12), "spring": (0.95, 0.68, 0.76)}.get(scene.season, (0.26, 0.48, 0.22))
    colour = canvas.lit(scene.colours.get("tree", scene.colours.get("leaves", season)))
    if scene.weather == "snow":
        conifer(canvas, x, foot, size * 1.1, canvas.lit((0.20, 0.36, 0.32)), canvas.lit((0.95, 0.97, 1.0)))
        return
    broadleaf(canvas, x, foot, size * 1.15, colour, clumps=22)


def boat(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A sailing boat."""
    bob = 0.010 * np.sin(0.5 * canvas.time + 3 * x)
    flip = heading(canvas, x, scene.counts.get("boat", 1))
    pose = Pose(canvas, x + flip * (travelled(canvas, 0.015) - 0.08), foot - 0.05 + bob, size, flip)
    hull = scene.colours.get("boat", (0.52, 0.26, 0.18))
    sail = scene.colours.get("sail", (0.96, 0.94, 0.88))
    canvas.lay(pose.disc(0, -0.16, 0.46, 0.05, soft=0.06), canvas.lit(scaled(hull, 0.4)), 0.55)
    canvas.lay(pose.sharp([(-0.012, 1.1), (0.012, 1.1), (0.014, 0.1), (-0.014, 0.1)]), canvas.lit((0.36, 0.25, 0.18)))
    canvas.solid(
        pose.shape([(0.03, 1.06), (0.10, 0.7), (0.42, 0.24), (0.20, 0.19), (0.03, 0.20), (0.03, 0.6)]),
        canvas.lit(sail),
        depth=0.06,
        contrast=0.6,
    )
    canvas.solid(
        pose.shape([(-0.03, 0.98), (-0.22, 0.5), (-0.40, 0.22), (-0.16, 0.20), (-0.03, 0.22)]),
        canvas.lit(scaled(sail, 0.92)),
        depth=0.06,
        contrast=0.6,
    )
    canvas.solid(
        pose.sharp([(-0.52, 0.12), (0.56, 0.14), (0.40, -0.10), (-0.36, -0.10)]), canvas.lit(hull), depth=0.03, contrast=0.7
    )
    canvas.lay(pose.sharp([(-0.52, 0.12), (0.56, 0.14), (0.545, 0.105), (-0.505, 0.085)]), canvas.lit((0.95, 0.93, 0.88)), 0.9)
