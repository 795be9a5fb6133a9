"""Run one workflow for a command: check where its files go, follow it, save them, print the result. Knows no option."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ryla_gen import media
from ryla_gen.client import Client
from ryla_gen.client.job_base import OnEvent
from ryla_gen.contract import reply
from ryla_gen.errors import InvalidInputError, JobCanceledError, RylaGenError, StorageError, StorageFailedError
from ryla_gen.events import Event
from ryla_gen.history import Record
from ryla_gen.results import Generation, fill_name
from ryla_gen.results.provenance import ran_emulated
from ryla_gen.workflows.base import Workflow

from .common import setting_warnings
from .next_step import advise
from .progress import Follower, following
from .run_options import RunOptions, settings_for
from .screen import Screen
from .terminal_images import show_images

STDOUT = "-"
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".mp4": "mp4"}
"""File suffix → the value of ``output_format`` or ``format`` that makes it."""
FORMAT_FIELDS = ("output_format", "format")
MOST_NAMES = 10_000
"""Numbers tried behind a taken file name; beyond it the folder is no place for another file."""


def with_format(cls: type[Workflow], fields: dict[str, Any], output: str | None) -> dict[str, Any]:
    """Choose the format by the suffix of the output file, where the workflow has a choice.

    Raises:
        InvalidInputError: the workflow cannot make such a file, or another format was asked for.

    """
    suffix = Path(output).suffix.lower() if output else ""
    name = next((name for name in FORMAT_FIELDS if name in cls.model_fields), None)
    if not suffix or name is None or output == STDOUT or os.path.isdir(str(output)):  # noqa: PTH112 - never raises
        return fields
    wanted = FORMATS.get(suffix)
    choices = _formats(cls, name, fields)
    if cls.own_graph:  # its files may have any suffix: only a re-encoded picture can be meant
        return {name: wanted, **fields} if wanted in ("jpeg", "webp") else fields
    if wanted not in choices:
        known = ", ".join(ending for ending, value in FORMATS.items() if value in choices)
        raise InvalidInputError(f"{cls.name} cannot make a {suffix} file.", f"Use a name that ends in: {known}", {"output": output})
    if wanted == "mp4" and name == "output_format":  # SeedVR2 makes a video of a video, whatever its pictures are
        return fields
    if fields.get(name, wanted) != wanted:
        text = f"{output} would hold {fields[name]}, not {wanted}."
        raise InvalidInputError(text, f"Leave out --{name.replace('_', '-')}, or choose a matching file name.")
    return {**fields, name: wanted}


def _formats(cls: type[Workflow], name: str, fields: dict[str, Any]) -> tuple[str, ...]:
    from typing import get_args

    if "video" in cls.media_fields():
        return ("mp4",) if fields.get("video") is not None else get_args(cls.model_fields[name].annotation)
    return get_args(cls.model_fields[name].annotation)


def generate(screen: Screen, workflow: Workflow, how: RunOptions) -> None:
    """Run a workflow and save its files.

    Raises:
        RylaGenError: see ``ryla_gen.errors``; a target that cannot be used is refused before anything is spent.

    """
    check_before(screen, workflow, how)
    with Client(settings=settings_for(how.backend, how.url, how.max_usd, how.comfyui)) as client:
        for text in setting_warnings(client.settings):
            screen.note(f"warning: {text}")
        if how.output is None and how.output_to is None:
            _check_folder(client.settings.output_dir)
        with following(screen, workflow.name.replace("_", "-")) as follower, _told_if_late(screen, client, follower) as on_event:
            generation = client.run(
                workflow,
                on_event=on_event,
                timeout=how.timeout,
                tags=how.tags,
                output_to=how.output_to,
                webhook=how.webhook,
                user=how.user,
            )
        if (record := client.history.get(generation.job)) is not None:
            screen.came_late = _came_late(record)
        paths = save_outputs(screen, generation, how, client.settings.output_dir)
        client.history.saved(generation.job, paths)
    screen.result(summary(generation, paths), page(generation, paths))
    show_images(screen, [path for path in paths if path is not None], wanted=how.preview)
    note_result(screen, generation)
    advise(screen, client.settings, generation)


@contextmanager
def _told_if_late(screen: Screen, client: Client, follower: Follower) -> Iterator[OnEvent]:
    """Pass on events. Where an interrupt comes when the job has ended, as while its files are uploaded, have that said."""
    job = ""

    def pass_on(event: Event) -> None:
        nonlocal job
        job = event.job
        follower.event(event)

    try:
        yield pass_on
    except BaseException as error:
        record = client.history.get(job) if job and not isinstance(error, Exception) else None
        if record is not None and record.state == "succeeded":
            screen.came_late = _came_late(record)
        raise


def _came_late(record: Record) -> JobCanceledError:
    addresses = [str(item["url"]) for item in record.outputs if item.get("url")]
    if addresses:
        hint = f"It need not be run again. Its files went to: {', '.join(addresses)}"
    elif record.backend == "emulator":
        hint = "Run it again if you still want it."
    else:
        hint = f"It need not be run again. Fetch it: ryla-gen jobs result {record.id[:8]} -o FILE"
    return JobCanceledError(f"Stopped by you; the job {record.id} had succeeded before.", hint, {"job": record.id})


def summary(generation: Generation, paths: Sequence[Path]) -> dict[str, Any]:
    """Describe a generation for ``--json``: the contract's data, with each file's place instead of its bytes."""
    data: dict[str, Any] = reply(generation)["generation"]
    saved = iter(paths)
    for item, made in zip(data["outputs"], generation.outputs, strict=True):
        item.pop("data", None)
        item["bytes"] = made.bytes_made
        path = next(saved, None) if made.url is None else None
        item["path"] = str(path) if path is not None else None
    return data


def page(generation: Generation, paths: Sequence[Path]) -> str:
    """Describe a generation for people: where its files are, and what its texts say."""
    addresses = (item.url for item in generation.outputs if item.url is not None)
    return "\n".join([*map(str, paths), *addresses, *(item.text for item in generation.outputs if item.text is not None)])


def check_before(screen: Screen, workflow: Workflow, how: RunOptions) -> None:
    """Refuse what cannot be saved before anything is spent.

    Raises:
        RylaGenError: the target cannot be used, or the time limit is none.

    """
    if how.timeout is not None and not 0 < how.timeout < float("inf"):
        raise InvalidInputError(f"--timeout {how.timeout:g} must be more than 0.", "Leave it out for the workflow's own limit.")
    if how.output_to is not None and how.output is not None:
        raise InvalidInputError(
            "--output-to and -o cannot be used together.", "Files that are uploaded are not saved here. Leave out one of them."
        )
    if how.output == STDOUT:
        _check_stdout(screen, workflow)
    elif how.output is not None:
        _check_target(how.output, workflow, overwrite=how.overwrite)


def _check_target(output: str, workflow: Workflow, *, overwrite: bool) -> None:
    text, several = _expected_name(output, workflow), workflow.makes_several()
    target = Path(text).expanduser()
    _check_place(target)
    _check_folder(target if text.endswith(("/", "\\")) else target.parent)
    folder = text.endswith(("/", "\\")) or target.is_dir()
    if several and not folder and text != output and text == _expected_name(output, workflow, 1):
        raise InvalidInputError(f"{output} gives several files the same name.", "Put {index} into it.")
    drawn = getattr(workflow, "seed", None) is None and ("{seed}" in output or "{name}" in output)
    if folder or several or drawn or "{job}" in output:
        return  # its names are known only with the result
    if not target.suffix:
        target = target.with_name(target.name + _suffix(workflow))
    media.check_target(target, overwrite=overwrite)


def _suffix(workflow: Workflow) -> str:
    """Return the suffix that a name without one will get, as far as the request tells."""
    if workflow.own_graph:
        return ""
    made = getattr(workflow, "output_format", None) or getattr(workflow, "format", "")
    made = "mp4" if getattr(workflow, "video", None) is not None else made
    return next((suffix for suffix, value in FORMATS.items() if value == made), "")


def _expected_name(template: str, workflow: Workflow, index: int = 0) -> str:
    """Return the output's name as far as it is known; refuse a template that cannot be filled in, before anything is spent."""
    if "{" not in template:
        return template
    seed = getattr(workflow, "seed", None) or 0
    return fill_name(template, workflow=workflow.name, seed=seed, index=index, job="0", name=f"{workflow.name}-{seed}-{index}")


def _check_place(target: Path) -> None:
    """Refuse a name that the file system does not take, and devices."""
    try:
        mode = target.stat().st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise StorageFailedError(f"{target} is too long for a file name.", "Choose a shorter name: -o PATH") from None
        return  # missing, or not accessible: writing reports it
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise StorageFailedError(f"{target} is not a regular file.", "Choose another name; -o - writes to stdout.")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written before anything is spent; one that is not there yet is made later."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.resolve would follow links
    found = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 - never raises
    if not found.is_dir():
        raise StorageFailedError(f"{found} is a file, not a folder.", "Choose another place: -o PATH", {"file": str(found)})
    if not os.access(found, os.W_OK | os.X_OK):
        raise StorageFailedError(f"The folder {found} is not writable.", "Choose another place: -o PATH", {"file": str(found)})


def _check_stdout(screen: Screen, workflow: Workflow) -> None:
    if screen.json:
        raise InvalidInputError("-o - and --json cannot both use stdout.", "Give -o FILE with --json.")
    if sys.stdout.isatty():
        raise InvalidInputError(
            "stdout is a terminal, which cannot show pictures.", "Pipe the output to a program, or give -o FILE."
        )
    if workflow.makes_several():
        raise InvalidInputError("-o - takes one file, and this makes several.", "Give -o FOLDER/, or leave out --batch-size.")


def save_outputs(screen: Screen, generation: Generation, how: RunOptions, folder: Path) -> list[Path]:
    """Save the files where the caller wants them, else under free names in the folder.

    Raises:
        StorageError: they cannot go there; where they were kept instead is in the error's hint.

    """
    if how.output == STDOUT:
        screen.raw(generation.output.data)
        rest = generation.outputs[1:]
        for path in (paths := [item.save(_free_path(folder / item.name)) for item in rest]):
            screen.note(f"saved: {path}")
        return paths[:0]
    held = [item for item in generation.outputs if item.url is None]
    if not held:
        return []
    try:
        if how.output is not None:
            return generation.save(how.output, overwrite=how.overwrite)
        return [item.save(_free_path(folder / item.name)) for item in held]
    except RylaGenError as error:
        raise _rescue(generation, error) from None


def _rescue(generation: Generation, error: RylaGenError) -> RylaGenError:
    """Keep what was paid for: files that cannot go where they should go to a temporary folder."""
    try:
        kept = generation.save(f"{tempfile.mkdtemp(prefix='ryla-gen-')}/")
    except (StorageError, OSError):
        return error
    error.hint = f"The result was kept: {', '.join(map(str, kept))}. {error.hint}"
    error.details["kept"] = [str(path) for path in kept]
    return error


def _free_path(path: Path) -> Path:
    """Return a name that no file has: the path itself, or with -1, -2, … behind."""
    for number in range(MOST_NAMES):
        candidate = path if not number else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not candidate.exists():
            return candidate
    return path


def note_result(screen: Screen, generation: Generation) -> None:
    """Print the result in one line, and what to know about it."""
    cost = f" · ${generation.cost.total_usd:.4f}" if generation.cost.total_usd else ""
    where = "emulated, not made by a model" if ran_emulated(generation) else generation.backend
    screen.note(f"{generation.workflow.name} · seed {generation.seed} · {generation.timings.total:.1f} s{cost} · {where}")
    for notice in generation.warnings:
        screen.note(f"warning[{notice.code}]: {notice.message}")
