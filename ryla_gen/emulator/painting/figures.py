"""Paint figures: a lighthouse, a house, a boat, a tree, and the portrait of a person. Knows a place only through its ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Colour, Patch, Point, mix, scale
from .places import Ground
from .scene import Scene

_LAMP: Colour = (1.0, 0.86, 0.52)


@dataclass(frozen=True)
class Frame:
    """The place of a figure; its parts are placed in units of its size, y down."""

    canvas: Canvas
    x: float
    y: float
    size: float

    def at(self, dx: float, dy: float) -> Point:
        """Return a point of the figure on the canvas."""
        return (self.x + dx * self.size, self.y + dy * self.size)

    def shape(self, points: Sequence[Point], smooth: bool = True) -> Patch | None:
        """Cover the inside of an outline."""
        return self.canvas.polygon([self.at(dx, dy) for dx, dy in points], smooth)

    def disc(self, dx: float, dy: float, rx: float, ry: float, soft: float = 0.0) -> Patch | None:
        """Cover the inside of an ellipse; ``soft`` units of its edge fade."""
        return self.canvas.ellipse(*self.at(dx, dy), rx * self.size, ry * self.size, soft=soft * self.size)

    def trunk(self, dx: float, top: float, low: float, half_top: float, half_low: float) -> Patch | None:
        """Cover the area between two heights, as wide as ``half_top`` and ``half_low`` to both sides of ``dx``."""
        return self.shape([(dx - half_top, top), (dx + half_top, top), (dx + half_low, low), (dx - half_low, low)], smooth=False)

    def lay(self, patch: Patch | None, colour: Colour, opacity: float = 1.0) -> None:
        """Cover with a colour in the scene's light."""
        self.canvas.lay(patch, self.canvas.lit(colour), opacity)

    def solid(self, patch: Patch | None, colour: Colour, depth: float = 0.1, contrast: float = 0.6, grain: float = 0.0) -> None:
        """Cover so that it looks like a body rounded over ``depth`` of the figure."""
        self.canvas.solid(patch, self.canvas.lit(colour), depth * self.size, contrast, grain)


def paint_figures(canvas: Canvas, scene: Scene, ground: Ground) -> None:
    """Paint the first figure near the middle, and another one smaller beside and behind it."""
    spot = float(canvas.draw.uniform(-0.19, 0.19)) * canvas.right
    aside = spot - (0.40 if spot > 0 else -0.40)
    for index, name in reversed(list(enumerate(scene.figures))):
        paint, size = _FIGURES[name]
        size *= float(canvas.draw.uniform(0.92, 1.08)) * (0.62 if index else 1.0)
        paint(Frame(canvas, aside if index else spot, ground.foot - 0.04 * index, size), scene)


def _round(frame: Frame, patch: Patch | None, half: float, colour: Colour) -> None:
    """Paint a patch as the side of a round tower: light on one side, dark on the other, a rim of reflected light."""
    if patch is None:
        return
    canvas = frame.canvas
    across = np.clip((canvas.x[patch.columns] - frame.x) / (half * frame.size), -1.1, 1.1)[None, :, None] * canvas.light.side
    shade = np.clip(0.74 + 0.36 * across - 0.26 * across**2 + 0.10 * np.exp(-((across + 0.95) ** 2) / 0.02), 0.25, 1.2)
    base = np.asarray(canvas.lit(colour), np.float32)
    warm = np.clip(across - 0.05, 0, 1) * np.float32(0.28)
    lit = base * (shade * (1 - warm) + warm * 1.5 * np.asarray(canvas.light.glow, np.float32))
    canvas.lay(patch, (np.clip(lit, 0, 1) * np.ones((*patch.alpha.shape, 1))).astype(np.float32))


def _lighthouse(frame: Frame, scene: Scene) -> None:
    """Paint a tapered tower with bands, a gallery, a lantern that shines, a roof, on rocks."""
    roof = scene.colours.get("roof", scene.colours.get("lighthouse", (0.78, 0.16, 0.13)))
    wall = scene.colours.get("wall", scene.colours.get("lighthouse", (0.95, 0.94, 0.91)))
    is_dark = scene.hour in ("night", "dusk")
    _rocks(frame)
    side = 1.0 if frame.canvas.draw.random() < 0.5 else -1.0
    _house(Frame(frame.canvas, frame.x + side * 0.27 * frame.size, frame.y, frame.size * 0.25), scene)
    _round(frame, frame.trunk(0, -0.72, 0, 0.078, 0.128), 0.115, wall)
    for top in (-0.533, -0.353, -0.173):
        half = 0.128 + 0.05 * top / 0.72
        _round(frame, frame.trunk(0, top, top + 0.083, half, half + 0.0058), 0.115, roof if roof != wall else (0.8, 0.2, 0.15))
    for dy in (-0.576, -0.396):
        frame.canvas.lay(frame.disc(-0.012, dy, 0.014, 0.024), _LAMP if is_dark else frame.canvas.lit((0.25, 0.30, 0.36)), 0.95)
    door = [(-0.03, 0.0), (-0.03, -0.08), (0.0, -0.105), (0.03, -0.08), (0.03, 0.0)]
    frame.lay(frame.shape(door, smooth=False), scene.colours.get("door", (0.34, 0.20, 0.14)))
    _lantern(frame, roof, is_dark)


def _lantern(frame: Frame, roof: Colour, is_dark: bool) -> None:
    canvas, iron = frame.canvas, (0.22, 0.22, 0.26)
    _round(frame, frame.trunk(0, -0.732, -0.698, 0.118, 0.100), 0.115, mix(iron, roof, 0.35))
    for k in range(-4, 5):
        frame.lay(frame.trunk(k * 0.027, -0.775, -0.73, 0.0022, 0.0022), iron)
    frame.lay(frame.trunk(0, -0.78, -0.772, 0.118, 0.118), iron)
    canvas.lay(frame.trunk(0, -0.845, -0.732, 0.06, 0.06), mix(canvas.lit((0.55, 0.68, 0.76)), _LAMP, 0.9 if is_dark else 0.35))
    if is_dark:
        for side in (-1.0, 1.0):
            _beam(frame, side)
        canvas.glow(*frame.at(0, -0.795), 0.16 * frame.size, _LAMP, 0.8)
        canvas.glow(*frame.at(0, -0.795), 0.05 * frame.size, (1, 0.97, 0.85), 0.9)
    for k in (-1, 0, 1):
        frame.lay(frame.trunk(k * 0.04, -0.845, -0.732, 0.0035, 0.0035), iron)
    cone = [(-0.092, -0.84), (-0.055, -0.895), (-0.012, -0.945), (0.012, -0.945), (0.055, -0.895), (0.092, -0.84)]
    _round(frame, frame.shape(cone, smooth=False), 0.092, scale(roof, 1.12))
    frame.lay(frame.trunk(0, -0.995, -0.942, 0.003, 0.005), iron)


def _beam(frame: Frame, side: float) -> None:
    """Paint a cone of light that turns slowly."""
    canvas, (x, y) = frame.canvas, frame.at(0, -0.795)
    reach, near = canvas.right * 2.2, 0.012 * frame.size
    slope = -0.10 * side * canvas.light.side + 0.05 * np.sin(0.35 * canvas.time)
    end = y + slope * reach
    cone = canvas.polygon([(x, y - near), (x + side * reach, end - 0.15), (x + side * reach, end + 0.15), (x, y + near)])
    if cone is not None:
        far = (np.abs(canvas.x[cone.columns] - x) / canvas.right)[None, :]
        off = canvas.y[cone.rows][:, None] - y - slope * (canvas.x[cone.columns] - x)[None, :] * side
        cone.alpha[:] *= (np.exp(-((off / (0.012 + 0.068 * far)) ** 2)) * np.exp(-far * 1.5)).astype(np.float32)
        canvas.lay(cone, _LAMP, 0.50)


def _rocks(frame: Frame) -> None:
    draw, stone = frame.canvas.draw, (0.36, 0.33, 0.33)
    mound = [(-0.75, 0.14), (-0.46, 0.02), (-0.16, -0.025), (0.18, -0.02), (0.44, 0.03), (0.72, 0.14), (0.0, 0.22)]
    frame.solid(frame.shape(mound), stone, 0.07, 0.7, 0.10)
    for _ in range(16):
        dx, wide = draw.uniform(-0.66, 0.66), draw.uniform(0.05, 0.12)
        dy, turns = 0.05 + draw.uniform(0.0, 0.10) + 0.10 * dx * dx, np.linspace(0, 2 * np.pi, 8)[:-1]
        corners = [(dx + wide * np.cos(a) * draw.uniform(0.8, 1.15), dy + wide * 0.55 * np.sin(a)) for a in turns]
        frame.solid(frame.shape(corners, smooth=False), scale(stone, draw.uniform(0.8, 1.2)), 0.03, 0.8, 0.06)
    for _ in range(12):
        foam = frame.disc(draw.uniform(-0.8, 0.8), 0.17 + draw.uniform(-0.02, 0.03), draw.uniform(0.04, 0.10), 0.012, soft=0.015)
        frame.lay(foam, (0.95, 0.97, 0.98), 0.55)


def _house(frame: Frame, scene: Scene) -> None:
    """Paint a house with a gable, a door, windows, and smoke that drifts away."""
    canvas, is_dark = frame.canvas, scene.hour in ("night", "dusk") or scene.weather in ("rain", "storm")
    roof = (0.95, 0.96, 1.0) if scene.weather == "snow" else scene.colours.get("roof", (0.58, 0.25, 0.18))
    wall = scene.colours.get("wall", scene.colours.get("house", (0.88, 0.82, 0.72)))
    frame.lay(frame.disc(0, 0, 0.65, 0.06, soft=0.09), (0.10, 0.08, 0.12), 0.45)
    frame.solid(frame.trunk(0.33, -0.82, -0.5, 0.05, 0.05), (0.50, 0.34, 0.30), 0.03)
    for k in range(5):
        puff = frame.disc(0.33 + 0.04 * k + 0.03 * canvas.time, -0.87 - 0.085 * k, 0.035 + 0.02 * k, 0.03 + 0.015 * k, soft=0.05)
        frame.lay(puff, (0.9, 0.9, 0.92), 0.34 - 0.05 * k)
    frame.solid(frame.trunk(0, -0.42, 0, 0.62, 0.62), wall, 0.05, 0.5, 0.02)
    frame.solid(frame.trunk(0, -0.76, -0.40, 0.45, 0.70), roof, 0.05, 0.6, 0.06)
    for dx in (-0.36, 0.36):
        frame.lay(frame.trunk(dx, -0.33, -0.14, 0.09, 0.09), (0.96, 0.94, 0.9))
        canvas.lay(frame.trunk(dx, -0.31, -0.16, 0.072, 0.072), _LAMP if is_dark else canvas.lit((0.36, 0.48, 0.58)))
        frame.lay(frame.trunk(dx, -0.31, -0.16, 0.006, 0.006), (0.96, 0.94, 0.9))
        if is_dark:
            canvas.glow(*frame.at(dx, -0.23), 0.14 * frame.size, _LAMP, 0.45)
    frame.solid(frame.trunk(0, -0.30, 0, 0.07, 0.07), scene.colours.get("door", (0.30, 0.38, 0.36)), 0.03)


def _boat(frame: Frame, scene: Scene) -> None:
    """Paint a sailing boat, which crosses the picture in a video: a sine, so that it never leaves for good."""
    canvas, flip = frame.canvas, -1.0 if frame.x > 0 else 1.0
    bob, way = 0.010 * np.sin(0.5 * canvas.time + 3 * frame.x), 0.45 * np.sin(canvas.time / 30) - 0.08
    afloat = Frame(canvas, frame.x + flip * float(way), frame.y - 0.05 + float(bob), frame.size)
    hull, sail = scene.colours.get("boat", (0.52, 0.26, 0.18)), scene.colours.get("sail", (0.96, 0.94, 0.88))

    def part(points: list[Point], smooth: bool = True) -> Patch | None:
        return afloat.shape([(flip * dx, dy) for dx, dy in points], smooth)

    afloat.lay(afloat.disc(0, 0.16, 0.46, 0.05, soft=0.06), scale(hull, 0.4), 0.55)
    afloat.lay(afloat.trunk(0, -1.1, -0.1, 0.012, 0.014), (0.36, 0.25, 0.18))
    afloat.solid(part([(0.03, -1.06), (0.10, -0.7), (0.42, -0.24), (0.20, -0.19), (0.03, -0.20), (0.03, -0.6)]), sail, 0.16)
    afloat.solid(part([(-0.03, -0.98), (-0.22, -0.5), (-0.40, -0.22), (-0.16, -0.20), (-0.03, -0.22)]), scale(sail, 0.92), 0.16)
    afloat.solid(part([(-0.52, -0.12), (0.56, -0.14), (0.40, 0.10), (-0.36, 0.10)], smooth=False), hull, 0.08, 0.7)


_SKINS: tuple[Colour, ...] = ((0.96, 0.80, 0.70), (0.91, 0.72, 0.58), (0.80, 0.58, 0.43), (0.60, 0.40, 0.28), (0.42, 0.27, 0.19))
_HAIRS: tuple[Colour, ...] = ((0.13, 0.09, 0.08), (0.30, 0.19, 0.12), (0.52, 0.33, 0.18), (0.85, 0.68, 0.40), (0.50, 0.20, 0.11))
_CLOTHES: tuple[Colour, ...] = ((0.18, 0.32, 0.42), (0.55, 0.20, 0.22), (0.24, 0.36, 0.26), (0.72, 0.66, 0.56), (0.22, 0.22, 0.30))
_EYES: tuple[Colour, ...] = ((0.36, 0.24, 0.14), (0.28, 0.48, 0.62), (0.32, 0.50, 0.34), (0.40, 0.42, 0.46))


@dataclass(frozen=True)
class Head(Frame):
    """The look of a head. Its unit is about half its height, measured from the middle of the face."""

    turn: float
    """How far the features are moved sideways: the head looks that way."""
    skin: Colour
    hair: Colour
    clothes: Colour
    eyes: Colour
    is_man: bool

    def both(self, *points: Point) -> Patch | None:
        """Cover the inside of a symmetrical outline: the right half from top to bottom, mirrored back up."""
        return self.shape([*points, *((-dx, dy) for dx, dy in reversed(points))])


def _portrait(frame: Frame, scene: Scene) -> None:
    """Paint head and shoulders of a person, who sways a little in a video."""
    canvas, draw, named = frame.canvas, frame.canvas.draw, scene.colours
    is_man = scene.who == "man" or (scene.who == "person" and draw.random() < 0.4 and "hair" not in named)
    skin, hair, clothes, eyes = (int(draw.integers(n)) for n in (5, 5, 5, 4))
    y, turn = float(draw.uniform(-0.11, -0.06)) * frame.size / 0.9, float(draw.uniform(-0.10, 0.10))
    x = 0.35 * frame.x + 0.012 * float(np.sin(0.5 * canvas.time))
    dress = named.get("clothes", named.get("person", _CLOTHES[clothes]))
    head = Head(
        canvas, x, y, frame.size * 0.272, turn, _SKINS[skin], named.get("hair", _HAIRS[hair if skin < 3 else 0]), dress,
        named.get("eyes", _EYES[eyes]), is_man,
    )  # fmt: skip
    if not head.is_man:
        behind = [(0.0, -1.22), (0.52, -1.10), (0.84, -0.62), (0.90, 0.0), (1.06, 0.62), (0.98, 1.25), (0.96, 1.85), (0.45, 2.0)]
        head.solid(head.both(*behind), scale(head.hair, 0.72), 0.2)
        _locks(head, 30, 0.55, 0.98, -0.2, 1.85)
    _body(head)
    _face(head)
    for side in (-1.0, 1.0):
        _eye(head, side)
    _nose_and_mouth(head)
    _hair(head)


def _locks(head: Head, count: int, inner: float, outer: float, top: float, low: float) -> None:
    """Paint locks of hair down both sides: thin lighter and darker curves between two distances from the middle."""
    draw = head.canvas.draw
    for k in range(count):
        side, at, end = 1.0 if k % 2 else -1.0, draw.uniform(inner, outer), top + (low - top) * draw.uniform(0.6, 1.0)
        bend, wide, middle = draw.uniform(-0.05, 0.06), draw.uniform(0.02, 0.05), (top + end) / 2
        lock = [(side * at * 0.93, top), (side * (at + bend), middle), (side * at, end), (side * (at + bend - wide), middle)]
        head.lay(head.shape(lock), _lock_tone(head), 0.4)


def _lock_tone(head: Head) -> Colour:
    return mix(head.hair, (1.0, 0.86, 0.66), 0.30) if head.canvas.draw.random() < 0.55 else scale(head.hair, 0.55)


def _body(head: Head) -> None:
    """Paint neck, its shadow, and clothes with a round neckline."""
    wide, neck = (1.95, 0.46) if head.is_man else (1.62, 0.36)
    low = max(2.9, (head.canvas.bottom - head.y) / head.size + 0.2)
    clothes = head.both((neck * 1.28, 1.34), (0.98, 1.56), (wide * 0.86, 1.80), (wide, 2.4), (wide * 1.06, low))
    head.solid(clothes, head.clothes, 0.25, 0.7, 0.03)
    head.solid(head.both((neck * 0.92, 0.55), (neck, 1.15), (neck * 1.3, 1.45), (0.0, 1.80)), scale(head.skin, 0.86), 0.08)
    head.lay(head.disc(0.04, 1.02, 0.40, 0.20, soft=0.2), scale(head.skin, 0.45), 0.5)


def _face(head: Head) -> None:
    canvas, jaw = head.canvas, 0.60 if head.is_man else 0.50
    for side in (-1, 1):
        head.solid(head.disc(side * 0.76, 0.12, 0.10, 0.20), scale(head.skin, 0.88))
    cheek = [(0.0, -1.02), (0.44, -0.96), (0.70, -0.58), (0.76, -0.05), (0.71, 0.42), (jaw, 0.78), (0.24, 1.06), (0.0, 1.10)]
    shape = head.both(*cheek)
    head.solid(shape, head.skin, 0.30, 0.62)
    if shape is not None:  # the side away from the light lies in soft shadow
        across = (canvas.x[shape.columns][None, :] - head.x) / head.size * -canvas.light.side
        dim = Patch(shape.rows, shape.columns, (shape.alpha * np.clip(across * 0.55 + 0.02, 0, 0.42)).astype(np.float32))
        head.lay(dim, scale(head.skin, 0.50))
    for side in (-1, 1):
        head.lay(head.disc(side * 0.42 + head.turn, 0.36, 0.20, 0.13, soft=0.18), mix(head.skin, (0.86, 0.30, 0.26), 0.55), 0.26)
    canvas.glow(*head.at(0.22 * canvas.light.side, -0.55), 0.26 * head.size, canvas.lit(head.skin), 0.28)


def _eye(head: Head, side: float) -> None:
    x, look, light = side * 0.315 + head.turn, head.turn * 0.25, head.canvas.light.side
    head.lay(head.disc(x, -0.07, 0.23, 0.15, soft=0.15), scale(head.skin, 0.62), 0.42)
    outer, inner = -0.02 - 0.02 * side, -0.02 + 0.02 * side
    white = [(x - 0.17, outer), (x - 0.06, -0.105), (x + 0.06, -0.105), (x + 0.17, inner), (x + 0.06, 0.045), (x - 0.06, 0.045)]
    head.lay(head.shape(white), (0.95, 0.94, 0.92))
    head.lay(head.disc(x + look, -0.032, 0.082, 0.084), scale(head.eyes, 0.75))
    head.lay(head.disc(x + look, -0.012, 0.062, 0.058, soft=0.02), scale(head.eyes, 1.35), 0.7)
    head.lay(head.disc(x + look, -0.032, 0.038, 0.038), (0.03, 0.03, 0.04))
    head.canvas.lay(head.disc(x + look + 0.03 * light, -0.065, 0.02, 0.02), (1, 1, 1), 0.95)
    lash = [(x - 0.19, outer), (x - 0.07, -0.135), (x + 0.07, -0.135), (x + 0.19, inner), (x + 0.06, -0.092), (x - 0.06, -0.092)]
    head.lay(head.shape(lash), mix(scale(head.hair, 0.4), (0.08, 0.05, 0.05), 0.6), 0.92)
    brow = [(x - 0.21, -0.23 - 0.02 * side), (x, -0.305), (x + 0.21, -0.23 + 0.02 * side), (x + 0.02, -0.25)]
    head.lay(head.shape(brow), mix(scale(head.hair, 0.6), (0.16, 0.10, 0.08), 0.45), 0.80)


def _nose_and_mouth(head: Head) -> None:
    x, light, dark, bright = head.turn, head.canvas.light.side, scale(head.skin, 0.60), mix(head.skin, (1, 0.97, 0.92), 0.45)
    tip, corner = 1.15 * x, 0.66 - float(head.canvas.draw.uniform(0.0, 0.05))
    bridge = [(-0.05, -0.10), (-0.12, 0.30), (-0.17, 0.40), (-0.02, 0.40), (-0.02, 0.1)]
    head.lay(head.shape([(tip + dx * light, dy) for dx, dy in bridge]), dark, 0.30)
    head.lay(head.disc(tip, 0.415, 0.13, 0.035, soft=0.05), dark, 0.50)
    for wing in (-0.068, 0.068):
        head.lay(head.disc(tip + wing, 0.405, 0.030, 0.016, soft=0.015), scale(dark, 0.45), 0.7)
    head.lay(head.disc(tip + 0.025 * light, 0.31, 0.05, 0.055, soft=0.05), bright, 0.55)
    lip = mix(head.skin, (0.72, 0.16, 0.18), 0.38 if head.is_man else 0.62)
    lower = [(x - 0.23, corner + 0.01), (x, 0.672), (x + 0.23, corner + 0.01), (x + 0.12, 0.745), (x - 0.12, 0.745)]
    upper = [(x - 0.25, corner), (x - 0.09, 0.585), (x, 0.605), (x + 0.09, 0.585), (x + 0.25, corner), (x, 0.672)]
    head.lay(head.shape(lower), lip)
    head.lay(head.shape(upper), scale(lip, 0.80))
    head.lay(head.disc(x + 0.05 * light, 0.705, 0.09, 0.016, soft=0.02), bright, 0.45)
    head.lay(head.disc(x, 0.815, 0.15, 0.03, soft=0.05), dark, 0.38)


def _hair(head: Head) -> None:
    """Paint the hair in front: two curtains from the parting, or short hair over the forehead."""
    draw = head.canvas.draw
    part = float(draw.uniform(-0.35, 0.35))
    if head.is_man:
        front = [(-0.80, 0.06), (-0.72, -0.46), (part - 0.25, -0.74), (part + 0.1, -0.66), (0.66, -0.52), (0.80, 0.06)]
        back = [(0.90, -0.46), (0.72, -1.02), (0.20, -1.28), (-0.34, -1.24), (-0.76, -0.98), (-0.90, -0.46)]
        head.solid(head.shape([*front, *back]), head.hair, 0.16, 0.75, 0.05)
    for side in () if head.is_man else (-1, 1):
        inner = [(-0.62, -0.42), (-0.72, 0.10), (-0.74, 0.70), (-0.84, 1.45)]
        outer = [(-0.97, 0.66), (-0.98, -0.20), (-0.82, -0.84), (-0.42, -1.22)]
        edge = [(-side * dx, dy) for dx, dy in (*inner, *outer)]
        head.solid(head.shape([(part, -1.0), (part + side * 0.30, -0.80), *edge, (part, -1.28)]), head.hair, 0.22, 0.75)
    for k in range(20):  # locks that fan out from the parting over the top of the head
        side, share = 1 if k % 2 else -1, float(draw.uniform(0.25, 1.0))
        end = (part * (1 - share) + side * 0.86 * share, -0.98 + 0.62 * share**2.2 - 0.12 * (1 - share))
        middle = ((part + end[0]) / 2 + side * 0.10, (-1.24 + end[1]) / 2 - 0.10)
        head.lay(head.shape([(part, -1.22), middle, end, (middle[0] - side * 0.02, middle[1] + 0.045)]), _lock_tone(head), 0.32)
    if not head.is_man:
        _locks(head, 16, 0.80, 0.94, -0.35, 0.66)


_FIGURES: dict[str, tuple[Callable[[Frame, Scene], None], float]] = {
    "lighthouse": (_lighthouse, 0.74), "house": (_house, 0.48), "boat": (_boat, 0.36), "person": (_portrait, 0.90),
}  # fmt: skip
"""Every figure with its usual size in units of the canvas."""
