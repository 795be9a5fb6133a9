"""Lighthouse, house, castle. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, Patch, mix, scaled
from .painter_words import Scene

_LAMP: Colour = (1.0, 0.86, 0.52)


def _quad(canvas: Canvas, x: float, top: float, bottom: float, half_top: float, half_bottom: float) -> Patch | None:
    return canvas.polygon([(x - half_top, top), (x + half_top, top), (x + half_bottom, bottom), (x - half_bottom, bottom)])


def _round(canvas: Canvas, patch: Patch | None, x: float, half: float, colour: Colour) -> None:
    """A patch as the side of a round tower: light on one side, dark on the other, a rim of reflected light."""
    if patch is None:
        return
    across = np.clip((canvas.x[patch.columns] - x) / half, -1.1, 1.1)[None, :] * canvas.light.side
    shade = np.clip(0.74 + 0.36 * across - 0.26 * across**2 + 0.10 * np.exp(-((across + 0.95) ** 2) / 0.02), 0.25, 1.2)
    base = np.asarray(canvas.lit(colour), np.float32)
    warm = np.asarray(canvas.light.glow, np.float32)
    lit = np.clip(across - 0.05, 0, 1)[..., None] * np.float32(0.28)
    canvas.lay(
        patch,
        np.clip(shade[..., None] * base * (1 - lit) + lit * warm * base * 1.5, 0, 1) * np.ones((*patch.alpha.shape, 1), np.float32),
    )


def lighthouse(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A tapered tower with bands, a gallery, a lantern that shines, a roof, on rocks."""
    top = foot - size * 0.72
    roof = scene.colours.get("roof", scene.colours.get("lighthouse", (0.78, 0.16, 0.13)))
    wall = scene.colours.get("wall", scene.colours.get("lighthouse", (0.95, 0.94, 0.91)))
    band = roof if roof != wall else (0.8, 0.2, 0.15)
    _rocks(canvas, x, foot, size)
    _keeper_house(canvas, x, foot, size, wall, roof)
    _round(canvas, _quad(canvas, x, top, foot, size * 0.078, size * 0.128), x, size * 0.115, wall)
    banded = canvas.draw.random() < 0.6
    for k in range(1, 4) if banded else ():
        y0 = top + (foot - top) * (k / 4 + 0.01)
        y1 = y0 + (foot - top) * 0.115
        half0, half1 = (size * (0.078 + 0.05 * (y - top) / (foot - top)) for y in (y0, y1))
        _round(canvas, _quad(canvas, x, y0, y1, half0, half1), x, size * 0.115, band)
    night = scene.hour in ("night", "dusk")
    for k in range(2):
        y = top + (foot - top) * (0.20 + 0.25 * k)
        canvas.lay(
            canvas.ellipse(x - size * 0.012, y, size * 0.014, size * 0.024),
            _LAMP if night else canvas.lit((0.20, 0.24, 0.30)),
            0.95,
        )
    door = canvas.polygon(
        [
            (x - size * 0.03, foot),
            (x - size * 0.03, foot - size * 0.08),
            (x, foot - size * 0.105),
            (x + size * 0.03, foot - size * 0.08),
            (x + size * 0.03, foot),
        ]
    )
    canvas.lay(door, canvas.lit(scene.colours.get("door", (0.34, 0.20, 0.14))))
    _lantern(canvas, scene, x, top, size, roof, night)


def _lantern(canvas: Canvas, scene: Scene, x: float, top: float, size: float, roof: Colour, night: bool) -> None:
    dark: Colour = (0.22, 0.22, 0.26)
    _round(
        canvas,
        _quad(canvas, x, top - size * 0.012, top + size * 0.022, size * 0.118, size * 0.100),
        x,
        size * 0.115,
        mix(dark, roof, 0.35),
    )
    for k in range(-4, 5):
        canvas.lay(
            _quad(canvas, x + k * size * 0.027, top - size * 0.055, top - size * 0.01, size * 0.0022, size * 0.0022),
            canvas.lit(dark),
        )
    canvas.lay(_quad(canvas, x, top - size * 0.060, top - size * 0.052, size * 0.118, size * 0.118), canvas.lit(dark))
    glass = _quad(canvas, x, top - size * 0.125, top - size * 0.012, size * 0.060, size * 0.060)
    light = scene.colours.get("light", _LAMP)
    canvas.lay(glass, mix(canvas.lit((0.55, 0.68, 0.76)), light, 0.9 if night else 0.35))
    centre = top - size * 0.075
    if night:
        _beam(canvas, x, centre, size, light)
        canvas.glow(x, centre, size * 0.16, light, 0.8)
        canvas.glow(x, centre, size * 0.05, (1, 0.97, 0.85), 0.9)
    for k in (-1, 0, 1):
        canvas.lay(
            _quad(canvas, x + k * size * 0.04, top - size * 0.125, top - size * 0.012, size * 0.0035, size * 0.0035),
            canvas.lit(dark),
        )
    cone = canvas.polygon(
        [
            (x - size * 0.092, top - size * 0.120),
            (x - size * 0.055, top - size * 0.175),
            (x - size * 0.012, top - size * 0.225),
            (x + size * 0.012, top - size * 0.225),
            (x + size * 0.055, top - size * 0.175),
            (x + size * 0.092, top - size * 0.120),
        ]
    )
    _round(canvas, cone, x, size * 0.092, scaled(roof, 1.12))
    canvas.lay(_quad(canvas, x, top - size * 0.275, top - size * 0.222, size * 0.003, size * 0.005), canvas.lit(dark))
    canvas.lay(canvas.ellipse(x, top - size * 0.232, size * 0.013, size * 0.013), canvas.lit(scaled(roof, 0.8)))


def _beam(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    """Two cones of light, turning slowly."""
    turn = 0.05 * np.sin(0.35 * canvas.time)
    for side in (-1.0, 1.0):
        reach = canvas.right * 2.2
        slope = -0.10 * side * canvas.light.side + turn
        cone = canvas.polygon(
            [
                (x, y - size * 0.012),
                (x + side * reach, y + slope * reach - 0.15),
                (x + side * reach, y + slope * reach + 0.15),
                (x, y + size * 0.012),
            ]
        )
        if cone is None:
            continue
        far = np.abs(canvas.x[cone.columns] - x) / canvas.right
        middle = (canvas.y[cone.rows][:, None] - y - slope * (canvas.x[cone.columns] - x)[None, :] * side) / (
            0.012 + 0.068 * far[None, :]
        )
        cone.alpha[:] *= (np.exp(-(middle**2)) * np.exp(-far * 1.5)[None, :]).astype(np.float32)
        canvas.lay(cone, colour, 0.50)


def _rocks(canvas: Canvas, x: float, foot: float, size: float) -> None:
    draw = canvas.draw
    stone: Colour = (0.36, 0.33, 0.33)
    mound = [
        (x - size * 0.75, foot + size * 0.14),
        (x - size * 0.46, foot + size * 0.02),
        (x - size * 0.16, foot - size * 0.025),
        (x + size * 0.18, foot - size * 0.02),
        (x + size * 0.44, foot + size * 0.03),
        (x + size * 0.72, foot + size * 0.14),
        (x, foot + size * 0.22),
    ]
    canvas.solid(canvas.polygon(mound, smooth=True), canvas.lit(stone), depth=0.05, contrast=0.7, grain=0.10)
    for _ in range(16):
        dx, drop = draw.uniform(-0.66, 0.66), draw.uniform(0.0, 0.10)
        wide = draw.uniform(0.05, 0.12) * size
        cx, cy = x + dx * size, foot + (0.05 + drop + 0.10 * dx * dx) * size
        corners = [
            (cx + wide * np.cos(a) * draw.uniform(0.8, 1.15), cy + wide * 0.6 * np.sin(a) * draw.uniform(0.75, 1.15))
            for a in np.linspace(0, 2 * np.pi, 8)[:-1]
        ]
        canvas.solid(
            canvas.polygon(corners), canvas.lit(scaled(stone, draw.uniform(0.8, 1.2))), depth=0.02, contrast=0.8, grain=0.06
        )
    for _ in range(12):
        dx = draw.uniform(-0.8, 0.8)
        canvas.lay(
            canvas.ellipse(
                x + dx * size,
                foot + size * (0.17 + draw.uniform(-0.02, 0.03)),
                size * draw.uniform(0.04, 0.10),
                size * 0.012,
                soft=size * 0.015,
            ),
            canvas.lit((0.95, 0.97, 0.98)),
            0.55,
        )


def _keeper_house(canvas: Canvas, x: float, foot: float, size: float, wall: Colour, roof: Colour) -> None:
    side = 1.0 if canvas.draw.random() < 0.5 else -1.0
    a, b = x + side * size * 0.08, x + side * size * 0.34
    left, right, base = min(a, b), max(a, b), foot + size * 0.015
    canvas.solid(
        canvas.polygon([(left, foot - size * 0.10), (right, foot - size * 0.10), (right, base), (left, base)]),
        canvas.lit(scaled(wall, 0.9)),
        depth=0.01,
    )
    canvas.solid(
        canvas.polygon(
            [
                (left - size * 0.02, foot - size * 0.10),
                (left + size * 0.03, foot - size * 0.18),
                (right - size * 0.03, foot - size * 0.18),
                (right + size * 0.02, foot - size * 0.10),
            ]
        ),
        canvas.lit(scaled(roof, 0.95)),
        depth=0.012,
    )
    for k in (0.32, 0.68):
        cx = left + (right - left) * k
        night = canvas.light.tint[0] < 0.9
        canvas.lay(
            _quad(canvas, cx, foot - size * 0.072, foot - size * 0.028, size * 0.018, size * 0.018),
            _LAMP if night else canvas.lit((0.25, 0.30, 0.36)),
            0.95,
        )


def house(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A house with a gable, chimney, door and windows."""
    roof = scene.colours.get("roof", (0.58, 0.25, 0.18))
    wall = scene.colours.get("house", scene.colours.get("wall", (0.88, 0.82, 0.72)))
    wide, tall = size * 0.62, size * 0.42
    canvas.shadow(x, foot, wide * 1.05, size * 0.06)
    _chimney(canvas, x + wide * 0.535, foot - tall * 1.95, wide, tall)
    canvas.solid(_quad(canvas, x, foot - tall, foot, wide, wide), canvas.lit(wall), depth=0.02, grain=0.02)
    gable = _quad(canvas, x, foot - tall * 1.80, foot - tall * 0.96, wide * 0.72, wide * 1.12)
    canvas.solid(gable, canvas.lit(roof), depth=0.02, contrast=0.6, grain=0.06)
    if scene.weather == "snow":
        heap = [(-0.98, 1.25), (-0.72, 1.86), (0.72, 1.86), (0.98, 1.25), (0.4, 1.36), (0.0, 1.24), (-0.4, 1.36)]
        snow = canvas.polygon([(x + wide * dx, foot - tall * dy) for dx, dy in heap], smooth=True)
        canvas.solid(snow, canvas.lit((0.96, 0.97, 1.0)), depth=0.02)
    lamps = scene.hour in ("night", "dusk") or scene.weather in ("rain", "storm")
    for dx in (-0.58, 0.58):
        _window(canvas, x + wide * dx, foot - tall * 0.55, size * 0.075, lamps)
    door = canvas.lit(scene.colours.get("door", (0.30, 0.38, 0.36)))
    canvas.solid(_quad(canvas, x, foot - tall * 0.72, foot, size * 0.07, size * 0.07), door, depth=0.01)
    canvas.lay(canvas.ellipse(x + size * 0.045, foot - tall * 0.34, size * 0.009, size * 0.009), canvas.lit((0.9, 0.75, 0.35)))


def _chimney(canvas: Canvas, x: float, top: float, wide: float, tall: float) -> None:
    """A chimney and its smoke, which drifts away."""
    canvas.solid(_quad(canvas, x, top, top + tall * 0.95, wide * 0.085, wide * 0.085), canvas.lit((0.50, 0.34, 0.30)), depth=0.01)
    for k in range(5):
        across = x + k * 0.018 + 0.012 * canvas.time
        puff = canvas.ellipse(across, top - tall * 0.1 - k * 0.035, 0.014 + 0.008 * k, 0.012 + 0.006 * k, soft=0.02)
        canvas.lay(puff, canvas.lit((0.9, 0.9, 0.92)), 0.34 - 0.05 * k)


def _window(canvas: Canvas, x: float, y: float, half: float, shines: bool) -> None:
    """A window with a frame and a cross."""
    frame = canvas.lit((0.96, 0.94, 0.9))
    canvas.lay(_quad(canvas, x, y - half * 1.25, y + half * 1.25, half * 1.2, half * 1.2), frame)
    canvas.lay(_quad(canvas, x, y - half, y + half, half, half), _LAMP if shines else canvas.lit((0.36, 0.48, 0.58)))
    canvas.lay(_quad(canvas, x, y - half, y + half, half * 0.08, half * 0.08), frame)
    canvas.lay(_quad(canvas, x, y - half * 0.08, y + half * 0.08, half, half), frame)
    if shines:
        canvas.glow(x, y, half * 1.9, _LAMP, 0.45)


def castle(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """Towers with pointed roofs around a keep."""
    stone = scene.colours.get("castle", scene.colours.get("wall", (0.68, 0.65, 0.62)))
    roof = scene.colours.get("roof", (0.28, 0.33, 0.48))
    canvas.shadow(x, foot, size * 0.5, size * 0.05)
    slit = _LAMP if scene.hour in ("night", "dusk") else canvas.lit((0.20, 0.20, 0.26))
    for dx, tall, half in ((-0.20, 0.78, 0.062), (0.18, 0.90, 0.070), (0.0, 0.60, 0.16), (-0.40, 0.56, 0.078), (0.40, 0.62, 0.078)):
        _tower(canvas, x + dx * size, foot, tall * size, half * size, stone, roof if half < 0.1 else None)
        for k in range(2):
            y = foot - tall * size + size * (0.09 + 0.14 * k)
            canvas.lay(canvas.ellipse(x + dx * size, y, size * 0.012, size * 0.024), slit, 0.95)
    wall = _quad(canvas, x, foot - size * 0.26, foot, size * 0.42, size * 0.43)
    canvas.solid(wall, canvas.lit(scaled(stone, 0.9)), depth=0.02, grain=0.04)
    gate = [(-0.07, 0.0), (-0.07, 0.11), (-0.035, 0.16), (0.035, 0.16), (0.07, 0.11), (0.07, 0.0)]
    canvas.lay(canvas.polygon([(x + dx * size, foot - dy * size) for dx, dy in gate]), canvas.lit((0.18, 0.13, 0.11)))


def _tower(canvas: Canvas, x: float, foot: float, tall: float, half: float, stone: Colour, roof: Colour | None) -> None:
    """A round tower with battlements or, with a colour for it, a pointed roof and a flag."""
    top = foot - tall
    _round(canvas, _quad(canvas, x, top, foot, half, half * 1.06), x, half, stone)
    for k in range(-2, 3):
        tooth = _quad(canvas, x + k * half * 0.44, top - tall * 0.028, top + tall * 0.006, half * 0.13, half * 0.13)
        canvas.lay(tooth, canvas.lit(scaled(stone, 0.92)))
    if roof is not None:
        _round(canvas, canvas.polygon([(x - half * 1.25, top), (x, top - half * 3.2), (x + half * 1.25, top)]), x, half * 1.2, roof)
        flag = canvas.polygon([(x, top - half * 4.0), (x + half * 0.9, top - half * 3.75), (x, top - half * 3.5)])
        canvas.lay(flag, canvas.lit((0.82, 0.22, 0.20)))
