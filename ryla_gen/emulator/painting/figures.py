"""Portraits: a face with eyes, hair and shoulders. Paints on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .painter_canvas import Canvas, Colour, Point, mix, scaled
from .painter_words import Scene

_SKINS: tuple[Colour, ...] = ((0.96, 0.80, 0.70), (0.91, 0.72, 0.58), (0.80, 0.58, 0.43), (0.60, 0.40, 0.28), (0.42, 0.27, 0.19))
_HAIRS: tuple[Colour, ...] = ((0.13, 0.09, 0.08), (0.30, 0.19, 0.12), (0.52, 0.33, 0.18), (0.85, 0.68, 0.40), (0.50, 0.20, 0.11))
_CLOTHES: tuple[Colour, ...] = ((0.18, 0.32, 0.42), (0.55, 0.20, 0.22), (0.24, 0.36, 0.26), (0.72, 0.66, 0.56), (0.22, 0.22, 0.30))
_EYES: tuple[Colour, ...] = ((0.36, 0.24, 0.14), (0.28, 0.48, 0.62), (0.32, 0.50, 0.34), (0.40, 0.42, 0.46))


_GREY: Colour = (0.74, 0.74, 0.75)
_OLD = frozenset({"old", "elderly", "grandmother", "grandfather", "wizard", "aged"})


@dataclass(frozen=True)
class Head:
    """Where a head is and what it looks like. Offsets are in units of the face, from its middle."""

    canvas: Canvas
    x: float
    y: float
    scale: float
    turn: float
    """How far the features are moved sideways: the head looks that way."""
    skin: Colour
    hair: Colour
    clothes: Colour
    eyes: Colour
    is_man: bool
    is_long: bool

    def at(self, dx: float, dy: float) -> Point:
        """A point of the head on the canvas."""
        return (self.x + dx * self.scale, self.y + dy * self.scale)

    def line(self, points: list[Point]) -> list[Point]:
        """Several points."""
        return [self.at(dx, dy) for dx, dy in points]

    def both(self, points: list[Point]) -> list[Point]:
        """A symmetrical outline: the right half from top to bottom, mirrored back up."""
        return self.line([*points, *((-dx, dy) for dx, dy in reversed(points))])


def _head(canvas: Canvas, scene: Scene, x: float, size: float) -> Head:
    draw = canvas.draw
    is_man = "man" in scene.subjects or ("person" in scene.subjects and draw.random() < 0.4 and "hair" not in scene.colours)
    owner = "man" if "man" in scene.subjects else "woman"
    pick = [int(draw.integers(n)) for n in (5, 5, 5, 4)]
    if pick[0] >= 3:  # dark skin, dark hair, unless the prompt says otherwise
        pick[1] = 0
    long_hair = not is_man or draw.random() < 0.12
    turn = float(draw.uniform(-0.10, 0.10))
    return Head(
        canvas, x, float(-0.085 + draw.uniform(-0.025, 0.025)) * size / 0.9, size / 0.9 * 0.245, turn,
        _SKINS[pick[0]], scene.colours.get("hair", _GREY if _OLD & scene.said else _HAIRS[pick[1]]),
        scene.colours.get("clothes", scene.colours.get(owner, _CLOTHES[pick[2]])),
        scene.colours.get("eyes", _EYES[pick[3]]), is_man, long_hair,
    )  # fmt: skip


def portrait(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """Head and shoulders."""
    head = _head(canvas, scene, x, size)
    if head.is_long:
        _hair_behind(head)
    _body(head)
    _face(head)
    for side in (-1.0, 1.0):
        _eye(head, side)
    _nose_and_mouth(head)
    if head.is_man and (canvas.draw.random() < 0.45 or {"beard", "bearded", "wizard"} & scene.said):
        _beard(head)
    _hair_front(head)
    if {"crown", "king", "queen", "princess", "prince"} & scene.said:
        _diadem(head, scene.colours.get("hat", (0.92, 0.72, 0.26)))
    elif {"hat", "cap", "wizard"} & scene.said:
        _hat(head, scene.colours.get("hat", (0.30, 0.22, 0.18)))


def _hair_behind(head: Head) -> None:
    canvas = head.canvas
    wave = float(canvas.draw.uniform(0.05, 0.16))
    outline = head.both(
        [
            (0.0, -1.22),
            (0.52, -1.10),
            (0.84, -0.62),
            (0.90, 0.0),
            (0.96 + wave, 0.62),
            (0.98, 1.25),
            (0.86 + wave, 1.85),
            (0.45, 2.0),
        ]
    )
    shape = canvas.polygon(outline, smooth=True)
    canvas.solid(shape, canvas.lit(scaled(head.hair, 0.72)), depth=0.05 * head.scale * 4, contrast=0.6)
    _locks(head, 30, 0.55, 0.98, -0.2, 1.85, 0.42)


def _locks(head: Head, count: int, inner: float, outer: float, top: float, low: float, opacity: float) -> None:
    """Locks of hair down both sides: thin lighter and darker curves between two distances from the middle."""
    canvas, draw = head.canvas, head.canvas.draw
    for k in range(count):
        side = 1.0 if k % 2 else -1.0
        at = float(draw.uniform(inner, outer))
        end = top + (low - top) * float(draw.uniform(0.6, 1.0))
        bend, wide = float(draw.uniform(-0.05, 0.06)), float(draw.uniform(0.010, 0.024))
        tone = mix(head.hair, (1.0, 0.86, 0.66), 0.30) if draw.random() < 0.55 else scaled(head.hair, 0.55)
        middle = (top + end) / 2
        points = [(side * at * 0.93, top), (side * (at + bend), middle), (side * at, end), (side * (at + bend - wide * 2), middle)]
        canvas.lay(canvas.polygon(head.line(points), smooth=True), canvas.lit(tone), opacity)


def _crown(head: Head, part: float, count: int, opacity: float) -> None:
    """Locks that fan out from the parting over the top of the head."""
    canvas, draw = head.canvas, head.canvas.draw
    for k in range(count):
        side = 1.0 if k % 2 else -1.0
        share = float(draw.uniform(0.25, 1.0))
        tone = mix(head.hair, (1.0, 0.86, 0.66), 0.30) if draw.random() < 0.55 else scaled(head.hair, 0.55)
        end = (part * (1 - share) + side * 0.86 * share, -0.98 + 0.62 * share**2.2 - 0.12 * (1 - share))
        middle = ((part + end[0]) / 2 + side * 0.10, (-1.24 + end[1]) / 2 - 0.10)
        points = [(part, -1.22), middle, end, (middle[0] - side * 0.02, middle[1] + 0.045)]
        canvas.lay(canvas.polygon(head.line(points), smooth=True), canvas.lit(tone), opacity)


def _body(head: Head) -> None:
    canvas = head.canvas
    wide = 1.95 if head.is_man else 1.62
    low = (canvas.bottom - head.y) / head.scale + 0.2
    neck = 0.46 if head.is_man else 0.36
    canvas.solid(
        canvas.polygon(head.both([(neck * 0.92, 0.55), (neck, 1.15), (neck * 1.5, 1.5), (0.0, 1.95)]), smooth=True),
        canvas.lit(scaled(head.skin, 0.86)),
        depth=0.05,
        contrast=0.6,
    )
    canvas.lay(
        canvas.ellipse(*head.at(0.04, 1.02), 0.40 * head.scale, 0.20 * head.scale, soft=0.2 * head.scale),
        canvas.lit(scaled(head.skin, 0.45)),
        0.5,
    )
    outline = head.both([(neck * 1.28, 1.34), (0.98, 1.56), (wide * 0.86, 1.80), (wide, 2.4), (wide * 1.06, max(low, 2.9))])
    shape = canvas.polygon(outline, smooth=True)
    if shape is not None:  # cut out the neckline
        collar = canvas.ellipse(*head.at(0.0, 1.28), neck * 1.22 * head.scale, 0.50 * head.scale)
        if collar is not None:
            full = np.zeros((canvas.height, canvas.width), np.float32)
            full[collar.rows, collar.columns] = collar.alpha
            shape.alpha[:] *= 1 - full[shape.rows, shape.columns]
    canvas.solid(shape, canvas.lit(head.clothes), depth=0.06, contrast=0.7, grain=0.03)
    for k in range(3):
        fold = float(canvas.draw.uniform(-0.9, 0.9))
        canvas.lay(
            canvas.polygon(
                head.line([(fold, 1.9), (fold + 0.05, 2.4), (fold + 0.16 * (k - 1), 3.2), (fold - 0.04, 2.4)]), smooth=True
            ),
            canvas.lit(scaled(head.clothes, 0.6)),
            0.4,
        )


def _face(head: Head) -> None:
    canvas = head.canvas
    jaw = 0.60 if head.is_man else 0.50
    for side in (-1, 1):
        canvas.solid(
            canvas.ellipse(*head.at(side * 0.76, 0.12), 0.10 * head.scale, 0.20 * head.scale),
            canvas.lit(scaled(head.skin, 0.88)),
            depth=0.02,
        )
    outline = head.both(
        [(0.0, -1.02), (0.44, -0.96), (0.70, -0.58), (0.76, -0.05), (0.71, 0.42), (jaw, 0.78), (0.24, 1.06), (0.0, 1.10)]
    )
    shape = canvas.polygon(outline, smooth=True)
    canvas.solid(shape, canvas.lit(head.skin), depth=0.30 * head.scale, contrast=0.62)
    if shape is None:
        return
    # The side away from the light turns into soft shadow.
    across = (canvas.x[shape.columns][None, :] - head.x) / head.scale * -canvas.light.side
    dim = shape.alpha * np.clip(across * 0.55 + 0.02, 0, 0.42)
    area = canvas.image[shape.rows, shape.columns]
    area += dim[..., None] * (np.asarray(canvas.lit(scaled(head.skin, 0.50)), np.float32) - area)
    blush = mix(head.skin, (0.86, 0.30, 0.26), 0.55)
    for side in (-1, 1):
        canvas.lay(
            canvas.ellipse(*head.at(side * 0.42 + head.turn, 0.36), 0.20 * head.scale, 0.13 * head.scale, soft=0.18 * head.scale),
            canvas.lit(blush),
            0.26,
        )
    canvas.glow(*head.at(0.22 * canvas.light.side, -0.55), 0.26 * head.scale, canvas.lit(head.skin), 0.28)


def _eye(head: Head, side: float) -> None:
    canvas, s = head.canvas, head.scale
    ex, ey = side * 0.315 + head.turn, -0.02
    socket = canvas.lit(scaled(head.skin, 0.62))
    canvas.lay(canvas.ellipse(*head.at(ex, ey - 0.05), 0.23 * s, 0.15 * s, soft=0.15 * s), socket, 0.42)
    almond = [
        (ex - 0.17, ey + 0.02 * -side),
        (ex - 0.06, ey - 0.085),
        (ex + 0.06, ey - 0.085),
        (ex + 0.17, ey + 0.02 * side),
        (ex + 0.06, ey + 0.065),
        (ex - 0.06, ey + 0.065),
    ]
    canvas.lay(canvas.polygon(head.line(almond), smooth=True), canvas.lit((0.95, 0.94, 0.92)))
    look = head.turn * 0.25
    canvas.lay(canvas.ellipse(*head.at(ex + look, ey - 0.012), 0.082 * s, 0.084 * s), canvas.lit(scaled(head.eyes, 0.75)))
    canvas.lay(
        canvas.ellipse(*head.at(ex + look, ey + 0.008), 0.062 * s, 0.058 * s, soft=0.02 * s),
        canvas.lit(scaled(head.eyes, 1.35)),
        0.7,
    )
    canvas.lay(canvas.ellipse(*head.at(ex + look, ey - 0.012), 0.038 * s, 0.038 * s), (0.03, 0.03, 0.04))
    canvas.lay(canvas.ellipse(*head.at(ex + look + 0.03 * canvas.light.side, ey - 0.045), 0.02 * s, 0.02 * s), (1, 1, 1), 0.95)
    lash = [
        (ex - 0.19, ey + 0.01 * -side),
        (ex - 0.07, ey - 0.115),
        (ex + 0.07, ey - 0.115),
        (ex + 0.19, ey + 0.01 * side),
        (ex + 0.06, ey - 0.072),
        (ex - 0.06, ey - 0.072),
    ]
    canvas.lay(canvas.polygon(head.line(lash), smooth=True), canvas.lit(mix(scaled(head.hair, 0.4), (0.08, 0.05, 0.05), 0.6)), 0.92)
    brow = [
        (ex - 0.21 * 1.0, ey - 0.21 - 0.02 * side),
        (ex, ey - 0.285),
        (ex + 0.21, ey - 0.21 + 0.02 * side),
        (ex + 0.02, ey - (0.225 if head.is_man else 0.245)),
    ]
    canvas.lay(
        canvas.polygon(head.line(brow), smooth=True), canvas.lit(mix(scaled(head.hair, 0.6), (0.16, 0.10, 0.08), 0.45)), 0.80
    )


def _nose_and_mouth(head: Head) -> None:
    canvas, s, side = head.canvas, head.scale, head.canvas.light.side
    dark, light = canvas.lit(scaled(head.skin, 0.60)), canvas.lit(mix(head.skin, (1, 0.97, 0.92), 0.45))
    t = head.turn * 1.15
    canvas.lay(
        canvas.polygon(
            head.line(
                [
                    (t - 0.05 * side, -0.10),
                    (t - 0.12 * side, 0.30),
                    (t - 0.17 * side, 0.40),
                    (t - 0.02 * side, 0.40),
                    (t - 0.02 * side, 0.1),
                ]
            ),
            smooth=True,
        ),
        dark,
        0.30,
    )
    canvas.lay(canvas.ellipse(*head.at(t, 0.415), 0.13 * s, 0.035 * s, soft=0.05 * s), dark, 0.50)
    for wing in (-0.068, 0.068):
        canvas.lay(canvas.ellipse(*head.at(t + wing, 0.405), 0.030 * s, 0.016 * s, soft=0.015 * s), scaled(dark, 0.45), 0.7)
    canvas.lay(canvas.ellipse(*head.at(t + 0.025 * side, 0.31), 0.05 * s, 0.055 * s, soft=0.05 * s), light, 0.55)
    lip = mix(head.skin, (0.72, 0.16, 0.18), 0.38 if head.is_man else 0.62)
    m, my = head.turn, 0.66
    smile = float(canvas.draw.uniform(0.0, 0.05))
    upper = [
        (m - 0.25, my - smile),
        (m - 0.09, my - 0.075),
        (m, my - 0.055),
        (m + 0.09, my - 0.075),
        (m + 0.25, my - smile),
        (m, my + 0.012),
    ]
    lower = [
        (m - 0.23, my - smile + 0.01),
        (m, my + 0.012),
        (m + 0.23, my - smile + 0.01),
        (m + 0.12, my + 0.085),
        (m - 0.12, my + 0.085),
    ]
    canvas.lay(canvas.polygon(head.line(lower), smooth=True), canvas.lit(lip))
    canvas.lay(canvas.polygon(head.line(upper), smooth=True), canvas.lit(scaled(lip, 0.80)))
    canvas.lay(canvas.ellipse(*head.at(m + 0.05 * side, my + 0.045), 0.09 * s, 0.016 * s, soft=0.02 * s), light, 0.45)
    canvas.lay(canvas.ellipse(*head.at(m, my + 0.155), 0.15 * s, 0.03 * s, soft=0.05 * s), dark, 0.38)


def _beard(head: Head) -> None:
    canvas = head.canvas
    outline = head.both([(0.72, 0.30), (0.66, 0.70), (0.34, 1.16), (0.0, 1.24)]) + head.line(
        [(-0.40, 0.52), (-0.2, 0.52), (0.0, 0.50), (0.2, 0.52), (0.40, 0.52)]
    )
    shape = canvas.polygon(outline)
    if shape is None:
        return
    lips = canvas.ellipse(*head.at(head.turn, 0.67), 0.25 * head.scale, 0.10 * head.scale, soft=0.05 * head.scale)
    if lips is not None:
        full = np.zeros((canvas.height, canvas.width), np.float32)
        full[lips.rows, lips.columns] = lips.alpha
        shape.alpha[:] *= 1 - full[shape.rows, shape.columns]
    canvas.solid(shape, canvas.lit(scaled(head.hair, 0.85)), depth=0.02, contrast=0.5, grain=0.14)


def _hair_front(head: Head) -> None:
    canvas = head.canvas
    part = float(canvas.draw.uniform(-0.35, 0.35))
    if head.is_long:
        left = [
            (part, -1.0),
            (part - 0.30, -0.80),
            (-0.62, -0.42),
            (-0.72, 0.10),
            (-0.74, 0.70),
            (-0.84, 1.45),
            (-0.97, 0.66),
            (-0.98, -0.20),
            (-0.82, -0.84),
            (-0.42, -1.22),
            (part, -1.28),
        ]
        right = [
            (part, -1.0),
            (part + 0.30, -0.80),
            (0.62, -0.42),
            (0.72, 0.10),
            (0.74, 0.70),
            (0.84, 1.45),
            (0.97, 0.66),
            (0.98, -0.20),
            (0.82, -0.84),
            (0.42, -1.22),
            (part, -1.28),
        ]
        for outline in (left, right):
            canvas.solid(
                canvas.polygon(head.line(outline), smooth=True), canvas.lit(head.hair), depth=0.22 * head.scale, contrast=0.75
            )
        _crown(head, part, 18, 0.32)
        _locks(head, 16, 0.80, 0.94, -0.35, 0.66, 0.36)
        return
    top = [
        (-0.80, 0.06),
        (-0.72, -0.46),
        (part - 0.25, -0.74),
        (part + 0.1, -0.66),
        (0.66, -0.52),
        (0.80, 0.06),
        (0.90, -0.46),
        (0.72, -1.02),
        (0.20, -1.28),
        (-0.34, -1.24),
        (-0.76, -0.98),
        (-0.90, -0.46),
    ]
    canvas.solid(
        canvas.polygon(head.line(top), smooth=True), canvas.lit(head.hair), depth=0.16 * head.scale, contrast=0.75, grain=0.05
    )
    _crown(head, part, 20, 0.30)


def _diadem(head: Head, colour: Colour) -> None:
    """A crown with five points and stones."""
    canvas, low, high = head.canvas, -0.92, -1.42
    tips = [(-0.66 + 0.33 * k, high - 0.10 * (2 - abs(k - 2))) for k in range(5)]
    line = [(-0.62, low)]
    for k, tip in enumerate(tips):
        line += [tip] if k == 4 else [tip, (tip[0] + 0.165, low - 0.28)]
    canvas.solid(
        canvas.polygon(head.line([*line, (0.62, low), (0.0, low + 0.10)])), canvas.lit(colour, 1.1), depth=0.03, contrast=0.9
    )
    for k, (dx, dy) in enumerate(tips):
        size, stone = 0.05 * head.scale, ((0.80, 0.12, 0.18), (0.14, 0.36, 0.78))[k % 2]
        canvas.solid(canvas.ellipse(*head.at(dx, dy), size, size), canvas.lit(mix(colour, (1, 1, 0.9), 0.4)), depth=0.01)
        canvas.solid(canvas.ellipse(*head.at(dx * 0.86, low - 0.08), size, size), canvas.lit(stone), depth=0.01)


def _hat(head: Head, colour: Colour) -> None:
    canvas = head.canvas
    canvas.solid(
        canvas.polygon(head.both([(0.0, -1.62), (0.5, -1.55), (0.72, -1.0), (0.74, -0.72)]), smooth=True),
        canvas.lit(colour),
        depth=0.06,
        contrast=0.7,
    )
    canvas.solid(
        canvas.ellipse(*head.at(0.0, -0.72), 1.18 * head.scale, 0.16 * head.scale), canvas.lit(scaled(colour, 0.85)), depth=0.02
    )
