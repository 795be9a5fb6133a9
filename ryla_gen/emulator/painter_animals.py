"""A sitting animal with many coats: fox, cat, dog, bear and others. Paints on a canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_pose import Pose
from .painter_words import Scene


@dataclass(frozen=True)
class Coat:
    """What tells one sitting animal from another."""

    fur: Colour
    pale: Colour
    """Muzzle, chest, tip of the tail."""
    ears: str = "pointed"
    """pointed, round, long or hanging."""
    tail: str = "bushy"
    dark: Colour = (0.10, 0.08, 0.08)
    """Ears' edges and legs."""
    socks: bool = False
    stripes: bool = False
    mane: bool = False
    patches: bool = False
    antlers: bool = False


COATS = {
    "fox": Coat((0.86, 0.37, 0.10), (0.98, 0.94, 0.88), socks=True),
    "cat": Coat((0.62, 0.52, 0.42), (0.93, 0.88, 0.80), tail="thin", stripes=True),
    "dog": Coat((0.74, 0.53, 0.32), (0.96, 0.90, 0.80), ears="hanging", tail="short"),
    "wolf": Coat((0.48, 0.50, 0.53), (0.90, 0.90, 0.88), dark=(0.20, 0.20, 0.22)),
    "bear": Coat((0.42, 0.28, 0.18), (0.70, 0.54, 0.40), ears="round", tail="none"),
    "panda": Coat((0.95, 0.95, 0.93), (0.97, 0.97, 0.96), ears="round", tail="none", patches=True, socks=True),
    "rabbit": Coat((0.72, 0.62, 0.52), (0.97, 0.94, 0.90), ears="long", tail="none"),
    "mouse": Coat((0.62, 0.58, 0.56), (0.92, 0.88, 0.86), ears="round", tail="thin"),
    "tiger": Coat((0.93, 0.55, 0.15), (0.98, 0.95, 0.88), ears="round", tail="thin", stripes=True),
    "lion": Coat((0.86, 0.65, 0.36), (0.97, 0.88, 0.70), ears="round", tail="thin", mane=True),
    "deer": Coat((0.62, 0.42, 0.26), (0.95, 0.88, 0.78), tail="short", antlers=True),
}


def _kind(scene: Scene) -> str:
    return next((s for s in scene.subjects if s in COATS), "fox")


def sitting(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """An animal that sits and looks at us."""
    kind = _kind(scene)
    coat = COATS[kind]
    if scene.counts.get(kind, 1) > 1 and not coat.patches:  # brothers and sisters, not copies
        coat = replace(
            coat, fur=mix(scaled(coat.fur, float(canvas.draw.uniform(0.62, 1.2))), coat.pale, canvas.draw.uniform(0.0, 0.3))
        )
    if kind in scene.colours:
        coat = Coat(**{**vars(coat), "fur": mix(coat.fur, scene.colours[kind], 0.82), "patches": False})
    pose = Pose(canvas, x, foot, size, 1.0 if canvas.draw.random() < 0.5 else -1.0)
    canvas.shadow(x, foot, size * 0.30, size * 0.05)
    _tail(pose, coat)
    _body(pose, coat)
    if coat.mane:
        _mane(pose)
    if coat.antlers:
        _antlers(pose)
    _ears(pose, coat)
    _face(pose, coat, kind)


def _mane(pose: Pose) -> None:
    """Tufts in two rings, the inner one lighter."""
    for radius, colour in ((0.36, (0.40, 0.21, 0.09)), (0.30, (0.56, 0.32, 0.14))):
        angles = np.linspace(0, 2 * np.pi, 45)[:-1]
        far = radius * np.where(np.arange(44) % 2, 0.80, pose.canvas.draw.uniform(0.95, 1.12, 44))
        points = [(float(f * np.cos(a)), 0.70 + float(f * np.sin(a) * 0.98)) for a, f in zip(angles, far, strict=True)]
        pose.fur(pose.sharp(points), colour, 0.05)


def _tail(pose: Pose, coat: Coat) -> None:
    if coat.tail == "bushy":
        pose.fur(
            pose.shape(
                [(0.12, 0.05), (0.34, 0.02), (0.50, 0.14), (0.52, 0.34), (0.42, 0.48), (0.36, 0.34), (0.32, 0.20), (0.16, 0.16)]
            ),
            coat.fur,
        )
        pose.fur(pose.shape([(0.50, 0.30), (0.525, 0.38), (0.42, 0.50), (0.375, 0.38), (0.44, 0.37)]), coat.pale, 0.04)
    elif coat.tail == "thin":
        sway = 0.02 + 0.03 * float(np.sin(0.45 * pose.canvas.time + 7 * pose.x))
        pose.fur(
            pose.shape(
                [
                    (0.14, 0.03),
                    (0.34, 0.0),
                    (0.44, 0.10),
                    (0.42 + sway, 0.28),
                    (0.47 + sway, 0.36),
                    (0.43 + sway, 0.39),
                    (0.36, 0.30),
                    (0.375, 0.13),
                    (0.32, 0.06),
                    (0.14, 0.10),
                ]
            ),
            coat.fur,
            0.03,
        )
    elif coat.tail == "short":
        pose.fur(pose.shape([(0.18, 0.10), (0.32, 0.16), (0.30, 0.26), (0.20, 0.20)]), coat.fur, 0.04)


def _body(pose: Pose, coat: Coat) -> None:
    limb = coat.dark if coat.socks else coat.fur
    pose.fur(
        pose.shape(
            [(-0.20, 0.0), (-0.23, 0.16), (-0.17, 0.42), (-0.12, 0.60), (0.14, 0.60), (0.20, 0.42), (0.27, 0.18), (0.24, 0.0)]
        ),
        coat.fur,
        0.12,
    )
    for side in (-1.0, 1.0):
        pose.fur(pose.disc(side * 0.19 + 0.01, 0.12, 0.11, 0.13), scaled(coat.fur, 0.94), 0.06)
    pose.fur(
        pose.shape(
            [(-0.11, 0.34), (-0.09, 0.54), (0.02, 0.60), (0.11, 0.54), (0.12, 0.34), (0.05, 0.20), (0.0, 0.14), (-0.05, 0.20)]
        ),
        coat.pale,
        0.06,
        0.5,
    )
    for dx in (-0.085, 0.085):
        pose.fur(
            pose.shape(
                [(dx - 0.055, 0.34), (dx + 0.055, 0.34), (dx + 0.048, 0.06), (dx + 0.06, 0.0), (dx - 0.06, 0.0), (dx - 0.048, 0.06)]
            ),
            coat.fur,
            0.035,
        )
        if coat.socks:
            pose.fur(
                pose.shape(
                    [
                        (dx - 0.047, 0.17),
                        (dx + 0.047, 0.17),
                        (dx + 0.048, 0.05),
                        (dx + 0.06, 0.0),
                        (dx - 0.06, 0.0),
                        (dx - 0.048, 0.05),
                    ]
                ),
                limb,
                0.03,
                0.5,
            )
        pose.fur(pose.disc(dx, 0.018, 0.066, 0.026), mix(limb, coat.pale, 0.0 if coat.socks else 0.5), 0.02)
    if coat.stripes:
        for k in range(4):
            y = 0.20 + 0.09 * k
            for side in (-1.0, 1.0):
                pose.canvas.lay(
                    pose.shape([(side * 0.25, y), (side * 0.13, y + 0.03), (side * 0.235, y + 0.035)]),
                    pose.canvas.lit(scaled(coat.fur, 0.38)),
                    0.75,
                )


def _ears(pose: Pose, coat: Coat) -> None:
    inner = mix(coat.pale, (0.85, 0.55, 0.50), 0.5)
    for side in (-1.0, 1.0):
        if coat.ears == "pointed":
            pose.fur(pose.sharp([(side * 0.06, 0.84), (side * 0.205, 1.03), (side * 0.215, 0.74)]), coat.fur, 0.03)
            if coat.socks or coat.dark != (0.10, 0.08, 0.08):
                pose.fur(pose.sharp([(side * 0.165, 0.965), (side * 0.207, 1.035), (side * 0.212, 0.93)]), coat.dark, 0.01)
            pose.canvas.lay(
                pose.sharp([(side * 0.105, 0.84), (side * 0.19, 0.965), (side * 0.195, 0.78)]),
                pose.canvas.lit(scaled(inner, 0.85)),
                0.8,
            )
        elif coat.ears == "round":
            colour = coat.dark if coat.patches else coat.fur
            pose.fur(pose.disc(side * 0.165, 0.875, 0.082), colour, 0.03)
            pose.canvas.lay(
                pose.disc(side * 0.165, 0.868, 0.048, soft=0.02),
                pose.canvas.lit(scaled(inner, 0.45 if coat.patches else 0.85)),
                0.7,
            )
        elif coat.ears == "long":
            pose.fur(
                pose.shape(
                    [(side * 0.04, 0.84), (side * 0.065, 1.06), (side * 0.11, 1.20), (side * 0.155, 1.08), (side * 0.14, 0.82)]
                ),
                coat.fur,
                0.03,
            )
            pose.canvas.lay(
                pose.shape(
                    [(side * 0.07, 0.87), (side * 0.085, 1.05), (side * 0.11, 1.14), (side * 0.13, 1.05), (side * 0.12, 0.86)]
                ),
                pose.canvas.lit(inner),
                0.8,
            )


def _antlers(pose: Pose) -> None:
    bone = pose.canvas.lit((0.62, 0.50, 0.38))
    for side in (-1.0, 1.0):
        branch = [
            (0.06, 0.84),
            (0.13, 1.02),
            (0.24, 1.14),
            (0.30, 1.30),
            (0.275, 1.14),
            (0.34, 1.12),
            (0.26, 1.09),
            (0.20, 1.04),
            (0.205, 1.22),
            (0.17, 1.04),
            (0.10, 0.84),
        ]
        pose.canvas.solid(pose.sharp([(side * dx, dy) for dx, dy in branch]), bone, depth=0.01)


def _face(pose: Pose, coat: Coat, kind: str) -> None:
    wide = 0.235 if coat.ears in ("pointed", "hanging") else 0.225
    half = [(0.14, 0.875), (wide, 0.72), (0.20, 0.60), (0.08, 0.50)]
    outline = [(0.0, 0.90), *((-dx, dy) for dx, dy in half), (0.0, 0.475), *reversed(half)]
    pose.fur(pose.shape(outline), coat.fur, 0.11)
    for dx in (-0.07, 0.0, 0.07) if coat.stripes else ():
        stripe = pose.shape([(dx - 0.012, 0.875), (dx + 0.012, 0.875), (dx * 0.8, 0.79)])
        pose.canvas.lay(stripe, pose.canvas.lit(scaled(coat.fur, 0.38)), 0.8)
    cheek = [(0.015, 0.665), (0.10, 0.66), (0.215, 0.64), (0.185, 0.565), (0.06, 0.495), (0.0, 0.50)]
    ear = [(0.14, 0.87), (0.25, 0.80), (0.29, 0.62), (0.245, 0.53), (0.19, 0.64), (0.17, 0.78)]
    for side in (-1.0, 1.0):
        pose.fur(pose.shape([(side * dx, dy) for dx, dy in cheek]), coat.pale, 0.05, 0.5)
        if coat.ears == "hanging":
            pose.fur(pose.shape([(side * dx, dy) for dx, dy in ear]), scaled(coat.fur, 0.66), 0.04)
        _eye(pose, side, coat, kind)
    _muzzle(pose, coat)


def _muzzle(pose: Pose, coat: Coat) -> None:
    canvas = pose.canvas
    bridge = [(-0.055, 0.68), (0.0, 0.70), (0.055, 0.68), (0.072, 0.58), (0.035, 0.52), (-0.035, 0.52), (-0.072, 0.58)]
    pose.fur(pose.shape(bridge), mix(coat.pale, coat.fur, 0.12), 0.04, 0.5)
    nose = pose.shape([(-0.036, 0.605), (0.036, 0.605), (0.014, 0.565), (-0.014, 0.565)])
    canvas.solid(nose, canvas.lit((0.10, 0.08, 0.09)), depth=0.01, contrast=0.6)
    for side in (-1.0, 1.0):
        mouth = pose.shape([(0.0, 0.555), (side * 0.03, 0.528), (side * 0.065, 0.535), (side * 0.03, 0.536)])
        canvas.lay(mouth, canvas.lit((0.18, 0.11, 0.10)), 0.85)
    canvas.lay(pose.disc(-0.008, 0.597, 0.010, 0.005), (1, 1, 1), 0.6)


def _eye(pose: Pose, side: float, coat: Coat, kind: str) -> None:
    canvas = pose.canvas
    iris: Colour = {
        "cat": (0.55, 0.72, 0.25),
        "wolf": (0.85, 0.68, 0.25),
        "fox": (0.72, 0.44, 0.12),
        "tiger": (0.85, 0.70, 0.2),
        "lion": (0.8, 0.6, 0.2),
    }.get(kind, (0.24, 0.15, 0.09))
    x, y = side * 0.098, 0.715
    if coat.patches:
        pose.fur(pose.disc(side * 0.105, 0.705, 0.062, 0.072), coat.dark, 0.02)
    canvas.lay(pose.disc(x, y, 0.042, 0.037, soft=0.01), canvas.lit(scaled(coat.dark, 0.9)))
    canvas.lay(pose.disc(x, y, 0.032, 0.030), canvas.lit(iris, 1.15))
    canvas.lay(pose.disc(x, y, 0.012 if kind == "cat" else 0.018, 0.024 if kind == "cat" else 0.019), (0.02, 0.02, 0.03))
    canvas.lay(pose.disc(x + 0.012, y + 0.012, 0.0085), (1, 1, 1), 0.95)
