"""Plots as inline SVG: plain shapes and text, coloured by the page's style sheet. Loads nothing and reads no trial's text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .statistics import Share

WIDTH, HEIGHT = 460, 240
"""Units of the drawing; a column of the report is about as many pixels wide."""
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 14, 26
"""Margins: room for the axes' numbers."""
TICKS = 5
"""Numbers on an axis, about."""


class Frame:
    """The axes of a plot.

    Args:
        across: lowest and highest value of the horizontal axis.
        up: lowest and highest value of the vertical axis.
    """

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self._across, self._up = across, up
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Place of a value on the horizontal axis."""
        return _between(value, self._across, LEFT, WIDTH - RIGHT)

    def y(self, value: float) -> float:
        """Place of a value on the vertical axis."""
        return _between(value, self._up, HEIGHT - BOTTOM, TOP)

    def add(self, shape: str) -> None:
        """Draw a shape over the others."""
        self._parts.append(shape)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a line between two places."""
        self.add(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """Write our own words at a place."""
        self.add(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>')

    def scale_up(self, name: Callable[[float], str]) -> None:
        """Number the vertical axis, with a grid."""
        for value in ticks(*self._up):
            self.line(LEFT, self.y(value), WIDTH - RIGHT, self.y(value), "grid")
            self.text(LEFT - 6, self.y(value) + 4, name(value), anchor="end")

    def scale_across(self, name: Callable[[float], str]) -> None:
        """Number the horizontal axis."""
        self.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
        for value in ticks(*self._across):
            self.text(self.x(value), HEIGHT - BOTTOM + 16, name(value))

    def svg(self, label: str, height: int = HEIGHT) -> str:
        """Return the drawing, with what it shows for those who do not see it."""
        body = "".join(self._parts)
        return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{body}</svg>'


def _between(value: float, scale: tuple[float, float], start: float, end: float) -> float:
    low, high = scale
    return start + (value - low) / ((high - low) or 1.0) * (end - start)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from low to high, about :data:`TICKS` of them."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def seconds(value: float) -> str:
    """Write seconds for an axis."""
    return f"{value:g} s"


def percent(value: float) -> str:
    """Write a share for an axis."""
    return f"{value * 100:g} %"


def run_plot(values: Sequence[tuple[float, str]]) -> str:
    """Draw each run's seconds as a bar.

    Args:
        values: seconds and kind (``cold``, ``warm`` or ``bad``) of each run, in order.
    """
    most = max((value for value, _ in values), default=0.0) or 1.0
    frame = Frame((0.5, len(values) + 0.5), (0.0, most * 1.05))
    frame.scale_up(seconds)
    room = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    wide = min(28.0, max(1.0, room * 0.7))
    for number, (value, kind) in enumerate(values, start=1):
        tall = max(1.5, frame.y(0) - frame.y(value))
        left, top = frame.x(number) - wide / 2, frame.y(0) - tall
        frame.add(f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="1.5"/>')
    frame.scale_across(_whole)
    return frame.svg(f"Seconds of each of {len(values)} runs")


def _whole(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else ""


def time_plot(values: Sequence[float]) -> str:
    """Draw which share of runs was ready within how many seconds."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    reach = (high - low) * 0.08 or high * 0.1 or 1.0
    frame = Frame((max(0.0, low - reach), high + reach), (0.0, 1.0))
    frame.scale_up(percent)
    frame.scale_across(seconds)
    points = [f"{frame.x(max(0.0, low - reach)):.1f},{frame.y(0):.1f}"]
    for index, value in enumerate(ordered):
        points += [f"{frame.x(value):.1f},{frame.y(index / len(ordered)):.1f}"]
        points += [f"{frame.x(value):.1f},{frame.y((index + 1) / len(ordered)):.1f}"]
    points.append(f"{frame.x(high + reach):.1f},{frame.y(1):.1f}")
    frame.add(f'<polyline class="curve" points="{" ".join(points)}"/>')
    return frame.svg("Share of runs that were ready within so many seconds")


def share_plot(found: Share, target: float | None) -> str:
    """Draw a share, what it lies within, and the target."""
    low = max(0.0, math.floor(min(found.low, target if target is not None else 1.0) * 10 - 0.5) / 10)
    height, middle = 112, 52
    frame = Frame((low, 1.0), (0.0, 1.0))
    for value in ticks(low, 1.0):
        frame.line(frame.x(value), 24, frame.x(value), 82, "grid")
        frame.text(frame.x(value), 100, percent(value))
    if target is not None:
        frame.line(frame.x(target), 20, frame.x(target), 84, "target")
        frame.text(frame.x(target), 14, f"target {percent(target)}", "target", "end" if target > (1 + low) / 2 else "start")
    frame.line(frame.x(found.low), middle, frame.x(found.high), middle, "reach")
    for end in (found.low, found.high):
        frame.line(frame.x(end), middle - 7, frame.x(end), middle + 7, "reach")
    rate = found.rate or 0.0
    frame.add(f'<circle class="point" cx="{frame.x(rate):.1f}" cy="{middle}" r="6"/>')
    return frame.svg(f"Success rate {rate:.1%}, between {found.low:.1%} and {found.high:.1%}", height)


def similarity_plot(values: Sequence[float | None], mean: float | None, target: float | None) -> str:
    """Draw how like the reference each picture's face is; a picture without a face has no mark."""
    known = [value for value in values if value is not None]
    low = min([0.0, *known, *([target] if target is not None else [])])
    frame = Frame((0.5, len(values) + 0.5), (math.floor(low * 10) / 10, 1.0))
    frame.scale_up(lambda value: f"{value:g}")
    for number, value in enumerate(values, start=1):
        if value is not None:
            frame.line(frame.x(number), frame.y(max(0.0, low)), frame.x(number), frame.y(value), "stem")
            frame.add(f'<circle class="point" cx="{frame.x(number):.1f}" cy="{frame.y(value):.1f}" r="5"/>')
    for level, kind in ((mean, "mean"), (target, "target")):
        if level is not None:
            frame.line(LEFT, frame.y(level), WIDTH - RIGHT, frame.y(level), kind)
    frame.scale_across(_whole)
    return frame.svg("Similarity of each picture's face with the reference")
