"""Changes one value in the text of a TOML file and leaves comments, order and everything else as they are.

A line editor, not a TOML library: statements are found by letting tomllib parse them, and the new text is parsed and
compared with what it should mean. Where a file is written in a way that this cannot follow, it says so and changes
nothing. Knows no setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from .reading import parsed

Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Statement:
    start: int
    end: int
    """Lines from ``start`` up to ``end``."""
    table: Path_
    key: Path_
    """Empty for a table's header."""


def with_value(text: str, name: str, value: Any) -> str:
    """Return the text with a dotted key set to a str, int, float or list of str.

    Raises:
        ValueError: the text is no TOML.
        InvalidInputError: it is written in a way that cannot be edited line by line.

    """
    path = tuple(name.split("."))
    lines, statements = _parsed(text)
    written = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    written = written.replace("\x7f", "\\u007f")  # all that TOML's texts escape beyond JSON's
    there = next((item for item in statements if item.key and item.table + item.key == path), None)
    if there:
        left = lines[there.start].partition("=")[0].rstrip()
        lines[there.start : there.end] = [f"{left} = {written}{_comment(lines, there)}"]
    else:
        _insert(lines, statements, path, f"{path[-1]} = {written}")
    return _checked(text, "\n".join(lines), path, value, f"{name} = {written}")


def without_value(text: str, name: str) -> str:
    """Return the text without a dotted key; the same text when it is not there.

    Raises:
        ValueError: the text is no TOML.
        InvalidInputError: it is written in a way that cannot be edited line by line.

    """
    path = tuple(name.split("."))
    lines, statements = _parsed(text)
    for item in statements:
        if item.key and ".".join(item.table + item.key) == name:
            path = item.table + item.key  # a quoted key may hold a dot itself
            del lines[item.start : item.end]
            break
    return _checked(text, "\n".join(lines), path, None, f"no {name}")


def _parsed(text: str) -> tuple[list[str], list[_Statement]]:
    parsed(text)
    lines = text.replace("\r\n", "\n").split("\n")
    return lines, list(_statements(lines))


def _statements(lines: list[str]) -> Iterator[_Statement]:
    table: Path_ = ()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        end = at + 1
        if line.startswith("["):
            table = _chain(parsed(line))
            yield _Statement(at, end, table, ())
        elif line and not line.startswith("#"):
            while (held := _loads("\n".join(lines[at:end]))) is None:  # a value over several lines
                end += 1
            yield _Statement(at, end, table, _chain(held))
        at = end


def _loads(text: str) -> dict[str, Any] | None:
    try:
        return parsed(text)
    except ValueError:
        return None


def _chain(held: Any) -> Path_:
    """The dotted key of a parsed statement: ``{"a": {"b": 1}}`` is a.b."""
    path: Path_ = ()
    while isinstance(held, dict) and len(held) == 1:
        ((name, held),) = held.items()
        path += (name,)
    return path


def _comment(lines: list[str], item: _Statement) -> str:
    """The comment behind a value, with the space before it."""
    last = lines[item.end - 1]
    whole = "\n".join(lines[item.start : item.end])
    held = parsed(whole)
    place = whole.find("#", len(whole) - len(last))
    while place >= 0:
        if _loads(whole[:place]) == held:
            return whole[len(whole[:place].rstrip()) :]
        place = whole.find("#", place + 1)
    return ""


def _insert(lines: list[str], statements: list[_Statement], path: Path_, line: str) -> None:
    table = path[:-1]
    inside = [item for item in statements if item.table == table]
    if inside:
        lines.insert(inside[-1].end, line)
    elif not table:
        lines[:0] = [line, ""] if lines[0].strip().startswith("[") else [line]
    else:
        while lines and not lines[-1].strip():
            lines.pop()
        lines += [*([""] if lines else []), f"[{'.'.join(table)}]", line, ""]


def _checked(old: str, new: str, path: Path_, value: Any, wanted: str) -> str:
    """Return the new text, if it means what it should."""
    expected = parsed(old)
    place = expected
    for name in path[:-1]:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = list(value) if isinstance(value, tuple) else value
    if _pruned(_loads(new)) != _pruned(expected):
        raise InvalidInputError(
            "The configuration file is written in a form that this command cannot change.", f"Edit it by hand: {wanted}"
        )
    return new


def _pruned(held: Any) -> Any:
    """Without empty tables, which mean nothing."""
    if not isinstance(held, dict):
        return held
    inner = {name: _pruned(item) for name, item in held.items()}
    return {name: item for name, item in inner.items() if item != {}}
