"""Compose the picture that a prompt stands for: paint it, edit its reference, fill its hole, follow its controls, and encode it.

Knows no noise and no levels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from . import latents
from . import style as looks
from .conditioning import Conditioning, KnownPart, Look, Prompt, stable_key
from .model import Model
from .painting import add_caption, paint
from .painting.edits import paint_edit
from .painting.scene import list_unpainted

Array = npt.NDArray[np.float32]
PALETTE = 0.55
"""How far the colours follow each reference after the first."""
OWN_TONE = 0.7
"""Strength of the look of an instruction of which nothing can be painted: it is seen that it counts."""
JOIN = 0.8
"""How far a painting in a hole takes on the light and colour around it at the hole's edge."""
NEAR = 0.08
"""How far from the edge that reaches, as a part of the hole's smaller side."""
REMOVING = ("remove", "erase", "delete")
"""First words of an instruction to fill a hole with what is around it; an empty one asks for the same."""
CELL = 4
"""Pixels a side that are painted for one cell of a latent: paintings are half the size of the picture."""


class View(NamedTuple):
    """A part of a picture, in cells of its latent."""

    top: int
    left: int
    bottom: int
    right: int
    whole: tuple[int, int]
    """Height and width of the whole picture."""

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of its painting."""
        return (self.bottom - self.top) * CELL, (self.right - self.left) * CELL

    def cut_from(self, picture: Array) -> Array:
        """Cut what lies behind it out of a picture that covers all of the result."""
        large = looks.cover(picture, self.whole[1] * CELL, self.whole[0] * CELL)
        return large[self.top * CELL : self.bottom * CELL, self.left * CELL : self.right * CELL]


def whole_view(size: tuple[int, ...]) -> View:
    """Return the view of everything."""
    return View(0, 0, size[-2], size[-1], (size[-2], size[-1]))


class Targets:
    """The mean pictures of prompts, for one model and for what is known of the result."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.known: KnownPart | None = None
        """What is given of the result, with an item for each of the batch."""
        self._decoded: dict[int, Array] = {}

    def latent(self, prompt: Prompt, size: tuple[int, ...], composition: int, item: int = 0) -> Array:
        """Return one picture [16, h, w], or video [16, T, h, w], of a prompt: that of one item of the batch."""
        if len(size) == 3:
            return self._video(prompt, size, composition, item)
        if self.known is None:
            return self._encoded(prompt, whole_view(size), composition)
        return self._filled(prompt, composition, item)

    def coarse(self, prompt: Prompt, width: int, height: int, composition: int) -> Array:
        """Return a small latent of a prompt's picture, without what is known."""
        scale = min(1.0, 12 / min(width, height))
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        return self._encoded(prompt, whole_view((rows, columns)), composition)

    def _encoded(self, prompt: Prompt, view: View, composition: int) -> Array:
        return latents.encode_half(self._picture(prompt, view, composition, 0.0))

    def _picture(self, prompt: Prompt, view: View, composition: int, time: float) -> Array:
        """Paint a part of the picture with everything that steers it."""
        if prompt.zeroed:
            return np.full((*view.pixels, 3), 0.5, np.float32)
        picture = self._mixed(prompt, view, composition, time)
        for control in prompt.controls + self.model.controls:
            held = looks.with_control(picture, view.cut_from(control.hint), control.strength)
            where = None if control.where is None else view.cut_from(np.repeat(control.where[..., None], 3, axis=-1))
            picture = held if where is None else picture + where * (held - picture)
        picture = looks.with_faces(picture, (*self.model.faces, *prompt.faces))
        picture = looks.with_looks(picture, (*self.model.looks, *prompt.looks))
        if self.model.space == "flux" and self.model.sampling.kind == "flux" and prompt.guidance is not None:
            picture = looks.with_guidance(picture, prompt.guidance)
        return add_caption(picture, (text for text, _ in prompt.texts))  # drawn last, so that no LoRA and no face covers it

    def _mixed(self, prompt: Prompt, view: View, composition: int, time: float) -> Array:
        """Paint or edit for each of a prompt's texts, by their shares."""
        height, width = view.pixels
        references = [self._decode(samples) for samples in prompt.references] if self.model.edits else []
        total = sum(share for _, share in prompt.texts) or 1.0
        parts = []
        for text, share in prompt.texts:
            if references:
                made = edited(view.cut_from(references[0]), text, composition, time)
            else:
                made = paint(text, width, height, composition, time)
            parts.append(np.float32(share / total) * made)
        picture = np.asarray(sum(parts[1:], start=parts[0]), dtype=np.float32)
        for other in references[1:]:
            picture = looks.with_palette(picture, other, PALETTE / (len(references) - 1))
        return picture

    def _decode(self, samples: Array) -> Array:
        """Decode the first of a batch of latents, once; of a video, its first frame."""
        if id(samples) not in self._decoded:
            latent = samples[0]
            self._decoded[id(samples)] = latents.decode(latent[:, 0] if latent.ndim == 4 else latent)
        return self._decoded[id(samples)]

    def _filled(self, prompt: Prompt, composition: int, item: int) -> Array:
        """Paint the prompt into the hole of a known picture, and join it at the edge."""
        assert self.known is not None
        given, free = self.known.samples[item], self.known.free[item]
        view = _view_of(free[0])
        around = view.cut_from(_softened(latents.decode(spread_into(given, 1 - free[0])), 2 * CELL))
        text = prompt.joined_text().strip().lower()
        if not text or text.startswith(REMOVING):
            painted = around
        else:
            painted = self._picture(prompt, view, composition, 0.0)
            near = np.float32(JOIN) * view.cut_from(_nearness(free[0], view))
            painted = painted + near * (around - _softened(painted, 2 * CELL))
        inside = given.copy()
        inside[:, view.top : view.bottom, view.left : view.right] = latents.encode_half(np.clip(painted, 0.0, 1.0))
        return np.asarray(given + free * (inside - given), dtype=np.float32)

    def _video(self, prompt: Prompt, size: tuple[int, ...], composition: int, item: int) -> Array:
        """Paint the frames of a video; from given ones on, and towards given ones, they move and change little by little."""
        given = {} if self.known is None else self._given_frames(item, size)
        frames = [
            latents.encode_half(self._frame(prompt, size[1:], composition, time, given)) if time not in given else given[time][0]
            for time in range(size[0])
        ]
        return np.stack(frames, axis=1)

    def _given_frames(self, item: int, size: tuple[int, ...]) -> dict[int, tuple[Array, Array]]:
        """Return the frames that are given, as latents and as pictures of the size of a painting."""
        assert self.known is not None
        samples, free = self.known.samples[item], self.known.free[item]
        found = {}
        for time in given_times(free):
            picture = looks.cover(latents.decode(samples[:, time]), size[2] * CELL, size[1] * CELL)
            found[time] = (samples[:, time], picture)
        return found

    def _frame(
        self, prompt: Prompt, size: tuple[int, ...], composition: int, time: int, given: dict[int, tuple[Array, Array]]
    ) -> Array:
        """Paint one frame between, after or before those that are given."""
        first = max((other for other in given if other < time), default=None)
        last = min((other for other in given if other > time), default=None)
        if first is None and last is None:
            return self._picture(prompt, whole_view(size), composition, float(time))
        if first is None:
            before, passed = self._picture(prompt, whole_view(size), composition, float(time)), float(time)
        else:
            passed = float(time - first)
            before = self._moving(prompt, given[first][1], passed, composition, time)
        if last is None:
            return before
        left = float(last - time)
        after = self._moving(prompt, given[last][1], left, composition, time)
        share = passed / (passed + left)
        return before + np.float32(share * share * (3 - 2 * share)) * (after - before)

    def _moving(self, prompt: Prompt, picture: Array, away: float, composition: int, time: int) -> Array:
        """Move a given frame as a camera would, and change it as the prompt says, the more the farther in time."""
        moved = camera_move(picture, away, composition)
        text = prompt.joined_text()
        changed = looks.with_looks(edited(moved, text, composition, float(time)), (*self.model.looks, *prompt.looks))
        changed = add_caption(changed, (text,))
        return moved + np.float32(change_after(away)) * (changed - moved)


def unpainted_words(model: Model, prompts: Conditioning, *, given: bool) -> list[str]:
    """List the words of some prompts that their pictures do not show.

    Args:
        model: that they are painted for.
        prompts: the ones to follow, not those to lead away from.
        given: whether parts of the result are given, which the prompts then change.

    """
    heard = [prompt for prompt in prompts if not prompt.zeroed and prompt.strength]
    found = [
        list_unpainted(text, edit=given or bool(model.edits and prompt.references))
        for prompt in heard
        for text, share in prompt.texts
        if share
    ]
    return list(dict.fromkeys(word for words in found for word in words))


def edited(picture: Array, text: str, composition: int, time: float) -> Array:
    """Change a picture as an instruction says; one of which nothing can be painted gives it a tone of its own."""
    if not text.strip():
        return picture
    changed = paint_edit(picture, text, composition, time)
    if changed is not picture:
        return changed
    toned = looks.with_looks(picture, (Look(stable_key(text.strip().lower()), OWN_TONE),))
    lights = ((picture - toned) @ looks.LUMA)[..., None]
    return np.asarray(np.clip(toned + np.float32(0.7) * lights, 0.0, 1.0), dtype=np.float32)


def change_after(away: float) -> float:
    """Return how much of a change is seen some latent frames from a given frame: little at first, most after two seconds."""
    return 1 - math.exp(-((away / 4) ** 2))


def camera_move(picture: Array, away: float, composition: int) -> Array:
    """Return a picture as after some latent frames of moving slowly closer and to one side; at 0 as it is."""
    height, width = picture.shape[:2]
    zoom = 1 + 0.3 * (1 - math.exp(-away / 20))
    room = 0.5 * (1 - 1 / zoom)
    angle = math.pi / 4 * composition
    x, y = (room * (1 + 0.9 * part) for part in (math.cos(angle), math.sin(angle)))
    box = (x * width, y * height, (x + 1 / zoom) * width, (y + 1 / zoom) * height)
    planes = [Image.fromarray(np.ascontiguousarray(picture[..., colour])) for colour in range(3)]
    moved = [np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC, box), np.float32) for plane in planes]
    return np.asarray(np.clip(np.stack(moved, axis=-1), 0.0, 1.0), dtype=np.float32)


def _view_of(free: Array) -> View:
    """Return the smallest view of what is to be painted; everything where nothing clearly is."""
    rows, columns = (np.flatnonzero((free > 0.1).any(axis)) for axis in (1, 0))
    if not len(rows):
        return whole_view(free.shape)
    return View(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1, (free.shape[0], free.shape[1]))


def given_times(free: Array) -> list[int]:
    """List the frames of a video that are given, by their masks [1, T, h, w]."""
    return [time for time in range(free.shape[1]) if float(free[0, time].mean()) < 0.5]


def freedom(known: KnownPart) -> Array:
    """Return how far each part of a result may stray from its painting: the frames beside given ones hardly do."""
    if known.free.ndim == 4:
        return np.ones((1, 1, 1, 1), np.float32)
    times = given_times(known.free[0])
    away = [min((abs(time - other) for other in times), default=1e3) for time in range(known.free.shape[2])]
    return np.array([change_after(each) for each in away], np.float32).reshape(1, 1, -1, 1, 1)


def fitted(known: KnownPart, shape: tuple[int, ...]) -> KnownPart | None:
    """Bring what is known to the size of latents of ``shape``; nothing is known where it has other frames."""
    if known.samples.ndim != len(shape) or known.samples.shape[2:-2] != shape[2:-2]:
        return None

    def to_shape(values: Array) -> Array:
        planes = values.reshape(-1, *values.shape[-2:])
        if values.shape[-2:] != shape[-2:]:
            planes = np.stack([np.asarray(Image.fromarray(plane).resize((shape[-1], shape[-2]))) for plane in planes])
        items = planes.reshape(*values.shape[:-2], *shape[-2:])
        return np.resize(items, (shape[0], *items.shape[1:]))

    return KnownPart(to_shape(known.samples), to_shape(known.free))


def spread_into(values: Array, weight: Array) -> Array:
    """Fill what has no weight with the values around it: coarse ones from afar, finer ones from near the edge."""
    height, width = weight.shape
    if min(height, width) <= 1:
        total = float(weight.sum())
        mean = (values * weight).sum((1, 2), keepdims=True) / max(total, 1e-6)
        return np.asarray(values * weight + mean * (1 - weight), dtype=np.float32)
    padded = [(0, height % 2), (0, width % 2)]
    some = np.pad(weight, padded)
    sums = np.pad(values * weight, [(0, 0), *padded])
    small_weight = latents.halve(some) * 4
    small = np.stack([latents.halve(plane) * 4 for plane in sums]) / np.maximum(small_weight, 1e-6)
    filled = spread_into(small.astype(np.float32), np.clip(small_weight, 0, 1))
    large = np.stack([latents.double(plane) for plane in filled])[:, :height, :width]
    return np.asarray(values * weight + large * (1 - weight), dtype=np.float32)


def _nearness(free: Array, view: View) -> Array:
    """Return how near to the edge of a hole each pixel of the painting is: 1 at the edge, 0 far inside."""
    height, width = (side * CELL for side in free.shape)
    known = Image.fromarray(((1 - np.clip(free, 0, 1)) * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    reach = max(float(CELL), NEAR * min(view.pixels))
    blurred = np.asarray(known.filter(ImageFilter.GaussianBlur(reach)), np.float32)
    return np.asarray(np.clip(blurred / 127.5, 0, 1), dtype=np.float32)[..., None]


def _softened(picture: Array, reach: float) -> Array:
    blurred = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(reach))
    return np.asarray(blurred, np.float32) / np.float32(255)
