"""Which figure is painted where. Knows places only through their ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import painter_animals as animals
from . import painter_birds as birds
from . import painter_buildings as buildings
from . import painter_furniture as furniture
from . import painter_machines as machines
from . import painter_people as people
from . import painter_rails as rails
from . import painter_riders as riders
from . import painter_solids as solids
from . import painter_things as things
from .painter_canvas import Canvas
from .painter_places import Ground
from .painter_words import PEOPLE, Scene

Figure = Callable[[Canvas, Scene, float, float, float], None]
"""``figure(canvas, scene, x, foot, size)``: size in units, foot where it stands."""


_FIGURES: dict[str, tuple[Figure, float]] = {
    "lighthouse": (buildings.lighthouse, 0.74), "house": (buildings.house, 0.40), "castle": (buildings.castle, 0.56),
    "boat": (things.boat, 0.36), "tree": (things.tree, 0.62), "person": (people.portrait, 0.90),
    "woman": (people.portrait, 0.90), "man": (people.portrait, 0.90), "astronaut": (riders.astronaut, 0.90),
    "fox": (animals.sitting, 0.62), "cat": (animals.sitting, 0.56), "dog": (animals.sitting, 0.58),
    "wolf": (animals.sitting, 0.62), "tiger": (animals.sitting, 0.62), "lion": (animals.sitting, 0.64),
    "bear": (animals.sitting, 0.66), "panda": (animals.sitting, 0.62), "rabbit": (animals.sitting, 0.54),
    "mouse": (animals.sitting, 0.48), "deer": (animals.sitting, 0.62), "owl": (birds.owl, 0.46),
    "bird": (birds.bird, 0.36), "penguin": (birds.penguin, 0.46), "fish": (birds.fish, 0.40),
    "bowl": (things.bowl, 0.50), "cup": (things.cup, 0.36), "vase": (things.vase, 0.62), "flower": (things.flower, 0.58),
    "balloon": (machines.balloon, 0.52), "rocket": (machines.rocket, 0.60), "car": (machines.car, 0.50),
    "robot": (machines.robot, 0.62), "snowman": (machines.snowman, 0.50), "fire": (machines.fire, 0.30),
    "candle": (machines.candle, 0.40), "horse": (riders.horse, 0.50), "sofa": (furniture.sofa, 0.82),
    "chair": (furniture.chair, 0.52), "table": (furniture.table, 0.70), "bed": (furniture.bed, 0.72), "cube": (solids.cube, 0.56),
    "sphere": (solids.sphere, 0.56), "pyramid": (solids.pyramid, 0.66), "train": (rails.train, 0.80),
    "bridge": (rails.bridge, 0.80),
}  # fmt: skip
"""Every figure with its usual size in units."""


_SEATS = {"sofa": 0.25, "chair": 0.46, "table": 0.56, "bed": 0.31, "bridge": rails.DECK}
"""What others are put on, and how high, in units of its size."""
_SHRINK = (1.0, 1.0, 0.72, 0.56, 0.45, 0.38, 0.33)
"""How much smaller each of several is, by their number."""
_ON_SEAT = 0.80
"""How much smaller what sits on something is than by itself."""
_BACK = (0.0, 0.10, 0.04, 0.14, 0.02, 0.08)
"""How much further back each of several stands, so that they are no row of stamps."""
_TOGETHER = 0.62
"""How much smaller what comes after the first subject is."""


@dataclass(frozen=True)
class _Stand:
    """One figure to paint."""

    name: str
    x: float
    foot: float
    size: float


def paint_subjects(canvas: Canvas, scene: Scene, ground: Ground) -> None:
    """At most three kinds of figures: on their sofa or bridge if there is one, else side by side, further ones first."""
    chosen = [name for name in scene.subjects if name in _FIGURES][:3]
    if "horse" in chosen:  # people in such a prompt ride
        chosen = ["horse", *(name for name in chosen if name not in (*PEOPLE, "horse"))]
    spot = float(canvas.draw.uniform(-0.16, 0.16)) * canvas.right * 2 * 0.6
    seat = next((name for name in chosen if name in _SEATS), None)
    if seat and set(chosen) - set(_SEATS) and chosen[0] not in PEOPLE:
        stands = _seated(canvas, scene, ground, seat, [name for name in chosen if name != seat], spot * 0.4)
    else:
        stands = _beside(canvas, scene, ground, chosen, spot)
    for stand in stands:
        size = stand.size * float(canvas.draw.uniform(0.92, 1.08))
        _FIGURES[stand.name][0](canvas, scene, stand.x, stand.foot, size)


def _beside(canvas: Canvas, scene: Scene, ground: Ground, chosen: list[str], spot: float) -> list[_Stand]:
    """The first in the middle or at a third, others smaller on both sides of it."""
    side = 1 if spot >= 0 else -1
    is_portrait = bool(chosen) and chosen[0] in PEOPLE
    if len(chosen) == 2 and not is_portrait:  # room for both
        spot = side * max(abs(spot), 0.12)
    aside = (0.36 if is_portrait else 0.40) if len(chosen) < 2 or scene.counts.get(chosen[0], 1) == 1 else 0.44 * canvas.right * 2
    places = (spot * (0.35 if is_portrait else 1.0), spot - aside * side, spot + aside * side)
    stands = []
    for index in reversed(range(len(chosen))):
        name = chosen[index]
        size = _FIGURES[name][1] * (1.0 if index == 0 else _TOGETHER)
        foot = ground.foot - (0.0 if index == 0 else 0.04)
        room = canvas.right * 2 * (0.94 if len(chosen) == 1 else 0.62)
        stands += _group(scene, name, places[index], foot, size, room)
    return stands


def _seated(canvas: Canvas, scene: Scene, ground: Ground, seat: str, others: list[str], spot: float) -> list[_Stand]:
    """The seat, and on it the others, next to each other."""
    size = _FIGURES[seat][1]
    foot = ground.foot if seat != "bridge" else min(canvas.bottom - 0.04, ground.horizon + 0.30)
    stands = [_Stand(seat, spot, foot, size)]
    for index, name in enumerate(others):
        own = _FIGURES[name][1] * (1.0 if name == "train" else _ON_SEAT)
        wide = canvas.right * 1.6 if seat == "bridge" else size
        x = spot + (index - (len(others) - 1) / 2) * wide / max(1, len(others))
        stands += _group(scene, name, x, foot - _SEATS[seat] * size, own, wide / len(others))
    return stands


def _group(scene: Scene, name: str, x: float, foot: float, size: float, room: float) -> list[_Stand]:
    """One figure, or several over a width, some a little further back."""
    count = scene.counts.get(name, 1)
    size *= _SHRINK[count]
    step = min(room / count, size * 1.15)
    if count > 1:
        x *= 0.3
    stands = [
        _Stand(name, x + (k - (count - 1) / 2) * step, foot - _BACK[k] * size, size * (1 - 1.2 * _BACK[k])) for k in range(count)
    ]
    return sorted(stands, key=lambda stand: stand.foot)
