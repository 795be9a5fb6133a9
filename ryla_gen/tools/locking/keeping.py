"""Keep what an earlier lock pinned, move what is named, and say what became different. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...errors import InvalidInputError
from ...graphs.graph import is_link
from ...locks.base import NodePack
from ...locks.graph_lock import PENDING, GraphLock, LockedModel
from ...locks.model_rows import hub_address, place_of
from .gpu_choice import ASKED
from .graph_fields import CHOSEN
from .pack_lookup import chosen_for

EVERYTHING, MODELS, PACKS, COMFYUI, PYTHON = "all", "models", "packs", "comfyui", "python"
INPUTS, GPU, APT = "inputs", "gpu", "apt"
PARTS = (EVERYTHING, COMFYUI, PACKS, PYTHON, APT, MODELS, INPUTS, GPU)
"""Parts of a lock that can be moved as a whole; besides them every pack by its name and every model by its file."""


def check_moves(moves: Iterable[str], before: GraphLock) -> None:
    """Check that a lock has everything that shall be moved.

    Raises:
        InvalidInputError: it lacks something.

    """
    known = {
        *PARTS,
        *(pack.name for pack in before.image.packs),
        *(name for item in before.models for name in (item.file, item.label)),
    }
    for name in moves:
        if name not in known:
            raise InvalidInputError(f"{before.name}.lock has no {name!r} to update.", f"Name one of: {', '.join(sorted(known))}")


def kept_models(models: Iterable[LockedModel], before: GraphLock | None, moves: Iterable[str]) -> tuple[LockedModel, ...]:
    """Return models with the revision, hash, size and licence that an earlier lock has of the same file at the same place.

    Args:
        models: as they were found now.
        before: the earlier lock.
        moves: what shall not be kept: ``all``, ``models``, or files by name.

    """
    moved = set(moves)
    known = {item.label: item for item in before.models} if before is not None and not moved & {EVERYTHING, MODELS} else {}
    return tuple(item if moved & {item.file, item.label} else _kept(item, known.get(item.label)) for item in models)


def unpinned(item: LockedModel) -> LockedModel:
    """Return a model as it was before anything was looked up: its newest revision, no hash, no size."""
    if not item.url:
        return replace(item, sha256=PENDING, bytes=None)
    repo, _, file = place_of(item.url)
    at_hub = "://" not in repo and not repo.startswith("github:")
    url = hub_address(repo, None, file) if at_hub else item.url
    return LockedModel(item.file, item.folder, url, None, PENDING, None, None, None, item.source, item.needed)


def _kept(item: LockedModel, before: LockedModel | None) -> LockedModel:
    if before is None or _file_at(before) != _file_at(item):
        return item
    if item.sha256 not in (PENDING, before.sha256):  # the drawing, or the caller, names another file now
        return item
    return replace(before, needed=item.needed)


def _file_at(item: LockedModel) -> tuple[str, str]:
    if not item.url:
        return item.source, item.file
    repo, _, file = place_of(item.url)
    return repo, file


def kept_packs(before: GraphLock | None, moves: Iterable[str]) -> Mapping[str, str]:
    """Return the packs that an earlier lock pinned, as ``--pack`` names them: node class → repository and commit."""
    moved = set(moves)
    if before is None or moved & {EVERYTHING, PACKS}:
        return {}
    return {kind: f"{pack.repo}@{pack.commit}" for pack in before.image.packs if pack.name not in moved for kind in pack.nodes}


def kept_inputs(before: GraphLock | None, graph: Mapping[str, Any], moves: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that were chosen by hand for an earlier lock and that the graph still has, as ``--input`` names them."""
    if before is None or {EVERYTHING, INPUTS}.intersection(moves):
        return ()
    chosen = (item for item in before.inputs if item.source == CHOSEN)
    return tuple(f"{item.name}={place}" for item in chosen for place in item.places if _has(graph, place))


def kept_gpu(before: GraphLock | None, moves: Iterable[str]) -> str | None:
    """Return the GPU that was asked for when an earlier lock was made."""
    asked = before is not None and before.gpu.source == ASKED and not {EVERYTHING, GPU}.intersection(moves)
    return before.gpu.name if asked and before is not None else None


def kept_apt(before: GraphLock | None, moves: Iterable[str]) -> tuple[str, ...]:
    """Return the packages of Debian of an earlier lock: those that were named for it, or written into it by hand."""
    return before.apt if before is not None and not {EVERYTHING, APT}.intersection(moves) else ()


def _has(graph: Mapping[str, Any], place: str) -> bool:
    node, _, name = place.rpartition(".")
    return node in graph and name in graph[node]["inputs"] and not is_link(graph[node]["inputs"][name])


def with_kept_facts(packs: Iterable[NodePack], before: GraphLock | None) -> Iterator[NodePack]:
    """Yield packs with what an earlier lock says of the same ones at the same commits: where they are known from, the licence."""
    known = {(pack.repo, pack.commit): pack for pack in before.image.packs} if before is not None else {}
    for pack in packs:
        old = known.get((pack.repo, pack.commit))
        yield _with_facts(pack, old) if old is not None else pack


def _with_facts(pack: NodePack, old: NodePack) -> NodePack:
    asked = {chosen_for(kind) for kind in old.nodes}  # that is how the earlier lock was kept; nobody asked for it now
    said = [old.source, *(part for part in pack.source.split("; ") if part not in asked)]
    facts = (old.version, old.licence, old.registry) if pack.registry is None else (pack.version, pack.licence, pack.registry)
    return replace(pack, version=facts[0], licence=facts[1], registry=facts[2], source="; ".join(dict.fromkeys(filter(None, said))))


def lock_changes(before: GraphLock, after: GraphLock) -> Iterator[str]:
    """Yield what differs between two locks, a line each."""
    if before.image.release != after.image.release:
        yield f"ComfyUI {before.image.release} -> {after.image.release}"
    packs = (
        {pack.name: pack.commit[:12] for pack in before.image.packs},
        {pack.name: pack.commit[:12] for pack in after.image.packs},
    )
    yield from _changes("pack ", *packs)
    yield from _changes("apt ", *(dict.fromkeys(lock.apt, "present") for lock in (before, after)))
    files = [{item.label: _described(item) for item in lock.models if item.needed} for lock in (before, after)]
    yield from _changes("model ", *files)
    inputs = [{item.name: f"{item.type} {'/'.join(item.places)}" for item in lock.inputs} for lock in (before, after)]
    yield from _changes("input ", *inputs)
    if before.graph_sha256 != after.graph_sha256:
        yield "the graph is another one"
    if before.image.python.until != after.image.python.until:
        yield f"packages uploaded until {before.image.python.until[:10]} -> {after.image.python.until[:10]}"
    if before.image.python.sha256 != after.image.python.sha256:
        yield "Python packages changed"
    if before.gpu.name != after.gpu.name:
        yield f"GPU {before.gpu.name} -> {after.gpu.name}"


def _described(item: LockedModel) -> str:
    return item.sha256[:12] if item.sha256 != PENDING else item.url


def _changes(word: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{word}{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
