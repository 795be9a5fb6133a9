"""Run git: with a time limit, without prompts, over https alone. Knows no lock and no node pack.

Where the environment of this machine sets ``GIT_ALLOW_PROTOCOL`` itself, that holds: with git's own ``url.<base>.insteadOf`` it
sends an ``https://`` address to a mirror. Nothing that is read from a graph or a lock can set it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BackendNotConfiguredError, BackendUnreachableError, PackUnknownError

GIT_SECONDS = 600
"""How long one git command may take: ComfyUI at one commit is some 30 MB."""
REFS_SECONDS = 60
"""How long a repository may take to list its branches and tags."""
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = re.compile(r"[0-9a-f]{7,39}")
NETWORK = ("could not resolve", "failed to connect", "couldn't connect", "timed out", "connection", "error: 5", "error: 429", "ssl")
"""What git says when the network or the host is at fault, and not the address."""


@dataclass(frozen=True, slots=True)
class Refs:
    """What a repository's branches and tags point to."""

    head: str | None
    """Newest commit of the main branch; None where the repository is empty."""
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def commit_of(self, name: str) -> str | None:
        """Return the commit of a tag, a branch, or the first digits of one of their commits; of the main branch for no name."""
        if not name:
            return self.head
        named = self.tags.get(name) or self.branches.get(name)
        if named is not None or not SHORT.fullmatch(name):
            return named
        found = {commit for commit in self._commits() if commit.startswith(name)}
        return found.pop() if len(found) == 1 else None

    def commits_of_version(self, version: str) -> dict[str, str]:
        """Return the tags that name a version, ``v1.2.3`` and ``1.2.3``, with their commits."""
        return {name: self.tags[name] for name in (f"v{version}", version, f"V{version}") if name in self.tags}

    def _commits(self) -> frozenset[str]:
        return frozenset((*self.tags.values(), *self.branches.values(), *filter(None, [self.head])))


def run_git(
    *words: str, folder: Path | None = None, seconds: float = GIT_SECONDS, protocols: str = "https"
) -> subprocess.CompletedProcess[bytes]:
    """Run a git command, whatever it answers.

    Args:
        words: the command and its arguments.
        folder: repository that it works in.
        seconds: how long it may take.
        protocols: what it may speak; ``GIT_ALLOW_PROTOCOL`` of the environment comes first.

    Raises:
        BackendNotConfiguredError: there is no git here.
        BackendUnreachableError: it took too long.

    """
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "LC_ALL": "C"}  # no password prompt; English messages
    place = [] if folder is None else ["-C", str(folder)]
    try:
        return subprocess.run(  # noqa: S603 - git, with arguments of ours
            ["git", *place, *words],  # noqa: S607 - whichever git is on the path
            capture_output=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={"GIT_ALLOW_PROTOCOL": protocols, **os.environ, **quiet},
        )
    except FileNotFoundError as error:
        raise BackendNotConfiguredError("Reading repositories needs git, which is not installed.", "Install git.") from error
    except subprocess.TimeoutExpired as error:
        text = f"git {words[0]} took more than {seconds:g} s."
        raise BackendUnreachableError(text, "Check the network, then try again.") from error


def list_refs(address: str, seconds: float = REFS_SECONDS) -> Refs:
    """Ask a repository for its branches and tags, by ``git ls-remote``.

    Raises:
        PackUnknownError: there is no repository that everybody may read, or it has another address now.
        BackendUnreachableError: the host does not answer.
        BackendNotConfiguredError: there is no git here.

    """
    done = run_git("ls-remote", "--", address, "HEAD", "refs/heads/*", "refs/tags/*", seconds=seconds)
    words = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise _not_listed(address, words)
    moved = re.search(r"redirecting to (\S+)", words)
    if moved is not None and _plain(moved[1]) != _plain(address):
        text = f"{address} has moved to {_plain(moved[1])}, which may belong to somebody else."
        raise PackUnknownError(text, "Name the repository that you mean.")
    return _read_refs(done.stdout.decode(errors="replace"))


def _read_refs(text: str) -> Refs:
    lines = (line.partition("\t") for line in text.splitlines() if "\t" in line)
    listed = {name: commit for commit, _, name in lines}
    places = {name.removesuffix("^{}"): commit for name, commit in sorted(listed.items())}  # a tag's commit comes after the tag
    heads, tags = (
        {name.removeprefix(prefix): commit for name, commit in places.items() if name.startswith(prefix)}
        for prefix in ("refs/heads/", "refs/tags/")
    )
    return Refs(places.get("HEAD"), heads, tags)


def _plain(address: str) -> str:
    return address.rstrip("/").removesuffix(".git")


def _not_listed(address: str, words: str) -> PackUnknownError | BackendUnreachableError:
    last = words.splitlines()[-1] if words else "no reason given"
    if any(sign in words.lower() for sign in NETWORK):
        hint = "Check the network, or do without it: ryla-gen graph lock FILE --offline"
        return BackendUnreachableError(f"The host of {address} does not answer: {last}", hint)
    return PackUnknownError(f"{address} is no git repository that everybody may read: {last}")
