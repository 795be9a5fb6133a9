"""Backdrops that are all of a piece: city, space, under water, indoors, studio, aurora, stars. Paints on a canvas."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .painter_canvas import Canvas, Colour, mix, scaled, smooth_step
from .painter_words import PEOPLE, Scene


def stars(canvas: Canvas, horizon: float, count: int) -> None:
    """Stars of many sizes above the horizon."""
    draw = canvas.fresh()
    if canvas.is_thumbnail:
        return
    for _ in range(count):
        x, y = draw.uniform(-canvas.right, canvas.right), draw.uniform(-canvas.bottom, horizon)
        size = 0.0012 + 0.0028 * draw.random() ** 5
        tone = mix((0.75, 0.85, 1.0), (1.0, 0.9, 0.75), draw.random())
        twinkle = 0.75 + 0.25 * np.sin(1.3 * canvas.time + 40 * x)
        canvas.lay(canvas.ellipse(x, y, size, size, soft=size * 0.8), tone, float(draw.uniform(0.35, 1.0) * twinkle))


def aurora(canvas: Canvas, horizon: float) -> None:
    """Curtains of green and violet light."""
    for k in range(3):
        line = -canvas.bottom + 0.30 + 0.10 * k + 0.14 * canvas.ridge(0.7, 3, 0.4, drift=0.02 * canvas.time)
        up = line[None, :] - canvas.y[:, None]
        curtain = np.where(up > 0, np.exp(-up / 0.20), np.exp(up / 0.025))
        rays = 0.65 + 0.35 * canvas.noise(0.035, 2, stretch=1.0, drift=0.03 * canvas.time)[:1]
        amount = (curtain * np.clip(rays, 0, 1.2) * np.float32(0.55))[..., None]
        tone = np.asarray(mix((0.25, 0.95, 0.55), (0.62, 0.32, 0.95), k / 2.4), np.float32)
        canvas.image += (amount * tone * (1 - canvas.image) * (canvas.y < horizon)[:, None, None]).astype(np.float32)


def city(canvas: Canvas, scene: Scene, horizon: float, low: Colour) -> float:
    """Rows of houses, windows, a street that mirrors them when it is wet. Returns where one stands."""
    night = scene.hour in ("night", "dusk")
    tone = scene.colours.get("city", (0.42, 0.43, 0.50))
    if night:
        canvas.glow(0.0, horizon, 0.62, mix(low, (1.0, 0.55, 0.42), 0.45), 0.55)
    for row, far in enumerate((0.80, 0.50, 0.12)):
        x = -canvas.right - 0.1
        while x < canvas.right:
            wide = canvas.draw.uniform(0.08, 0.17) * (1 + 0.25 * row)
            middle = 1.0 - 0.55 * np.exp(-((x / 0.30) ** 2)) * (row == 2)
            tall = canvas.draw.uniform(0.24, 0.62) * (1.08 - 0.10 * row) * middle
            hue = (canvas.draw.uniform(-0.05, 0.06), 0.0, canvas.draw.uniform(-0.05, 0.06))
            own = (tone[0] + hue[0], tone[1] + hue[1], tone[2] + hue[2])
            colour = mix(canvas.lit(own, canvas.draw.uniform(0.7, 1.25)), scaled(low, 1.25 if night else 1.0), far * 0.78)
            _building(canvas, x, horizon, wide, tall, colour, night, 1 - far)
            x += wide + canvas.draw.uniform(0.0, 0.02)
    return _street(canvas, scene, horizon, night)


_LAMPS: tuple[Colour, ...] = ((1.0, 0.80, 0.45), (1.0, 0.90, 0.68), (0.98, 0.66, 0.38), (0.62, 0.82, 1.0))
_NEON: tuple[Colour, ...] = ((1.0, 0.25, 0.62), (0.20, 0.90, 1.0), (0.66, 0.35, 1.0), (1.0, 0.72, 0.30))


def _building(canvas: Canvas, x: float, foot: float, wide: float, tall: float, colour: Colour, night: bool, near: float) -> None:
    top = foot - tall
    body = canvas.polygon([(x, top), (x + wide, top), (x + wide, foot), (x, foot)])
    if body is None:
        return
    across = (canvas.x[body.columns] - x) / wide
    side = np.clip(0.9 - 0.22 * (across - 0.5) * -canvas.light.side, 0, 1.2)[None, :, None]
    down = np.clip(1.05 - 0.35 * (canvas.y[body.rows] - top) / max(tall, 0.01), 0, 1.2)[:, None, None]
    canvas.lay(body, (np.asarray(colour, np.float32) * side * down).astype(np.float32))
    if canvas.draw.random() < 0.4:
        mast = x + wide * canvas.draw.uniform(0.3, 0.7)
        canvas.lay(
            canvas.polygon([(mast - 0.002, top - 0.05), (mast + 0.002, top - 0.05), (mast + 0.003, top), (mast - 0.003, top)]),
            scaled(colour, 0.7),
        )
    _windows(canvas, x, top, wide, foot, colour, night, near)


def _windows(canvas: Canvas, x: float, top: float, wide: float, foot: float, colour: Colour, night: bool, near: float) -> None:
    if canvas.is_thumbnail:
        return
    columns, rows = max(2, int(wide / 0.026)), max(3, int((foot - top) / 0.036))
    draw = canvas.fresh()
    lamps = _NEON if canvas.light.night and draw.random() < 0.25 else _LAMPS
    for row in range(rows):
        for column in range(columns):
            if night and draw.random() > 0.48:
                continue
            left, up = x + wide * (column + 0.28) / columns, top + 0.02 + (foot - top - 0.03) * row / rows
            tone = lamps[int(draw.integers(len(lamps)))] if night else mix(colour, (0.75, 0.86, 0.95), 0.55)
            pane = canvas.polygon(
                [(left, up), (left + wide * 0.44 / columns, up), (left + wide * 0.44 / columns, up + 0.018), (left, up + 0.018)]
            )
            canvas.lay(
                pane, mix(colour, tone, 0.25 + 0.75 * near) if night else tone, float(draw.uniform(0.45, 1.0)) if night else 0.45
            )


def _street(canvas: Canvas, scene: Scene, horizon: float, night: bool) -> float:
    first = min(canvas.height - 2, int((horizon + canvas.bottom) * canvas.unit))
    count = canvas.height - first
    wet = scene.weather in ("rain", "storm")
    asphalt = np.asarray(canvas.lit((0.27, 0.27, 0.31)), np.float32)
    mirrored = canvas.image[np.clip(first - 1 - (np.arange(count) * 1.3).astype(int), 0, first - 1)]
    if wet:  # light on water runs into long streaks
        pixels = Image.fromarray((np.clip(mirrored, 0, 1) * 255).astype(np.uint8))
        flat = pixels.resize((canvas.width, max(2, count // max(1, int(0.05 * canvas.unit)))), Image.Resampling.BOX)
        streaks = np.asarray(flat.resize((canvas.width, count), Image.Resampling.BICUBIC), np.float32) / np.float32(255)
        mirrored = np.clip(streaks * 1.5 + 0.25 * mirrored, 0, 1)
    ripple = canvas.noise(0.03, 3, stretch=5, drift=0.01 * canvas.time)[first:]
    shift = (ripple * 0.014 * canvas.unit).astype(int)
    columns = np.clip(np.arange(canvas.width)[None, :] + shift, 0, canvas.width - 1)
    mirrored = np.take_along_axis(mirrored, columns[..., None], axis=1)
    share = np.float32(0.72 if wet else 0.14)
    fall = np.linspace(1, 0.55, count, dtype=np.float32)[:, None, None]
    canvas.image[first:] = asphalt * (1 - share) * (1.05 - 0.25 * (1 - fall)) + mirrored * share * fall + ripple[..., None] * 0.02
    bottom = canvas.bottom
    for k in range(5):
        a, b = (k / 5) ** 1.6, ((k + 0.5) / 5) ** 1.6
        y0, y1 = horizon + 0.02 + a * (bottom - horizon), horizon + 0.02 + b * (bottom - horizon)
        w0, w1 = 0.004 + 0.016 * a, 0.004 + 0.016 * b
        canvas.lay(canvas.polygon([(-w0, y0), (w0, y0), (w1, y1), (-w1, y1)]), canvas.lit((0.92, 0.88, 0.72)), 0.5)
    if night:
        _street_lamps(canvas, horizon, wet)
    return min(bottom - 0.08, horizon + 0.2)


def _street_lamps(canvas: Canvas, horizon: float, wet: bool) -> None:
    for k in range(4):
        near = (k + 0.6) / 4
        for side in (-1, 1):
            x, foot = side * (0.10 + 0.42 * near), horizon + 0.02 + 0.16 * near
            tall = 0.10 + 0.26 * near
            pole = canvas.polygon(
                [
                    (x - 0.004 * near, foot - tall),
                    (x + 0.004 * near, foot - tall),
                    (x + 0.005 * near, foot),
                    (x - 0.005 * near, foot),
                ]
            )
            canvas.lay(pole, canvas.lit((0.14, 0.14, 0.17)))
            canvas.glow(x, foot - tall, 0.03 + 0.05 * near, (1.0, 0.76, 0.42), 0.8)
            canvas.lay(canvas.ellipse(x, foot - tall, 0.006 + 0.008 * near, 0.006 + 0.008 * near), (1.0, 0.93, 0.76))
            if wet:
                canvas.lay(
                    canvas.ellipse(x, foot + 0.06 * near + 0.05, 0.010 + 0.014 * near, 0.09, soft=0.06), (1.0, 0.76, 0.42), 0.30
                )


def space(canvas: Canvas, scene: Scene) -> float:
    """Nebulae, stars, a planet."""
    accents = scene.accents or [scene.colours[key] for key in ("space", "background") if key in scene.colours]
    draw = canvas.draw
    tones = accents or [((0.50, 0.18, 0.62), (0.12, 0.36, 0.72), (0.78, 0.26, 0.42), (0.10, 0.52, 0.55))[int(draw.integers(4))]]
    first = tones[0]
    second = tones[1] if len(tones) > 1 else (first[2], first[0] * 0.6, first[1] + 0.2)
    canvas.vertical([(0, (0.012, 0.014, 0.045)), (1, (0.03, 0.02, 0.07))])
    for colour, scale in ((first, 0.55), (second, 0.42)):
        cloud = smooth_step(-0.1, 1.3, canvas.noise(scale, 6, drift=0.006 * canvas.time)) * np.float32(0.9)
        dust = 1 - 0.6 * smooth_step(0.0, 1.0, canvas.noise(scale * 0.4, 5, drift=0.006 * canvas.time))
        canvas.image += (cloud * dust)[..., None] * np.asarray(colour, np.float32) * (1 - canvas.image)
    stars(canvas, canvas.bottom, 260)
    x, y = -canvas.light.side * canvas.right * draw.uniform(0.3, 0.6), draw.uniform(-0.28, -0.05)
    if "rocket" not in scene.subjects[:0]:
        _planet(canvas, float(x), float(y), float(draw.uniform(0.13, 0.2)), second)
    return canvas.bottom - 0.12


def _planet(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    disc = canvas.ellipse(x, y, size, size)
    if disc is None:
        return
    canvas.glow(x, y, size * 1.25, mix(colour, (0.7, 0.8, 1.0), 0.5), 0.35)
    dx, dy = (canvas.x[disc.columns][None, :] - x) / size, (canvas.y[disc.rows][:, None] - y) / size
    facing = np.clip(0.35 + 0.75 * (dx * canvas.light.side - dy * 0.5), 0.03, 1.0)
    bands = 1 + 0.16 * np.sin(9 * dy + 1.4 * canvas.noise(0.12, 3, stretch=3)[disc.rows, disc.columns])
    base = np.asarray(mix(colour, (0.9, 0.85, 0.8), 0.45), np.float32)
    canvas.lay(disc, ((facing * bands)[..., None] * base).astype(np.float32))


def underwater(canvas: Canvas, scene: Scene) -> float:
    """Blue depth, rays from above, sand, bubbles."""
    tone = scene.colours.get("underwater", scene.colours.get("sea", (0.06, 0.42, 0.60)))
    canvas.vertical([(0, mix(tone, (0.75, 0.97, 0.98), 0.62)), (0.45, tone), (1, scaled(tone, 0.42))])
    fan = (canvas.x[None, :] - 0.2 * canvas.light.side) / (canvas.y[:, None] + canvas.bottom + 0.5)
    ray = 0.5 + 0.3 * np.sin(23 * fan + 0.15 * canvas.time) + 0.2 * np.sin(61 * fan + 1 - 0.1 * canvas.time)
    fade = np.clip(1 - (canvas.y[:, None] + canvas.bottom) / 0.8, 0, 1)
    canvas.image += (np.clip(ray - 0.45, 0, 1) * fade * 0.6)[..., None].astype(np.float32) * (1 - canvas.image)
    line = (canvas.bottom - 0.14 + 0.03 * canvas.ridge(0.6, 3)).astype(np.float32)
    canvas.lay(canvas.below(line, soft=0.02), mix(scaled(tone, 0.8), (0.86, 0.80, 0.60), 0.45))
    for _ in range(12):
        x, tall = canvas.draw.uniform(-canvas.right, canvas.right), canvas.draw.uniform(0.05, 0.16)
        colour = mix(
            ((0.95, 0.45, 0.40), (0.85, 0.35, 0.65), (0.25, 0.62, 0.40), (0.98, 0.72, 0.35))[int(canvas.draw.integers(4))],
            tone,
            0.35,
        )
        for k in range(5):
            sway = 0.02 * np.sin(0.6 * canvas.time + 8 * x)
            lean = (k - 2) * 0.25 * tall + sway
            frond = [
                (x - 0.012, canvas.bottom - 0.08),
                (x + lean - 0.006, canvas.bottom - 0.1 - tall),
                (x + lean + 0.01, canvas.bottom - 0.1 - tall),
                (x + 0.012, canvas.bottom - 0.08),
            ]
            canvas.solid(canvas.polygon(frond, smooth=True), colour, depth=0.01)
    draw = canvas.fresh()
    for _ in range(26):
        x, y, size = (
            draw.uniform(-canvas.right, canvas.right),
            draw.uniform(-canvas.bottom, canvas.bottom),
            draw.uniform(0.003, 0.011),
        )
        y = (y + canvas.bottom - 0.02 * canvas.time) % (2 * canvas.bottom) - canvas.bottom
        canvas.lay(canvas.ellipse(x, y, size, size), (0.85, 0.97, 1.0), 0.28)
        canvas.lay(canvas.ellipse(x - size * 0.3, y - size * 0.3, size * 0.3, size * 0.3), (1, 1, 1), 0.7)
    return 0.12


def interior(canvas: Canvas, scene: Scene) -> float:
    """A wall with the light of a window on it, and a table."""
    draw = canvas.draw
    walls: tuple[Colour, ...] = ((0.55, 0.62, 0.60), (0.70, 0.62, 0.54), (0.48, 0.54, 0.64), (0.66, 0.58, 0.58))
    wall = scene.colours.get("wall", scene.colours.get("background", walls[int(draw.integers(4))]))
    lit = np.asarray(canvas.lit(wall), np.float32)
    side = canvas.light.side
    fall = 0.72 + 0.36 * (canvas.x[None, :] * side + canvas.right) / (2 * canvas.right) - 0.18 * canvas.y[:, None]
    plaster = 1 + 0.03 * canvas.noise(0.16, 5)
    canvas.image[:] = lit * (fall * plaster)[..., None]
    # A window's light, leaning across the wall.
    x, y = side * draw.uniform(0.02, 0.16), draw.uniform(-0.34, -0.24)
    for column in range(2):
        for row in range(2):
            left, top = x + column * 0.20, y + row * 0.20
            skew = -0.10 * side
            pane = canvas.polygon(
                [(left + skew * 0, top), (left + 0.18, top + 0.03), (left + 0.18 + skew, top + 0.21), (left + skew, top + 0.18)]
            )
            canvas.lay(pane, np.asarray(mix(canvas.lit(wall), canvas.light.glow, 0.65), np.float32), 0.5)
    canvas.blur(0.006)
    table = 0.16 * 2 * canvas.bottom
    wood = canvas.lit(scene.colours.get("interior", scene.colours.get("table", (0.52, 0.34, 0.21))))
    patch = canvas.below(np.full(canvas.width, table, np.float32))
    grain = canvas.noise(0.018, 4, stretch=22)[patch.rows][..., None]
    glossy = (1.12 - 0.75 * (canvas.y[patch.rows] - table)[:, None] + 0.18 * canvas.x[None, :] * side)[..., None]
    canvas.lay(patch, np.clip(np.asarray(wood, np.float32) * glossy * (1 + 0.16 * grain), 0, 1).astype(np.float32))
    return table + 0.17


def studio(canvas: Canvas, scene: Scene) -> float:
    """A plain backdrop with a soft light behind the subject."""
    choices: tuple[Colour, ...] = ((0.36, 0.45, 0.50), (0.52, 0.42, 0.38), (0.36, 0.36, 0.46), (0.44, 0.50, 0.42))
    wanted = scene.colours.get("background") or scene.colours.get("studio") or (scene.accents[0] if scene.accents else None)
    tone = wanted or choices[int(canvas.draw.integers(4))]
    if scene.is_plain:
        fall = 1.02 - 0.05 * np.hypot(canvas.x[None, :] / canvas.right, canvas.y[:, None] / canvas.bottom)
        canvas.image[:] = np.clip(np.asarray(canvas.lit(tone), np.float32) * fall[..., None], 0, 1)
        return min(canvas.bottom - 0.10, 0.27)
    far = np.hypot(canvas.x[None, :] - 0.12 * canvas.light.side, canvas.y[:, None] + 0.08)
    light = 1.18 - 0.75 * np.clip(far, 0, 1.2) + 0.06 * canvas.noise(0.35, 4)
    canvas.image[:] = np.clip(np.asarray(canvas.lit(tone), np.float32) * light[..., None], 0, 1)
    return canvas.bottom - 0.10 if PEOPLE & set(scene.subjects[:1]) else min(canvas.bottom - 0.10, 0.30)
