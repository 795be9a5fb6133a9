"""Makes foreign data out of good data: other types, missing keys, huge numbers, deep nesting, surrogates, cut bytes. Seeded."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

DEEP = (20, 120, 500, 900)
"""Depths of nesting: beyond what any parser wants, and up to what JSON itself can carry in this process."""


def nested(depth: int, kind: str) -> Any:
    """Lists or objects inside each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


ODD: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: None,
    lambda _: True,
    lambda _: False,
    lambda _: 0,
    lambda _: -1,
    lambda _: 2**31,
    lambda _: 2**63,
    lambda _: 2**64,
    lambda _: -(2**70),
    lambda _: 10**400,
    lambda _: 10**4000,
    lambda _: 0.5,
    lambda _: -0.0,
    lambda _: 1e308,
    lambda _: 5e-324,
    lambda _: float("nan"),
    lambda _: float("inf"),
    lambda _: float("-inf"),
    lambda _: "",
    lambda _: "\0",
    lambda _: "\ud800",
    lambda _: "\u202e\x1b[2J\x9b",
    lambda _: "x" * 5000,
    lambda _: "9" * 5000,
    lambda _: "../../etc/passwd",
    lambda _: "{x!r}{0.__class__}%s%n",
    lambda _: "data:image/png;base64,iVBORw0KGgo=",
    lambda _: "http://127.0.0.1:1/",
    lambda _: "2026-11-21T08:00:00",
    lambda _: "-1",
    lambda _: [],
    lambda _: {},
    lambda _: [[]],
    lambda _: [None],
    lambda _: {"": None},
    lambda _: [1, 2, 3],
    lambda _: ["1", 0],
    lambda _: ["1", -1],
    lambda _: ["1", 10**20],
    lambda _: [["1", 0]],
    lambda _: {"a": 1},
    lambda _: {"__class__": "x", "__proto__": {}},
    lambda r: nested(r.choice(DEEP), "list"),
    lambda r: nested(r.choice(DEEP), "dict"),
    lambda r: ["a"] * r.choice((2, 64, 5000)),
    lambda r: {str(index): index for index in range(r.choice((2, 64, 3000)))},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain data."""
    found = [path]
    if len(path) > 12:  # inside what an earlier change nested deeply
        return found
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:20]):
            found += places(item, (*path, index))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What is at a place."""
    for key in path:
        value = value[key]
    return value


def changed(value: Any, path: tuple[Any, ...], new: Callable[[Any], Any]) -> Any:
    """A copy in which the container at a place went through ``new``; the rest is shared."""
    if not path:
        return new(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def mutated(value: Any, source: random.Random) -> Any:
    """Good data with one to four things changed."""
    for _ in range(source.choice((1, 1, 1, 2, 2, 3, 4))):
        path = source.choice(places(value))
        held = at(value, path)
        kind = source.random()
        if kind < 0.6 or not path:
            odd = source.choice(ODD)(source)
            value = changed(value, path, lambda _, odd=odd: odd)  # type: ignore[misc]
        elif kind < 0.75:
            value = changed(value, path[:-1], lambda box, key=path[-1]: _without(box, key))  # type: ignore[misc]
        elif kind < 0.85:
            other = at(value, source.choice(places(value)))
            value = changed(value, path, lambda _, other=other: other)  # type: ignore[misc]
        elif kind < 0.93 and isinstance(held, dict):
            name = source.choice(("", "\0", "\ud800", "a", "1", "__class__", "x" * 3000, "constructor"))
            odd = source.choice(ODD)(source)
            value = changed(value, path, lambda box, name=name, odd=odd: {**box, name: odd})  # type: ignore[misc]
        elif isinstance(held, list):
            value = changed(value, path, lambda box: [*box, *box, None] if source.random() < 0.5 else box[: len(box) // 2])
        elif isinstance(held, int | float):
            value = changed(value, path, lambda number: str(number) if source.random() < 0.5 else -number)
        elif isinstance(held, str):
            value = changed(value, path, lambda text: text[: len(text) // 2] + source.choice(("\0", "\ud800", "[", "\n", "")))
    return value


def _without(box: Any, key: Any) -> Any:
    if isinstance(box, dict):
        return {name: item for name, item in box.items() if name != key}
    return [item for index, item in enumerate(box) if index != key]


SIGNS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-", '"', "}", "]", ",", "\\ud800")

TEXTS = (
    lambda text, r: text[: r.randrange(len(text) + 1)],
    lambda text, r: _put(text, "\0", r),
    lambda text, r: _put(text, "[" * r.choice((50, 2000, 200_000)), r),
    lambda text, r: _put(text, '{"a":' * r.choice((50, 2000, 100_000)), r),
    lambda text, r: _put(text, r.choice(SIGNS), r),
    lambda text, r: text.replace("1", "9" * 4500, 1),
    lambda text, r: text + text,
    lambda _, r: r.choice(("", " ", "null", "0", '""', "[]", "{}", "[" * 100_000, "\ufeff{}", "nan")),
)


def mutated_text(text: str, source: random.Random) -> str:
    """Text that was JSON or TOML, broken as text breaks."""
    change: Any = source.choice(TEXTS)
    found: str = change(text, source)
    return found


def _put(text: str, what: str, source: random.Random) -> str:
    place = source.randrange(len(text) + 1)
    return text[:place] + what + text[place:]


def as_json(value: Any, source: random.Random, share: float = 0.25) -> str:
    """A mutated value as JSON text; a share of them broken as text as well."""
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):  # more digits than Python writes
        text = "[" * 5000
    return mutated_text(text, source) if source.random() < share else text


def mutated_bytes(data: bytes, source: random.Random) -> bytes:
    """A file, broken as files break and as hostile files are made."""
    held = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        kind, place = source.random(), source.randrange(len(held) + 1)
        if kind < 0.2:
            del held[place:]
        elif kind < 0.5 and held:
            held[min(place, len(held) - 1)] ^= 1 << source.randrange(8)
        elif kind < 0.7:
            width = source.choice((1, 2, 4, 8))
            held[place : place + width] = source.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * width
        elif kind < 0.85:
            held[place:place] = source.randbytes(source.choice((1, 3, 40)))
        else:
            other = source.randrange(len(held) + 1)
            held[min(place, other) : max(place, other)] = b""
    return bytes(held)
