"""Read a list of workflows: one JSON object a line, or CSV whose columns are fields. Runs nothing and writes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ryla_gen.batches import Entry, Problem
from ryla_gen.errors import InvalidInputError, RylaGenError
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import workflow_class

from .generate import with_format
from .options import Field, fields_of

KINDS = (".jsonl", ".ndjson", ".csv")
WORKFLOW, OUTPUT = "workflow", "output"
"""The two keys of a row that are no fields."""
REFERENCES = ("data:", "http://", "https://")
"""Beginnings of pictures that are no files."""
HINT = 'Each row names its workflow: {"workflow": "flux_dev", "prompt": "a fox"}, or a CSV column called workflow.'


def read(path: Path) -> tuple[list[Entry], list[Problem]]:
    """Read every row; files that rows name lie beside the list.

    Raises:
        InvalidInputError: it is no list, or an empty one, or cannot be read.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(f"{path} is neither .jsonl nor .csv.", HINT)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text.", "Save it again as UTF-8.") from None
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror or error}.", "Give the path of an existing file.") from None
    entries, problems = list[Entry](), list[Problem]()
    is_csv = path.suffix.lower() == ".csv"
    for line, found in _from_csv(text) if is_csv else _from_json(text):
        try:
            if isinstance(found, RylaGenError):
                raise found
            entries.append(_entry(line, found, path.parent, typed=not is_csv))
        except RylaGenError as error:
            problems.append(Problem(line, error))
    if not entries and not problems:
        raise InvalidInputError(f"{path} does not contain any rows.", HINT)
    return entries, problems


Found = Iterator[tuple[int, Mapping[str, Any] | RylaGenError]]


def _from_json(text: str) -> Found:
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: a prompt may hold other line ends
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply." if isinstance(error, RecursionError) else str(error)
            yield number, InvalidInputError(f"It is not JSON: {why}", "Write one JSON object per line.")
            continue
        if isinstance(found, dict):
            yield number, found
        else:
            yield number, InvalidInputError("It is not a JSON object.", HINT)


def _from_csv(text: str) -> Found:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    before = 1
    try:
        for row in reader:
            number, before = before + 1, reader.line_num  # a cell may hold line ends: people look for where the row begins
            if None in row:
                yield number, InvalidInputError("It has more cells than there are columns.", "Quote cells that contain a comma.")
            elif any((cell or "").strip() for cell in row.values()):
                yield number, {str(name).strip(): cell.strip() for name, cell in row.items() if (cell or "").strip()}
    except csv.Error as error:
        yield (
            before + 1,
            InvalidInputError(f"It is not CSV: {error}.", "Quote cells that contain quotes or line breaks, and double the quotes."),
        )


def _entry(line: int, found: Mapping[str, Any], folder: Path, *, typed: bool) -> Entry:
    name, output = found.get(WORKFLOW), found.get(OUTPUT)
    if not isinstance(name, str) or not name:
        raise InvalidInputError("It does not name a workflow.", HINT)
    if output is not None and (not isinstance(output, str) or not output.strip()):
        raise InvalidInputError("output must be a file name.", 'Write it as "fox.png", or leave it out.')
    cls = workflow_class(name)
    known = fields_of(cls)
    given = {key.replace("-", "_"): value for key, value in found.items() if key not in (WORKFLOW, OUTPUT)}
    fields = {key: _value(known[key], value, folder, typed=typed) if key in known else value for key, value in given.items()}
    return Entry(line, cls(**_with_format(cls, fields, output)), output)


def _with_format(cls: type[Workflow], fields: dict[str, Any], output: str | None) -> dict[str, Any]:
    # A suffix decides the format even where a folder of that name exists here.
    return with_format(cls, fields, Path(output).name if output else None)


def _value(item: Field, value: Any, folder: Path, *, typed: bool) -> Any:
    """Turn a cell, or a JSON value, which has its type already, into what the class takes."""
    if item.kind == "media-map" and isinstance(value, Mapping):
        return {key: _beside(one, folder) for key, one in value.items()}
    if not isinstance(value, str) or (typed and item.kind in ("int", "float", "bool")):
        return value
    if item.kind == "media":
        return _beside(value, folder)
    if item.kind == "json":
        return item.read(_beside(value, folder) if value.lower().endswith(".json") else value)
    read = item.read(value)
    return {key: _beside(one, folder) for key, one in read.items()} if item.kind == "media-map" else read


def _beside(value: Any, folder: Path) -> Any:
    """Return a file's path as seen from here; anything else unchanged."""
    if not isinstance(value, str) or value.lower().startswith(REFERENCES):
        return value
    path = Path(value).expanduser()
    return str(path if path.is_absolute() else folder / path)
