"""Keep locks in the home folder, where they are found by name, and which of them a person has agreed to run. Must not connect."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StorageFailedError
from ..support.state_files import read_state, write_state
from .graph_lock import SUFFIX, GraphLock
from .image_lock import sha256_of
from .lock_reading import check_requirements, parse_lock

ACCEPTED_FILE = "accepted_locks.json"
"""In the home folder: the digests of the locks whose sources a person has agreed to."""


def keep_lock(text: str, requirements: str, folder: Path) -> GraphLock:
    """Check a lock as that of a stranger, and keep it with its requirements under its name.

    Args:
        text: the lock.
        requirements: its file of Python packages.
        folder: where locks are kept.

    Raises:
        InvalidInputError, HashMismatchError: it is no lock that can be used.
        StorageFailedError: it cannot be written.

    """
    lock = parse_lock(text, "the lock")
    check_requirements(requirements, lock)
    # The lock last: it counts only with its requirements, and one of an earlier version would not fit the new ones.
    write_whole(folder / lock.image.python.file, requirements)
    write_whole(folder / f"{lock.name}{SUFFIX}", text)
    return lock


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageFailedError: it cannot be written.

    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8", newline="\n")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StorageFailedError(f"{path} cannot be written: {error.strerror or error}.") from error


def sources_of(lock: GraphLock) -> list[str]:
    """List everything of others that a lock brings into a container: repositories at their commits, addresses of models."""
    packs = [f"{item.repo} at {item.commit}" for item in (lock.image.comfyui, *lock.image.packs)]
    return [*packs, *(item.url for item in lock.models if item.needed and item.url)]


def is_accepted(text: str, home: Path) -> bool:
    """Whether a person has agreed to this lock."""
    known = read_state(home / ACCEPTED_FILE)
    return isinstance(known, list) and sha256_of(text) in known


def accept(text: str, home: Path) -> None:
    """Remember that a person has agreed to this lock.

    Raises:
        StorageFailedError: it cannot be written.

    """
    known = read_state(home / ACCEPTED_FILE)
    digests = [item for item in known if isinstance(item, str)] if isinstance(known, list) else []
    try:
        write_state(home / ACCEPTED_FILE, list(dict.fromkeys([*digests, sha256_of(text)])))
    except OSError as error:
        raise StorageFailedError(f"{home / ACCEPTED_FILE} cannot be written: {error.strerror}.") from error
