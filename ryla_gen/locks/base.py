"""Define what a lock is made from, and read what a lock pins. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

UNTIL = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
"""A time up to which packages count; two of these compare as texts do."""
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NodePack:
    """A repository that an image takes in at one commit: a pack of node classes, or ComfyUI itself."""

    name: str
    repo: str
    version: str | None
    commit: str
    licence: str | None
    nodes: tuple[str, ...]
    """Node classes that it gives, of those that the graphs use."""
    registry: str | None = None
    """Its id and version in ComfyUI's registry, ``id@version``; None where it was not found by them."""
    source: str = ""
    """Where it is known from."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything that one resolution is made from. They stand at the top of the lock, so that a stale lock is noticed."""

    own: tuple[str, ...]
    """Requirements of ours, one package each."""
    repositories: tuple[NodePack, ...] = ()
    """ComfyUI and node packs: the ``requirements.txt`` at the commit of each is resolved with ours."""
    constraints: tuple[str, ...] = ()
    """Versions for packages that come only when something else needs them."""
    replaced: tuple[tuple[str, str], ...] = ()
    """Packages that the repositories' lists name, and the package that is installed in their place."""
    python: str = "3.11"
    platform: str = "x86_64-manylinux_2_28"
    """As uv names it. PyTorch's wheels ask for glibc 2.28; Modal's Debian has a newer one."""
    until: str = "2025-12-01T00:00:00Z"
    """Packages that were uploaded later do not count, so that the same inputs give the same lock on any day."""

    def header(self) -> str:
        """Return the first lines of the lock: what it was made from."""
        return "".join(f"# {line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"One resolution with hashes for Python {self.python} on {self.platform}, of packages uploaded before {self.until}."
        yield "Written by a command, from the following; CONTRIBUTING.md says how to write it again."
        yield from (f"list: {item.name} {item.repo} {item.commit}" for item in self.repositories)
        yield from (f"own: {item}" for item in sorted(self.own))
        yield from (f"constraint: {item}" for item in sorted(self.constraints))
        yield from (f"in the lists, {name} is replaced by {other}" for name, other in sorted(self.replaced))

    def made(self, lock: str) -> bool:
        """Whether a lock was made from exactly these."""
        head = takewhile(lambda line: line.startswith("#"), lock.splitlines())
        return "".join(f"{line}\n" for line in head) == self.header()


def beginning_of_today() -> str:
    """Return the time up to which packages count when they are to be today's."""
    return datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")


def canonical(name: str) -> str:
    """Return a package's name as packages are compared: ``rotary_embedding_torch`` is ``rotary-embedding-torch``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Return every package of a lock, by its canonical name, with its version."""
    return {canonical(name): version for name, version in PIN.findall(lock)}


def entries(lock: str) -> dict[str, str]:
    """Return every package of a lock, by its canonical name, with its own lines."""
    return {name: entry for entry in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE) for name in pins(entry)}


def hashes(lock: str) -> dict[str, frozenset[str]]:
    """Return every package of a lock, by its canonical name, with the hashes of its files."""
    return {name: frozenset(re.findall(r"--hash=(\S+)", entry)) for name, entry in entries(lock).items()}


def differences(before: str, after: str) -> list[str]:
    """List what changed between two locks, one line a package."""
    old, new = pins(before), pins(after)
    changed = (name for name in sorted({*old, *new}) if old.get(name) != new.get(name))
    return [f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}" for name in changed]
