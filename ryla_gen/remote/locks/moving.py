"""Move a family to another release of ComfyUI: find its commit, change the lock, say what becomes of the family's node classes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ... import locks
from ...comfy.schema.changes import class_changes
from ...errors import InvalidInputError
from ...locks.base import beginning_of_today
from ...models.node_schemas import VERSIONS, node_schemas
from .. import pins
from ..variants import family_nodes

GIT_SECONDS = 60
"""How long git may take to list the tags of a repository."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a family shall go."""

    version: str
    commit: str | None = None
    """Commit of ComfyUI; None is the one of the version's tag."""
    until: str | None = None
    """Packages that were uploaded later do not count; None is the beginning of today."""
    requirements: tuple[str, ...] = ()
    """Packages that the family pins, in place of those of the same name: PyTorch's."""


def moved_lock(lock: locks.ImageLock, move: Move, folder: Path | None = None) -> locks.ImageLock:
    """Return a lock at another release of ComfyUI. Nothing is resolved yet.

    Args:
        lock: as it stands.
        move: where it shall go.
        folder: a clone of ComfyUI to read its tags from, in place of its address.

    Raises:
        InvalidInputError: there is no such version, or a requirement names no version.
    """
    version = move.version.removeprefix("v")
    commit = move.commit or tagged_commit(str(folder or lock.comfyui.repo), f"v{version}")
    until = move.until or beginning_of_today()
    asked = {_name(item): item for item in (*lock.python.requirements, *move.requirements)}
    python = replace(lock.python, until=until, requirements=tuple(asked.values()))
    source = "named by --commit" if move.commit else f"its tag v{version}"
    return replace(lock, comfyui=replace(lock.comfyui, version=version, commit=commit, source=source), python=python)


def tagged_commit(repository: str, tag: str) -> str:
    """Return the commit of a repository's tag.

    Raises:
        InvalidInputError: there is no such tag, or git cannot read the repository.
    """
    try:
        command = ["git", "ls-remote", "--", repository, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInputError(f"The tags of {repository} cannot be read: {error}.", "Name the commit: --commit") from error
    if done.returncode:
        raise InvalidInputError(f"The tags of {repository} cannot be read: {done.stderr.strip()}", "Name the commit: --commit")
    found = [line.split("\t")[0] for line in done.stdout.splitlines()]
    if not found:
        raise InvalidInputError(f"{repository} has no tag {tag}.", "Name a release of ComfyUI, or its commit: --commit")
    return found[-1]  # an annotated tag is an object of its own, and its commit comes after it


def changes_of(family: str, before: str, after: str) -> Iterator[str]:
    """Yield, in lines, what changes for the node classes that the workflows of a family use.

    Args:
        family: the family.
        before: the release of ComfyUI that it leaves.
        after: the one that it goes to.
    """
    unknown = [name for name in (before, after) if name not in VERSIONS]
    if unknown:
        yield f"what changes cannot be said: no node schemas of ComfyUI {' and '.join(unknown)} are packaged"
        return
    own = family_nodes(family)
    found = list(class_changes(node_schemas(before), node_schemas(after), own))
    yield f"ComfyUI {before} -> {after}: {len(found)} changes in the {len(own)} node classes that its workflows use"
    yield from (f"  {item}" for item in found)


def move_families(families: Sequence[str], move: Move, folder: Path | None = None) -> dict[str, locks.ImageLock]:
    """Return the moved locks of some families, by family.

    Raises:
        InvalidInputError: there is no such version, or a requirement names no version.
    """
    return {family: moved_lock(pins.image_lock(family), move, folder) for family in families}


def _name(item: str) -> str:
    name, mark, version = item.partition("==")
    if not mark or not name or not version:
        raise InvalidInputError(f"{item!r} names no version.", "Write NAME==VERSION.")
    return locks.canonical(name)
