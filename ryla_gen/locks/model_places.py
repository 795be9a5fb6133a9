"""Find the models of a lock on a volume, where they lie by content, shared between locks. Downloads and changes nothing.

A file stands under ``content/<sha256>/``. One whose hash nobody published stands under a key made of its address until its first
download has fixed the hash; then a note under that key names the hash, for containers that have the lock without it. Where a
family's weights are the same file, a note under the hash names that place. What is there counts only with a recorded hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..models.weights_table import Weights
from .graph_lock import PENDING, GraphLock, LockedModel
from .image_lock import sha256_of
from .lock_checks import SHA256, is_model_name
from .model_rows import row_of

CONTENT = "content"
"""Folder of the volume."""
HASH_NOTE, PLACE_NOTE = "sha256.txt", "place.txt"
"""Notes in a folder of a file: the hash that its first download fixed; where else on the volume the file is."""
RECORDS = ".ryla/weights.json"
"""Where downloads record the hashes that they verified."""


def address_key(model: LockedModel) -> str:
    """Return the key of a model whose hash is not known yet."""
    return sha256_of(model.url)[:32]


def hash_of(model: LockedModel, models: Path) -> str | None:
    """Return the hash that a model must have; None where its first download has still to fix it."""
    if model.sha256 != PENDING:
        return model.sha256
    noted = read_note(models / CONTENT / address_key(model) / HASH_NOTE)
    return noted if SHA256.fullmatch(noted) else None


def stored_row(model: LockedModel, models: Path) -> Weights:
    """Return the row of a model at the place on the volume where it is, or will be."""
    sha256 = hash_of(model, models)
    folder = PurePosixPath(CONTENT, sha256 or address_key(model))
    elsewhere = read_note(models / folder / PLACE_NOTE)
    place = PurePosixPath(elsewhere) if is_model_name(elsewhere) else folder / _file_name(model, models / folder)
    return replace(row_of(model), folder=str(place.parent), name=place.name, sha256=sha256, sha256_source="lock")


def stored_file(model: LockedModel, models: Path) -> Path | None:
    """Return the file of a model on the volume; None where it is not there with the right hash."""
    row = stored_row(model, models)
    path, record = models / row.folder / row.name, recorded(models).get(row.label, {})
    if row.sha256 is None or record.get("sha256") != row.sha256 or not record.get("sound", True):
        return None
    return path if path.is_file() and path.stat().st_size == record.get("bytes") else None


def placed_files(model: LockedModel, models: Path) -> Iterator[str]:
    """Yield where a file without an address may be: among the stored LoRAs by its hash, or under its own folder and name."""
    content = f"{model.sha256[:16]}.safetensors"
    stored = (path.relative_to(models).as_posix() for path in sorted((models / "loras").glob(f"*/{content}")))
    for place in (*stored, model.label):
        path = models / place
        if path.is_file() and not path.is_symlink() and path.stat().st_size == model.bytes:
            yield place


def recorded(models: Path) -> Mapping[str, Any]:
    """Return the recorded hashes of a volume, by folder and name; none where they cannot be read."""
    try:
        found = json.loads((models / RECORDS).read_text(encoding="utf-8"))["files"]
        return {str(label): item for label, item in found.items() if isinstance(item, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def with_hashes(lock: GraphLock, hashes: Mapping[str, str]) -> GraphLock:
    """Return a lock with the hashes that its first download fixed, by folder and name; those that it has stay."""
    models = tuple(
        replace(item, sha256=hashes[item.label]) if item.sha256 == PENDING and item.label in hashes else item
        for item in lock.models
    )
    return replace(lock, models=models)


def read_note(path: Path) -> str:
    """Return what a note says; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _file_name(model: LockedModel, folder: Path) -> str:
    """Return the name of the file that stands there already, for another lock may have another name for it."""
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    names = (name for name in there if not name.startswith(".") and name not in (HASH_NOTE, PLACE_NOTE))
    own = PurePosixPath(model.file).name
    return next(names, f"model-{own}" if own in (HASH_NOTE, PLACE_NOTE) else own)
