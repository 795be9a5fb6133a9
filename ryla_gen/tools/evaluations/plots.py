"""Draw an evaluation's numbers as SVG for its page. Reads no trial's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..plots import COLOURS, inline_svg, new_axes
from .statistics import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.4, 3.3
"""Inches at 72 points each: a column of the page is about as many pixels wide."""
RUN_COLOURS = {"warm": COLOURS["main"], "cold": COLOURS["cold"], "bad": COLOURS["bad"]}


def run_plot(values: Sequence[tuple[float, str]]) -> str:
    """Draw each run's seconds as a bar.

    Args:
        values: seconds and kind (``cold``, ``warm`` or ``bad``) of each run, in order.
    """
    figure, axes = _axes()
    colours = [RUN_COLOURS[kind] for _, kind in values]
    axes.bar(range(1, len(values) + 1), [value for value, _ in values], color=colours, width=0.7)
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter("{x:g} s")
    return inline_svg(figure, f"Seconds of each of {len(values)} runs")


def time_plot(values: Sequence[float]) -> str:
    """Draw which share of runs was ready within how many seconds."""
    figure, axes = _axes()
    axes.ecdf(values, color=COLOURS["main"], linewidth=2)
    axes.xaxis.set_major_formatter("{x:g} s")
    axes.yaxis.set_major_formatter(_percent)
    return inline_svg(figure, "Share of runs that were ready within so many seconds")


def share_plot(found: Share, target: float | None) -> str:
    """Draw a share, the interval that it lies in, and the target."""
    figure, axes = _axes(1.6)
    rate = found.rate or 0.0
    axes.plot([found.low, found.high], [0, 0], color=COLOURS["main"], linewidth=2.5, marker="|", markersize=14)
    axes.plot([rate], [0], color=COLOURS["main"], marker="o", markersize=9)
    if target is not None:
        axes.axvline(target, color=COLOURS["mark"], linestyle="--")
        above = axes.get_xaxis_transform()  # x counts in the axis' own numbers, and y in heights of the drawing
        axes.text(target, 1.05, f"target {_percent(target)}", transform=above, ha="center", color=COLOURS["mark"], fontsize=11)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(_percent)
    return inline_svg(figure, f"Success rate {rate:.1%}, between {found.low:.1%} and {found.high:.1%}")


def similarity_plot(values: Sequence[float | None], mean: float | None, target: float | None) -> str:
    """Draw how similar each picture's face is to the reference; a picture without a face has no mark."""
    figure, axes = _axes()
    known = [(number, value) for number, value in enumerate(values, start=1) if value is not None]
    axes.vlines([number for number, _ in known], 0, [value for _, value in known], color=COLOURS["cold"], linewidth=2)
    axes.plot(*zip(*known, strict=True), "o", color=COLOURS["main"], markersize=8) if known else None
    for level, colour in ((mean, COLOURS["main"]), (target, COLOURS["mark"])):
        if level is not None:
            axes.axhline(level, color=colour, linestyle="--")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.set_ylim(top=1.0)
    return inline_svg(figure, "Similarity of each picture's face with the reference")


def _axes(height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure, axes = new_axes(WIDTH, height)
    axes.grid(axis="y", color=COLOURS["line"])
    axes.set_axisbelow(True)
    axes.spines[:].set_color(COLOURS["line"])
    axes.tick_params(colors=COLOURS["soft"], length=0, labelsize=11)
    return figure, axes


def _percent(value: float, _: object = None) -> str:
    return f"{value * 100:g} %"
