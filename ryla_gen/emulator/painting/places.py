"""Where a scene happens: land and water under a sky. Paints on a canvas; knows no figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .painter_backdrops import city, interior, space, studio, underwater
from .painter_canvas import Array, Canvas, Colour, mix, scaled
from .painter_sky import sky, sky_colours
from .painter_trees import broadleaf, conifer
from .painter_words import PEOPLE, Scene
from .painter_worlds import mars, moon, room


@dataclass(frozen=True)
class Ground:
    """What a place tells the figures."""

    horizon: float
    """Where the sky ends."""
    foot: float
    """Where a figure stands."""
    is_blurred: bool = False
    """Whether the place is out of focus, as behind a portrait."""


def _haze(canvas: Canvas, scene: Scene, colour: Colour, far: float) -> Colour:
    """A colour seen through ``far`` (0..1) of air."""
    return mix(canvas.lit(colour), sky_colours(scene)[2], far * (0.92 if scene.weather == "fog" else 0.78))


def _hills(canvas: Canvas, scene: Scene, line: Array, colour: Colour, far: float, grain: float = 0.10) -> None:
    """One range of hills, lighter at its crest, with some texture."""
    patch = canvas.below(line)
    near = np.asarray(_haze(canvas, scene, colour, far), np.float32)
    depth = np.clip((canvas.y[patch.rows][:, None] - line[None, :]) / 0.35, 0, 1)[..., None]
    base = near * (1.12 - 0.42 * depth)
    if grain:
        base = base * (1 + grain * canvas.noise(0.05, 3, stretch=2.5)[patch.rows][..., None])
    canvas.lay(patch, base)


def mountains(canvas: Canvas, scene: Scene) -> Ground:
    """Ranges behind each other with lit and dark flanks, snow above, meadow below."""
    horizon = 0.12 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    for k, (far, height, scale) in enumerate(((0.72, 0.20, 0.8), (0.42, 0.27, 0.62), (0.12, 0.12, 0.5))):
        line = horizon - height * 0.7 + k * 0.07 - height * canvas.ridge(scale, 6, 0.52, drift=0.002 * canvas.time * (k + 1))
        if k < 2:  # whatever the ridge came out like, a summit shows
            line = line - max(0.0, float(line.min()) - (horizon - 0.16 - 0.5 * height))
        if k == 2:
            _hills(canvas, scene, line + 0.10, _meadow(scene), 0.18)
            continue
        _rock(canvas, scene, line, far)
    if "forest" in scene.places and "lake" not in scene.places:
        pines(canvas, scene, horizon + 0.10)
    return _meadow_front(canvas, scene, 0.34)


def pines(canvas: Canvas, scene: Scene, foot: float) -> None:
    """Rows of firs along a shore or the foot of a mountain, taller towards both sides."""
    white = _haze(canvas, scene, (0.95, 0.97, 1.0), 0.2) if scene.weather == "snow" else None
    green: Colour = scene.colours.get("forest", (0.15, 0.33, 0.22) if scene.season != "autumn" else (0.55, 0.38, 0.14))
    for row, far in enumerate((0.42, 0.20, 0.06)):
        count = int((17 - 3 * row) * max(1.0, canvas.right * 2))
        for k in range(count):
            x = -canvas.right + (k + canvas.draw.uniform(0.1, 0.9)) / count * 2 * canvas.right
            aside = min(1.0, abs(x) / canvas.right * 1.25)
            if row and aside < 0.34 + 0.18 * row * canvas.draw.random():
                continue
            tall = (0.11 + 0.05 * row + (0.06 + 0.09 * row) * aside**2) * canvas.draw.uniform(0.75, 1.15)
            shade = scaled(_haze(canvas, scene, green, far), canvas.draw.uniform(0.82, 1.15))
            conifer(canvas, x, foot - 0.024 + 0.012 * row, tall, shade, white)


def _rock(canvas: Canvas, scene: Scene, line: Array, far: float) -> None:
    """One range of rock: flanks run down from the crest to both sides, lit and dark, with snow on top."""
    patch = canvas.below(line)
    rock = np.asarray(_haze(canvas, scene, (0.43, 0.42, 0.47), far), np.float32)
    white = np.asarray(_haze(canvas, scene, (0.97, 0.98, 1.0), far * 0.8), np.float32)
    deep = np.clip(canvas.y[patch.rows][:, None] - line[None, :], 0, 1)
    rough = canvas.noise(0.09, 4)[patch.rows]
    # Follow each flank up to the crest it comes from: the crest's slope there says which way the flank faces.
    slope = np.gradient(line) * canvas.unit
    for _ in range(2):
        window = max(1, int(0.02 * canvas.unit))
        slope = np.convolve(slope, np.ones(window) / window, mode="same")
    columns = np.arange(canvas.width)[None, :] + (canvas.unit * (0.45 * deep + 0.012 * rough)).astype(int) * int(canvas.light.side)
    facing = slope[np.clip(columns, 0, canvas.width - 1)] * canvas.light.side
    side = np.clip(0.5 + 1.3 * facing + 0.16 * rough, 0, 1)[..., None]
    body = rock * (0.58 + 0.62 * side)
    snow_line = 0.60 if scene.weather == "snow" else 0.15
    snow = np.clip((snow_line - deep + 0.05 * rough + 0.05 * facing) * 14, 0, 1)[..., None]
    canvas.lay(patch, body + snow * (white * (0.60 + 0.40 * side) - body))


def _meadow(scene: Scene) -> Colour:
    if scene.weather == "snow":
        return (0.90, 0.93, 0.97)
    if "field" in scene.colours:
        return scene.colours["field"]
    return {"autumn": (0.66, 0.50, 0.22), "spring": (0.46, 0.66, 0.30)}.get(scene.season, (0.36, 0.55, 0.25))


def _meadow_front(canvas: Canvas, scene: Scene, start: float) -> Ground:
    top = start * canvas.bottom * 2 - 0.0
    line = (top + 0.035 * canvas.ridge(0.9, 2)).astype(np.float32)
    _hills(canvas, scene, line, scaled(_meadow(scene), 0.92), 0.04, 0.16)
    if scene.weather != "snow":
        _flowers(canvas, scene, top)
    return Ground(top, min(canvas.bottom - 0.06, top + 0.22))


def _flowers(canvas: Canvas, scene: Scene, top: float) -> None:
    colours = scene.accents or [(0.96, 0.90, 0.55), (0.92, 0.60, 0.66), (0.96, 0.96, 0.92)]
    for _ in range(46):
        depth = canvas.draw.random() ** 0.7
        y, x = top + 0.05 + depth * (canvas.bottom - top), canvas.draw.uniform(-canvas.right, canvas.right)
        size = 0.003 + 0.009 * depth
        colour = colours[int(canvas.draw.integers(len(colours)))]
        canvas.lay(canvas.ellipse(x, y, size, size * 0.8, soft=size * 0.6), canvas.lit(colour), 0.85)


def field(canvas: Canvas, scene: Scene) -> Ground:
    """Rolling hills with a few trees far away."""
    horizon = 0.06 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    tone = _meadow(scene)
    line = horizon + 0.05 * canvas.ridge(0.9, 3, drift=0.003 * canvas.time)
    _hills(canvas, scene, line, mix(tone, (0.30, 0.42, 0.40), 0.5), 0.6)
    for _ in range(9):
        x = float(canvas.draw.uniform(-canvas.right, canvas.right))
        at = float(np.interp(x, canvas.x, line)) + 0.02
        broadleaf(canvas, x, at, canvas.draw.uniform(0.05, 0.09), _haze(canvas, scene, _leaves(scene), 0.45))
    line = horizon + 0.11 + 0.055 * canvas.ridge(0.8, 3, drift=0.006 * canvas.time)
    _hills(canvas, scene, line, tone, 0.28)
    return _meadow_front(canvas, scene, 0.22)


def _leaves(scene: Scene) -> Colour:
    if "leaves" in scene.colours:
        return scene.colours["leaves"]
    if "tree" in scene.colours or "forest" in scene.colours:
        return scene.colours.get("tree", scene.colours.get("forest", (0.2, 0.4, 0.2)))
    if scene.weather == "snow":
        return (0.26, 0.38, 0.37)
    return {"autumn": (0.80, 0.42, 0.14), "spring": (0.92, 0.66, 0.74)}.get(scene.season, (0.20, 0.40, 0.22))


def forest(canvas: Canvas, scene: Scene) -> Ground:
    """Rows of trees that fade into the air, and a clearing."""
    horizon = 0.10 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    snow = scene.weather == "snow"
    leaves = _leaves(scene)
    for row, far in enumerate((0.82, 0.62, 0.40, 0.16)):
        foot = horizon + 0.05 + 0.075 * row
        colour = _haze(canvas, scene, leaves, far)
        size = 0.36 + 0.15 * row
        count = int((13 - 2 * row) * max(1.0, canvas.right * 2))
        for k in range(count):
            x = -canvas.right + (k + canvas.draw.uniform(0.1, 0.9)) / count * 2 * canvas.right
            tall = size * canvas.draw.uniform(0.75, 1.2)
            if row == 3 and abs(x) < 0.22 + 0.1 * canvas.draw.random():
                continue  # the clearing
            sway = 0.004 * np.sin(0.7 * canvas.time + 9 * x)
            shade = scaled(colour, canvas.draw.uniform(0.86, 1.10))
            if scene.season in ("autumn", "spring"):
                broadleaf(canvas, x + sway, foot, tall * 0.8, shade)
            else:
                white = _haze(canvas, scene, (0.95, 0.97, 1.0), far * 0.7)
                conifer(canvas, x + sway, foot, tall, shade, white if snow else None)
        line = (foot - 0.012 + 0.02 * canvas.ridge(0.5, 3)).astype(np.float32)
        floor: Colour = (0.90, 0.93, 0.98) if snow else mix((0.30, 0.33, 0.18), leaves, 0.25)
        _hills(canvas, scene, line, floor, far * 0.8, 0.05 if snow else 0.2)
    return Ground(horizon, min(canvas.bottom - 0.07, horizon + 0.36))


def sea(canvas: Canvas, scene: Scene) -> Ground:
    """Water to the horizon with the light of the sky on it."""
    horizon = 0.10 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    if scene.place == "sea" and canvas.draw.random() < 0.6:
        line = horizon - 0.02 - 0.05 * np.clip(canvas.ridge(0.7, 4, drift=0.002 * canvas.time), 0, 1)
        _hills(canvas, scene, line, (0.34, 0.38, 0.42), 0.55, 0.05)
    water(canvas, scene, horizon)
    if scene.place == "beach":
        _beach(canvas, scene, horizon)
    return Ground(horizon, min(canvas.bottom - 0.08, horizon + (0.30 if scene.place == "beach" else 0.26)))


def water(canvas: Canvas, scene: Scene, horizon: float) -> None:
    """Waves that reflect the sky, longer towards us, with glitter under the sun."""
    _, middle, low = sky_colours(scene)
    rows = slice(min(canvas.height - 1, int((horizon + canvas.bottom) * canvas.unit)), canvas.height)
    depth = np.clip((canvas.y[rows] - horizon) / (canvas.bottom - horizon), 0, 1)[:, None, None].astype(np.float32)
    tone = scene.colours.get("sea", scene.colours.get("lake", (0.10, 0.34, 0.46)))
    near, far = np.asarray(canvas.lit(tone), np.float32), np.asarray(mix(low, middle, 0.35), np.float32)
    image = far + depth**0.6 * (near - far)
    # Perspective: the same waves, squeezed towards the horizon.
    swell = canvas.noise(0.16, 4, stretch=4.5, drift=0.03 * canvas.time)
    lines = (np.linspace(0, 1, rows.stop - rows.start) ** 0.55 * (canvas.height - 1)).astype(int)
    wave = swell[lines][..., None]
    image = image * (1 + 0.20 * np.clip(wave, -1, 1)) + np.clip(wave - 0.35, 0, 1) * 0.28 * np.asarray(low, np.float32)
    roll = np.sin(26 * depth[..., 0] ** 0.45 - 0.5 * canvas.time + 2.5 * swell[lines])[..., None]
    image = image * (1 + 0.07 * roll * depth**0.5)
    path = np.exp(-(((canvas.x[None, :] - canvas.sun) / (0.05 + 0.16 * depth[..., 0])) ** 2))
    sparkle = np.clip(np.roll(swell, 7, 1)[lines] * 1.5 + 0.15, 0, 1) * path
    strength = 0.0 if scene.weather in ("storm", "rain", "cloudy") else 0.9
    image = image + (sparkle * np.float32(strength))[..., None] * np.asarray(canvas.light.glow, np.float32) * (1 - image)
    canvas.image[rows] = image


def _beach(canvas: Canvas, scene: Scene, horizon: float) -> None:
    wash = 0.012 * np.sin(0.8 * canvas.time)
    line = (horizon + 0.17 + wash + 0.05 * canvas.ridge(0.8, 2)).astype(np.float32)
    canvas.lay(canvas.below(line - 0.018, soft=0.012), canvas.lit((0.96, 0.97, 0.97)), 0.85)
    _hills(canvas, scene, line, (0.90, 0.79, 0.58), 0.03, 0.05)


def lake(canvas: Canvas, scene: Scene) -> Ground:
    """A shore, and all of it upside down in still water."""
    ground = forest(canvas, scene) if scene.season == "autumn" else mountains(canvas, scene)
    shore = 0.10 * canvas.bottom * 2
    if "forest" in scene.places and scene.season != "autumn":
        pines(canvas, scene, shore)
    first = int((shore + canvas.bottom) * canvas.unit)
    count = canvas.height - first
    source = np.clip(first - 1 - (np.arange(count) * 1.05).astype(int), 0, first - 1)
    mirrored = canvas.image[source]
    ripple = canvas.noise(0.05, 3, stretch=7, drift=0.01 * canvas.time)[first:]
    shift = (ripple * 0.012 * canvas.unit * np.linspace(0.2, 1.2, count)[:, None]).astype(int)
    columns = np.clip(np.arange(canvas.width)[None, :] + shift, 0, canvas.width - 1)
    mirrored = np.take_along_axis(mirrored, columns[..., None], axis=1)
    tone = np.asarray(canvas.lit(scene.colours.get("lake", (0.14, 0.34, 0.44))), np.float32)
    canvas.image[first:] = mirrored * 0.74 + tone * 0.22 + ripple[..., None] * 0.035
    return Ground(shore, ground.foot)


def desert(canvas: Canvas, scene: Scene) -> Ground:
    """Dunes with sharp crests and soft shadows."""
    horizon = 0.08 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    sand = scene.colours.get("desert", (0.88, 0.64, 0.38))
    for k, far in enumerate((0.6, 0.35, 0.12, 0.0)):
        line = (horizon + 0.10 * k - 0.02 + (0.05 + 0.02 * k) * canvas.ridge(0.9, 2, 0.35, drift=0.003 * canvas.time * k)).astype(
            np.float32
        )
        patch = canvas.below(line)
        base = np.asarray(_haze(canvas, scene, sand, far), np.float32)
        deep = np.clip((canvas.y[patch.rows][:, None] - line[None, :]) / 0.22, 0, 1)
        slope = np.gradient(line)[None, :] * canvas.unit * -canvas.light.side
        shade = np.clip(0.5 + slope * 2.2 * (1 - deep), 0, 1)
        ripple = 0.03 * canvas.noise(0.03, 2, stretch=6)[patch.rows]
        canvas.lay(patch, base * (0.66 + 0.46 * shade - 0.1 * deep + ripple)[..., None])
    return Ground(horizon, min(canvas.bottom - 0.07, horizon + 0.36))


def _open_sky(canvas: Canvas, scene: Scene) -> Ground:
    sky(canvas, scene, canvas.bottom)
    return Ground(canvas.bottom, 0.25)


def _world(paint: Callable[[Canvas, Scene], tuple[float, float]]) -> Callable[[Canvas, Scene], Ground]:
    return lambda canvas, scene: Ground(*paint(canvas, scene))


def _simple(paint: Callable[[Canvas, Scene], float]) -> Callable[[Canvas, Scene], Ground]:
    def place(canvas: Canvas, scene: Scene) -> Ground:
        foot = paint(canvas, scene)
        return Ground(foot - 0.1, foot)

    return place


def _city(canvas: Canvas, scene: Scene) -> Ground:
    horizon = 0.20 * canvas.bottom * 2
    sky(canvas, scene, horizon)
    return Ground(horizon, city(canvas, scene, horizon, sky_colours(scene)[2]))


def _aurora(canvas: Canvas, scene: Scene) -> Ground:
    return mountains(canvas, scene)


_PLACES: dict[str, Callable[[Canvas, Scene], Ground]] = {
    "sea": sea, "beach": sea, "mountains": mountains, "field": field, "forest": forest, "lake": lake, "desert": desert,
    "city": _city, "clouds": _open_sky, "aurora": _aurora, "space": _simple(space), "underwater": _simple(underwater),
    "interior": _simple(interior), "studio": _simple(studio), "moon": _world(moon), "mars": _world(mars), "room": _world(room),
}  # fmt: skip


def paint_place(canvas: Canvas, scene: Scene) -> Ground:
    """Everything behind the figures; out of focus behind a portrait."""
    ground = _PLACES[scene.place or "field"](canvas, scene)
    is_portrait = bool(PEOPLE & set(scene.subjects[:1])) and "horse" not in scene.subjects
    if is_portrait and scene.place not in ("studio", "moon", "mars"):
        canvas.blur(0.016)
        return Ground(ground.horizon, ground.foot, is_blurred=True)
    return ground
