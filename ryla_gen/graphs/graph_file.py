"""Read a JSON file that should be a graph, and explain what is wrong with one that is not. Must not know either format."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError

LIMIT_BYTES = 32 * 1024 * 1024
"""Largest graph that is read. ComfyUI refuses 100 MB; the largest one among ComfyUI's own templates has 0.7 MB."""
LIMIT_DEPTH = 100
"""Values inside values; ComfyUI's own files reach about ten."""
HINT = "Give a graph that ComfyUI exported, or a picture that it saved."

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Byte order marks that editors put in front; PowerShell writes UTF-16."""

GRAPH_TEXTS = ("prompt", "workflow")
"""Names under which ComfyUI writes what ran, and its drawing, into a file."""


def read_bytes(path: str | PathLike[str], limit: int = LIMIT_BYTES) -> bytes:
    """Read a file of at most so many bytes.

    Raises:
        InvalidInputError: there is no such file, it cannot be read, or it is larger.

    """
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; no home folder to put for "~"
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"Cannot read {path}: {reason}.", "Give the path of an existing JSON file.") from None
    if len(data) > limit:
        raise InvalidInputError(f"{path} is larger than {limit // 2**20} MB, which is too large for a graph.", HINT)
    return data


def parse(data: bytes, name: str) -> Any:
    """Parse JSON in UTF-8, or in UTF-16 that is marked as such.

    Raises:
        InvalidInputError: it is not text, not JSON, or nested deeper than any graph.

    """
    if not data.strip():
        raise InvalidInputError(f"{name} is empty.", HINT)
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        value = json.loads(data.decode(encoding), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise InvalidInputError(f"{name} is not JSON: it is not UTF-8 text.", HINT) from None
    except RecursionError:
        raise InvalidInputError(f"{name} is nested too deeply for a graph.", HINT) from None
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{name} is not JSON: {error}.", HINT) from None
    except ValueError:  # Python's limit of 4300 digits, whose message would mention Python internals
        raise InvalidInputError(f"{name} holds a number of thousands of digits, which no graph does.", HINT) from None
    if too_deep(value):
        raise InvalidInputError(f"{name} is nested too deeply for a graph.", HINT)
    return value


def graph_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the graph texts in a saved picture or video: under ``prompt`` what ran, under ``workflow`` its drawing.

    Args:
        texts: all texts that the file carries, by name. Some nodes write ``Prompt`` in capitals.

    """
    return {key.lower(): text for key, text in texts.items() if key.lower() in GRAPH_TEXTS}


def parse_inside(text: str, path: str | PathLike[str]) -> Any:
    """Parse the text of a graph that a saved picture or video carries.

    Raises:
        InvalidInputError: it is damaged.

    """
    try:
        return parse(text.encode("utf-8", "surrogatepass"), str(path))
    except InvalidInputError as error:
        raise InvalidInputError(f"The graph inside {path} is damaged: {error.message}", "Use the original file.") from None


def too_deep(value: Any) -> bool:
    """Whether a value holds values inside values beyond any graph, so that what recurses over it would break."""
    level = [value]
    for _ in range(LIMIT_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def read_json(path: str | PathLike[str]) -> Any:
    """Read and parse a JSON file.

    Raises:
        InvalidInputError: there is no such file, or it is not JSON that could be a graph.

    """
    return parse(read_bytes(path), str(path))


def _no_constant(word: str) -> Any:
    # Old versions of ComfyUI's page write NaN for widgets without a value.
    return None
