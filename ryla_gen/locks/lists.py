"""Read the requirement list of a repository at a commit, by git, from its address or from a clone on this disk."""

from __future__ import annotations

import codecs
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from ..errors import BackendUnreachableError, InvalidInputError
from ..support.shell_words import path_word
from .base import NodePack, canonical
from .git_calls import run_git

FILE = "requirements.txt"
PROJECT = "pyproject.toml"
"""Read for its ``dependencies`` where there is no list."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FILES = re.compile(r"\.(whl|zip|tar\.gz)\b")
"""What a line with a file in place of a package's name has."""
OTHER_COMMIT = "Take a commit of the pack without it: --pack CLASS=OWNER/REPOSITORY@COMMIT"


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
    with fetched_repositories((source,)) as folders:
        return _list_in(folders[source.name], source)


@contextmanager
def fetched_repositories(sources: Sequence[NodePack], folders: Mapping[str, Path] | None = None) -> Iterator[dict[str, Path]]:
    """Fetch each repository at its commit into a folder that goes away at the end; by name, the folders to read from.

    Args:
        sources: repositories and their commits, each with a name of its own.
        folders: by the name of a repository, a clone to read from in place of its address.

    Raises:
        InvalidInputError: a commit is not in its repository.
        BackendUnreachableError: an address does not answer.
        BackendNotConfiguredError: there is no git here.
    """
    there = dict(folders or {})
    with tempfile.TemporaryDirectory(prefix="ryla-gen-lock-") as place:
        for number, source in enumerate(item for item in sources if item.name not in there):
            fetched = Path(place) / str(number)
            _fetch(source, fetched)
            there[source.name] = fetched
        yield there


def _fetch(source: NodePack, folder: Path) -> None:
    folder.mkdir()
    run_git("init", "--quiet", "--bare", folder=folder)
    protocols = "file" if source.repo.startswith("file://") else "https"
    done = run_git("fetch", "--quiet", "--depth", "1", "--", source.repo, source.commit, folder=folder, protocols=protocols)
    if done.returncode:
        raise _not_fetched(source, done.stderr.decode(errors="replace").strip())


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
        if not line:
            continue
        if name is None or "://" in line or " @" in line or FILES.search(line):
            told = f"The list of {source.name} at {source.commit[:12]} has a line without a package of the index: {line[:200]}"
            raise InvalidInputError(
                told, f"{OTHER_COMMIT} Without a hash it cannot be locked.", {"pack": source.name, "line": line}
            )
        yield replaced.get(canonical(name[0]), name[0]) + line[name.end() :]


def _list_in(folder: Path, source: NodePack) -> str:
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder.", f"Name a clone of {source.repo}: --source {quote(source.name)}=DIR")
    if run_git("cat-file", "-e", f"{source.commit}^{{commit}}", folder=folder).returncode:
        text = f"{folder} has no commit {source.commit} of {source.name}."
        raise InvalidInputError(text, f"Fetch it: git -C {path_word(folder)} fetch {source.repo} {source.commit}")
    listed = read_file(folder, source, FILE)
    return listed if listed is not None else "\n".join(_dependencies(project_of(folder, source)))


def read_file(folder: Path, source: NodePack, name: str) -> str | None:
    """Return the text of a file of a repository at its commit; None where it has none.

    Raises:
        InvalidInputError: it cannot be read.
    """
    if not run_git("ls-tree", "--name-only", source.commit, name, folder=folder).stdout.strip():
        return None
    shown = run_git("show", f"{source.commit}:{name}", folder=folder)
    if shown.returncode:
        text = f"{name} of {source.name} cannot be read from {folder}: {shown.stderr.decode(errors='replace').strip()}"
        raise InvalidInputError(text, "Fetch the whole commit, without a filter.")
    return _decode(shown.stdout)


def project_of(folder: Path, source: NodePack) -> Mapping[str, object]:
    """Return the table ``[project]`` of a repository's ``pyproject.toml``; empty where there is none that can be read."""
    try:
        table = tomllib.loads(read_file(folder, source, PROJECT) or "").get("project")
    except tomllib.TOMLDecodeError:
        return {}
    return table if isinstance(table, dict) else {}


def _dependencies(project: Mapping[str, object]) -> Iterator[str]:
    listed = project.get("dependencies")
    yield from (item for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()


def _decode(data: bytes) -> str:
    """Decode a list: a shell of Windows writes UTF-16, others UTF-8."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _not_fetched(source: NodePack, words: str) -> InvalidInputError | BackendUnreachableError:
    if "not our ref" in words or "couldn't find remote ref" in words:
        text = f"{source.repo} has no commit {source.commit}."
        return InvalidInputError(text, f"Correct the commit of {source.name} in the lock that names it.")
    text = f"The repository of {source.name} cannot be read from {source.repo}: {words}"
    return BackendUnreachableError(text, "Check the network, then try again.")
