"""Draw costs into a picture file with matplotlib, the extra ``plots``. Reads no journal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ryla_gen import media
from ryla_gen.errors import InvalidInputError
from ryla_gen.history import CostRow
from ryla_gen.tools.plots import COLOURS, new_axes

KINDS = (".png", ".svg", ".pdf")
MOST_BARS = 40
"""Bars that fit side by side and keep readable labels; of more, the newest days or the dearest rows are shown."""


def costs_plot(rows: Sequence[CostRow], by: str, path: Path, *, overwrite: bool = False) -> Path:
    """Draw what groups of jobs cost as bars.

    Raises:
        InvalidInputError: there is nothing to draw, or the file's suffix is none of PNG, SVG and PDF.
        BackendNotConfiguredError: matplotlib is not installed.
        OutputExistsError: the file is there already.

    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(
            f"A plot cannot be written as {path.suffix or path.name!r}.", f"Use a name that ends in: {' '.join(KINDS)}"
        )
    if not rows:
        raise InvalidInputError("There are no costs to draw.", "Leave out --since, or run something first.")
    media.check_target(path, overwrite=overwrite)
    shown = rows[-MOST_BARS:] if by == "day" else rows[:MOST_BARS]
    names = [row.key or f"(no {by})" for row in shown]
    figure, axes = new_axes(max(6.4, 0.42 * len(shown) + 1.5), 4.2)
    bars = axes.bar(names, [row.usd for row in shown], color=COLOURS["main"], width=0.7)
    if len(shown) <= MOST_BARS // 2:
        axes.bar_label(bars, labels=[_label(row) for row in shown], fontsize=8, padding=2)
    axes.margins(y=0.18)
    axes.set_ylabel("US dollars")
    axes.set_title(f"Cost by {by}: ${sum(row.usd for row in rows):.2f} for {sum(row.jobs for row in rows)} jobs", loc="left")
    axes.tick_params(axis="x", rotation=35 if len(shown) > 4 else 0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if len(shown) > 4 else "center")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    media.save_atomically(path, drawn.getvalue(), overwrite=overwrite)
    return path


def _label(row: CostRow) -> str:
    usd = f"${row.usd:.2f}" if row.usd >= 0.1 or not row.usd else f"${row.usd:.4f}"
    return f"{usd}\n{row.jobs} {'job' if row.jobs == 1 else 'jobs'}"
