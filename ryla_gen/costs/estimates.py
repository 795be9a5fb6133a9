"""Estimate what a request takes and costs, from similar runs in this machine's journal, else from its class.

Must not claim more than its basis supports: where nothing is known, the range is wide and says so. Sends nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

from ..history import History, JobRun
from ..history.base import from_column
from ..support.counting import count_text
from ..workflows.base import Workflow
from ..workflows.facts import Work
from .durations import REFERENCE_GPU, TENSOR_TFLOPS, UNKNOWN
from .work import NOTHING, Estimate, Range, Rate, Source

__all__ = ["NOTHING", "Estimate", "Range", "Rate", "estimate"]

ENOUGH = 3
"""Runs of the same work that make an estimate of their own; with fewer, runs of other sizes count too."""
LOOKED_AT = 100
"""Newest runs of a workflow that are looked at."""
REMEMBERED = 300
"""Earlier runs whose work is remembered in a process: those of three workflows."""
TENTH, NINE_TENTHS = 0.1, 0.9
"""Shares of runs below and above which the ends of a measured range lie."""


def estimate(workflow: Workflow, backend: str, rate: Rate, history: History) -> Estimate:
    """Estimate a request.

    Args:
        workflow: the request; its pictures need not be read.
        backend: where it would run.
        rate: what a second costs there.
        history: the journal.

    """
    earlier = history.runs(workflow.name, backend, LOOKED_AT)
    seconds, source, runs, basis = _seconds(workflow, backend, rate, earlier)
    return Estimate(
        workflow=workflow.name,
        backend=backend,
        gpu=rate.gpu,
        usd=seconds.times(rate.usd),
        seconds=seconds,
        cold_start=rate.cold_start,
        cold_start_usd=rate.cold_start.times(rate.usd),
        idle_window=rate.idle_window,
        idle_window_usd=rate.idle_window * rate.usd.likely,
        basis=f"{basis} {rate.includes}",
        source=source,
        runs=runs,
        prices_as_of=rate.prices_as_of,
        not_included=rate.not_included,
        most_usd_per_second=rate.most,
    )


Found = tuple[Range, Source, int, str]


def _seconds(workflow: Workflow, backend: str, rate: Rate, earlier: Sequence[JobRun]) -> Found:
    work = workflow.work(workflow.described())
    ran = [(_work_of(type(workflow), item.inputs), item.seconds) for item in earlier if item.gpu == rate.gpu and item.seconds]
    where = rate.gpu or backend
    same = [took for other, took in ran if work.like(other)]
    if len(same) >= ENOUGH:
        text = f"From {count_text(len(same), 'run')} of this workflow, size and steps on {where}, in this machine's journal."
        return _spread(same), "measured", len(same), text
    near = [took * work.amount / other.amount for other, took in ran if other.variant == work.variant and other.amount]
    if near:
        text = (
            f"Scaled from {count_text(len(near), 'run')} of this workflow on {where}, {len(same)} of them of this size and steps."
        )
        return _spread(near).widen(0.5, 2.0), "scaled", len(near), text
    if backend == "emulator":
        return Range(0.1, 1.0, 30.0), "unknown", 0, "There is no earlier run here; the emulator is as fast as this machine."
    return _from_table(workflow, work, rate.gpu)


@lru_cache(maxsize=REMEMBERED)
def _work_of(kind: type[Workflow], inputs: str) -> Work:
    """Measure an earlier run. The next job asks for the same runs again, and a graph is long to read."""
    return kind.work(from_column(inputs, dict))


def _spread(took: Sequence[float]) -> Range:
    ordered = sorted(took)
    last = len(ordered) - 1
    return Range(ordered[int(last * TENTH)], statistics.median(ordered), ordered[math.ceil(last * NINE_TENTHS)])


def _from_table(workflow: Workflow, work: Work, gpu: str | None) -> Found:
    durations = workflow.durations
    found = next((durations[word] for word in (*reversed(work.variant), "") if word in durations), None)
    if found is None:
        limit = workflow.time_limit()
        return Range(limit / 100, limit / 4, limit), "unknown", 0, f"There is no earlier run here, and {UNKNOWN}."
    usual = _usual(workflow)
    ratio = work.amount / usual if usual else 1.0
    seconds = Range(found.low, found.likely, found.high).by(ratio)
    text = f"There is no earlier run here; {found.source}"
    if not 0.99 <= ratio <= 1.01:
        seconds, text = seconds.widen(0.8, 1.25), f"{text}, scaled by {ratio:.2f} for size and steps"
    if gpu != REFERENCE_GPU:
        seconds, text = _on(seconds, gpu), f"{text}, {_said_of(gpu)}"
    return seconds, "table" if found.known else "unknown", 0, f"{text}."


def _usual(workflow: Workflow) -> float:
    """Measure the class's own defaults, which its durations are written for; its example has what they lack: one picture, say."""
    fields = {name: info.default for name, info in type(workflow).model_fields.items() if not info.is_required()}
    example = workflow.example.fields if workflow.example else {}
    return workflow.work({**workflow.described(), **example, **fields}).amount


def _on(seconds: Range, gpu: str | None) -> Range:
    """Scale a range to another GPU by the ratio of their data sheets, which real graphs only roughly follow."""
    speed = TENSOR_TFLOPS.get(gpu or "")
    if speed is None:
        return seconds.widen(0.25, 4.0)
    return seconds.by(TENSOR_TFLOPS[REFERENCE_GPU] / speed).widen(0.5, 2.0)


def _said_of(gpu: str | None) -> str:
    if gpu not in TENSOR_TFLOPS:
        return f"for an {REFERENCE_GPU}, and the GPU here is {f'{gpu}, of unknown speed' if gpu else 'not known'}"
    return f"scaled from {REFERENCE_GPU} to {gpu} by their data sheets"
