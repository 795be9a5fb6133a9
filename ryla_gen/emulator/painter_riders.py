"""A horse, with or without somebody on it; an astronaut. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, scaled
from .painter_people import Head
from .painter_pose import Pose, heading, travelled
from .painter_words import PEOPLE, Scene

_SKIN: Colour = (0.86, 0.66, 0.52)
_GOLD: Colour = (0.96, 0.70, 0.28)


def horse(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A walking horse from the side; people in the same prompt ride it."""
    flip = heading(canvas, x, scene.counts.get("horse", 1))
    pose = Pose(canvas, x + flip * travelled(canvas, 0.006), foot, size, flip)
    usual = (
        (0.93, 0.92, 0.90)
        if "unicorn" in scene.words
        else ((0.46, 0.27, 0.16), (0.58, 0.38, 0.22), (0.34, 0.22, 0.16))[int(canvas.draw.integers(3))]
    )
    coat = scene.colours.get("horse", usual)
    mane: Colour = (0.93, 0.72, 0.84) if "unicorn" in scene.words else scaled(coat, 0.34)
    canvas.shadow(x + flip * travelled(canvas, 0.006), foot, size * 0.52, size * 0.05, 0.5)
    stride = 0.55 * canvas.time + float(canvas.draw.uniform(0, 6))
    for hip, phase in ((-0.27, 2.2), (0.27, 0.7)):
        _leg(pose, hip + 0.06, 0.09 * float(np.sin(stride + phase)), scaled(coat, 0.62))
    _tail(pose, mane)
    _trunk(pose, coat)
    for hip, phase in ((-0.32, 0.0), (0.22, 3.6)):
        _leg(pose, hip, 0.09 * float(np.sin(stride + phase)), coat)
    _mane(pose, mane, "unicorn" in scene.words)
    rider = next((s for s in scene.subjects if s in PEOPLE), None)
    if rider:
        _rider(pose, scene, rider)


def _leg(pose: Pose, hip: float, swing: float, coat: Colour) -> None:
    back = hip < 0
    knee, heel = (hip + 0.5 * swing + (0.015 if back else 0.01), 0.29), (hip + swing - (0.025 if back else 0.0), 0.09)
    pose.fur(
        pose.limb([(hip, 0.66), (hip + 0.1 * swing, 0.50), knee, heel, (heel[0] + 0.01, 0.035)], [0.19, 0.15, 0.078, 0.05, 0.055]),
        coat,
        0.04,
    )
    hoof = [(heel[0] - 0.032, 0.05), (heel[0] + 0.042, 0.05), (heel[0] + 0.065, 0.0), (heel[0] - 0.038, 0.0)]
    pose.canvas.solid(pose.sharp(hoof), pose.canvas.lit((0.16, 0.13, 0.12)), depth=0.01)


def _trunk(pose: Pose, coat: Colour) -> None:
    barrel = [(-0.44, 0.66), (-0.41, 0.80), (-0.26, 0.855), (-0.02, 0.80), (0.20, 0.845), (0.36, 0.78), (0.385, 0.66), (0.29, 0.54)]
    pose.fur(pose.shape([*barrel, (0.05, 0.48), (-0.18, 0.50), (-0.36, 0.54)]), coat, 0.13)
    neck = [(0.13, 0.80), (0.27, 1.00), (0.40, 1.18), (0.50, 1.17), (0.535, 1.06), (0.475, 0.92), (0.40, 0.74), (0.26, 0.66)]
    pose.fur(pose.shape(neck), coat, 0.08)
    pose.fur(pose.sharp([(0.43, 1.18), (0.445, 1.30), (0.495, 1.17)]), coat, 0.02)
    head = [
        (0.42, 1.20),
        (0.50, 1.205),
        (0.60, 1.11),
        (0.72, 0.96),
        (0.735, 0.90),
        (0.68, 0.865),
        (0.60, 0.92),
        (0.50, 1.00),
        (0.43, 1.08),
    ]
    pose.fur(pose.shape(head), scaled(coat, 1.06), 0.05)
    pose.fur(pose.disc(0.69, 0.905, 0.045, 0.04), scaled(coat, 0.72), 0.02)
    canvas = pose.canvas
    canvas.lay(pose.disc(0.705, 0.92, 0.010, 0.013), (0.06, 0.04, 0.04))
    canvas.lay(pose.disc(0.535, 1.115, 0.020, 0.018), (0.05, 0.03, 0.03))
    canvas.lay(pose.disc(0.541, 1.122, 0.006), (1, 1, 1), 0.9)


def _tail(pose: Pose, mane: Colour) -> None:
    sway = 0.04 * float(np.sin(0.6 * pose.canvas.time))
    points = [(-0.40, 0.80), (-0.50, 0.74), (-0.55 + 0.5 * sway, 0.55), (-0.53 + sway, 0.34), (-0.55 + sway, 0.22)]
    pose.fur(pose.limb(points, [0.06, 0.09, 0.12, 0.10, 0.01]), mane, 0.04)


def _mane(pose: Pose, mane: Colour, has_horn: bool) -> None:
    crest = [(0.10, 0.82), (0.23, 1.02), (0.36, 1.20), (0.46, 1.24), (0.53, 1.16), (0.44, 1.12)]
    pose.fur(pose.shape([*crest, (0.36, 1.03), (0.33, 0.90), (0.26, 0.94), (0.22, 0.82)]), mane, 0.03)
    if has_horn:
        pose.canvas.solid(pose.sharp([(0.50, 1.18), (0.545, 1.16), (0.66, 1.42)]), pose.canvas.lit(_GOLD), depth=0.01)


def _rider(pose: Pose, scene: Scene, kind: str) -> None:
    """Somebody in the saddle, reins in hand."""
    canvas, is_astronaut = pose.canvas, kind == "astronaut"
    usual: Colour = (0.92, 0.93, 0.95) if is_astronaut else (0.26, 0.38, 0.56)
    suit = scene.colours.get("clothes", scene.colours.get(kind, usual))
    legs = suit if is_astronaut else scaled(suit, 0.6)
    wide = 1.25 if is_astronaut else 1.0
    canvas.solid(pose.shape([(-0.20, 0.85), (0.12, 0.83), (0.14, 0.70), (-0.16, 0.70)]), canvas.lit((0.42, 0.16, 0.13)), depth=0.02)
    if is_astronaut:
        canvas.solid(pose.box(-0.23, 0.94, -0.06, 1.26, 0.04), canvas.lit(scaled(suit, 0.78)), depth=0.03)
    canvas.solid(
        pose.limb([(-0.03, 0.84), (-0.02, 1.04), (0.0, 1.24)], [0.19 * wide, 0.18 * wide, 0.16 * wide]),
        canvas.lit(suit),
        depth=0.06 * pose.size,
        contrast=0.8,
    )
    thigh = [(-0.04, 0.88), (0.10, 0.76), (0.13, 0.68), (0.08, 0.50)]
    canvas.solid(
        pose.limb(thigh, [0.12 * wide, 0.12 * wide, 0.10 * wide, 0.08 * wide]),
        canvas.lit(scaled(legs, 0.95)),
        depth=0.04 * pose.size,
    )
    canvas.solid(
        pose.limb([(0.04, 0.48), (0.10, 0.455), (0.18, 0.455)], [0.07, 0.08, 0.05]), canvas.lit((0.22, 0.18, 0.17)), depth=0.02
    )
    canvas.lay(pose.limb([(0.22, 0.985), (0.42, 0.95), (0.62, 0.95)], [0.010, 0.010, 0.010]), canvas.lit((0.20, 0.12, 0.09)))
    arm = [(0.0, 1.20), (0.07, 1.04), (0.15, 0.99), (0.24, 0.99)]
    canvas.solid(
        pose.limb(arm, [0.09 * wide, 0.08 * wide, 0.07 * wide, 0.06 * wide]), canvas.lit(scaled(suit, 0.9)), depth=0.03 * pose.size
    )
    if is_astronaut:
        canvas.solid(pose.disc(0.02, 1.37, 0.135), canvas.lit(suit), depth=0.06 * pose.size, contrast=0.8)
        canvas.solid(pose.disc(0.065, 1.37, 0.088, 0.082), canvas.lit(_GOLD), depth=0.05 * pose.size, contrast=0.9)
        canvas.glow(*pose.at(0.09, 1.41), 0.025 * pose.size, (1, 1, 1), 0.8)
        return
    hair = scene.colours.get("hair", (0.24, 0.16, 0.11))
    if kind != "man":
        canvas.solid(
            pose.shape([(-0.02, 1.44), (-0.12, 1.36), (-0.15, 1.16), (-0.06, 1.18), (0.0, 1.30)]), canvas.lit(hair), depth=0.02
        )
    canvas.solid(pose.disc(0.02, 1.35, 0.085, 0.10), canvas.lit(_SKIN), depth=0.05 * pose.size, contrast=0.7)
    canvas.solid(
        pose.shape([(-0.08, 1.36), (-0.06, 1.45), (0.03, 1.475), (0.10, 1.42), (0.02, 1.41), (-0.03, 1.34)]),
        canvas.lit(hair),
        depth=0.02,
    )
    canvas.lay(pose.disc(0.075, 1.36, 0.009, 0.012), (0.06, 0.04, 0.04))


def astronaut(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A helmet with a golden visor, and a suit."""
    s = size / 0.9 * 0.205
    head = Head(canvas, x, -0.06, s, 0.0, _SKIN, _SKIN, (0.9, 0.9, 0.92), _SKIN, True, False)
    suit = scene.colours.get("clothes", scene.colours.get("astronaut", (0.90, 0.91, 0.93)))
    body = head.both([(0.5, 0.95), (1.3, 1.25), (1.75, 1.8), (1.9, 3.2)])
    canvas.solid(canvas.polygon(body, smooth=True), canvas.lit(suit, 1.3), depth=0.07, contrast=0.8)
    canvas.solid(
        canvas.polygon(head.line([(-0.42, 1.9), (0.42, 1.9), (0.46, 2.6), (-0.46, 2.6)])),
        canvas.lit(scaled(suit, 0.75), 1.3),
        depth=0.02,
    )
    for k, colour in enumerate(((0.85, 0.2, 0.2), (0.2, 0.5, 0.9), (0.95, 0.75, 0.2))):
        canvas.lay(canvas.ellipse(*head.at(-0.22 + 0.22 * k, 2.12), 0.06 * s, 0.06 * s), canvas.lit(colour, 1.5))
    canvas.solid(canvas.ellipse(*head.at(0, 0), 1.18 * s, 1.18 * s), canvas.lit(suit, 1.35), depth=0.10, contrast=0.8)
    visor = canvas.ellipse(*head.at(0, 0.05), 0.90 * s, 0.80 * s)
    if visor is not None:
        down = np.clip((canvas.y[visor.rows] - head.y) / s * 0.6 + 0.5, 0, 1)[:, None, None]
        gold, dark = np.array([0.98, 0.72, 0.28], np.float32), np.array([0.16, 0.10, 0.16], np.float32)
        canvas.lay(
            visor, np.broadcast_to(gold + (dark - gold) * np.abs(down * 1.6 - 0.6), (*visor.alpha.shape, 3)).astype(np.float32)
        )
    canvas.glow(*head.at(0.36 * canvas.light.side, -0.34), 0.16 * s, (1, 1, 1), 0.9)
