"""Submit, follow and fetch character jobs for ``ryla-gen character``. Knows no option and no workflow's graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ryla_gen import media
from ryla_gen.characters import CharacterJob, CharacterPlan, Characters
from ryla_gen.characters.base import progress_of, state_of_parts, summary
from ryla_gen.characters.results import copy, failure
from ryla_gen.client import Client
from ryla_gen.errors import BackendNotConfiguredError, JobCanceledError, RylaGenError, StorageFailedError
from ryla_gen.events import FINAL_STATES, Finished, Progress, Started

from ...common import setting_warnings
from ...progress import following
from ...run_options import RunOptions, settings_for
from ...screen import Screen, shorten, table, width

SHORT_ID = 8
"""Characters of a job id that people see."""


def submit(
    screen: Screen, work: Callable[[Characters], CharacterJob], how: RunOptions, names: Sequence[str], *, detach: bool
) -> None:
    """Submit a job and wait for its pictures; Ctrl-C cancels what has not ended.

    Raises:
        RylaGenError: a target cannot be used, the backend refused, or a picture failed; those that came are kept.

    """
    _check_folder(how, names)
    with _runner(screen, how) as (client, runner):
        if detach and client.settings.backend_names[0] == "emulator":
            text = "The embedded emulator ends with this command, so the job would end too."
            hint = "Leave out --detach, or start a server that keeps running (ryla-gen emulator) and use it: --url http://127.0.0.1:8188"
            raise BackendNotConfiguredError(text, hint)
        job = work(runner)
        short = job.id[:SHORT_ID]
        if detach:
            text, hint = f"Stopped by you; the job {job.id} continues.", f"Stop it: ryla-gen character cancel {short}"
            screen.came_late = JobCanceledError(text, hint, {"job": job.id})
            job.handed_in()
            screen.result(_job_data(job), job.id)
            screen.note(f"Fetch it: ryla-gen character resume {short} -o DIR")
            return
        try:
            screen.note(f"job {short}: ryla-gen character resume {short} continues it if this command is killed.")
            _follow(screen, job)
        except BaseException:
            if not job.done:
                job.cancel()
            raise
        _fetch(screen, client, job, how)


def status(screen: Screen, job_id: str, how: RunOptions, *, wait: bool) -> None:
    """Show the state of a job; fetch what is ready, and send nothing.

    Raises:
        RylaGenError: the job is unknown, or (with ``wait``) a picture failed.

    """
    with _runner(screen, how) as (client, runner):
        job = runner.get(job_id)
        _check_folder(how, [part.name for part in job.parts])
        if wait:
            _follow(screen, job, watching=True)
            _fetch(screen, client, job, how)
            return
        job.look()
        paths = _copy_files(client, job, how)
        screen.result(_job_data(job, files=[str(path) for path in paths]), _page(job.plan))
        _advise(screen, job)


def _advise(screen: Screen, job: CharacterJob) -> None:
    """Name the command that makes what is missing, where nothing makes it by itself."""
    if job.state == "failed":
        screen.note(f"Retry only the missing pictures: ryla-gen character retry {job.id[:SHORT_ID]}")
    elif job.done and job.state not in FINAL_STATES:
        screen.note(f"Unless another command works on it, continue it: ryla-gen character resume {job.id[:SHORT_ID]}")


def resume(screen: Screen, job_id: str, how: RunOptions, base_image: str | Path | None, *, detach: bool) -> None:
    """Send what was never sent or lost by a machine, and wait for all pictures.

    Raises:
        RylaGenError: the job is unknown, cannot be asked, or a picture failed.

    """
    with _runner(screen, how) as (client, runner):
        _check_folder(how, [part.name for part in runner.get(job_id).parts])
        job = runner.resume(job_id, base_image=base_image)
        if detach:
            job.handed_in()
            screen.result(_job_data(job), job.id)
            return
        _follow(screen, job, watching=True)
        _fetch(screen, client, job, how)


def retry(screen: Screen, job_id: str, how: RunOptions, only: Sequence[str] | None, base_image: str | Path | None) -> None:
    """Make the pictures that did not come once more, and wait for them.

    Raises:
        RylaGenError: there are none of that name, or one failed again.

    """
    with _runner(screen, how) as (client, runner):
        job = runner.retry(job_id, only=only or None, base_image=base_image)
        _check_folder(how, [part.name for part in job.parts])
        _follow(screen, job, watching=True)
        _fetch(screen, client, job, how)


def cancel(screen: Screen, job_id: str, how: RunOptions) -> None:
    """Stop a job."""
    with _runner(screen, how) as (_, runner):
        job = runner.cancel(job_id)
        screen.result(_job_data(job), f"{job.id} {job.state}. {_count_text(job.plan)}")


def compare(screen: Screen, first: str | Path, second: str | Path, *, largest: bool, install: bool) -> None:
    """Measure how similar two faces are.

    Raises:
        RylaGenError: a picture shows no face, or several; the extra or the models are not there.

    """
    from ryla_gen import faces

    if install:
        for path in faces.install():
            screen.note(f"there: {path}")
    value = faces.similarity(first, second, several="largest" if largest else "refuse")
    screen.result({"similarity": value, "a": str(first), "b": str(second)}, f"{value:.3f}")


def list_jobs(screen: Screen) -> None:
    """List the jobs of this machine."""
    with Client() as client:
        plans = Characters(client).list()
    items = [summary(plan.id, plan.kind, plan.parts, created_at=plan.created_at, seed=plan.seed) for plan in plans]
    rows = [
        (
            plan.id[:SHORT_ID],
            plan.created_at[:16].replace("T", " "),
            plan.kind,
            state_of_parts(plan.parts),
            _count_text(plan),
            _prompt_text(plan),
        )
        for plan in plans
    ]
    text = table(("id", "when (UTC)", "kind", "state", "pictures", "prompt"), rows, width()) if rows else "No character jobs yet."
    screen.result({"items": items}, text)


@contextmanager
def _runner(screen: Screen, how: RunOptions) -> Iterator[tuple[Client, Characters]]:
    with Client(settings=settings_for(how.backend, how.url, how.max_usd)) as client:
        for text in setting_warnings(client.settings):
            screen.note(f"warning: {text}")
        yield client, Characters(client)


def _follow(screen: Screen, job: CharacterJob, *, watching: bool = False) -> None:
    """Show the progress over all pictures until the job ends."""
    total, seq, last = len(job.parts), 1, -1.0
    with following(screen, f"character {job.kind}") as follower:
        if watching:
            screen.working = False  # an interrupt stops the watching only
        follower.event(Started(job.id, 0))
        for now in job.updates():
            if now.fraction > last:
                last = now.fraction
                follower.event(Progress(job.id, seq, fraction=last, step=now.succeeded, steps=total, node=_current(job)))
                seq += 1
        follower.event(Finished(job.id, seq, state=job.state))


def _current(job: CharacterJob) -> str:
    """Return the name of the picture that is being made."""
    return next((part.name for part in job.parts if part.state == "running"), "pictures")


def _fetch(screen: Screen, client: Client, job: CharacterJob, how: RunOptions) -> None:
    """Copy what is there, say where it is, and fail when something is missing.

    Raises:
        RylaGenError: a picture did not come; the others were copied.

    """
    paths = _copy_files(client, job, how)
    if job.state != "succeeded":
        for path in paths:
            screen.note(f"kept: {path}")
        raise failure(job.plan)
    result = job.result()
    screen.result(_job_data(job, files=[str(path) for path in paths], cost_usd=result.cost_usd), "\n".join(map(str, paths)))
    cost = f" · ${result.cost_usd:.4f}" if result.cost_usd else ""
    where = "emulated, not made by a model" if job.plan.backend == "emulator" else job.plan.backend
    screen.note(f"{job.plan.workflow} · seed {job.plan.seed} · {_count_text(job.plan)}{cost} · {where}")


def _copy_files(client: Client, job: CharacterJob, how: RunOptions) -> list[Path]:
    """Return the files of a job: copied to the given place, else where the job keeps them."""
    made = job.pictures
    sheet = made[0].path.with_name("sheet.png") if made else None
    sheet = sheet if sheet is not None and sheet.exists() and job.state in FINAL_STATES else None
    if how.output is not None:
        copies = copy(made, sheet, Path(how.output), overwrite=how.overwrite)
        client.history.saved(job.id, copies)  # whoever forgets the job finds them there
        return copies
    return [item.path for item in made] + ([sheet] if sheet else [])


def _check_folder(how: RunOptions, names: Sequence[str]) -> None:
    """Refuse a folder that cannot be used, or that has such files already, before anything is spent."""
    if how.output is None:
        return
    folder = Path(how.output).expanduser()
    place = next(item for item in (folder, *folder.absolute().parents) if item.exists())
    if not place.is_dir():
        raise StorageFailedError(f"{place} is a file, not a folder.", "Choose another place: -o DIR", {"file": str(place)})
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageFailedError(f"The folder {place} is not writable.", "Choose another place: -o DIR", {"file": str(place)})
    for name in [*names, "sheet"] if len(names) > 1 else names:
        media.check_target(folder / f"{name}.png", overwrite=how.overwrite)


def _job_data(job: CharacterJob, **more: Any) -> dict[str, Any]:
    return summary(job.id, job.kind, job.parts, seed=job.plan.seed, **more)


def _page(plan: CharacterPlan) -> str:
    """Write a job in a few lines: where it is, and each of its pictures."""
    head = f"{plan.id}  {plan.kind}  {state_of_parts(plan.parts)}  {_count_text(plan)}"
    rows = [(f"  {part.name}", part.state, "" if part.ended else f"{part.fraction:.0%}", _why(part.error)) for part in plan.parts]
    return head + "\n" + table(("  picture", "state", "done", ""), rows, width())


def _why(error: RylaGenError | None) -> str:
    return "" if error is None else f"{error.code}: {error.message}"


def _count_text(plan: CharacterPlan) -> str:
    found = progress_of(plan.parts)
    return f"{found.succeeded} of {found.total}"


def _prompt_text(plan: CharacterPlan) -> str:
    if plan.kind == "sheet":
        return ", ".join(part.name for part in plan.parts)
    return shorten(plan.parts[0].prompt)
