"""The sky: its colours by hour and weather, sun, moon and clouds. Paints on a canvas; knows no ground."""

from __future__ import annotations

import numpy as np

from .painter_backdrops import aurora, stars
from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_words import Scene

_SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "day": ((0.24, 0.50, 0.84), (0.52, 0.74, 0.93), (0.88, 0.94, 0.96)),
    "dusk": ((0.13, 0.14, 0.36), (0.62, 0.29, 0.43), (1.00, 0.64, 0.34)),
    "dawn": ((0.44, 0.55, 0.80), (0.93, 0.73, 0.74), (1.00, 0.89, 0.70)),
    "night": ((0.015, 0.03, 0.10), (0.05, 0.09, 0.24), (0.13, 0.20, 0.38)),
}
_GREY_SKY: tuple[Colour, Colour, Colour] = ((0.42, 0.47, 0.54), (0.62, 0.67, 0.72), (0.80, 0.83, 0.85))


def sky_colours(scene: Scene) -> tuple[Colour, Colour, Colour]:
    """Top, middle and horizon."""
    top, middle, low = _SKIES[scene.hour]
    grey = {"rain": 0.55, "storm": 0.75, "cloudy": 0.6, "fog": 0.5, "snow": 0.35}.get(scene.weather, 0.0)
    dark = {"day": 1.0, "dawn": 0.95, "dusk": 0.55, "night": 0.16}[scene.hour] * (0.6 if scene.weather == "storm" else 1.0)
    if "sky" in scene.colours or "clouds" in scene.colours:
        wanted = scene.colours.get("sky", scene.colours.get("clouds", top))
        top, middle, low = mix(top, scaled(wanted, 0.75), 0.8), mix(middle, wanted, 0.7), mix(low, mix(wanted, (1, 1, 1), 0.4), 0.6)
    grey_top, grey_middle, grey_low = (scaled(colour, dark) for colour in _GREY_SKY)
    return mix(top, grey_top, grey), mix(middle, grey_middle, grey), mix(low, grey_low, grey)


def sky(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """Gradient, sun or moon, stars, clouds."""
    top, middle, low = sky_colours(scene)
    end = (horizon + canvas.bottom) / (2 * canvas.bottom)
    canvas.vertical([(0, top), (end * 0.55, middle), (end, low), (1, low)])
    x = canvas.draw.uniform(0.18, 0.36) * canvas.light.side * canvas.right * 2
    y = -canvas.bottom + canvas.draw.uniform(0.16, 0.28)
    canvas.sun = float(x)
    if scene.hour == "night":
        stars(canvas, horizon, 150 if scene.weather == "clear" else 30)
        _moon(canvas, x, y, scene)
    elif scene.weather in ("clear", "snow", "fog"):
        _sun(canvas, scene, x, horizon if scene.hour in ("dusk", "dawn") else y)
    _clouds(canvas, scene, horizon, top, low)
    if scene.place == "aurora":
        aurora(canvas, horizon)


def _moon(canvas: Canvas, x: float, y: float, scene: Scene) -> None:
    colour = scene.colours.get("moon", (0.96, 0.95, 0.88))
    canvas.glow(x, y, 0.17, scaled(colour, 0.55), 0.75)
    disc = canvas.ellipse(x, y, 0.062, 0.062)
    canvas.lay(disc, colour)
    for dx, dy, r in ((-0.018, -0.012, 0.014), (0.014, 0.016, 0.018), (0.02, -0.022, 0.008)):
        canvas.lay(canvas.ellipse(x + dx, y + dy, r, r, soft=0.008), scaled(colour, 0.84), 0.6)


def _sun(canvas: Canvas, scene: Scene, x: float, y: float) -> None:
    warm: Colour = {"dusk": (1.0, 0.58, 0.26), "dawn": (1.0, 0.80, 0.55)}.get(scene.hour, (1.0, 0.96, 0.80))
    if "sun" in scene.colours:
        warm = scene.colours["sun"]
    low = scene.hour in ("dusk", "dawn")
    y = y - 0.07 if low else y
    canvas.glow(x, y, 0.42 if low else 0.24, warm, 0.55)
    canvas.glow(x, y, 0.13, mix(warm, (1, 1, 0.9), 0.5), 0.8)
    canvas.lay(canvas.ellipse(x, y, 0.058, 0.058, soft=0.006), mix(warm, (1, 0.97, 0.85), 0.72), 0.95)


def _clouds(canvas: Canvas, scene: Scene, horizon: float, top: Colour, low: Colour) -> None:
    cover = {"clear": 0.25, "cloudy": -0.35, "rain": -0.45, "storm": -0.55, "snow": -0.1, "fog": 0.1}[scene.weather]
    if scene.place == "clouds":
        cover -= 0.35
    cover += canvas.draw.uniform(-0.12, 0.12)
    drift = 0.024 * canvas.time
    field = canvas.noise(0.30, 5, stretch=2.6, drift=drift)
    thick = np.clip((field - np.float32(cover)) * 1.1, 0, 1)
    fade = np.clip((horizon - canvas.y) / (horizon + canvas.bottom) * 2.6, 0, 1)[:, None]
    thick = thick * fade * np.float32(0.92)
    # Light from above: where there is more cloud a little higher up, this part lies in its shadow.
    shift = max(1, int(0.02 * canvas.unit))
    shade = np.clip(0.5 + (field - np.concatenate([field[:1].repeat(shift, 0), field[:-shift]])) * 1.4, 0, 1)[..., None]
    if scene.hour == "night":
        bright, dark = mix(top, (0.30, 0.36, 0.52), 0.55), mix(top, (0.08, 0.1, 0.2), 0.6)
    else:
        bright = mix(mix(low, (1, 1, 1), 0.55), canvas.light.glow, 0.35)
        dark = mix(mix(top, low, 0.45), (0.45, 0.45, 0.55), 0.35)
        if scene.weather in ("storm", "rain"):
            bright, dark = scaled(bright, 0.80), scaled(dark, 0.62)
    colours = np.asarray(dark, np.float32) + shade * (np.asarray(bright, np.float32) - np.asarray(dark, np.float32))
    canvas.image += thick[..., None] * (colours - canvas.image)
