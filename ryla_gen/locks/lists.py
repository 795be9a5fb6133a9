"""Read the requirement list of a repository at a commit, by git, from its address or from a clone on this disk."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from ..errors import BackendNotConfiguredError, BackendUnreachableError, InvalidInputError
from .base import NodePack, canonical

FILE = "requirements.txt"
GIT_SECONDS = 600
"""How long one git command may take: ComfyUI at one commit is some 30 MB."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def requirement_list(source: NodePack, folder: Path | None = None) -> str:
    """Return the text of a repository's ``requirements.txt`` at its commit; nothing where it has none.

    Args:
        source: the repository and its commit.
        folder: a clone of it on this disk, bare or not, to read from in place of its address.

    Raises:
        InvalidInputError: the commit is none, or is not in the repository.
        BackendUnreachableError: the address does not answer.
        BackendNotConfiguredError: there is no git here.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", source.commit):
        raise InvalidInputError(f"{source.name}: {source.commit!r} is not a commit.", "Write all 40 hexadecimal digits of it.")
    if folder is not None:
        return _list_in(folder, source)
    with tempfile.TemporaryDirectory(prefix="ryla-gen-lock-") as name:
        fetched = Path(name)
        _git(fetched, "init", "--quiet", "--bare")
        done = _git(fetched, "fetch", "--quiet", "--depth", "1", "--", source.repo, source.commit)
        if done.returncode:
            raise _not_fetched(source, done.stderr.decode(errors="replace").strip())
        return _list_in(fetched, source)


def packages(text: str, source: NodePack, replaced: Mapping[str, str]) -> str:
    """Return a list with one package a line and nothing else.

    Args:
        text: the list, as the repository has it.
        source: whose it is, for messages.
        replaced: packages by canonical name, and what is installed in their place.

    Raises:
        InvalidInputError: a line asks for an option or an address, which has no place in a list with hashes.
    """
    return "".join(f"{line}\n" for line in _packages(text, source, replaced))


def _packages(text: str, source: NodePack, replaced: Mapping[str, str]) -> Iterator[str]:
    for raw in re.sub(r"\\\r?\n\s*", " ", text).splitlines():  # a backslash continues the line
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        name = NAME.match(line)
        if name is None or "://" in line:
            if line:
                told = f"The list of {source.name} at {source.commit[:12]} has a line without a package of the index: {line}"
                raise InvalidInputError(told, "Name a package of the index instead, or leave out the node pack.")
            continue
        yield replaced.get(canonical(name[0]), name[0]) + line[name.end() :]


def _list_in(folder: Path, source: NodePack) -> str:
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder.", f"Name a clone of {source.repo}: --source {quote(source.name)}=DIR")
    if _git(folder, "cat-file", "-e", f"{source.commit}^{{commit}}").returncode:
        text = f"{folder} has no commit {source.commit} of {source.name}."
        raise InvalidInputError(text, f"Fetch it: git -C {folder} fetch {source.repo} {source.commit}")
    listed = _git(folder, "ls-tree", "--name-only", source.commit, FILE)
    if not listed.stdout.strip():
        return ""
    shown = _git(folder, "show", f"{source.commit}:{FILE}")
    if shown.returncode:
        text = f"{FILE} of {source.name} cannot be read from {folder}: {shown.stderr.decode(errors='replace').strip()}"
        raise InvalidInputError(text, "Fetch the whole commit, without a filter.")
    return _decode(shown.stdout)


def _decode(data: bytes) -> str:
    """Decode a list: a shell of Windows writes UTF-16, others UTF-8."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # no password prompt; English messages
    try:
        return subprocess.run(  # noqa: S603 - git, with arguments of ours
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git is on the path
            capture_output=True,
            check=False,
            timeout=GIT_SECONDS,
            env=environment,
        )
    except FileNotFoundError as error:
        raise BackendNotConfiguredError("Reading requirement lists needs git, which is not installed.", "Install git.") from error
    except subprocess.TimeoutExpired as error:
        raise BackendUnreachableError(
            f"git {words[0]} took more than {GIT_SECONDS} s.", "Check the network, then try again."
        ) from error


def _not_fetched(source: NodePack, words: str) -> InvalidInputError | BackendUnreachableError:
    if "not our ref" in words or "couldn't find remote ref" in words:
        text = f"{source.repo} has no commit {source.commit}."
        return InvalidInputError(text, f"Correct the commit of {source.name} in the lock that names it.")
    text = f"The repository of {source.name} cannot be read from {source.repo}: {words}"
    return BackendUnreachableError(text, f"Check the network, or read from a clone: --source {quote(source.name)}=DIR")
