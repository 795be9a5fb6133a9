"""The painter: a prompt in, a picture out, the same one every time. Soft shapes and light; no model, no fonts, no files.

``layout`` numbers the compositions of a prompt; ``time`` moves clouds, water, snow and the viewpoint for videos.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import painter_figures, painter_places, painter_weather
from .conditioning import stable_key
from .painter_abstract import paint_abstract
from .painter_canvas import Canvas, Light
from .painter_style import finish
from .painter_words import Scene, read

Array = npt.NDArray[np.float32]

_LIGHTS = {
    "day": Light((1.0, 1.0, 0.98), 1.0, (1.0, 0.97, 0.88)),
    "dusk": Light((0.80, 0.62, 0.68), 1.0, (1.0, 0.68, 0.42)),
    "dawn": Light((0.98, 0.88, 0.88), 1.0, (1.0, 0.86, 0.70)),
    "night": Light((0.36, 0.43, 0.64), 1.0, (0.72, 0.82, 1.0), night=True),
}
_DULL = {"rain": 0.80, "storm": 0.66, "cloudy": 0.88, "fog": 0.95}


def paint(text: str, width: int, height: int, layout: int = 0, time: float = 0.0) -> Array:
    """Paint a text as [height, width, 3] in 0..1; an empty text is neutral grey."""
    if not text.strip():
        return np.full((height, width, 3), 0.5, np.float32)
    scene = read(text)
    seed = (stable_key(text.strip().lower()), layout)
    canvas = Canvas(width, height, seed, _light(scene, np.random.Generator(np.random.PCG64(seed))), time)
    if scene.is_abstract:
        paint_abstract(canvas, scene)
    else:
        ground = painter_places.paint_place(canvas, scene)
        painter_figures.paint_subjects(canvas, scene, ground)
        painter_weather.paint_weather(canvas, scene, ground.horizon)
    return finish(canvas, scene)


def _light(scene: Scene, draw: np.random.Generator) -> Light:
    base = _LIGHTS[scene.hour]
    dull = _DULL.get(scene.weather, 1.0)
    tint = (base.tint[0] * dull, base.tint[1] * dull, min(1.0, base.tint[2] * (dull + 1) / 2))
    side = 1.0 if draw.random() < 0.5 else -1.0
    return Light(tint, side, base.glow, base.night)
