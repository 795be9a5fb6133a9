"""Cube, sphere, pyramid: bodies with flat light. Paints on a canvas."""

from __future__ import annotations

import numpy as np

from .painter_canvas import Canvas, Colour, Point, mix, scaled
from .painter_pose import Pose
from .painter_words import Scene

_COLOURS: tuple[Colour, ...] = ((0.80, 0.28, 0.22), (0.22, 0.46, 0.72), (0.90, 0.68, 0.22), (0.30, 0.58, 0.42))


def _tone(canvas: Canvas, scene: Scene, name: str) -> Colour:
    usual = scene.accents[0] if scene.accents else _COLOURS[int(canvas.draw.integers(4))]
    return scene.colours.get(name, usual)


def _cast(pose: Pose, wide: float, tall: float) -> None:
    """The shadow on the floor, away from the light, and the dark line where the body stands."""
    canvas, side = pose.canvas, -1.0  # the pose is turned to the light
    for reach, strength in ((1.0, 0.18), (0.6, 0.25)):
        x, y = pose.at(side * wide * (0.2 + 0.45 * reach), 0.02 * tall)
        canvas.shadow(x, y, wide * reach * pose.size * 1.1, 0.07 * pose.size * reach, strength)


def _side(pose: Pose, points: list[Point], colour: Colour, factor: float) -> None:
    """One flat face, a little darker towards its foot."""
    canvas, patch = pose.canvas, pose.sharp(points)
    if patch is None:
        return
    down = np.clip((canvas.y[patch.rows] - pose.foot) / pose.size + 0.9, 0, 1)[:, None, None]
    tone = np.asarray(canvas.lit(colour, factor), np.float32) * (1.06 - 0.20 * down)
    canvas.lay(patch, np.broadcast_to(np.clip(tone, 0, 1), (*patch.alpha.shape, 3)).astype(np.float32))


def cube(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A cube seen from above one edge."""
    pose = Pose(canvas, x, foot, size, canvas.light.side)
    colour = _tone(canvas, scene, "cube")
    _cast(pose, 0.50, 0.9)
    turn = float(canvas.draw.uniform(-0.08, 0.08))
    near, right, left, back = (turn, 0.0), (0.48, 0.17), (-0.48, 0.17), (-turn, 0.30)
    up = 0.56
    _side(pose, [left, near, (near[0], near[1] + up), (left[0], left[1] + up)], colour, 0.62)
    _side(pose, [right, near, (near[0], near[1] + up), (right[0], right[1] + up)], colour, 1.0)
    top = [(p[0], p[1] + up) for p in (near, right, back, left)]
    canvas.lay(pose.sharp(top), canvas.lit(mix(colour, (1.0, 1.0, 1.0), 0.22)))
    edge = pose.sharp([(near[0] - 0.004, 0.0), (near[0] + 0.004, 0.0), (near[0] + 0.004, up), (near[0] - 0.004, up)])
    canvas.lay(edge, canvas.lit(mix(colour, (1.0, 1.0, 1.0), 0.35)), 0.7)


def sphere(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A smooth ball with a highlight."""
    pose = Pose(canvas, x, foot, size, canvas.light.side)
    _cast(pose, 0.40, 0.9)
    disc = pose.disc(0.0, 0.42, 0.42)
    if disc is None:
        return
    reach = 0.42 * size
    cx, cy = pose.at(0.0, 0.42)
    dx, dy = (canvas.x[disc.columns][None, :] - cx) / reach, (canvas.y[disc.rows][:, None] - cy) / reach
    up = np.sqrt(np.clip(1 - dx * dx - dy * dy, 0, 1))
    facing = np.clip(0.45 * dx * canvas.light.side - 0.62 * dy + 0.64 * up, 0, 1)
    bounce = 0.14 * np.clip(dy, 0, 1) * (1 - up)
    colour = np.asarray(canvas.lit(_tone(canvas, scene, "sphere")), np.float32)
    shine = (np.clip(facing, 0, 1) ** 22 * 0.75)[..., None]
    body = colour * (0.30 + 0.80 * facing + bounce)[..., None]
    canvas.lay(disc, np.clip(body + shine * (1 - np.clip(body, 0, 1)), 0, 1).astype(np.float32))


def pyramid(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A pyramid with one face in the light; of stone out of doors."""
    pose = Pose(canvas, x, foot, size, canvas.light.side)
    is_stone = scene.place != "studio"
    colour = scene.colours.get("pyramid", (0.86, 0.68, 0.44)) if is_stone else _tone(canvas, scene, "pyramid")
    _cast(pose, 0.55, 0.6)
    near, top = (-0.16, 0.0), (0.0, 0.78)
    _side(pose, [(-0.60, 0.10), near, top], colour, 0.58)
    _side(pose, [near, (0.60, 0.08), top], colour, 1.04)
    for k in range(1, 12) if is_stone and not canvas.is_thumbnail else ():
        share = k / 12
        line = [(p[0] + (top[0] - p[0]) * share, p[1] + (top[1] - p[1]) * share) for p in ((-0.60, 0.10), near, (0.60, 0.08))]
        low = [(dx, dy - 0.006) for dx, dy in reversed(line)]
        canvas.lay(pose.sharp([*line, *low]), canvas.lit(scaled(colour, 0.5)), 0.35)
