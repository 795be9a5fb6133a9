"""Ask, run, show and write the report of ``ryla-gen bench``; keep what is there when it is stopped. Knows no measure."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ryla_gen import media
from ryla_gen.client import AsyncClient
from ryla_gen.client.requests import check_batch, estimate
from ryla_gen.errors import ERRORS, InvalidInputError, JobCanceledError, RylaGenError, StorageError, StorageFailedError
from ryla_gen.events import now
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import LoopThread
from ryla_gen.tools.evaluations.examples import PROMPTS
from ryla_gen.tools.evaluations.measures import Evaluation, Kind
from ryla_gen.tools.evaluations.report import report
from ryla_gen.tools.evaluations.thumbnails import small_jpeg
from ryla_gen.tools.evaluations.trials import Compare, Trial, TrialOptions, trials
from ryla_gen.workflows.base import DRAWN_SEED_LIMIT, Workflow
from ryla_gen.workflows.registry import workflow_class

from ...common import setting_warnings
from ...prompts import confirm
from ...screen import Screen
from ..rerun import parse_changes
from .page import page

FACE_FIELD = "reference_image"
"""The field that says whom to keep."""
MEASURES = frozenset({"modal"})
"""Backends that compare faces themselves, so that nothing need be installed here."""
TAG = "bench"
"""Word under which a bench's jobs are found again."""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to measure, and where."""

    kind: Kind
    name: str
    """The workflow's name, as on the command line."""
    count: int
    prompts: Sequence[str]
    fields: Sequence[str]
    """FIELD=VALUE."""
    seed: int | None
    target: float | None = None
    in_flight: int = 1
    backend: str | None = None
    url: str | None = None
    timeout: float | None = None
    max_usd: float | None = None
    report: Path | None = None
    overwrite: bool = False
    reference: Path | None = None

    def workflows(self) -> list[Workflow]:
        """Build every request.

        Raises:
            InvalidInputError: a field does not fit, or the workflow does not keep a face.
        """
        cls = workflow_class(self.name)
        fields = parse_changes(cls, self.fields)
        if self.reference is not None:
            if FACE_FIELD not in cls.model_fields:
                raise InvalidInputError(
                    f"{self.name} does not keep a face.", "Use one that does: --workflow instantid, flux-instantid or flux-pulid"
                )
            fields[FACE_FIELD] = self.reference
        own = (str(fields.pop("prompt")),) if "prompt" in fields else ()
        prompts = (*self.prompts, *own) or PROMPTS
        seed = int(fields.pop("seed", secrets.randbelow(DRAWN_SEED_LIMIT // 2) if self.seed is None else self.seed))
        return [cls(**fields, **_varying_fields(cls, prompts[index % len(prompts)], seed + index)) for index in range(self.count)]


def _varying_fields(cls: type[Workflow], prompt: str, seed: int) -> dict[str, Any]:
    """Return the fields that differ between runs, if the workflow has them: with an equal seed a server answers from its cache."""
    varied = {"prompt": prompt, "seed": seed}
    return {name: value for name, value in varied.items() if name in cls.model_fields}


def bench(screen: Screen, plan: BenchPlan, *, yes: bool) -> None:
    """Ask for consent, run the evaluation and show it.

    Raises:
        BudgetExceededError: a run, or all of them, would cost more than may be spent; nothing was sent.
        RylaGenError: nothing could be measured.
        typer.Exit: the target was missed, or it was stopped.
    """
    _check(plan)
    workflows = plan.workflows()
    client = AsyncClient(plan.backend, url=plan.url, max_usd=plan.max_usd)
    for text in setting_warnings(client.settings):
        screen.note(f"warning: {text}")
    found = Evaluation(plan.kind, workflows[0].name, client.settings.backend_names[0], plan.count, plan.target, began=now())
    found.inputs = {name: value for name, value in workflows[0].described().items() if name not in ("prompt", "seed")}
    loop_thread = LoopThread()
    try:
        check_batch(client.history, client.settings, workflows, "runs")
        compare = _comparison(loop_thread, workflows[0], found) if plan.kind == "consistency" else None
        confirm(screen, _question(client, workflows, found.backend), yes=yes)
        how = TrialOptions(plan.in_flight, plan.timeout, (TAG, f"{TAG}-{plan.kind}"), plan.report is not None, compare)
        code, error = _run(screen, loop_thread, client, workflows, how, found)
    finally:
        loop_thread.call(client.close())
        loop_thread.close()
    if error is not None and not found.trials:
        raise error
    conclude(screen, plan, found, code, error)


def _check(plan: BenchPlan) -> None:
    """Refuse before anything is spent what could not be kept afterwards."""
    if plan.timeout is not None and not 0 < plan.timeout < float("inf"):
        raise InvalidInputError(f"--timeout {plan.timeout:g} must be more than 0.", "Leave it out for the workflow's own limit.")
    if plan.kind == "success-rate" and plan.target is not None and not plan.target < 1:
        text = f"--target {plan.target:g} can never be met: more than {plan.target:.0%} of the runs would have to succeed."
        raise InvalidInputError(text, "Give a share below 1, such as --target 0.95")
    if plan.report is not None:
        _check_report(plan.report.expanduser(), overwrite=plan.overwrite)


def _check_report(target: Path, *, overwrite: bool) -> None:
    media.check_target(target, overwrite=overwrite)
    folder = Path(os.path.abspath(target.parent))  # noqa: PTH100 - Path.resolve would follow links
    found = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 - never raises
    if not found.is_dir() or not os.access(found, os.W_OK | os.X_OK):
        text = f"{found} is not a writable folder."
        raise StorageFailedError(text, "Choose another place: --report report.html", {"file": str(found)})


def _question(client: AsyncClient, workflows: Sequence[Workflow], backend: str) -> str:
    count, name = len(workflows), workflows[0].name.replace("_", "-")
    each = estimate(workflows[0], client.settings, client.history)
    cost = (
        "free of charge"
        if each.usd.high == 0
        else f"for about ${each.usd.likely * count:.2f} (at most ${each.usd.high * count:.2f})"
    )
    times = "once" if count == 1 else f"{count} times"
    return f"Run {name} {times} on {backend}, {cost}?"


def _comparison(loop_thread: LoopThread, workflow: Workflow, found: Evaluation) -> Compare:
    """Read the reference, and say how a picture is compared with it where the backend does not do so itself.

    Raises:
        FaceNotFoundError: the reference shows no face.
        InvalidInputError: it cannot be read, or shows several faces.
        BackendNotConfiguredError, ModelNotFoundError: what compares faces is not installed.
    """
    from ryla_gen.faces import similarity

    data = getattr(loop_thread.call(workflow.resolved()), FACE_FIELD)
    found.reference = small_jpeg(data)
    if found.backend not in MEASURES:
        similarity(data, data)  # before anything is spent: check that everything is there, and that the picture shows one face
    return lambda picture: similarity(data, picture, several="largest")


def _run(
    screen: Screen,
    loop_thread: LoopThread,
    client: AsyncClient,
    workflows: Sequence[Workflow],
    how: TrialOptions,
    found: Evaluation,
) -> tuple[int, RylaGenError | None]:
    """Run everything, or as much as is possible: an exit code, and why it stopped.

    Raises:
        KeyboardInterrupt: it was stopped before there was anything to keep.
    """
    began = time.monotonic()
    screen.working = True
    try:
        for trial in loop_thread.iterate(lambda: trials(client, workflows, how)):
            found.trials.append(trial)
            found.wall = time.monotonic() - began
            screen.note(f"{len(found.trials)}/{found.wanted}  {_line(trial)}")
    except KeyboardInterrupt as stop:
        if not found.trials:
            raise  # screen.working is still set, so it is reported as canceled work
        screen.working = False
        found.stopped = f"Stopped after {len(found.trials)} of {count_text(found.wanted, 'run')}."
        return 128 + int(getattr(stop, "number", signal.SIGINT)), JobCanceledError(
            found.stopped, "What was measured before that is kept."
        )
    except RylaGenError as error:
        screen.working = False
        found.stopped = f"Ended after {len(found.trials)} of {count_text(found.wanted, 'run')}: {error.message}"
        return 1, error
    finally:
        found.trials.sort(key=lambda trial: trial.index)
    screen.working = False
    return 0, None


def _line(trial: Trial) -> str:
    like = f" · similarity {trial.similarity:.2f}" if trial.similarity is not None else ""
    cost = f" · ${trial.cost_usd:.4f}" if trial.cost_usd else ""
    said = f"{trial.seconds:.1f} s{like}{cost}" if trial.ok else f"error[{trial.code}]: {trial.message}"
    return f"seed {trial.seed}  {said}"


def conclude(screen: Screen, plan: BenchPlan, found: Evaluation, code: int, error: RylaGenError | None) -> None:
    """Show what was found, write the report, and end with the right code.

    Args:
        screen: where to.
        plan: what was to be measured.
        found: what was.
        code: the exit code so far.
        error: why it stopped before the last run, if it did.

    Raises:
        typer.Exit: the target was missed, it was stopped, or the report could not be written.
    """
    screen.say(page(found))  # before the report: results that were paid for are shown even if the report fails
    data = found.to_data()
    unwritten = _write_report(screen, plan, found, data)
    if error is not None and unwritten is not None:
        screen.note(f"warning: the report could not be written: {unwritten.message}")
    error = error or unwritten
    if error is None and found.passed is False:
        code, error = 1, _target_error(screen, found)
    if error is not None:
        screen.fail(error, data)
        raise typer.Exit(code or 1)
    screen.result(data)
    if code:
        raise typer.Exit(code)


def _write_report(screen: Screen, plan: BenchPlan, found: Evaluation, data: dict[str, Any]) -> StorageError | None:
    """Write the report, if one is wanted; why it could not be written."""
    if plan.report is None:
        return None
    try:
        path = media.save_atomically(plan.report.expanduser(), report(found).encode(), overwrite=plan.overwrite)
    except StorageError as error:
        data["report"] = None
        return error
    data["report"] = str(path)
    screen.note(f"report: {path}")
    return None


def _target_error(screen: Screen, found: Evaluation) -> RylaGenError | None:
    """Return the error for a missed target, in the class of the first failure; for a missed similarity only print a note."""
    target = found.target or 0.0
    if found.kind == "consistency":
        screen.note(f"The mean similarity {found.similarity.mean or 0.0:.2f} is below the target {target:g}.")
        screen.note("  hint: Try a clearer reference, or more strength: --set instantid_strength=1.0")
        return None
    counts = ", ".join(f"{code} {count}" for code, count in found.codes.items())
    text = f"{found.share.successes} of {count_text(found.share.of, 'run')} succeeded, but the target is more than {target:.0%}."
    kind = ERRORS[next(iter(found.codes))]  # a target below 100 % is missed by failures only
    hint = "See why each run failed: ryla-gen jobs list --tag bench --state failed"
    return kind(f"{text} Failures: {counts}.", hint, {"errors": found.codes})
