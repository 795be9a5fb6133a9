"""Find the pictures and videos of a folder and what made them: their own notes, and the journal. Changes nothing."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ... import media
from ...errors import InvalidInputError, RylaGenError
from ...graphs.graph_file import graph_texts
from ...history import History, Record
from ...history.base import to_timestamp
from ...results import METADATA_KEY
from .base import Collection, GalleryItem, visible_fields, whole, words
from .rerun import again

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".mov", ".mkv"})
"""Kinds of files that are looked into: what this package and ComfyUI save and browsers show."""
HEAD_BYTES = 1 << 20
"""Of a PNG so much is read: its texts come before its pixels."""
APART = frozenset({"prompt", "negative_prompt", "seed", "steps", "graph"})
"""Fields that are shown in a place of their own."""
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def collect(folder: Path, history: History, *, since: str | datetime | None = None) -> Collection:
    """Search a folder and the folders in it; hidden ones, and links to folders, are left out.

    Args:
        folder: where the files are.
        history: the journal, for times and costs.
        since: only what was made then or later: a date and time, or how long ago, such as ``7d``.

    Raises:
        InvalidInputError: there is no such folder, or ``since`` is not a valid date or time.

    """
    folder = Path(os.path.abspath(os.path.expanduser(folder)))  # noqa: PTH100, PTH111 - resolve() would follow links, which the page must not
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir() raises for a name that is too long
        problem = "is not a folder" if os.path.exists(folder) else "does not exist"  # noqa: PTH110 - as above
        raise InvalidInputError(f"{folder} {problem}.", "Name the folder with the pictures: ryla-gen gallery FOLDER")
    begin = to_timestamp(since) if since is not None else ""
    reader = _Reader(history, folder)
    for path, state in _files(folder, reader.unreadable):
        if _instant_of(state) >= begin:  # no job's file is older than its job
            reader.read(path, state)
    items = sorted((item for item in reader.items if item.made_at >= begin), key=lambda item: item.path.name)
    items.sort(key=lambda item: item.made_at, reverse=True)
    return Collection(folder, tuple(items), reader.skipped, tuple(reader.unreadable))


def _files(folder: Path, unreadable: list[str]) -> Iterator[tuple[Path, os.stat_result]]:
    def failed(error: OSError) -> None:
        unreadable.append(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                try:
                    state = path.stat()
                except OSError as error:
                    failed(error)
                    continue
                if stat.S_ISREG(state.st_mode):  # reading a pipe would block
                    yield path, state


def _instant_of(state: os.stat_result) -> str:
    return to_timestamp(datetime.fromtimestamp(state.st_mtime, UTC))


class _Reader:
    """Reads file after file; asks the journal for all its saved paths only when a file says nothing itself."""

    def __init__(self, history: History, folder: Path) -> None:
        self.items: list[GalleryItem] = []
        self.skipped = 0
        self.unreadable: list[str] = []
        self._history, self._folder = history, folder
        self._saved: dict[str, Record] | None = None

    def read(self, path: Path, state: os.stat_result) -> None:
        """Add a file to the collection, or count it as skipped."""
        try:
            data = _head(path, state.st_size)
        except OSError as error:
            self.unreadable.append(f"{path}: {error.strerror or error}")
            return
        texts = media.read_metadata(data)
        note, graph = _object(texts.get(METADATA_KEY)), _object(graph_texts(texts).get("prompt"))
        record = self._record(note) if note else self._saved_as(path, state.st_size)
        if note is None and record is not None:
            note = {"workflow": record.workflow, "inputs": record.inputs, "seed": record.seed, "job": record.id}
        elif note is None and graph:
            note = {"workflow": "workflow", "inputs": {"graph": graph}}
        media_type = media.sniff_media_type(data)
        if note is None or media_type is None or not isinstance(note.get("inputs"), dict):
            self.skipped += 1
            return
        self.items.append(_item(path, state, note, record, (media_type, _moves(data, media_type))))

    def _record(self, note: Mapping[str, Any]) -> Record | None:
        job = note.get("job")
        # The journal also finds jobs by a beginning of their id, which a note must not.
        return self._history.get(job) if isinstance(job, str) and _JOB.fullmatch(job) else None

    def _saved_as(self, path: Path, size: int) -> Record | None:
        """Find the job that saved a file under this name; a different file that is there now has another size."""
        if self._saved is None:
            records = self._history.list(limit=None, saved_in=self._folder)
            self._saved = {str(place): record for record in reversed(records) for place in record.saved}
        record = self._saved.get(str(path))
        sizes = [item.get("bytes") for item in record.outputs if isinstance(item, dict)] if record else []
        return record if size in sizes else None


def _head(path: Path, size: int) -> bytes:
    """Read as much of a file as holds its note; nothing of a file that is too large for this package."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        whole_note = head.startswith(b"\x89PNG") and b"IDAT" in head
        return head if whole_note or size > media.VIDEO_LIMIT_BYTES else head + file.read(media.VIDEO_LIMIT_BYTES)


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):  # a note may be damaged, or be meant to do damage
        return None
    return found if isinstance(found, dict) else None


def _moves(data: bytes, media_type: str) -> bool:
    """Whether a picture file has several frames: WebP says so in its header; GIFs are taken to move."""
    return media_type == "image/gif" or (media_type == "image/webp" and data[12:16] == b"VP8X" and bool(data[20] & 2))


def _item(path: Path, state: os.stat_result, note: Mapping[str, Any], record: Record | None, what: tuple[str, bool]) -> GalleryItem:
    media_type, moving = what
    inputs: dict[str, Any] = note["inputs"]
    graph = inputs.get("graph")
    name = words(note.get("workflow"))[:80] or "workflow"
    seed = whole(note.get("seed"))
    seed = whole(inputs.get("seed")) if seed is None else seed
    repeat = again(name, inputs, seed, path)
    return GalleryItem(
        path=path,
        kind=_kind(media_type, moving),
        media_type=media_type,
        moving=moving,
        bytes=state.st_size,
        workflow=name,
        made_at=record.created_at if record else _instant_of(state),
        prompt=words(inputs.get("prompt")) or _graph_prompt(graph),
        negative_prompt=words(inputs.get("negative_prompt")),
        seed=_graph_number(graph, "seed", "noise_seed") if seed is None else seed,
        steps=_graph_number(graph, "steps") if whole(inputs.get("steps")) is None else whole(inputs.get("steps")),
        fields=visible_fields(inputs, APART),
        job=record.id if record else words(note.get("job"))[:80] or None,
        seconds=_seconds(record) if record else None,
        cost_usd=record.cost_usd if record else None,
        files=max(1, len(record.outputs)) if record else 1,
        backend=record.backend if record else None,
        gpu=record.gpu if record else None,
        tags=tuple(map(str, record.tags)) if record else (),
        command=repeat.command,
        python=repeat.python,
        needs=repeat.needs,
    )


def _kind(media_type: str, moving: bool) -> Literal["image", "video"]:
    return "video" if moving or media_type.startswith("video/") else "image"


def _seconds(record: Record) -> float | None:
    if record.started_at is None or record.finished_at is None:
        return record.gpu_seconds
    try:
        spent = datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.started_at)
    except (ValueError, TypeError):
        return record.gpu_seconds
    return max(0.0, spent.total_seconds())


def _nodes(graph: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the inputs of every node of what may be a graph."""
    for node in graph.values() if isinstance(graph, dict) else ():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            yield node["inputs"]


def _graph_number(graph: Any, *names: str) -> int | None:
    found = (whole(inputs[name]) for inputs in _nodes(graph) for name in names if name in inputs)
    return next((value for value in found if value is not None), None)


def _graph_prompt(graph: Any) -> str:
    """Return the text that reaches a sampler's positive input."""
    from ...graphs.api_format import positive_texts
    from ...workflows.custom import CustomWorkflow

    if not isinstance(graph, dict):
        return ""
    try:
        api = CustomWorkflow.from_plain({"graph": graph}, trusted=True).graph
    except RylaGenError:
        return ""  # not a graph after all
    texts = (words(api[node]["inputs"].get(name)) for node, name in positive_texts(api))
    return next((text for text in texts if text), "")
