"""Forget jobs: their rows in the journal, their files, and what their servers keep. Says first what it would erase.

Each step may be made twice, and the journal comes last: what is interrupted is finished by the next run. Must not stop a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.forgetting import erased_there, forget_jobs, kept_there
from ..backends.lora_stores import lora_store
from ..errors import BackendNotConfiguredError, InvalidInputError, LoraNotFoundError, RylaGenError
from ..events import FINAL_STATES
from ..history import History, Record
from ..history.processes import has_ended
from ..models.loras.library import Library
from ..settings import Settings
from ..support.counting import count_text
from .base import Forgotten
from .files import FoundFiles, Places, character_folders, erase_files, erase_folders, find_files

__all__ = ["Forgotten", "forget"]


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything of some jobs, where it was found."""

    files: FoundFiles
    folders: list[Path]
    loras: dict[str, Library]
    silent: list[str]
    """Places of LoRAs that cannot be asked, as sentences."""


async def forget(
    settings: Settings,
    history: History,
    records: Sequence[Record],
    *,
    folders: Iterable[Path] = (),
    lora: str | None = None,
    servers: bool = True,
    dry_run: bool = False,
) -> Forgotten:
    """Erase jobs, with the jobs that belong to them.

    Args:
        settings: the folder of results, and how servers are reached.
        history: the journal.
        records: the jobs.
        folders: further folders of results in which their files may be erased.
        lora: id of a LoRA that goes with them, wherever the configured backends store it.
        servers: whether the servers on which they ran are asked to erase what they have.
        dry_run: only look.

    Raises:
        InvalidInputError: one of them has not ended.
        RylaGenError: a server does not answer, or something cannot be erased; the next run erases the rest.
    """
    jobs = _with_parts(history, records)
    _require_ended(jobs, servers=servers)
    places = _places(settings, folders)
    stores, silent = await _loras(settings, lora)
    found = _Found(find_files(jobs, places), character_folders(settings.home, jobs), stores, silent)
    told = _told(settings, jobs, found, lora, servers=servers)
    if dry_run:
        return told
    if servers:
        await _forget_at_servers(jobs, settings)
    for library in stores.values():
        await library.remove(str(lora))
    erase_files(found.files, jobs, places)
    erase_folders(found.folders)
    clean = history.forget([record.id for record in jobs])
    more = () if clean else (_still_read(history.path),)
    return replace(told, erased=True, stays=(*told.stays, *more))


def _with_parts(history: History, records: Sequence[Record]) -> list[Record]:
    """Add the jobs that belong to some of them."""
    found = {record.id: record for record in records}
    for record in records:
        found |= {part.id: part for part in history.list(parent=record.id, limit=None)}
    return list(found.values())


def _require_ended(records: Iterable[Record], *, servers: bool) -> None:
    running = [record.id for record in records if record.state not in FINAL_STATES and (servers or not has_ended(record.process))]
    if running:
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        text = f"The job {running[0]}{more} has not ended, so nothing was erased."
        hint = f"Cancel it first: ryla-gen jobs cancel {running[0][:8]}. If it is gone: ryla-gen jobs show {running[0][:8]}"
        raise InvalidInputError(text, hint, {"jobs": running})


def _places(settings: Settings, folders: Iterable[Path]) -> Places:
    """Return where files may be erased. An output folder that nobody chose is the current one, which is not searched."""
    named = tuple(Path(folder).expanduser() for folder in folders)
    for folder in named:
        if not folder.is_dir():
            raise InvalidInputError(f"{folder} is not a folder.", "Name a folder in which results were saved.")
    if settings.origin("output_dir") == "default":
        return Places(named, (settings.output_dir,))
    return Places((*named, settings.output_dir) if settings.output_dir.is_dir() else named)


async def _loras(settings: Settings, lora: str | None) -> tuple[dict[str, Library], list[str]]:
    """Find the stores of the backends that have a LoRA, and those that cannot be asked."""
    found, silent = dict[str, Library](), list[str]()
    for name in settings.backend_names if lora is not None else ():
        try:
            library = Library(lora_store(name, settings))
            await library.show(str(lora))
            found[name] = library
        except LoraNotFoundError:
            continue
        except BackendNotConfiguredError as error:
            silent.append(f"A LoRA of the {name} backend, if there is one, stays: {error.message}")
    return found, silent


def _told(settings: Settings, jobs: Sequence[Record], found: _Found, lora: str | None, *, servers: bool) -> Forgotten:
    damaged = sorted(settings.home.glob(f"{settings.history_path.stem}.corrupt-*"))
    kept = list(kept_there(jobs)) if servers else [f"The servers of {count_text(len(jobs), 'job')} were not asked, as you said."]
    stays = [*found.files.stays, *_brought(jobs), *found.silent, *(kept if jobs else ())]
    stays += [f"{path} is a damaged journal that was set aside. It may hold these jobs; remove it yourself." for path in damaged]
    return Forgotten(
        jobs=tuple(record.id for record in jobs),
        files=tuple(found.files.files),
        folders=tuple(found.folders),
        batches=tuple(found.files.batches),
        pages=tuple(found.files.pages),
        loras=tuple(f"{lora} ({library.store.place})" for library in found.loras.values()),
        servers=tuple(erased_there(jobs)) if servers else (),
        stays=tuple(stays),
        usd=sum(record.cost_usd or 0.0 for record in jobs),
    )


def _brought(jobs: Iterable[Record]) -> Iterator[str]:
    """Yield what was brought to a bucket or an address, which this package writes to and never removes from."""
    for record in jobs:
        outputs = (item for item in record.outputs if isinstance(item, dict))
        yield from (f"{item['url']} stays: remove it where it lies." for item in outputs if item.get("url"))


async def _forget_at_servers(jobs: Sequence[Record], settings: Settings) -> None:
    try:
        await forget_jobs(jobs, settings)
    except RylaGenError as error:
        hint = "Nothing was erased on this machine. Run it again when the server answers, or leave servers alone: --no-servers"
        raise type(error)(error.message, hint, error.details) from error


def _still_read(path: Path) -> str:
    return f"Another process reads the journal: what was erased may stay in {path}-wal until that process ends, and no longer."
