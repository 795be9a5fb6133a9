"""Check every row before anything is sent: its pictures, its content's hash, the name of its file. Sends and writes nothing."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from .. import media
from ..errors import InvalidInputError, OutputExistsError, PlainData, RylaGenError
from ..workflows.base import Workflow
from ..workflows.fields import held_media, with_media
from .base import Entry, Problem, Row, below, chosen_name
from .manifest import Manifest

KEY_LENGTH = 32
"""Hexadecimal digits of a row's key: 128 bits never meet by chance."""


async def check_rows(
    entries: Iterable[Entry], manifest: Manifest, *, overwrite: bool = False, references: media.References = media.USUAL
) -> tuple[list[Row], list[Problem]]:
    """Read every picture and look at every file name, before anything is sent.

    Args:
        entries: the rows as they were written.
        manifest: the folder's memory.
        overwrite: whether files that are not the batch's own may be replaced.
        references: which references to pictures are read.
    """
    rows, problems = list[Row](), list[Problem]()
    summaries: dict[tuple[str, str], PlainData] = {}
    seen: Counter[str] = Counter()
    names: dict[str, int] = {}
    for entry in entries:
        try:
            content = await _content(entry.workflow, summaries, references)
            seen[content] += 1
            key = content if seen[content] == 1 else f"{content}-{seen[content]}"
            row = Row(entry.line, entry.workflow, key, _target(entry, key))
            _check_name(row, entry, manifest, names, overwrite)
        except RylaGenError as error:
            problems.append(Problem(entry.line, error))
        else:
            rows.append(row)
    return rows, problems


async def _content(workflow: Workflow, summaries: dict[tuple[str, str], PlainData], references: media.References) -> str:
    """Hash a request as it was given: values left to a default are not part of it, nor is the place of a picture."""
    fields = workflow.model_dump(mode="python", exclude_unset=True)

    async def summary(source: Any, kind: media.MediaKind, name: str) -> PlainData:
        """Return hash and size of a picture; one that many rows name is read once."""
        if isinstance(source, bytes):
            return media.describe(source)
        at = (kind, str(source))
        if at not in summaries:
            summaries[at] = media.describe(await media.read(source, kind, name=name, references=references))
        return summaries[at]

    for name, kind in workflow.media_fields().items():
        if (value := fields.get(name)) is not None:
            fields[name] = with_media(value, {at: await summary(item, kind, at) for at, item in held_media(name, value)}, name)
    text = json.dumps([workflow.name, fields], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _target(entry: Entry, key: str) -> str:
    if entry.output is None:
        return chosen_name(entry.line, entry.workflow, key)
    name = PurePosixPath(entry.output)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.output or "{" in entry.output or not name.name:
        text = f"output {entry.output!r} is not a file name inside the folder."
        raise InvalidInputError(text, 'Write a plain name such as "fox.png", or leave it out.')
    return str(name)


def _check_name(row: Row, entry: Entry, manifest: Manifest, names: dict[str, int], overwrite: bool) -> None:
    other = names.setdefault(row.target.lower(), row.line)  # many file systems do not distinguish A from a
    if other != row.line:
        raise InvalidInputError(f"output {row.target!r} is also the name in line {other}.", "Give each row its own name.")
    if entry.output is None or overwrite or manifest.finished(row.key) is not None:
        return
    strangers = [
        path for path in _files_in_the_way(row, manifest.folder) if not manifest.claims(row.key, below(path, manifest.folder))
    ]
    if strangers:
        raise OutputExistsError(
            f"{strangers[0]} exists already, and this batch did not make it.", details={"file": str(strangers[0])}
        )


def _files_in_the_way(row: Row, folder: Path) -> list[Path]:
    """List the existing files at which this row would write."""
    target = folder / row.target
    count = getattr(row.workflow, "batch_size", 1) if row.workflow.family != "upscale" else 1
    stems = [target.stem] if count == 1 else [f"{target.stem}-{index}" for index in range(count)]
    if target.suffix:
        return [path for stem in stems if os.path.lexists(path := target.with_name(stem + target.suffix))]
    return [path for stem in stems for path in target.parent.glob(f"{glob.escape(stem)}.*")]
