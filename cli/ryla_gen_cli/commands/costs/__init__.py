"""Implement ``ryla-gen costs``: show what this machine's jobs cost, as table, JSON, CSV or picture, and prices. Sends nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from ryla_gen.backends.rates import idle_costs
from ryla_gen.costs import prices as table_of_prices
from ryla_gen.costs.idle import IdleCost
from ryla_gen.errors import InvalidInputError
from ryla_gen.history import CostRow, History
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text

from ...common import Json, Overwrite, example, screen_of
from ...screen import table, width, wrap

EXAMPLE = "ryla-gen costs --by workflow --since 7d"
COLUMNS = ("jobs", "succeeded", "failed", "gpu_seconds", "usd", "usd_each", "reserved_usd")

app = typer.Typer(
    help="Show what this machine's jobs cost, and the prices.",
    epilog=example(EXAMPLE),
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
)
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
By = Literal["day", "workflow", "character", "backend", "user"]


@app.callback(epilog=example(EXAMPLE))
def costs(
    context: typer.Context,
    by: Annotated[
        By,
        typer.Option(
            "--by", help="How to group the costs. Days are UTC; a character is a tag character:NAME, a user what --user said."
        ),
    ] = "day",
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Count only jobs since this time: 2026-01-31, or 24h, 7d, 4w ago.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV to stdout, for spreadsheets.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Save a bar chart as .png, .svg or .pdf. Needs the extra plots.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Show what the jobs of this machine cost."""
    if context.invoked_subcommand is not None:
        return
    screen = screen_of(context, as_json=as_json)
    if as_json and as_csv:
        raise InvalidInputError("--json and --csv cannot both use stdout.", "Use one of them.")
    settings = Settings.load()
    with closing(History(settings.history_path)) as history:
        rows, idle = history.costs(by, since), idle_costs(history, settings, since)
    for text in history.warnings:
        screen.note(f"warning: {text}")
    if plot is not None:
        from .plots import costs_plot  # matplotlib, which a table does not need

        screen.note(f"saved: {costs_plot(rows, by, plot.expanduser(), overwrite=overwrite)}")
    if as_csv:
        screen.say(_csv(rows, by))
        return
    total = {name: sum(getattr(row, name) for row in rows) for name in COLUMNS if name != "usd_each"}
    left_out = _left_out(idle)
    beside = {"items": [asdict(item) for item in idle], "usd": sum(item.usd for item in idle)}
    data = {
        "by": by,
        "since": since,
        "items": [_data(row) for row in rows],
        "total": total,
        "idle": beside,
        "not_included": left_out,
    }
    screen.result(data, _page(rows, by, left_out) if rows else "No jobs yet.")


@app.command(epilog=example("ryla-gen costs prices"))
def prices(context: typer.Context, as_json: Json = False) -> None:
    """Show the Modal prices that this version knows, and the date on which they were read."""
    screen = screen_of(context, as_json=as_json)
    items = [{"name": name, "usd_per_second": usd} for name, usd in table_of_prices.GPU_USD_PER_SECOND.items()]
    items += [
        {"name": "physical core", "usd_per_second": table_of_prices.CPU_USD_PER_CORE_SECOND},
        {"name": "GiB of memory", "usd_per_second": table_of_prices.MEMORY_USD_PER_GIB_SECOND},
    ]
    rows = [(item["name"], f"${item['usd_per_second']:.8f}", f"${float(str(item['usd_per_second'])) * 3600:.3f}") for item in items]
    text = f"Modal's prices, read on {table_of_prices.PRICES_AS_OF}. Choosing a region multiplies the price by 1.15 to 2.5.\n\n"
    screen.result(
        {"prices_as_of": table_of_prices.PRICES_AS_OF, "items": items},
        text + table(("", "a second", "an hour"), rows, width()),
    )


def _data(row: CostRow) -> dict[str, object]:
    return {**asdict(row), "usd_each": row.usd_each}


def _left_out(idle: Sequence[IdleCost]) -> list[str]:
    """Say what Modal bills beside the jobs, and about how much that was."""
    if not idle:
        return []
    usd = sum(item.usd for item in idle)
    classes = "; ".join(f"{item.name} {count_text(item.cold_starts, 'start')}, {item.idle_seconds:.0f} s idle" for item in idle)
    text = f"the starts and the idle time of Modal's containers: about ${usd:.2f}, by the gaps between these jobs ({classes})"
    return [text, "containers that are kept warm, and what jobs of other machines change about both"]


def _page(rows: Sequence[CostRow], by: str, left_out: Sequence[str]) -> str:
    cells = [_cells(row, row.key or f"(no {by})") for row in rows]
    if len(rows) > 1:
        whole = CostRow("all", *(sum(getattr(row, name) for row in rows) for name in CostRow.__dataclass_fields__ if name != "key"))
        cells.append(_cells(whole, "all"))
    titles = (by, "jobs", "done", "failed", "GPU seconds", "cost", "each", "held by jobs under way")
    shown = len(titles) if any(row.reserved_usd for row in rows) else len(titles) - 1
    said = table(titles[:shown], [line[:shown] for line in cells], width())
    return "\n".join([said, "", *(wrap(f"Not included: {text}.", width()) for text in left_out)]) if left_out else said


def _cells(row: CostRow, key: str) -> tuple[object, ...]:
    each = f"${row.usd_each:.4f}" if row.usd_each is not None else ""
    held = f"${row.reserved_usd:.4f}" if row.reserved_usd else ""
    return key, row.jobs, row.succeeded, row.failed or "", f"{row.gpu_seconds:.1f}", f"${row.usd:.4f}", each, held


def _csv(rows: Sequence[CostRow], by: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by, *COLUMNS])
    writer.writerows([_cell(row.key), *("" if (cell := getattr(row, name)) is None else cell for name in COLUMNS)] for row in rows)
    return text.getvalue().rstrip("\n")


def _cell(text: str) -> str:
    """Write a text so that a spreadsheet never reads it as a formula: an apostrophe goes before the first sign (OWASP)."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text
