"""Look into the files of node packs at their commits, for what a lock should say of them. Runs nothing of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...locks.base import NodePack
from ...locks.git_calls import run_git
from ...locks.lists import project_of

INSTALLER = "install.py"
"""What ComfyUI-Manager runs after it has cloned a pack."""


def look_into(packs: Sequence[NodePack], folders: Mapping[str, Path], unknown: Sequence[str] = ()) -> tuple[NodePack, ...]:
    """Return packs with what their files say: an ``install.py`` that nobody runs, classes no file names, the licence.

    Args:
        packs: as they were found.
        folders: by a pack's name, a repository that has its commit (``fetched_repositories``).
        unknown: classes that nobody knows the pack of. One that the files of exactly one of these packs register is that pack's.

    """
    return tuple(_looked_into(pack, folders[pack.name]) for pack in _with_registered(packs, folders, unknown))


def _with_registered(packs: Sequence[NodePack], folders: Mapping[str, Path], unknown: Sequence[str]) -> tuple[NodePack, ...]:
    given: dict[str, dict[str, str]] = {}
    for kind in unknown:
        places = {pack.name: place for pack in packs if (place := _registered_in(pack, folders[pack.name], kind))}
        if len(places) == 1:
            (name,) = places
            given.setdefault(name, {})[kind] = f"{places[name]} registers {kind}"
    return tuple(_with_classes(pack, given.get(pack.name, {})) for pack in packs)


def _with_classes(pack: NodePack, classes: Mapping[str, str]) -> NodePack:
    """Return a pack with more classes, each with where that is known from."""
    return replace(pack, nodes=(*pack.nodes, *classes), source=_joined(pack.source, classes.values()))


def _registered_in(pack: NodePack, folder: Path, kind: str) -> str | None:
    """Return the file, with its line, in which a pack registers a class: as a key of its table, or as a node's id."""
    words = ("grep", "-n", "--fixed-strings", "-e", f'"{kind}"', "-e", f"'{kind}'", pack.commit, "--", "*.py")
    quoted = f"[\"']{re.escape(kind)}[\"']"
    registers = re.compile(rf"^\s*{quoted}\s*:|node_id\s*=\s*{quoted}|CLASS_MAPPINGS\[{quoted}\]\s*=|CLASS_MAPPINGS.*{quoted}\s*:")
    for line in run_git(*words, folder=folder).stdout.decode(errors="replace").splitlines():
        _, file, number, text = (*line.split(":", 3), "", "", "", "")[:4]
        if registers.search(text):
            return f"{file}:{number}"
    return None


def _joined(source: str, more: Iterable[str]) -> str:
    """Join what is said of a pack, each once: a lock that is made again has it already."""
    return "; ".join(dict.fromkeys(filter(None, (*source.split("; "), *more))))


def _looked_into(pack: NodePack, folder: Path) -> NodePack:
    said = _joined(pack.source, _notes(pack, folder))
    return replace(pack, source=said, licence=pack.licence or _licence(pack, folder))


def _notes(pack: NodePack, folder: Path) -> Iterator[str]:
    if run_git("ls-tree", "--name-only", pack.commit, INSTALLER, folder=folder).stdout.strip():
        yield f"it has an {INSTALLER}, which is not run"
    unnamed = [kind for kind in pack.nodes if not _names(pack, folder, kind)]
    if unnamed:
        yield f"none of its Python files names {', '.join(unnamed)}: the check at the image's build decides"


def _names(pack: NodePack, folder: Path, kind: str) -> bool:
    words = ("grep", "--quiet", "--fixed-strings", "-e", kind, pack.commit, "--", "*.py")
    return run_git(*words, folder=folder).returncode != 1  # 1 is: not found


def _licence(pack: NodePack, folder: Path) -> str | None:
    named = project_of(folder, pack).get("license")
    text = named.get("text") if isinstance(named, dict) else named
    line = text.strip().partition("\n")[0] if isinstance(text, str) else ""
    return line[:80] or None
