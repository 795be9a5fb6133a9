"""Read the configuration file: its text, and its values by dotted key; name variables that are none. Must not write or decide."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from .base import KEYS, PREFIX, SECRETS, closest, find_key, graph_variables

LARGEST_CONFIG = 1 << 20
"""Bytes: a configuration beyond this is another file under that name."""


def read_config(path: Path) -> dict[str, Any]:
    """Read config.toml into dotted keys; no file is an empty one.

    Raises:
        InvalidInputError: it cannot be read, is no TOML, or has a key that is none of ours.

    """
    if not path.exists():
        return {}
    text = read_text(path)
    try:
        flat = dict(_flatten(parsed(text)))
    except ValueError as error:
        raise InvalidInputError(f"{path} is not valid TOML: {error}.", "Correct that line, or move the file away.") from None
    for name in flat:
        try:
            find_key(name)
        except InvalidInputError as error:
            # Not "See them all: config show": that reads this file too, and ends here again.
            first = f"{error.hint} Then remove the line" if name in SECRETS else "Correct the line, or remove it"
            hint = f"{first}: ryla-gen config unset {shlex.quote(name)}"
            raise InvalidInputError(f"{path}: {error.message}", hint, {"key": name}) from None
    return flat


def parsed(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is not TOML: broken, nested too deeply, or with a number of thousands of digits.

    """
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def known_or_there(name: str, text: str) -> str:
    """Return a key that can be taken out of this text: a setting's, or one that stands there and keeps every command from starting.

    Raises:
        InvalidInputError: it is neither.
        ValueError: the text is not TOML.

    """
    if name not in dict(_flatten(parsed(text))):
        find_key(name)
    return name


def read_text(path: Path) -> str:
    """Read the configuration file as text.

    Raises:
        InvalidInputError: it cannot be read, or cannot be a configuration.

    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CONFIG + 1)
        if len(data) > LARGEST_CONFIG:
            raise InvalidInputError(f"{path} is too large for a configuration file.", "Move it away.")
        return data.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text.", "Save it again as UTF-8.") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.", "Check its permissions, or move it away.") from None


def _flatten(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in held.items():
        if isinstance(value, Mapping) and prefix + name not in KEYS:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def do_not_track(env: Mapping[str, str]) -> bool:
    """Whether the person asked every program not to send events (https://consoledonottrack.com)."""
    return env.get("DO_NOT_TRACK", "").strip().lower() not in ("", "0", "false")


def unknown_variables(env: Mapping[str, str]) -> Iterator[str]:
    """Say of each variable that looks like a setting and is none what it might have been meant for."""
    known = {variable: None for key in KEYS.values() for variable, _ in key.variables} | {
        "RYLA_GEN_HOME": None,
        "RYLA_GEN_DEBUG": None,
        **dict.fromkeys(SECRETS.values()),
        **{variable: None for name in graph_variables(env) for variable, _ in find_key(name).variables},
    }
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in known:
            yield f"The variable {name} is not a setting{closest(name, known)}"
