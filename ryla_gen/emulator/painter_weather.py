"""Snow, rain and fog in front of everything. Paints on a canvas; knows no places but by name."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, mix
from .painter_sky import sky_colours
from .painter_words import Scene


def paint_weather(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """What falls or hangs in the air in front of everything."""
    if canvas.is_thumbnail or scene.place in ("interior", "room", "studio", "space", "underwater", "moon", "mars"):
        return
    if scene.weather == "snow":
        _flakes(canvas)
    elif scene.weather in ("rain", "storm"):
        _drops(canvas)
    elif scene.weather == "fog":
        veil = np.clip(0.42 + 0.35 * canvas.noise(0.4, 3, stretch=3, drift=0.02 * canvas.time), 0, 0.8)
        veil = veil * np.exp(-(((canvas.y - horizon - 0.05) / 0.28) ** 2))[:, None]
        canvas.image += veil[..., None].astype(np.float32) * (np.asarray(sky_colours(scene)[2], np.float32) - canvas.image)


def _flakes(canvas: Canvas) -> None:
    draw = canvas.fresh()
    for _ in range(130):
        near = draw.random() ** 2.2
        x, y = draw.uniform(-canvas.right, canvas.right), draw.uniform(-canvas.bottom, canvas.bottom)
        y = (y + canvas.bottom + 0.02 * canvas.time * (0.6 + near)) % (2 * canvas.bottom) - canvas.bottom
        size = 0.0022 + 0.007 * near
        white = canvas.lit((1.0, 1.0, 1.0), 1.15)
        canvas.lay(canvas.ellipse(x, y, size, size, soft=size * 1.2), white, 0.85 - 0.45 * near)


def _drops(canvas: Canvas) -> None:
    draw = canvas.fresh()
    bright = mix(canvas.lit((0.85, 0.9, 0.97)), (1, 1, 1), 0.15)
    for _ in range(110):
        x, y = draw.uniform(-canvas.right, canvas.right), draw.uniform(-canvas.bottom, canvas.bottom)
        y = (y + canvas.bottom + 0.03 * canvas.time) % (2 * canvas.bottom) - canvas.bottom
        long = draw.uniform(0.02, 0.055)
        canvas.lay(
            canvas.polygon([(x, y), (x + 0.0016, y), (x - long * 0.18, y + long), (x - long * 0.18 - 0.0016, y + long)]),
            bright,
            0.34,
        )
