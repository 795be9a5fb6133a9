"""Change a picture as an instruction says, and keep its layout: other light, other colours, another background, one figure more.

What the instruction names beyond that changes nothing here; it is written under the picture.
"""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageFilter

from ..conditioning import stable_key
from .canvas import Array, Canvas, Colour, Light
from .figures import paint_figures
from .places import Ground, paint_place, paint_weather
from .scene import COLOURS, FIGURES, HOURS, PARTS, PARTS_OF, PLACES, WEATHERS, Scene, read, singular

LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_HOURS: dict[str, Colour] = {
    "day": (1.12, 1.12, 1.10), "dusk": (0.98, 0.70, 0.62), "dawn": (1.04, 0.92, 0.88), "night": (0.32, 0.38, 0.58),
}  # fmt: skip
"""What an hour multiplies the colours of a picture with."""
_WEATHERS: dict[str, Colour] = {
    "rain": (0.72, 0.76, 0.82), "storm": (0.52, 0.56, 0.64), "cloudy": (0.84, 0.86, 0.90), "fog": (0.95, 0.96, 0.98),
    "snow": (1.02, 1.05, 1.10),
}  # fmt: skip
_ADDING = frozenset({"add", "adding", "insert", "place", "put", "putting", "replace", "with"})
"""Words of an instruction that ask for a figure; without one, a figure it names is in the picture already.

A person is never added: the portrait would hide what is there.
"""
_LOWER = frozenset({"sea", "field", "mountains", "forest"})


def paint_edit(picture: Array, text: str, layout: int = 0, time: float = 0.0) -> Array:
    """Paint what an instruction changes into a picture [H, W, 3] in 0..1. Where nothing of it can be painted, return it as it is.

    Args:
        picture: is not changed itself.
        text: the instruction.
        layout: which of the possible results.
        time: latent frames since the start of a video.

    """
    scene = read_instruction(text)
    height, width = picture.shape[:2]
    seed = (stable_key(text.strip().lower()), layout)
    canvas = Canvas(width, height, seed, Light(_HOURS[scene.hour], 1.0 if layout % 2 else -1.0, (1.0, 0.9, 0.7)), time)
    canvas.image[:] = picture
    changed = [_set_place(canvas, scene), _set_colours(canvas, scene), _set_light(canvas, scene), _add_figures(canvas, scene)]
    if not any(changed):
        return picture
    if scene.asked & set(WEATHERS.values()) and scene.is_outdoors:
        paint_weather(canvas, scene, 0.05)
    return np.clip(canvas.image, 0.0, 1.0).astype(np.float32)


def read_instruction(text: str) -> Scene:
    """Read an instruction: the scene it names, with a colour that comes after its thing ("the roof blue") and only new figures."""
    scene = read(text)
    words = re.findall(r"\w+", text.lower())
    owners = [_owner(word) for word in words]
    places = [PLACES[singular(word)] for word in words if singular(word) in PLACES]
    scene.place = next((place for place in places if place != "studio"), scene.place)
    for index, word in enumerate(words):
        before = [owner for owner in owners[max(0, index - 5) : index] if owner]
        if word in COLOURS and COLOURS[word] in scene.accents and before:
            scene.accents.remove(COLOURS[word])
            scene.colours.setdefault(before[-1], COLOURS[word])
    scene.figures = [name for name in scene.figures if name != "person"] if _ADDING & set(words) else []
    return scene


def _owner(word: str) -> str:
    """Return what a word names that can have a colour; empty for others."""
    return next((table[singular(word)] for table in (PARTS, FIGURES, PLACES) if singular(word) in table), "")


def _set_place(canvas: Canvas, scene: Scene) -> bool:
    """Paint another background around the middle, on the lights and darks that were there."""
    named = scene.asked & set(PLACES.values())
    if not named - set(scene.colours) or (named == {"studio"} and not scene.accents):
        return False
    behind = Canvas(canvas.width, canvas.height, canvas.draw.integers(2**32, size=2).tolist(), canvas.light, canvas.time)
    paint_place(behind, scene)
    far = np.hypot(canvas.x[None, :] / (0.55 * canvas.right * 2), canvas.y[:, None] / (0.62 * canvas.bottom * 2))
    share = np.clip((far - 0.45) / 0.4, 0.0, 1.0) ** 0.8
    new, old = np.clip(behind.image, 0.0, 1.0), canvas.image
    lights = ((old - 0.5) @ LUMA)[..., None] * np.float32(0.55)
    canvas.image = old + share[..., None].astype(np.float32) * (new * np.float32(0.8) + lights + np.float32(0.1) - old)
    return True


def _set_colours(canvas: Canvas, scene: Scene) -> bool:
    """Give what has a colour in the instruction that colour; its lights and darks stay."""
    added = {part for name in scene.figures for part in (name, *PARTS_OF.get(name, ()))}
    wanted = [(part, colour) for part, colour in scene.colours.items() if part not in added]
    for part, colour in [*wanted, *(("", colour) for colour in scene.accents[:1])]:
        canvas.image = recoloured(canvas.image, _region(canvas, part), colour)
    return bool(wanted or scene.accents)


def recoloured(picture: Array, share: Array, colour: Colour) -> Array:
    """Turn a picture's hues to one colour where ``share`` [H, W] is not 0."""
    light = (picture @ LUMA)[..., None]
    tone = np.asarray(colour, np.float32)
    own = float(tone @ LUMA)
    dark = tone * (light / max(own, 0.08))
    # Lighter than the colour itself it goes on to white.
    bright = tone + (1 - tone) * ((light - own) / max(1 - own, 0.08))
    turned = np.clip(np.where(light <= own, dark, bright), 0.0, 1.0)
    return np.asarray(picture + share[..., None] * np.float32(0.85) * (0.75 * turned + 0.25 * tone - picture), dtype=np.float32)


def _region(canvas: Canvas, part: str) -> Array:
    """Guess where a part is: the sky above, the ground below, other things where the picture stands out from its edges."""
    down = (canvas.y + canvas.bottom) / (2 * canvas.bottom)
    found = standing_out(canvas.image)
    if part in ("sky", "sun", "moon"):
        return np.asarray(np.clip((0.55 - down) / 0.15, 0, 1)[:, None] * (1 - found), np.float32)
    if part in _LOWER:
        return np.broadcast_to(np.clip((down - 0.45) / 0.15, 0, 1)[:, None], canvas.image.shape[:2]).astype(np.float32)
    if part == "studio":
        found = 1 - found
    elif part in ("roof", "hair"):
        found = found * np.clip((0.62 - down) / 0.15, 0, 1)[:, None]
    elif part in ("clothes", "door"):
        found = found * np.clip((down - 0.5) / 0.15, 0, 1)[:, None]
    return np.asarray(found, np.float32)


def standing_out(picture: Array) -> Array:
    """Compute how far each place of a picture differs from the colours at its edges, 0..1 and soft."""
    height, width = picture.shape[:2]
    rim = max(1, min(height, width) // 12)
    sides = np.concatenate([picture[:, :rim], picture[:, -rim:]], axis=1)
    # Row by row, so that a horizon is no thing of its own.
    usual, spread = sides.mean(1, keepdims=True), sides.std(1, keepdims=True).mean(-1, keepdims=True) + np.float32(0.06)
    differs = np.clip(np.abs(picture - usual).max(-1, keepdims=True) / (3 * spread), 0, 1)[..., 0]
    soft = Image.fromarray((differs * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(max(0.5, 0.012 * min(height, width))))
    x, y = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    middle = np.clip((1.15 - np.hypot(x, y * 0.85)) / 0.4, 0, 1)
    return np.asarray(np.clip(np.asarray(soft, np.float32) / 160, 0, 1) * middle, dtype=np.float32)


def depth_map(picture: Array) -> Array:
    """Guess how far each place of a picture is, as grey: what stands out and what is low counts as near, and near is dark."""
    down = np.linspace(0, 1, picture.shape[0], dtype=np.float32)[:, None]
    near = np.clip(0.45 * down + 0.55 * standing_out(picture), 0.0, 1.0)
    return np.repeat(np.float32(1) - near[..., None], 3, axis=-1).astype(np.float32)


def _set_light(canvas: Canvas, scene: Scene) -> bool:
    """Light the picture as at another hour or in another weather."""
    tints = [_HOURS[scene.hour]] if scene.asked & set(HOURS.values()) else []
    if scene.asked & set(WEATHERS.values()):
        tints.append(_WEATHERS.get(scene.weather, (1.05, 1.05, 1.0)))
    for tint in tints:
        grey = (canvas.image @ LUMA)[..., None]
        canvas.image = (canvas.image + np.float32(0.25) * (grey - canvas.image)) * np.asarray(tint, np.float32)
    return bool(tints)


def _add_figures(canvas: Canvas, scene: Scene) -> bool:
    """Paint the figures that the instruction adds."""
    if not scene.figures:
        return False
    paint_figures(canvas, scene, Ground(0.05, min(canvas.bottom - 0.08, 0.34)))
    return True
