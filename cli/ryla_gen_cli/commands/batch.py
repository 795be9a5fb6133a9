"""Implement ``ryla-gen batch``: run a list of workflows into one folder; a second run does only what is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from uuid import uuid4

import typer

from ryla_gen.batches import MANIFEST, Batch, Manifest, Outcome, Problem, Row, check_rows
from ryla_gen.client import IN_FLIGHT, AsyncClient
from ryla_gen.client.requests import check_batch, options_of, references_of
from ryla_gen.delivery.destinations import read_bucket
from ryla_gen.errors import InvalidInputError, RylaGenError, WorkflowError
from ryla_gen.events import Event
from ryla_gen.settings import Settings
from ryla_gen.settings.allowance import Allowance
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import LoopThread, run_async
from ryla_gen.workflows.base import Notice

from ..common import Backend, Json, Quiet, Tag, Timeout, Url, User, Webhook, example, screen_of, setting_warnings, single
from ..rows import read
from ..run_options import settings_for
from ..screen import Screen, use_colour

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

app = single()

BATCH_TAG = "batch"
"""Beginning of the tag of a run that has a budget of its own."""
MOST_SHOWN = 20
"""Rows named one by one on the screen; ``--json`` has them all."""


@dataclass(frozen=True, slots=True)
class RowDone(Event):
    """The outcome of one row, as a line of ``--json``."""

    type: ClassVar[str] = "row"
    line: int = 0
    state: str = ""
    files: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    cost_usd: float = 0.0
    error: dict[str, Any] | None = None


Bucket = Annotated[
    str | None,
    typer.Option(
        "--output-to",
        metavar="ADDRESS",
        help="Upload the files instead of saving them: s3://bucket/prefix or gs://…. The folder keeps the progress.",
    ),
]


WholeBudget = Annotated[
    float | None,
    typer.Option("--max-usd", metavar="USD", min=0.0, help="What all rows of this run may cost together; nothing is sent over it."),
]


@app.command("batch", epilog=example("ryla-gen batch portraits.csv -o portraits/ --in-flight 5"))
def batch(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .jsonl or .csv file with one workflow per row.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help=f"Folder for the results, and for {MANIFEST}.", show_default=False)
    ],
    in_flight: Annotated[
        int, typer.Option("--in-flight", metavar="NUMBER", min=1, help="Maximum number of jobs in progress at once.")
    ] = IN_FLIGHT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row, but send nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files that this batch did not make.")] = False,
    output_to: Bucket = None,
    webhook: Webhook = None,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    tag: Tag = None,
    max_usd: WholeBudget = None,
    user: User = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a list of workflows. Every row is checked before anything is sent. Run it again to do only what is missing.

    A row is {"workflow": "flux_dev", "prompt": "a fox", "output": "fox.png"}, with any fields of the workflow; in a CSV file the
    columns have these names. output is optional. Paths in a row are relative to the list.
    """
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    output = output.expanduser()
    _check(file, output, timeout)
    if output_to is not None:
        read_bucket(output_to)  # before the rows are read, and their pictures with them
    manifest = Manifest(output)
    rows = _checked_rows(file, manifest, overwrite=overwrite)
    present = {row.key: found for row in rows if (found := manifest.finished(row.key)) is not None}
    missing = [row for row in rows if row.key not in present]
    client = AsyncClient(settings=_settings(backend, url, max_usd))
    options_of(client.settings, output_to=output_to, webhook=webhook)  # an address that every row would be refused for
    usd = check_batch(client.history, client.settings, [row.workflow for row in missing], user=user)
    if dry_run:
        text = f"{count_text(len(rows), 'row')}, all valid: {len(present)} done already, {len(missing)} to do"
        text += f", for about ${usd:.4f}. Nothing was sent." if usd else ". Nothing was sent."
        told = {"rows": len(rows), "present": len(present), "to_do": len(missing), "estimate_usd": usd, "folder": str(output)}
        screen.result(told, text)
        client.history.close()
        return
    for text in setting_warnings(client.settings):
        screen.note(f"warning: {text}")
    with manifest.lock():
        options: dict[str, Any] = {"in_flight": in_flight, "overwrite": overwrite, "timeout": timeout, "tags": tag or ()}
        options |= {"user": user, "output_to": output_to, "webhook": webhook}
        running = Batch(client, Manifest(output), **options)
        before = sum(float(found.get("cost_usd") or 0.0) for found in present.values())
        present = {key: found for key, found in present.items() if not running.left_here(key)}
        report = _Report(screen, output, rows, present, before)
        stopped = _run(report, client, running, [row for row in rows if row.key not in present])
    report.end(stopped)


def _run(report: _Report, client: AsyncClient, running: Batch, rows: Sequence[Row]) -> RylaGenError | None:
    """Run what is missing, and upload what should be elsewhere; why it stopped before the last row, if it did."""
    loop_thread = LoopThread()
    try:
        with report.running():
            for outcome in loop_thread.iterate(lambda: running.run(rows)):
                report.add(outcome)
    finally:
        loop_thread.call(client.close())
        loop_thread.close()
    return running.stopped


def _settings(backend: str | None, url: str | None, max_usd: float | None) -> Settings:
    """Load the settings, with what all rows of this run may cost together."""
    loaded = settings_for(backend, url)
    if max_usd is None:
        return loaded
    hint = "Allow more: --max-usd USD. Rows that are done stay done: the same command does what is missing."
    return replace(loaded, allowance=Allowance(f"{BATCH_TAG}:{uuid4()}", max_usd, hint))


def _check(file: Path, output: Path, timeout: float | None) -> None:
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInputError(f"--timeout {timeout:g} must be more than 0.", "Leave it out for each workflow's own limit.")
    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is a file, not a folder.", "Choose a folder: -o DIR")
    if file.resolve() == (output / MANIFEST).resolve():
        raise InvalidInputError(
            f"{file} is where the batch keeps its progress.", "Give the list another name, or choose another folder."
        )


def _checked_rows(file: Path, manifest: Manifest, *, overwrite: bool) -> list[Row]:
    """Return every row, or raise one error that names every bad row."""
    entries, problems = read(file)
    rows, more = run_async(check_rows(entries, manifest, overwrite=overwrite, references=references_of(Settings.load())))
    problems = sorted([*problems, *more], key=lambda item: item.line)
    if problems:
        raise _bad_rows(file, problems, len(rows) + len(problems))
    return rows


def _bad_rows(file: Path, problems: Sequence[Problem], total: int) -> InvalidInputError:
    lines = [
        f"  line {item.line}: {item.error.message}{f' ({item.error.hint})' if item.error.hint else ''}"
        for item in problems[:MOST_SHOWN]
    ]
    lines += [f"  … and {len(problems) - MOST_SHOWN} more (--json names them all)"] if len(problems) > MOST_SHOWN else []
    text = f"{len(problems)} of {count_text(total, 'row')} of {file} cannot run; nothing was sent.\n" + "\n".join(lines)
    return InvalidInputError(text, "Correct these lines and run it again.", {"rows": [item.to_data() for item in problems]})


class _Report:
    """The messages of a run while it goes on, and at its end."""

    def __init__(
        self, screen: Screen, folder: Path, rows: Sequence[Row], present: dict[str, dict[str, Any]], before_usd: float
    ) -> None:
        self._screen, self._folder, self._rows, self._present, self._before_usd = screen, folder, rows, present, before_usd
        self._outcomes: list[Outcome] = []
        self._began = time.monotonic()
        self._bar: _RowsBar | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show a bar while the block runs, and say what is kept when it is stopped."""
        self._screen.working = True
        if self._present:
            self._screen.note(f"{count_text(len(self._present), 'row')} done already.")
        try:
            if use_colour() and not self._screen.json and not self._screen.quiet:
                with _bar(len(self._rows)) as self._bar:
                    self._bar.start(len(self._present))
                    yield
            else:
                yield
        except KeyboardInterrupt:
            self._screen.note(f"{self.count_saved()} of {count_text(len(self._rows), 'row')} are done and kept in {self._folder}.")
            raise
        self._screen.working = False

    def add(self, outcome: Outcome) -> None:
        """Count and print one row's outcome."""
        self._outcomes.append(outcome)
        error = outcome.error.to_data() if outcome.error else None
        told = RowDone(outcome.job or "", len(self._outcomes) - 1, line=outcome.row.line, state=outcome.state)
        self._screen.event(replace(told, files=outcome.files, uploads=outcome.uploads, cost_usd=outcome.cost_usd, error=error))
        if outcome.error is not None:
            self._screen.note(f"line {outcome.row.line}: error[{outcome.error.code}]: {outcome.error.message}")
        elif self._bar is None and not self._screen.json:
            cost = f" · ${outcome.cost_usd:.4f}" if outcome.cost_usd else ""
            made = ", ".join(outcome.files + outcome.uploads)
            self._screen.note(f"line {outcome.row.line}: {made} · {outcome.seconds:.1f} s{cost}")
        if self._bar is not None:
            self._bar.step()

    def end(self, stopped: RylaGenError | None) -> None:
        """Write the report.

        Raises:
            typer.Exit: something failed.
        """
        failures = [item for item in self._outcomes if item.error is not None]
        data = self._data(stopped)
        kinds = {item.error.code for item in failures if item.error}
        text = f"{self.count_saved()} of {count_text(len(self._rows), 'row')} done in {self._folder}"
        for notice, number in self._warnings():
            more = f" (so in {number} rows)" if number > 1 else ""
            self._screen.note(f"warning[{notice.code}]: {notice.message}{more}")
        self._screen.say(f"{text} · {data['seconds']:.0f} s · ${data['cost_usd']:.4f} (all runs: ${data['total_cost_usd']:.4f})")
        if not failures:
            self._screen.result(data)
            return
        first = failures[0]
        assert first.error is not None
        left = len(self._rows) - self.count_saved() - len(failures)
        waiting = f" {count_text(left, 'row was', 'rows were')} not sent." if left else ""
        text = (
            f"{count_text(len(failures), 'row')} of {len(self._rows)} failed.{waiting} Line {first.row.line}: {first.error.message}"
        )
        hint = f"{first.error.hint} — then run the same command again: it does only what is missing."
        kind = type(first.error) if len(kinds) == 1 else WorkflowError
        self._screen.fail(kind(text, hint, {"lines": [item.row.line for item in failures]}), data)
        raise typer.Exit(1)

    def _warnings(self) -> list[tuple[Notice, int]]:
        """Return the first warning of each kind, and how many rows have one of it."""
        kinds: dict[str, list[Notice]] = {}
        for outcome in self._outcomes:
            for code, notice in {item.code: item for item in reversed(outcome.warnings)}.items():
                kinds.setdefault(code, []).append(notice)
        return [(found[0], len(found)) for found in kinds.values()]

    def count_saved(self) -> int:
        return len(self._present) + sum(item.error is None for item in self._outcomes)

    def _data(self, stopped: RylaGenError | None) -> dict[str, Any]:
        ended = {item.row.key: item.to_data() for item in self._outcomes}
        spent = sum(item.cost_usd for item in self._outcomes)
        return {
            "rows": len(self._rows),
            "present": len(self._present),
            "succeeded": sum(item.error is None for item in self._outcomes),
            "failed": sum(item.error is not None for item in self._outcomes),
            "stopped": stopped.to_data() if stopped else None,
            "cost_usd": spent,
            "total_cost_usd": spent + self._before_usd,
            "seconds": time.monotonic() - self._began,
            "folder": str(self._folder),
            "items": [ended.get(row.key) or _describe_unsent(row, self._present.get(row.key)) for row in self._rows],
        }


def _describe_unsent(row: Row, found: dict[str, Any] | None) -> dict[str, Any]:
    """Describe a row that was done before, or that was not sent."""
    told = {"line": row.line, "workflow": row.workflow.name, "state": "present" if found else "missing"}
    if found is None:
        return told
    made = {"files": [item["name"] for item in found["files"]], "uploads": found.get("uploads", [])}
    return {**told, **made, "job": found.get("job"), "cost_usd": found.get("cost_usd")}


class _RowsBar:
    """A bar of how many rows are done."""

    def __init__(self, bar: RichProgress, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task("rows", total=total)

    def start(self, done: int) -> None:
        """Begin where an earlier run stopped."""
        self._bar.update(self._task, completed=done)

    def step(self) -> None:
        """Count one more row."""
        self._bar.advance(self._task)


@contextmanager
def _bar(total: int) -> Iterator[_RowsBar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn, TimeRemainingColumn

    parts = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # Only stderr is taken over, so that what is said there comes above the bar; stdout may be a pipe.
    with Progress(*parts, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        yield _RowsBar(bar, total)
