"""Change one value in the text of a TOML file with tomlkit, which keeps comments, order and layout.

The new text is parsed again by tomllib, and must mean the old one with that one change: else nothing is changed. Knows no setting.
Import it to write only: tomlkit takes some 20 ms to load, and every command reads the settings.
"""

from __future__ import annotations

from typing import Any

import tomlkit

from ..errors import InvalidInputError
from .reading import parsed

KeyPath = tuple[str, ...]


def with_value(text: str, name: str, value: Any) -> str:
    """Return the text with a dotted key set to a str, int, float or list of str.

    Raises:
        ValueError: the text is not TOML.
        InvalidInputError: what stands there cannot hold the key.

    """
    path, value = tuple(name.split(".")), list(value) if isinstance(value, tuple) else value
    expected = parsed(text)
    wanted = f"{name} = {tomlkit.item(value).as_string()}"
    try:
        _set(expected, path, value)
        document = tomlkit.parse(text)
        _set(document, path, value)
        return _check(document, expected, wanted)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _not_editable(wanted) from error


def without_value(text: str, name: str) -> str:
    """Return the text without a dotted key; the same text when it is not there.

    Raises:
        ValueError: the text is not TOML.
        InvalidInputError: it cannot be edited.

    """
    expected = parsed(text)
    path = _find(expected, name)
    if path is None:
        return text
    try:
        _remove(expected, path)
        document = tomlkit.parse(text)
        _remove(document, path)
        return _check(document, expected, f"no {name}")
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _not_editable(f"no {name}") from error


def _set(place: Any, path: KeyPath, value: Any) -> None:
    for at, name in enumerate(path[:-1]):
        if name not in place:
            # Only the last table gets a header: [a.b], not [a] and [a.b].
            place[name] = tomlkit.table(is_super_table=at < len(path) - 2)
        place = place[name]
    place[path[-1]] = value


def _remove(place: Any, path: KeyPath) -> None:
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]


def _find(held: dict[str, Any], name: str) -> KeyPath | None:
    """Return the keys that lead to a dotted name; a quoted key may hold a dot itself."""
    if name in held:
        return (name,)
    for key, value in held.items():
        if isinstance(value, dict) and name.startswith(f"{key}."):
            below = _find(value, name.removeprefix(f"{key}."))
            if below is not None:
                return (key, *below)
    return None


def _check(document: tomlkit.TOMLDocument, expected: dict[str, Any], wanted: str) -> str:
    text = document.as_string()
    try:
        right = _prune(parsed(text)) == _prune(expected)
    except ValueError:
        right = False
    if not right:
        raise _not_editable(wanted)
    return text


def _prune(held: Any) -> Any:
    """Return a value without empty tables, which set nothing and may go with their last key."""
    if not isinstance(held, dict):
        return held
    inner = {name: _prune(item) for name, item in held.items()}
    return {name: item for name, item in inner.items() if item != {}}


def _not_editable(wanted: str) -> InvalidInputError:
    return InvalidInputError(
        "The configuration file is written in a form that this command cannot change.", f"Edit it by hand: {wanted}"
    )
