"""Show an evaluation as tables on the screen. Reads it; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ryla_gen.support.numbers import format_number
from ryla_gen.tools.evaluations.measures import Evaluation
from ryla_gen.tools.evaluations.statistics import Spread

from ...screen import table, width, wrap


def page(found: Evaluation) -> str:
    """Return everything for people."""
    room = width()
    blocks = [table(("what", "value"), list(_lines(found)), room), *_times(found, room), *_failures(found, room)]
    blocks += [wrap(text, room, "") for text in found.remarks()]
    return "\n\n".join(blocks)


def _lines(found: Evaluation) -> Iterator[tuple[str, str]]:
    share, like = found.share, found.similarity
    runs = f"{share.of}" if share.of == found.wanted else f"{share.of} of {found.wanted}"
    yield "workflow", f"{found.workflow.replace('_', '-')} on {found.places}"
    yield "runs", runs
    verdict = {True: "met", False: "missed", None: ""}[found.passed]
    if found.kind == "consistency":
        yield (
            "similarity",
            f"mean {format_number(like.mean)}, {format_number(like.low)} to {format_number(like.high)}, "
            f"deviation {format_number(like.deviation)}",
        )
        if found.target is not None:
            yield "target", f"{found.target:g}: {verdict}"
    yield (
        "succeeded",
        f"{share.successes} of {share.of} ({share.rate or 0.0:.1%}; 95 % interval {share.low:.1%} to {share.high:.1%})",
    )
    if found.kind != "consistency" and found.target is not None:
        yield "target", f"more than {found.target:.0%}: {verdict}"
    if found.per_minute is not None:
        yield "files", f"{found.files}, {found.per_minute:.1f} a minute"
    each = found.usd_per_file
    yield "cost", f"${found.cost_usd:.4f}{f', ${each:.4f} per file' if each is not None else ''}"


def _times(found: Evaluation, room: int | None) -> list[str]:
    rows = []
    for words, cold in (("cold", True), ("warm", False)):
        times = found.times(cold=cold)
        rows += [
            (words, times["seconds"]),
            (f"{words}, on the GPU", times["running"]),
            (f"{words}, server start", times["cold_start"]),
        ]
        rows += [(f"  {name}", found_part) for name, found_part in found.parts().items()] if cold else []
    shown = [_row(words, spread) for words, spread in rows if spread.count]
    return [table(("seconds", "runs", "mean", "p50", "p90", "p95", "p99", "max"), shown, room)] if shown else []


def _row(words: str, spread: Spread) -> tuple[object, ...]:
    values = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.high)
    return (words, spread.count, *map(format_number, values))


def _failures(found: Evaluation, room: int | None) -> list[str]:
    if not found.codes:
        return []
    said = {str(trial.code): trial.message or "" for trial in reversed(found.trials) if not trial.ok}
    return [
        table(("failures", "count", "the first said"), [(code, count, said[code]) for code, count in found.codes.items()], room)
    ]
