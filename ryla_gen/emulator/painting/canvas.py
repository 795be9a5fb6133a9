"""Draw soft shapes, light and noise into a picture. Knows no words and no scenes.

Coordinates are in units of the shorter side, from the middle of the picture: x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Mix two colours."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def scale(colour: Colour, factor: float) -> Colour:
    """Make a colour lighter or darker."""
    return (min(1.0, colour[0] * factor), min(1.0, colour[1] * factor), min(1.0, colour[2] * factor))


class Light(NamedTuple):
    """The light of a scene: the factor for every colour, where it comes from (-1 left, 1 right), its own colour."""

    tint: Colour
    side: float
    glow: Colour


class Patch(NamedTuple):
    """A soft mask, 0..1, over a part of the canvas."""

    rows: slice
    columns: slice
    alpha: Array


class Canvas:
    """A picture being painted."""

    def __init__(self, width: int, height: int, seed: Sequence[int], light: Light, time: float = 0.0) -> None:
        self.width, self.height, self.unit = width, height, min(width, height)
        self.image = np.zeros((height, width, 3), np.float32)
        self.x: Array = ((np.arange(width) + 0.5 - width / 2) / self.unit).astype(np.float32)
        self.y: Array = ((np.arange(height) + 0.5 - height / 2) / self.unit).astype(np.float32)
        self.light, self.time = light, time
        self.sun = 0.25 * light.side
        self.draw = np.random.Generator(np.random.PCG64(list(seed)))
        self._seed, self._drawn = list(seed), 0
        self.right, self.bottom = width / 2 / self.unit, height / 2 / self.unit

    def lit(self, colour: Colour, factor: float = 1.0) -> Colour:
        """Return a surface colour in the scene's light."""
        tint = self.light.tint
        return scale((colour[0] * tint[0], colour[1] * tint[1], colour[2] * tint[2]), factor)

    def fresh(self) -> np.random.Generator:
        """Return a generator of its own for each texture, so that textures, whose size depends on the picture's, move no shape."""
        self._drawn += 1
        return np.random.Generator(np.random.PCG64([*self._seed, self._drawn]))

    @property
    def is_thumbnail(self) -> bool:
        """Whether the picture is so small that fine detail would not show."""
        return self.unit < 96

    def noise(self, scale: float, octaves: int = 3, stretch: float = 1.0, drift: float = 0.0) -> Array:
        """Draw soft noise around 0, deviation 0.5: features of ``scale`` units, ``stretch`` times as wide, moved by ``drift``."""
        total = np.zeros((self.height, self.width), np.float32)
        weight, size = 1.0, scale
        for _ in range(octaves):
            draw = self.fresh()
            columns, rows, moved = 2 * self.right / (size * stretch), 2 * self.bottom / size, drift / (size * stretch)
            if size * self.unit >= 1.5:
                # Column by column, so that a picture that has drifted further sees the same noise and more of it.
                grid = draw.standard_normal((int(columns + moved) + 6, int(rows) + 5), np.float32).T
                box = (2.0 + moved, 2.0, 2.0 + moved + columns, 2.0 + rows)
                grown = Image.fromarray(np.ascontiguousarray(grid)).resize((self.width, self.height), Image.Resampling.BICUBIC, box)
                total += np.float32(weight) * np.asarray(grown)
            weight, size = weight * 0.5, size * 0.5
        return total * np.float32(0.6)

    def ridge(self, scale: float, octaves: int = 4, roughness: float = 0.5, drift: float = 0.0) -> Array:
        """Draw a line of hills over the width: heights around 0."""
        total = np.zeros(self.width, np.float32)
        weight, size, draw = 1.0, scale, self.fresh()
        for _ in range(octaves):
            values = draw.uniform(-1, 1, int(2 * self.right / size) + 12)
            part, low = np.modf((self.x + self.right + drift) / size + 2.0)
            low, part = low.astype(int) % (len(values) - 1), part * part * (3 - 2 * part)  # a long drift wraps around
            total += (weight * (values[low] * (1 - part) + values[low + 1] * part)).astype(np.float32)
            weight, size = weight * roughness, size * 0.47
        return total

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        margin = 2
        c0 = max(0, int((left + self.right) * self.unit) - margin)
        c1 = min(self.width, int((right + self.right) * self.unit) + margin + 1)
        r0 = max(0, int((top + self.bottom) * self.unit) - margin)
        r1 = min(self.height, int((bottom + self.bottom) * self.unit) + margin + 1)
        return None if c0 >= c1 or r0 >= r1 else (slice(r0, r1), slice(c0, c1))

    def polygon(self, points: Sequence[Point], smooth: bool = False) -> Patch | None:
        """Cover the inside of a line of points, which ``smooth`` makes a soft curve."""
        line = _curve(points) if smooth else np.asarray(points, np.float64)
        box = self._box(*line.min(0), *line.max(0))
        if box is None:
            return None
        rows, columns = box
        size = (columns.stop - columns.start, rows.stop - rows.start)
        fine = 3 if size[0] * size[1] < 700_000 else 2
        mask = Image.new("L", (size[0] * fine, size[1] * fine))
        pixels = ((line + np.array([self.right, self.bottom])) * self.unit - (columns.start, rows.start)) * fine
        ImageDraw.Draw(mask).polygon(pixels.ravel().tolist(), fill=255)
        return Patch(rows, columns, np.asarray(mask.reduce(fine), np.float32) * np.float32(1 / 255))

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, soft: float = 0.0) -> Patch | None:
        """Cover the inside of an ellipse; ``soft`` units of its edge fade."""
        spread = 1.0 + max(soft, 1.0 / self.unit) / max(min(rx, ry), 1e-6)
        box = self._box(cx - rx * spread, cy - ry * spread, cx + rx * spread, cy + ry * spread)
        if box is None or rx <= 0 or ry <= 0:
            return None
        dx, dy = self.x[box[1]][None, :] - cx, self.y[box[0]][:, None] - cy
        distance = (np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2) - 1.0) * min(rx, ry)
        edge = max(soft, 1.0 / self.unit)
        return Patch(box[0], box[1], np.clip(0.5 - distance / edge, 0.0, 1.0).astype(np.float32))

    def below(self, line: Array) -> Patch:
        """Cover everything below a line over the width."""
        top = max(0, int((float(line.min()) + self.bottom) * self.unit) - 1)
        rows = slice(min(top, self.height - 1), self.height)
        alpha = np.clip((self.y[rows][:, None] - line[None, :]) * self.unit + 0.5, 0.0, 1.0)
        return Patch(rows, slice(0, self.width), alpha.astype(np.float32))

    def lay(self, patch: Patch | None, colour: Colour | Array, opacity: float = 1.0) -> None:
        """Cover a patch with a colour, or with a colour per pixel."""
        if patch is None:
            return
        area = self.image[patch.rows, patch.columns]
        area += (patch.alpha * np.float32(opacity))[..., None] * (np.asarray(colour, np.float32) - area)

    def solid(self, patch: Patch | None, colour: Colour, depth: float = 0.06, contrast: float = 0.5, grain: float = 0.0) -> None:
        """Cover a patch so that it looks like a body: lit on the light's side, rounded over ``depth`` units."""
        if patch is None:
            return
        shade = self.relief(patch, depth) * np.float32(contrast)
        if grain:
            speckle = self.fresh().standard_normal((patch.alpha.shape[0] // 3 + 1, patch.alpha.shape[1] // 3 + 1), np.float32)
            size = (patch.alpha.shape[1], patch.alpha.shape[0])
            shade = shade + np.float32(grain) * np.asarray(Image.fromarray(speckle).resize(size, Image.Resampling.BICUBIC))
        base = np.asarray(colour, np.float32)
        glow = np.asarray(mix(colour, self.light.glow, 0.55), np.float32)
        dark = base * np.array([0.42, 0.40, 0.50], np.float32)
        up, down = np.clip(shade, 0, 1)[..., None], np.clip(-shade, 0, 1)[..., None]
        self.lay(patch, base + up * (glow - base) + down * (dark - base))

    def relief(self, patch: Patch, depth: float) -> Array:
        """Return how much each pixel of a patch faces the light, -1 to 1, as if the patch bulged towards the viewer."""
        radius = max(1.0, depth * self.unit)
        rows, columns = patch.alpha.shape
        # A blur in floats on a smaller copy. (Blurred bytes would show contour lines.)
        small = (max(4, round(columns * 3 / radius)), max(4, round(rows * 3 / radius)))
        mask = Image.fromarray(patch.alpha)
        if small[0] < columns and small[1] < rows:
            mask = mask.resize(small, Image.Resampling.BOX)
        soft = Image.fromarray(_soften(np.pad(np.asarray(mask), 6, mode="edge"), 3))
        mask = soft.resize((columns, rows), Image.Resampling.BICUBIC)
        height = np.asarray(mask, np.float32) * np.float32(radius * 2.2)
        if min(height.shape) < 2:
            return np.zeros_like(height)
        down, across = np.gradient(height)
        return np.asarray(np.clip(down * 0.75 - across * self.light.side * 0.8, -1, 1), np.float32)

    def glow(self, cx: float, cy: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """Add light that spreads from a point."""
        reach = radius * 3.5
        box = self._box(cx - reach, cy - reach, cx + reach, cy + reach)
        if box is None:
            return
        dx, dy = self.x[box[1]][None, :] - cx, self.y[box[0]][:, None] - cy
        far = (dx * dx + dy * dy) / (radius * radius)
        amount = np.float32(strength) * np.exp(-far) * np.clip(1.2 - far / 12.25, 0, 1)
        area = self.image[box[0], box[1]]
        # Screen, so that it never burns out hard.
        area += amount[..., None] * np.asarray(colour, np.float32) * np.clip(1.0 - area, 0, 1)

    def blur(self, radius: float) -> None:
        """Blur everything painted so far."""
        pixels = Image.fromarray((np.clip(self.image, 0, 1) * 255).astype(np.uint8))
        soft = pixels.filter(ImageFilter.GaussianBlur(max(0.5, radius * self.unit)))
        self.image = np.asarray(soft, np.float32) * np.float32(1 / 255)

    def vertical(self, stops: Sequence[tuple[float, Colour]]) -> None:
        """Fill with a gradient from top (0) to bottom (1)."""
        places, at = [place for place, _ in stops], np.linspace(0, 1, self.height)
        for channel in range(3):
            self.image[..., channel] = np.interp(at, places, [colour[channel] for _, colour in stops])[:, None]


def _soften(plane: Array, times: int) -> Array:
    """Apply a binomial blur, ``times`` of its 1-4-6-4-1 kernels in each direction; each takes 2 from every side."""
    for _ in range(times):
        plane = plane[:-4] + plane[4:] + 4 * (plane[1:-3] + plane[3:-1]) + 6 * plane[2:-2]
        plane = plane[:, :-4] + plane[:, 4:] + 4 * (plane[:, 1:-3] + plane[:, 3:-1]) + 6 * plane[:, 2:-2]
        plane = plane * np.float32(1 / 256)
    return np.ascontiguousarray(plane, np.float32)


_SPLINE = (np.linspace(0, 1, 8, endpoint=False)[:, None] ** np.arange(4)) @ (
    np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
)
"""Catmull-Rom weights of the four points around a stretch, for eight places on it."""


def _curve(points: Sequence[Point]) -> npt.NDArray[np.float64]:
    """Compute a closed Catmull-Rom curve through the points."""
    count = len(points)
    around = np.asarray(points, np.float64)[(np.arange(count)[:, None] + np.arange(-1, 3)) % count]
    return np.asarray(_SPLINE @ around).reshape(-1, 2)
