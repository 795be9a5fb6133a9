"""Paint where a scene happens: sky, light, land or water, and the weather in front of it. Knows no figures."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .canvas import Array, Canvas, Colour, Point, mix, scale
from .scene import Scene


class Ground(NamedTuple):
    """The ground of a place, in units of the canvas: where the sky ends, and where a figure stands."""

    horizon: float
    foot: float


def paint_place(canvas: Canvas, scene: Scene) -> Ground:
    """Paint everything behind the figures; out of focus behind a portrait."""
    ground = _PLACES[scene.place](canvas, scene)
    if "person" in scene.figures and scene.is_outdoors:
        canvas.blur(0.016)
    return ground


_SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "day": ((0.24, 0.50, 0.84), (0.52, 0.74, 0.93), (0.88, 0.94, 0.96)),
    "dusk": ((0.13, 0.14, 0.36), (0.62, 0.29, 0.43), (1.00, 0.64, 0.34)),
    "dawn": ((0.44, 0.55, 0.80), (0.93, 0.73, 0.74), (1.00, 0.89, 0.70)),
    "night": ((0.015, 0.03, 0.10), (0.05, 0.09, 0.24), (0.13, 0.20, 0.38)),
}
"""Top, middle and horizon of a clear sky, by hour."""
_GREY_SKY: tuple[Colour, Colour, Colour] = ((0.42, 0.47, 0.54), (0.62, 0.67, 0.72), (0.80, 0.83, 0.85))
_GREYNESS = {"rain": 0.55, "storm": 0.75, "cloudy": 0.6, "fog": 0.5, "snow": 0.35}
_COVER = {"clear": 0.25, "cloudy": -0.35, "rain": -0.45, "storm": -0.55, "snow": -0.1, "fog": 0.1}
"""How thick the noise must be to count as a cloud, by weather."""


def _sky_colours(scene: Scene) -> tuple[Colour, Colour, Colour]:
    top, middle, low = _SKIES[scene.hour]
    grey = _GREYNESS.get(scene.weather, 0.0)
    dark = {"day": 1.0, "dawn": 0.95, "dusk": 0.55, "night": 0.16}[scene.hour] * (0.6 if scene.weather == "storm" else 1.0)
    if "sky" in scene.colours:
        wanted = scene.colours["sky"]
        top, middle, low = mix(top, scale(wanted, 0.75), 0.8), mix(middle, wanted, 0.7), mix(low, mix(wanted, (1, 1, 1), 0.4), 0.6)
    grey_top, grey_middle, grey_low = (scale(colour, dark) for colour in _GREY_SKY)
    return mix(top, grey_top, grey), mix(middle, grey_middle, grey), mix(low, grey_low, grey)


def _sky(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """Paint gradient, sun or moon, stars, clouds."""
    top, middle, low = _sky_colours(scene)
    end = (horizon + canvas.bottom) / (2 * canvas.bottom)
    canvas.vertical([(0, top), (end * 0.55, middle), (end, low), (1, low)])
    canvas.sun = float(canvas.draw.uniform(0.18, 0.36) * canvas.light.side * canvas.right * 2)
    high = -canvas.bottom + canvas.draw.uniform(0.16, 0.28)
    if scene.hour == "night":
        _stars(canvas, horizon, 150 if scene.weather == "clear" else 30)
        _moon(canvas, high, scene.colours.get("moon", (0.96, 0.95, 0.88)))
    elif scene.weather in ("clear", "snow", "fog"):
        _sun(canvas, scene, horizon - 0.07 if scene.hour in ("dusk", "dawn") else high)
    _clouds(canvas, scene, horizon)


def _stars(canvas: Canvas, horizon: float, count: int) -> None:
    draw = canvas.fresh()
    for _ in range(0 if canvas.is_thumbnail else count):
        x, y = draw.uniform(-canvas.right, canvas.right), draw.uniform(-canvas.bottom, horizon)
        size = 0.0012 + 0.0028 * draw.random() ** 5
        twinkle = 0.75 + 0.25 * np.sin(1.3 * canvas.time + 40 * x)
        canvas.lay(canvas.ellipse(x, y, size, size, soft=size * 0.8), (0.9, 0.92, 0.95), float(draw.uniform(0.35, 1.0) * twinkle))


def _moon(canvas: Canvas, y: float, colour: Colour) -> None:
    canvas.glow(canvas.sun, y, 0.17, scale(colour, 0.55), 0.75)
    canvas.lay(canvas.ellipse(canvas.sun, y, 0.062, 0.062), colour)


def _sun(canvas: Canvas, scene: Scene, y: float) -> None:
    warm: Colour = {"dusk": (1.0, 0.58, 0.26), "dawn": (1.0, 0.80, 0.55)}.get(scene.hour, (1.0, 0.96, 0.80))
    warm, x = scene.colours.get("sun", warm), canvas.sun
    canvas.glow(x, y, 0.24 if scene.hour == "day" else 0.42, warm, 0.55)
    canvas.glow(x, y, 0.13, mix(warm, (1, 1, 0.9), 0.5), 0.8)
    canvas.lay(canvas.ellipse(x, y, 0.058, 0.058, soft=0.006), mix(warm, (1, 0.97, 0.85), 0.72), 0.95)


def _clouds(canvas: Canvas, scene: Scene, horizon: float) -> None:
    top, _, low = _sky_colours(scene)
    cover = _COVER[scene.weather] + canvas.draw.uniform(-0.12, 0.12)
    field = canvas.noise(0.30, 5, stretch=2.6, drift=0.024 * canvas.time)
    fade = np.clip((horizon - canvas.y) / (horizon + canvas.bottom) * 2.6, 0, 1)[:, None]
    thick = np.clip((field - np.float32(cover)) * 1.1, 0, 1) * fade * np.float32(0.92)
    # Light from above: where there is more cloud a little higher up, this part lies in its shadow.
    shift = max(1, int(0.02 * canvas.unit))
    shade = np.clip(0.5 + (field - np.concatenate([field[:1].repeat(shift, 0), field[:-shift]])) * 1.4, 0, 1)[..., None]
    if scene.hour == "night":
        bright, dark = mix(top, (0.30, 0.36, 0.52), 0.55), mix(top, (0.08, 0.1, 0.2), 0.6)
    else:
        bright = mix(mix(low, (1, 1, 1), 0.55), canvas.light.glow, 0.35)
        dark = mix(mix(top, low, 0.45), (0.45, 0.45, 0.55), 0.35)
        if scene.weather in ("storm", "rain"):
            bright, dark = scale(bright, 0.80), scale(dark, 0.62)
    colours = np.asarray(dark, np.float32) + shade * (np.asarray(bright, np.float32) - np.asarray(dark, np.float32))
    canvas.image += thick[..., None] * (colours - canvas.image)


def _haze(canvas: Canvas, scene: Scene, colour: Colour, far: float) -> Colour:
    """Return a colour seen through ``far`` (0..1) of air."""
    return mix(canvas.lit(colour), _sky_colours(scene)[2], far * (0.92 if scene.weather == "fog" else 0.78))


def _hills(canvas: Canvas, scene: Scene, line: Array, colour: Colour, far: float, grain: float = 0.10) -> None:
    """Paint one range of hills, lighter at its crest, with some texture."""
    patch = canvas.below(line)
    near = np.asarray(_haze(canvas, scene, colour, far), np.float32)
    depth = np.clip((canvas.y[patch.rows][:, None] - line[None, :]) / 0.35, 0, 1)[..., None]
    canvas.lay(patch, near * (1.12 - 0.42 * depth) * (1 + grain * canvas.noise(0.05, 3, stretch=2.5)[patch.rows][..., None]))


def _meadow_colour(scene: Scene) -> Colour:
    return (0.90, 0.93, 0.97) if scene.weather == "snow" else scene.colours.get("field", (0.36, 0.55, 0.25))


def _meadow(canvas: Canvas, scene: Scene, top: float) -> Ground:
    """Paint the grass in front."""
    _hills(canvas, scene, top + 0.035 * canvas.ridge(0.9, 2), scale(_meadow_colour(scene), 0.92), 0.04, 0.16)
    return Ground(top, min(canvas.bottom - 0.06, top + 0.22))


def _field(canvas: Canvas, scene: Scene) -> Ground:
    horizon, tone = 0.12 * canvas.bottom, _meadow_colour(scene)
    _sky(canvas, scene, horizon)
    line = horizon + 0.05 * canvas.ridge(0.9, 3, drift=0.003 * canvas.time)
    _hills(canvas, scene, line, mix(tone, (0.30, 0.42, 0.40), 0.5), 0.6)
    line = horizon + 0.11 + 0.055 * canvas.ridge(0.8, 3, drift=0.006 * canvas.time)
    _hills(canvas, scene, line, tone, 0.28)
    return _meadow(canvas, scene, 0.44 * canvas.bottom)


def _mountains(canvas: Canvas, scene: Scene) -> Ground:
    """Paint two ranges with lit and dark flanks and snow on top, meadow below."""
    horizon = 0.24 * canvas.bottom
    _sky(canvas, scene, horizon)
    window = max(1, int(0.03 * canvas.unit))
    for k, (far, height) in enumerate(((0.72, 0.20), (0.42, 0.27))):
        line = horizon - height * 0.7 + k * 0.07 - height * canvas.ridge(0.7, 6, 0.52, drift=0.002 * canvas.time * (k + 1))
        line = line - max(0.0, float(line.min()) - (horizon - 0.16 - 0.5 * height))  # however the ridge fell, a summit shows
        patch, rough = canvas.below(line), canvas.noise(0.09, 4)
        deep = np.clip(canvas.y[patch.rows][:, None] - line[None, :], 0, 1)
        # Each flank is followed up to the crest it comes from: the crest's slope there says which way it faces.
        crest = np.arange(canvas.width)[None, :] + (canvas.unit * 0.45 * deep).astype(int) * int(canvas.light.side)
        steep = np.convolve(np.gradient(line), np.ones(window) / window, mode="same") * canvas.unit * canvas.light.side
        slope = 1.3 * steep[np.clip(crest, 0, canvas.width - 1)]
        side = np.clip(0.5 + slope + 0.2 * rough[patch.rows], 0, 1)[..., None]
        snow = np.clip(((0.60 if scene.weather == "snow" else 0.15) - deep + 0.05 * rough[patch.rows]) * 14, 0, 1)[..., None]
        rock, white = (np.asarray(_haze(canvas, scene, c, far), np.float32) for c in ((0.43, 0.42, 0.47), (0.97, 0.98, 1.0)))
        canvas.lay(patch, (1 - snow) * rock * (0.58 + 0.62 * side) + snow * white * (0.60 + 0.40 * side))
    return _meadow(canvas, scene, 0.40 * canvas.bottom)


def _forest(canvas: Canvas, scene: Scene) -> Ground:
    """Paint rows of firs that fade into the air, and a clearing."""
    horizon, is_white = 0.20 * canvas.bottom, scene.weather == "snow"
    needles = scene.colours.get("leaves", scene.colours.get("forest", (0.26, 0.38, 0.37) if is_white else (0.20, 0.40, 0.22)))
    _sky(canvas, scene, horizon)
    for row, far in enumerate((0.82, 0.62, 0.40, 0.16)):
        foot, count = horizon + 0.05 + 0.075 * row, int((13 - 2 * row) * max(1.0, canvas.right * 2))
        for k in range(count):
            x = -canvas.right + (k + canvas.draw.uniform(0.1, 0.9)) / count * 2 * canvas.right
            tall, tone = (0.36 + 0.15 * row) * canvas.draw.uniform(0.75, 1.2), canvas.draw.uniform(0.82, 1.12)
            if row < 3 or abs(x) > 0.27:  # the clearing is nearest to the viewer
                fir = canvas.polygon(_fir(x + 0.004 * np.sin(0.7 * canvas.time + 9 * x), foot, tall))
                canvas.lay(fir, scale(_haze(canvas, scene, needles, far), tone))
        floor: Colour = (0.90, 0.93, 0.98) if is_white else mix((0.30, 0.33, 0.18), needles, 0.25)
        _hills(canvas, scene, foot - 0.012 + 0.02 * canvas.ridge(0.5, 3), floor, far * 0.8, 0.14)
    return Ground(horizon, min(canvas.bottom - 0.07, horizon + 0.36))


def _fir(x: float, foot: float, tall: float) -> list[Point]:
    """Return the outline of a fir in five tiers."""
    tiers = [(0.21 * (1 - k / 5), 0.10 + 0.17 * k) for k in range(5)]
    right = [(0.02, 0.0), (0.02, 0.10), *(point for out, low in tiers for point in ((out, low), (out * 0.45, low + 0.17)))]
    return [(x + dx * tall, foot - dy * tall) for dx, dy in (*right, (0.0, 1.0), *((-dx, dy) for dx, dy in reversed(right)))]


def _sea(canvas: Canvas, scene: Scene) -> Ground:
    """Paint water to the horizon with the light of the sky on it."""
    horizon = 0.20 * canvas.bottom
    _sky(canvas, scene, horizon)
    if canvas.draw.random() < 0.6:
        line = horizon - 0.02 - 0.05 * np.clip(canvas.ridge(0.7, 4, drift=0.002 * canvas.time), 0, 1)
        _hills(canvas, scene, line, (0.34, 0.38, 0.42), 0.55, 0.05)
    _water(canvas, scene, horizon)
    return Ground(horizon, min(canvas.bottom - 0.08, horizon + 0.26))


def _water(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """Paint waves that reflect the sky, longer towards us, with glitter under the sun."""
    _, middle, low = _sky_colours(scene)
    rows = slice(min(canvas.height - 1, int((horizon + canvas.bottom) * canvas.unit)), canvas.height)
    depth = np.clip((canvas.y[rows] - horizon) / (canvas.bottom - horizon), 0, 1)[:, None, None].astype(np.float32)
    near = np.asarray(canvas.lit(scene.colours.get("sea", (0.10, 0.34, 0.46))), np.float32)
    far = np.asarray(mix(low, middle, 0.35), np.float32)
    image = far + depth**0.6 * (near - far)
    # Perspective: the same waves, squeezed towards the horizon.
    swell = canvas.noise(0.16, 4, stretch=4.5, drift=0.03 * canvas.time)
    lines = (np.linspace(0, 1, rows.stop - rows.start) ** 0.55 * (canvas.height - 1)).astype(int)
    wave = swell[lines][..., None]
    image = image * (1 + 0.20 * np.clip(wave, -1, 1)) + np.clip(wave - 0.35, 0, 1) * 0.28 * np.asarray(low, np.float32)
    roll = np.sin(26 * depth[..., 0] ** 0.45 - 0.5 * canvas.time + 2.5 * swell[lines])[..., None]
    image = image * (1 + 0.07 * roll * depth**0.5)
    path = np.exp(-(((canvas.x[None, :] - canvas.sun) / (0.05 + 0.16 * depth[..., 0])) ** 2))
    sparkle = np.clip(swell[lines, ::-1] * 1.5 + 0.15, 0, 1) * path
    strength = 0.0 if scene.weather in ("storm", "rain", "cloudy") else 0.9
    glitter = (sparkle * np.float32(strength))[..., None] * np.asarray(canvas.light.glow, np.float32)
    canvas.image[rows] = image + glitter * (1 - image)


_BACKDROPS: tuple[Colour, ...] = ((0.36, 0.45, 0.50), (0.52, 0.42, 0.38), (0.36, 0.36, 0.46), (0.44, 0.50, 0.42))


def _studio(canvas: Canvas, scene: Scene) -> Ground:
    """Paint a plain backdrop with a soft light, which wanders a little in a video."""
    tone = scene.colours.get("studio", _BACKDROPS[int(canvas.draw.integers(len(_BACKDROPS)))])
    far = np.hypot(canvas.x[None, :] - 0.12 * canvas.light.side * np.cos(0.2 * canvas.time), canvas.y[:, None] + 0.08)
    light = 1.12 - 0.55 * np.clip(far, 0, 1.2) + 0.06 * canvas.noise(0.35, 4, drift=0.01 * canvas.time)
    canvas.image[:] = np.clip(np.asarray(canvas.lit(tone), np.float32) * light[..., None], 0, 1)
    return Ground(0.2, min(canvas.bottom - 0.10, 0.30))


def _nowhere(canvas: Canvas, scene: Scene) -> Ground:
    """Paint ribbons of light, in the prompt's colours if it names any: clearly not what was asked for, so the caption is read."""
    draw = canvas.draw
    turns = (0.0, draw.uniform(0.06, 0.12), draw.uniform(-0.13, -0.06), draw.uniform(0.43, 0.57))
    hue = draw.random()
    wheel = [colorsys.hsv_to_rgb((hue + turn) % 1, draw.uniform(0.45, 0.85), draw.uniform(0.6, 0.98)) for turn in turns]
    palette: list[Colour] = [*scene.accents, *(mix(colour, (0.8, 0.8, 0.8), 0.3) for colour in scene.accents)] or wheel
    canvas.vertical([(0, scale(palette[0], 0.22)), (1, scale(palette[-1], 0.50))])
    tilt = draw.uniform(-0.35, 0.35)
    for k in range(8):
        wave = 0.17 * canvas.ridge(0.75, 3, 0.3, drift=0.02 * canvas.time * (1 + 0.2 * k))
        line = canvas.bottom * (0.226 * k - 0.75) + tilt * canvas.x + wave
        depth = canvas.y[:, None] - line[None, :]
        wide = np.clip(0.10 + 0.12 * draw.random() + 0.05 * canvas.ridge(0.6, 2)[None, :], 0.05, 1)
        upper = np.clip(depth * canvas.unit / 1.5 + 0.5, 0, 1)
        body = upper * np.clip(1 - depth / wide, 0, 1) ** 1.4
        bright = (np.exp(-np.clip(depth, 0, 1) / 0.018) * upper)[..., None] * np.float32(0.55)
        tone = np.asarray(palette[k % len(palette)], np.float32) * (0.80 + 0.26 * np.sin(9.0 * depth / wide))[..., None]
        canvas.image += (body * 0.86)[..., None].astype(np.float32) * (tone + bright * (1 - tone) - canvas.image)
    return Ground(0.0, canvas.bottom - 0.1)


_PLACES: dict[str, Callable[[Canvas, Scene], Ground]] = {
    "sea": _sea, "mountains": _mountains, "field": _field, "forest": _forest, "studio": _studio, "": _nowhere,
}  # fmt: skip


def paint_weather(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """Paint what falls or hangs in the air in front of everything."""
    if canvas.is_thumbnail or not scene.is_outdoors:
        return
    draw = canvas.fresh()
    spots = [(draw.uniform(-canvas.right, canvas.right), draw.uniform(0, 2 * canvas.bottom), draw.random()) for _ in range(120)]
    if scene.weather == "snow":
        for x, down, near in spots:
            size = 0.0022 + 0.007 * near**2.2
            y = (down + 0.02 * canvas.time * (0.6 + near)) % (2 * canvas.bottom) - canvas.bottom
            canvas.lay(canvas.ellipse(x, y, size, size, soft=size * 1.2), canvas.lit((1.0, 1.0, 1.0), 1.15), 0.85 - 0.45 * near)
    elif scene.weather in ("rain", "storm"):
        for x, down, near in spots:
            y, long = (down + 0.03 * canvas.time) % (2 * canvas.bottom) - canvas.bottom, 0.02 + 0.035 * near
            drop = [(x, y), (x + 0.0016, y), (x - long * 0.18, y + long), (x - long * 0.18 - 0.0016, y + long)]
            canvas.lay(canvas.polygon(drop), canvas.lit((0.9, 0.94, 0.98)), 0.34)
    elif scene.weather == "fog":
        veil = np.clip(0.42 + 0.35 * canvas.noise(0.4, 3, stretch=3, drift=0.02 * canvas.time), 0, 0.8)
        veil = veil * np.exp(-(((canvas.y - horizon - 0.05) / 0.28) ** 2))[:, None]
        canvas.image += veil[..., None].astype(np.float32) * (np.asarray(_sky_colours(scene)[2], np.float32) - canvas.image)
