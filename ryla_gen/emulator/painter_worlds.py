"""Moon, Mars and a room with a floor. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_backdrops import stars
from .painter_canvas import Array, Canvas, Colour, mix, scaled, smooth_step
from .painter_words import Scene


def moon(canvas: Canvas, scene: Scene) -> tuple[float, float]:
    """Grey dust and craters under a black sky with the earth in it. Returns horizon and foot."""
    horizon = 0.05 * canvas.bottom * 2
    canvas.vertical([(0, (0.006, 0.007, 0.016)), (1, (0.02, 0.022, 0.035))])
    stars(canvas, horizon, 190)
    _earth(canvas, -canvas.light.side * canvas.right * 0.55, -canvas.bottom * 0.56, 0.10)
    tone = scene.colours.get("moon", (0.66, 0.66, 0.66))
    line = horizon - 0.05 + 0.05 * canvas.ridge(0.7, 4)
    _dust(canvas, line, scaled(tone, 0.55), 0.05)
    _dust(canvas, horizon + 0.05 + 0.03 * canvas.ridge(0.9, 3), tone, 0.07)
    _craters(canvas, horizon + 0.08, tone)
    return horizon, min(canvas.bottom - 0.07, horizon + 0.34)


def mars(canvas: Canvas, scene: Scene) -> tuple[float, float]:
    """Rust-red ground, mesas and rocks under a dusty sky. Returns horizon and foot."""
    horizon = 0.06 * canvas.bottom * 2
    dim = 0.22 if scene.hour == "night" else 1.0
    canvas.vertical(
        [(0, scaled((0.62, 0.42, 0.32), dim)), (0.5, scaled((0.90, 0.68, 0.50), dim)), (1, scaled((0.98, 0.82, 0.64), dim))]
    )
    if scene.hour == "night":
        stars(canvas, horizon, 120)
    canvas.glow(0.3 * canvas.light.side, -canvas.bottom * 0.55, 0.10, (0.95, 0.96, 1.0), 0.9 * dim)
    tone = scene.colours.get("mars", (0.74, 0.36, 0.20))
    for k, far in enumerate((0.6, 0.3)):
        mesa = smooth_step(-0.1, 0.5, canvas.ridge(0.55, 4)) * np.float32(0.16 - 0.05 * k)
        _dust(canvas, horizon + 0.02 + 0.05 * k - mesa, mix(tone, (0.92, 0.70, 0.52), far), 0.04)
    _dust(canvas, horizon + 0.08 + 0.03 * canvas.ridge(0.9, 3), tone, 0.09)
    _craters(canvas, horizon + 0.12, tone, 5)
    for _ in range(26):
        depth = canvas.draw.random() ** 0.8
        y, x = horizon + 0.12 + depth * (canvas.bottom - horizon - 0.12), canvas.draw.uniform(-canvas.right, canvas.right)
        size = 0.004 + 0.022 * depth * canvas.draw.random()
        canvas.shadow(x - canvas.light.side * size, y + size * 0.3, size * 1.6, size * 0.5, 0.4)
        canvas.solid(canvas.ellipse(x, y, size * 1.3, size * 0.8), canvas.lit(scaled(tone, 0.8)), depth=size, contrast=0.9)
    return horizon, min(canvas.bottom - 0.07, horizon + 0.34)


def _dust(canvas: Canvas, line: Array, colour: Colour, grain: float) -> None:
    """Ground below a line, lighter on slopes that face the light."""
    patch = canvas.below(np.asarray(line, np.float32))
    slope = np.gradient(line)[None, :] * canvas.unit * -canvas.light.side
    deep = np.clip((canvas.y[patch.rows][:, None] - line[None, :]) / 0.20, 0, 1)
    shade = (
        0.92 + 0.9 * np.clip(slope, -0.5, 0.5) * (1 - deep) - 0.10 * deep + grain * canvas.noise(0.06, 5, stretch=2.2)[patch.rows]
    )
    canvas.lay(patch, np.clip(np.asarray(canvas.lit(colour), np.float32) * shade[..., None], 0, 1).astype(np.float32))


def _craters(canvas: Canvas, top: float, colour: Colour, count: int = 17) -> None:
    """Rings: their far wall in the light, their floor in shadow."""
    side = canvas.light.side
    for k in range(count):
        depth = ((k + canvas.draw.random()) / count) ** 1.2
        y = top + depth * (canvas.bottom - top)
        x = canvas.draw.uniform(-canvas.right, canvas.right)
        wide = (0.018 + 0.11 * depth) * canvas.draw.uniform(0.5, 1.15)
        flat = 0.26 + 0.12 * depth
        canvas.lay(
            canvas.ellipse(x, y, wide * 1.12, wide * flat * 1.2, soft=wide * 0.12), canvas.lit(mix(colour, (1, 1, 1), 0.30)), 0.8
        )
        canvas.lay(canvas.ellipse(x, y, wide, wide * flat, soft=wide * 0.07), canvas.lit(scaled(colour, 0.42)))
        inner = canvas.ellipse(x - side * wide * 0.16, y + wide * flat * 0.18, wide * 0.80, wide * flat * 0.76, soft=wide * 0.16)
        canvas.lay(inner, canvas.lit(scaled(colour, 0.82)), 0.9)


def _earth(canvas: Canvas, x: float, y: float, size: float) -> None:
    disc = canvas.ellipse(x, y, size, size)
    if disc is None:
        return
    canvas.glow(x, y, size * 1.15, (0.35, 0.6, 1.0), 0.4)
    dx, dy = (canvas.x[disc.columns][None, :] - x) / size, (canvas.y[disc.rows][:, None] - y) / size
    facing = np.clip(0.40 + 0.85 * (dx * canvas.light.side - dy * 0.4), 0.02, 1.1)[..., None]
    land = smooth_step(0.05, 0.35, canvas.noise(0.07, 4)[disc.rows, disc.columns])[..., None]
    cloud = smooth_step(0.1, 0.7, canvas.noise(0.05, 4, stretch=2.5, drift=0.002 * canvas.time)[disc.rows, disc.columns])[..., None]
    sea, green = np.array([0.12, 0.34, 0.72], np.float32), np.array([0.32, 0.48, 0.24], np.float32)
    tone = sea + land * (green - sea)
    tone = tone + cloud * np.float32(0.85) * (1 - tone)
    canvas.lay(disc, (tone * facing).astype(np.float32))


def room(canvas: Canvas, scene: Scene) -> tuple[float, float]:
    """A wall with a window and a picture, a skirting board, a wooden floor, a rug. Returns horizon and foot."""
    draw, side = canvas.draw, canvas.light.side
    walls: tuple[Colour, ...] = ((0.74, 0.72, 0.66), (0.66, 0.70, 0.72), (0.78, 0.70, 0.62), (0.68, 0.72, 0.64))
    wall = scene.colours.get("wall", scene.colours.get("room", scene.colours.get("background", walls[int(draw.integers(4))])))
    fall = 0.78 + 0.28 * (canvas.x[None, :] * side + canvas.right) / (2 * canvas.right) - 0.14 * canvas.y[:, None]
    lit = np.asarray(canvas.lit(wall), np.float32)
    canvas.image[:] = lit * (fall * (1 + 0.02 * canvas.noise(0.16, 5)))[..., None]
    low = 0.18 * 2 * canvas.bottom
    _window(canvas, scene, side * canvas.right * 0.58, -canvas.bottom * 0.42)
    _framed(canvas, -side * canvas.right * 0.50, -canvas.bottom * 0.46)
    canvas.blur(0.003)
    wood = scene.colours.get("interior", (0.58, 0.41, 0.27))
    patch = canvas.below(np.full(canvas.width, low, np.float32))
    far = np.clip((canvas.y[patch.rows][:, None] - low) / (canvas.bottom - low), 0, 1)
    planks = 0.05 * np.sign(np.sin(26 * canvas.x[None, :] / (0.55 + far)))
    grain = canvas.noise(0.02, 3, stretch=14)[patch.rows]
    shade = 1.02 - 0.22 * far + planks + 0.07 * grain + 0.10 * canvas.x[None, :] * side
    canvas.lay(patch, np.clip(np.asarray(canvas.lit(wood), np.float32) * shade[..., None], 0, 1).astype(np.float32))
    edge = canvas.right + 0.1
    canvas.lay(
        canvas.polygon([(-edge, low - 0.035), (edge, low - 0.035), (edge, low), (-edge, low)]),
        canvas.lit(mix(wall, (1, 1, 1), 0.5)),
    )
    foot = min(canvas.bottom - 0.10, low + 0.14)
    rugs: tuple[Colour, ...] = ((0.62, 0.30, 0.26), (0.30, 0.38, 0.50), (0.80, 0.74, 0.62))
    rug = canvas.lit(rugs[int(draw.integers(3))])
    canvas.lay(canvas.ellipse(0.0, foot + 0.01, 0.62, 0.085), rug)
    canvas.lay(canvas.ellipse(0.0, foot + 0.01, 0.54, 0.066), mix(rug, (0.95, 0.88, 0.75), 0.35))
    return low, foot


def _window(canvas: Canvas, scene: Scene, x: float, y: float) -> None:
    sky: Colour = {"night": (0.07, 0.11, 0.24), "dusk": (0.92, 0.55, 0.40), "dawn": (0.96, 0.80, 0.70)}.get(
        scene.hour, (0.72, 0.86, 0.95)
    )
    half, tall = 0.15, 0.21
    outer = [(x - half, y - tall), (x + half, y - tall), (x + half, y + tall), (x - half, y + tall)]
    canvas.glow(x, y, 0.30, sky, 0.30)
    canvas.lay(canvas.polygon(outer), canvas.lit((0.95, 0.94, 0.91)))
    for column in (-1, 0):
        for row in (-1, 0):
            left, top = x + column * (half - 0.006) + 0.006, y + row * (tall - 0.006) + 0.006
            right, low = left + half - 0.024, top + tall - 0.024
            canvas.lay(
                canvas.polygon([(left, top), (right, top), (right, low), (left, low)]), mix(sky, (1, 1, 1), 0.15 if row else 0.0)
            )


def _framed(canvas: Canvas, x: float, y: float) -> None:
    half, tall = 0.11, 0.085
    for grow, colour in ((0.016, (0.36, 0.25, 0.16)), (0.0, (0.92, 0.90, 0.85)), (-0.022, (0.45, 0.58, 0.64))):
        w, h = half + grow, tall + grow
        canvas.lay(canvas.polygon([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)]), canvas.lit(colour))
    canvas.lay(
        canvas.polygon([(x - 0.08, y + 0.06), (x - 0.02, y - 0.01), (x + 0.03, y + 0.03), (x + 0.08, y + 0.06)]),
        canvas.lit((0.34, 0.44, 0.32)),
    )
