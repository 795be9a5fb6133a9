"""Draw with matplotlib, the extra ``plots``: an empty figure, and a figure as SVG inside a page. Knows no data."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from ..errors import BackendNotConfiguredError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = "pip install 'ryla-gen[plots]'"
COLOURS = {
    "main": "#2b6a99",
    "cold": "#8fb7d4",
    "bad": "#b3372f",
    "mark": "#c07a12",
    "soft": "#666b73",
    "line": "#dcd8d0",
}
"""Colours by the name of the variable in a page's style sheet, which may give them other values where it is dark."""


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches and its one pair of axes, without a box.

    Raises:
        BackendNotConfiguredError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BackendNotConfiguredError("Plots need matplotlib.", INSTALL) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def inline_svg(figure: Figure, label: str) -> str:
    """Return a figure as an SVG element for a page: coloured by the page's variables, its text as text, without ids of its own.

    Args:
        figure: drawn with :data:`COLOURS`.
        label: our own words for readers who do not see it.
    """
    from matplotlib import rc_context

    drawn = io.StringIO()
    # A fixed salt gives the same page for the same numbers.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ryla-gen"}):
        figure.savefig(
            drawn, format="svg", transparent=True, metadata={"Creator": None, "Date": None, "Format": None, "Type": None}
        )
    svg = drawn.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(?<=<g) id="[^"]*"', "", svg)  # several figures of a page would share them
    svg = re.sub(r"font-family: [^;]*; ", "", svg)  # the page sets its own font
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    box = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return head + re.sub(r"\s*\n\s*", "\n", svg[svg.index(">") + 1 :].strip())
