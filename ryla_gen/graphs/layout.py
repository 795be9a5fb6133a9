"""Places boxes in columns from left to right so that lines are short and cross little (Sugiyama's method). Knows sizes only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 8
"""Passes over the columns, to and fro; more change nothing in graphs of some hundred nodes."""
COLUMN_GAP, ROW_GAP = 64.0, 22.0
"""Pixels between columns, and between boxes of one column."""
LONGEST_WAY = 60
"""Columns through which a line gets room of its own; a graph of thousands of longer ones would need millions of places."""
THIN = 14.0
"""Pixels that a line takes where it passes a column."""


@dataclass(slots=True)
class Place:
    """Where a box, or a line on its way, stands: its upper left corner, in pixels."""

    x: float
    y: float
    width: float
    height: float
    column: int


@dataclass(frozen=True, slots=True)
class Layout:
    """All places, and the columns each line passes."""

    places: Mapping[str, Place]
    ways: Mapping[tuple[str, str], tuple[Place, ...]]
    """From one box to another: what the line passes between them."""
    width: float
    height: float


def arrange(sizes: Mapping[str, tuple[float, float]], links: Iterable[tuple[str, str]]) -> Layout:
    """Place boxes.

    Args:
        sizes: box → width and height in pixels.
        links: pairs of boxes, from left to right; circles are allowed, and one of their lines then runs back.

    """
    pairs = [pair for pair in dict.fromkeys(links) if pair[0] != pair[1]]
    forward = _without_circles(list(sizes), pairs)
    columns = _columns(list(sizes), forward)
    places = {name: Place(0, 0, *size, columns[name]) for name, size in sizes.items()}
    chains: dict[tuple[str, str], list[str]] = {}
    neighbours: list[tuple[str, str]] = []
    for source, target in forward:
        between = range(columns[source] + 1, columns[target])
        chain = [f"{source}\0{target}\0{column}" for column in between] if len(between) <= LONGEST_WAY else []
        for name, column in zip(chain, between, strict=False):
            places[name] = Place(0, 0, 0, THIN, column)
        chains[source, target] = chain
        neighbours += zip([source, *chain], [*chain, target], strict=True)
    rows = _ordered(places, neighbours)
    _set_x(places, rows)
    _set_y(places, rows, neighbours)
    ways = {pair: tuple(places[name] for name in chain) for pair, chain in chains.items()}
    real = {name: places[name] for name in sizes}
    edge_x = max((place.x + place.width for place in real.values()), default=0)
    edge_y = max((place.y + place.height for place in places.values()), default=0)
    return Layout(real, ways, edge_x, edge_y)


def _without_circles(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out every link that closes a circle, found by going deep first, without recursion."""
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        after[source].append(target)
    state: dict[str, int] = {}
    back: set[tuple[str, str]] = set()
    for start in names:
        stack = [(start, iter(after[start]))] if start not in state else []
        state.setdefault(start, 1)
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[name] = 2
                stack.pop()
            elif following not in state:
                state[following] = 1
                stack.append((following, iter(after[following])))
            elif state[following] == 1:
                back.add((name, following))
    return [pair for pair in pairs if pair not in back]


def _columns(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Each box right of everything it needs; then those without a need move next to their first user."""
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        before[target].append(source)
        after[source].append(target)
    waiting = {name: len(before[name]) for name in names}
    ready = [name for name in names if not waiting[name]]
    columns = dict.fromkeys(names, 0)
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        for target in after[name]:
            columns[target] = max(columns[target], columns[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for name in reversed(order):
        if after[name] and len(after[name]) >= len(before[name]):  # else more lines would grow longer than shorter
            columns[name] = min(columns[target] for target in after[name]) - 1
    return columns


def _ordered(places: Mapping[str, Place], neighbours: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The boxes of each column from top to bottom: each near the middle of those it is linked to, next door."""
    rows: list[list[str]] = [[] for _ in range(max((place.column for place in places.values()), default=-1) + 1)]
    for name, place in places.items():
        rows[place.column].append(name)
    left, right = _sides(neighbours)
    position = {name: float(index) for row in rows for index, name in enumerate(row)}
    for sweep in range(SWEEPS):
        side = left if sweep % 2 == 0 else right
        for row in rows if sweep % 2 == 0 else reversed(rows):
            heights = {name: _mean([position[other] for other in side[name]], position[name]) for name in row}
            row.sort(key=heights.__getitem__)
            middle = (len(row) - 1) / 2
            position.update({name: index - middle for index, name in enumerate(row)})
    return rows


def _sides(neighbours: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    left: dict[str, list[str]] = defaultdict(list)
    right: dict[str, list[str]] = defaultdict(list)
    for source, target in neighbours:
        left[target].append(source)
        right[source].append(target)
    return left, right


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _set_x(places: Mapping[str, Place], rows: Sequence[Sequence[str]]) -> None:
    x = 0.0
    for row in rows:
        widest = max(places[name].width for name in row)
        for name in row:
            places[name].x = x
            places[name].width = places[name].width or widest  # a line passes the column straight
        x += widest + COLUMN_GAP


def _set_y(places: Mapping[str, Place], rows: Sequence[Sequence[str]], neighbours: Sequence[tuple[str, str]]) -> None:
    """Stack the boxes, then let each go to the middle of its neighbours, as far as those above and below allow."""
    left, right = _sides(neighbours)
    for row in rows:
        y = 0.0
        for name in row:
            places[name].y = y
            y += places[name].height + ROW_GAP
    for sweep in range(SWEEPS * 2):
        sides = (left,) if sweep % 3 == 0 else (right,) if sweep % 3 == 1 else (left, right)
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_wish(places, name, [other for side in sides for other in side[name]]) for name in row]
            for name, y in zip(row, _apart([places[name].height for name in row], wanted), strict=True):
                places[name].y = y
    top = min((place.y for place in places.values()), default=0)
    for place in places.values():
        place.y -= top


def _wish(places: Mapping[str, Place], name: str, others: Sequence[str]) -> float:
    own = places[name]
    middles = [places[other].y + places[other].height / 2 for other in others]
    return _mean(middles, own.y + own.height / 2) - own.height / 2


def _apart(heights: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """The nearest places to the wanted ones at which no box covers another (blocks that touch move as one)."""
    blocks: list[tuple[float, int, float]] = []  # sum of wishes relative to the block's top, boxes, height
    for height, wish in zip(heights, wanted, strict=True):
        block = (wish, 1, height + ROW_GAP)
        while blocks and blocks[-1][0] / blocks[-1][1] + blocks[-1][2] > block[0] / block[1]:
            total, count, size = blocks.pop()
            block = (total + block[0] - size * block[1], count + block[1], size + block[2])
        blocks.append(block)
    found: list[float] = []
    for total, count, _ in blocks:
        y = total / count
        for _ in range(count):
            found.append(y)
            y += heights[len(found) - 1] + ROW_GAP
    return found
