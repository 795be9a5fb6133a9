"""Look into the files of node packs at their commits, for what a lock should say of them. Runs nothing of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...locks.base import NodePack
from ...locks.git_calls import run_git
from ...locks.lists import project_of

INSTALLER = "install.py"
"""What ComfyUI-Manager runs after it has cloned a pack."""


def look_into(packs: Sequence[NodePack], folders: Mapping[str, Path]) -> tuple[NodePack, ...]:
    """Return packs with what their files say: an ``install.py`` that nobody runs, classes no file names, the licence.

    Args:
        packs: as they were found.
        folders: by a pack's name, a repository that has its commit (``fetched_repositories``).

    """
    return tuple(_looked_into(pack, folders[pack.name]) for pack in packs)


def _looked_into(pack: NodePack, folder: Path) -> NodePack:
    said = "; ".join((pack.source, *_notes(pack, folder))) if pack.source else "; ".join(_notes(pack, folder))
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
