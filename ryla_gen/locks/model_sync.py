"""Download the models of a lock onto a volume, by content; fix the hashes that nobody published. Knows no Modal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ModelNotFoundError, PlainData, RylaGenError
from ..models import downloads
from ..models.downloads.checksums import Records
from ..models.downloads.retry import CancelToken
from ..models.weights_table import Weights
from .graph_lock import LockedModel
from .model_places import CONTENT, HASH_NOTE, PLACE_NOTE, address_key, hash_of, placed_files, read_note, recorded, stored_row
from .volume_hints import not_on_volume


def sync_models(
    wanted: Sequence[LockedModel],
    models: Path,
    *,
    token: str | None = None,
    progress: Callable[[downloads.SyncProgress], None] | None = None,
    cache: Path | None = None,
    commit: Callable[[], None] | None = None,
    endpoint: str | None = None,
    web: downloads.Web | None = None,
) -> PlainData:
    """Download what is missing or wrong, as ``downloads.sync`` does, whose arguments these are.

    Returns:
        Its report, whose files have the lock's names, and under ``hashes`` the hash of each.

    Raises:
        HashMismatchError: a file is not the one that was locked; nothing of it was kept.
        RylaGenError: another file failed.

    """
    for model in wanted:
        _note_same_file(model, models)
        if not model.url:
            _note_placed_file(model, models)
    rows = {model.label: stored_row(model, models) for model in wanted}
    report = downloads.sync(
        rows.values(), models, token=token, progress=progress, cache=cache, commit=commit, endpoint=endpoint, web=web
    )
    done = {item.row.label: item for item in report.files}
    for model in wanted:
        row = rows[model.label]
        if done[row.label].error is None and row.sha256 is None:
            _fix_hash(model, row, models)
    if commit is not None:
        commit()
    files = [replace(done[rows[model.label].label], error=_error_of(done[rows[model.label].label], model)) for model in wanted]
    replace(report, files=tuple(files)).raise_for_failures()
    named = [{**item.to_data(), "file": model.label} for item, model in zip(files, wanted, strict=True)]
    hashes = {model.label: hash_of(model, models) for model in wanted}
    return {**report.to_data(), "files": named, "hashes": hashes}


def check_models(
    wanted: Sequence[LockedModel], models: Path, progress: Callable[[downloads.SyncProgress], None] | None, *, hashed: bool
) -> PlainData:
    """Report on what is there, by hashing it or by its size and recorded hash."""
    rows = {model.label: stored_row(model, models) for model in wanted}
    found = downloads.verify(rows.values(), models, progress) if hashed else downloads.status(rows.values(), models)
    by_place = {item.row.label: item for item in found}
    files = [{**by_place[row.label].to_data(), "file": label} for label, row in rows.items()]
    return {"ok": all(item["state"] == "present" for item in files), "files": files}


def _note_same_file(model: LockedModel, models: Path) -> None:
    """Note where the same file is already, with a recorded hash: among the weights of the families."""
    sha256 = hash_of(model, models)
    if sha256 is None:
        return
    note = models / CONTENT / sha256 / PLACE_NOTE
    same = (
        label
        for label, item in sorted(recorded(models).items())
        if item.get("sha256") == sha256 and item.get("sound", True) and _is_whole(models / label, item.get("bytes"))
    )
    place = next(same, "")
    if place and not place.startswith(f"{CONTENT}/") and not _is_there(note.parent):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(place, encoding="utf-8")
    elif not place and read_note(note):
        note.unlink()  # the family has another file there now


def _note_placed_file(model: LockedModel, models: Path) -> None:
    """Note where people put a file that no download brings; its hash is checked after that."""
    note = models / CONTENT / model.sha256 / PLACE_NOTE
    place = next(placed_files(model, models), None)
    if place is not None and not read_note(note) and not _is_there(note.parent):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(place, encoding="utf-8")


def _is_whole(path: Path, size: object) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and any(not path.name.startswith(".") and path.name != PLACE_NOTE for path in folder.iterdir())


def _fix_hash(model: LockedModel, row: Weights, models: Path) -> None:
    """Move a file that came without a published hash under its hash, and leave a note under its address."""
    records, stop = Records(models), CancelToken()
    record = records.all()[row.label]
    place = replace(row, folder=f"{CONTENT}/{record.sha256}", sha256=record.sha256)
    target = models / place.folder / place.name
    target.parent.mkdir(parents=True, exist_ok=True)
    records.put(place, record, stop)  # before the file is there: a file counts only with its record
    (models / row.folder / row.name).replace(target)
    (models / CONTENT / address_key(model) / HASH_NOTE).write_text(record.sha256, encoding="utf-8")


def _error_of(item: downloads.FileReport, model: LockedModel) -> RylaGenError | None:
    """Return what went wrong, in the words of the lock."""
    error = item.error
    if error is None:
        return None
    if not model.url and isinstance(error, ModelNotFoundError):
        return not_on_volume(model)
    error.message = error.message.replace(item.row.label, model.label)
    error.hint = error.hint.replace(item.row.name, model.file)
    error.details = {**error.details, "file": model.file, "folder": model.folder}
    return error
