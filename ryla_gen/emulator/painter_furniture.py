"""Sofa, chair, table, bed: what others may sit or lie on. Paints on a canvas."""

from __future__ import annotations

from .painter_canvas import Canvas, Colour, mix, scaled
from .painter_pose import Pose
from .painter_words import Scene

_WOOD: Colour = (0.50, 0.33, 0.20)


def _leg(pose: Pose, dx: float, high: float, wide: float = 0.035, colour: Colour = _WOOD) -> None:
    pose.canvas.solid(pose.box(dx - wide / 2, 0.0, dx + wide / 2, high, 0.008), pose.canvas.lit(scaled(colour, 0.75)), depth=0.012)


def _cushion(pose: Pose, patch_at: tuple[float, float, float, float], colour: Colour, corner: float = 0.04) -> None:
    canvas = pose.canvas
    canvas.solid(pose.box(*patch_at, corner), canvas.lit(colour), depth=0.035 * pose.size, contrast=0.7, grain=0.02)


def sofa(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A sofa from the front, with two seats."""
    pose = Pose(canvas, x, foot, size, 1.0)
    cloth = scene.colours.get("sofa", ((0.62, 0.36, 0.26), (0.34, 0.42, 0.52), (0.72, 0.64, 0.52))[int(canvas.draw.integers(3))])
    canvas.shadow(x, foot, size * 0.60, size * 0.05, 0.6)
    for dx in (-0.50, 0.50):
        _leg(pose, dx, 0.10, 0.05)
    _cushion(pose, (-0.56, 0.22, 0.56, 0.56), scaled(cloth, 0.86), 0.08)
    for side in (-1.0, 1.0):
        left, right = sorted((side * 0.005, side * 0.47))
        _cushion(pose, (left, 0.26, right, 0.54), scaled(cloth, 0.95), 0.06)
    _cushion(pose, (-0.56, 0.06, 0.56, 0.20), scaled(cloth, 0.80), 0.03)
    for side in (-1.0, 1.0):
        left, right = sorted((side * 0.003, side * 0.475))
        _cushion(pose, (left, 0.17, right, 0.29), scaled(cloth, 1.06), 0.045)
    for side in (-1.0, 1.0):
        left, right = sorted((side * 0.47, side * 0.63))
        _cushion(pose, (left, 0.07, right, 0.40), cloth, 0.07)


def chair(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A chair with an upholstered seat."""
    pose = Pose(canvas, x, foot, size, 1.0)
    wood = scene.colours.get("chair", _WOOD)
    cloth = scene.colours.get("chair", (0.74, 0.50, 0.34))
    canvas.shadow(x, foot, size * 0.32, size * 0.05, 0.6)
    for dx in (-0.17, 0.17):
        _leg(pose, dx, 0.44, 0.04, scaled(wood, 0.8))
    for dx in (-0.215, 0.215):
        canvas.solid(pose.box(dx - 0.025, 0.40, dx + 0.025, 1.0, 0.02), canvas.lit(wood), depth=0.012)
    _cushion(pose, (-0.21, 0.60, 0.21, 0.97), scaled(cloth, 0.9), 0.06)
    for dx in (-0.235, 0.235):
        _leg(pose, dx, 0.44, 0.045, scaled(wood, 1.2))
    _cushion(pose, (-0.27, 0.38, 0.27, 0.48), scaled(cloth, 1.05), 0.04)


def table(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A table with four legs."""
    pose = Pose(canvas, x, foot, size, 1.0)
    wood = scene.colours.get("table", _WOOD)
    canvas.shadow(x, foot - 0.02 * size, size * 0.60, size * 0.07, 0.5)
    for dx in (-0.38, 0.38):
        canvas.solid(pose.box(dx - 0.022, 0.08, dx + 0.022, 0.50, 0.008), canvas.lit(scaled(wood, 0.55)), depth=0.012)
    for dx in (-0.53, 0.53):
        _leg(pose, dx, 0.50, 0.055, scaled(wood, 1.2))
    canvas.solid(pose.box(-0.56, 0.42, 0.56, 0.50, 0.01), canvas.lit(scaled(wood, 0.7)), depth=0.01)
    top = pose.sharp([(-0.46, 0.62), (0.46, 0.62), (0.60, 0.51), (-0.60, 0.51)])
    canvas.solid(top, canvas.lit(mix(wood, (1, 0.92, 0.8), 0.15)), depth=0.02, contrast=0.35, grain=0.03)
    canvas.solid(pose.box(-0.60, 0.485, 0.60, 0.515, 0.01), canvas.lit(scaled(wood, 0.85)), depth=0.01)


def bed(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A bed from its side, with a pillow and a blanket."""
    pose = Pose(canvas, x, foot, size, 1.0 if canvas.draw.random() < 0.5 else -1.0)
    blanket = scene.colours.get("bed", ((0.36, 0.48, 0.62), (0.72, 0.50, 0.42), (0.46, 0.56, 0.46))[int(canvas.draw.integers(3))])
    canvas.shadow(x, foot, size * 0.66, size * 0.05, 0.6)
    canvas.solid(pose.box(-0.68, 0.0, -0.60, 0.62, 0.03), canvas.lit(_WOOD), depth=0.02, contrast=0.7)
    canvas.solid(pose.box(0.60, 0.0, 0.67, 0.36, 0.03), canvas.lit(_WOOD), depth=0.02, contrast=0.7)
    canvas.solid(pose.box(-0.62, 0.09, 0.62, 0.19, 0.01), canvas.lit(scaled(_WOOD, 0.8)), depth=0.02)
    _cushion(pose, (-0.61, 0.17, 0.61, 0.31), (0.93, 0.91, 0.87))
    _cushion(pose, (-0.60, 0.28, -0.32, 0.40), (0.97, 0.96, 0.94), 0.05)
    cover = [(-0.34, 0.32), (-0.28, 0.345), (0.1, 0.355), (0.58, 0.335), (0.62, 0.28), (0.62, 0.12), (0.2, 0.10), (-0.3, 0.12)]
    canvas.solid(pose.shape(cover), canvas.lit(blanket), depth=0.05 * size, contrast=0.7, grain=0.02)
    fold = [(-0.36, 0.33), (-0.27, 0.35), (-0.24, 0.12), (-0.33, 0.11)]
    canvas.solid(pose.shape(fold), canvas.lit(mix(blanket, (1, 1, 1), 0.55)), depth=0.02)
