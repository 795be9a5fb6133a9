"""Lock a graph: find its ComfyUI, packs, models, packages, inputs and outputs, and say what could not be settled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...comfy.schema import Schemas
from ...errors import InvalidInputError
from ...locks.base import NodePack
from ...locks.families import node_packs
from ...locks.graph_lock import SUFFIX, GraphLock, LockedModel, OpenQuestion, checked_lock_name
from ...locks.lock_checks import APT, lock_faults
from ...locks.lock_reading import read_graph_lock
from ...models.node_schemas import core_schemas, node_schemas
from ...support.shell_words import path_word
from ...workflows.locked import workflow_of
from ...workflows.registry import BUILT_IN
from .drawn_packs import ClassHint, with_core_classes
from .gpu_choice import propose_gpu
from .graph_fields import locked_inputs, locked_outputs
from .graph_file import GraphSource, read_source, refuse_what_no_image_has
from .graph_models import NamedFile, drawn_models, implied_files, named_files, noted_addresses
from .image_choice import locked_image, shipped_image, wanted_release
from .keeping import (
    check_moves,
    kept_apt,
    kept_gpu,
    kept_inputs,
    kept_models,
    unpinned,
    with_kept_facts,
)
from .lock_options import NO_OPTIONS, LockOptions
from .model_choice import BY_ITSELF, ModelHints, settle_models, unnamed_choices
from .model_facts import with_warning
from .model_options import SOURCE, names_of
from .pack_lookup import PackSources, find_packs
from .table_facts import with_table_facts
from .volume_models import VolumeModels

BUILDER = "2025.06"
"""Modal's image builder of every lock, as of the built-in families."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock that was made."""

    lock: GraphLock
    requirements: str = field(repr=False)
    """Text of the file beside it."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, a sentence each."""


def lock_graph(path: Path, options: LockOptions = NO_OPTIONS) -> Locked:
    """Lock a graph. Reads the file and this package's own tables, and asks whom the options name.

    Raises:
        InvalidInputError: the file holds no graph, or an option does not fit, or packages contradict each other.
        WorkflowInvalidError: no image that can be built would run it.
        PackUnknownError: a pack that was chosen cannot be found.
        HashMismatchError: a file has another hash than the graph or the lock says.
        BackendUnreachableError: somebody who is asked does not answer.

    """
    name = _checked_name(path, options)
    options = _with_commands(options, path)
    source = _source_of(path, options)
    base = shipped_image(*wanted_release(source, options))
    release = base.release
    known = {**node_schemas(release), **(options.schemas or {})}
    foreign = with_core_classes(source.unknown_classes(core_schemas(release)), options.schemas or {})
    packs, open_packs = _known_packs(foreign, options.packs, options.before)
    given = {kind for pack in packs for kind in pack.nodes}
    refuse_what_no_image_has(source, {kind: hint for kind, hint in foreign.items() if kind not in given}, release)
    graph, notes = _converted(source, known, options)
    graph, renamed = _with_forward_slashes(graph, known)
    named = named_files(graph, known)
    stored = VolumeModels(options.volume, options.command)
    models, open_models = settle_models(named, implied_files(graph), _hints(source, options, stored))
    models = (*models, *_brought(named, models, options))
    models, open_volume = stored.settle(kept_models(models, options.before, options.moves))
    open_models = (*open_models, *open_volume)
    if options.network is not None:
        facts = options.network.facts(models, options.command, options.retry)
        models, open_models = facts.models, (*open_models, *facts.questions)
    else:
        models = tuple(map(with_table_facts, models))
    models = tuple(map(with_warning, models))
    silent = _named_by_nobody(foreign, open_packs, options.packs)
    image, requirements, open_python = locked_image(name, base, packs, options, silent)
    given = {kind for pack in image.packs for kind in pack.nodes}
    open_packs = tuple(item for item in open_packs if item.subject not in given)
    gpu, estimate = propose_gpu(models, options.gpu or kept_gpu(options.before, options.moves), len(open_models))
    lock = GraphLock(
        name=name,
        graph=graph,
        image=image,
        builder=BUILDER,
        apt=tuple(dict.fromkeys((*kept_apt(options.before, options.moves), *options.apt))),
        models=models,
        inputs=locked_inputs(graph, known, _chosen_inputs(graph, options)),
        outputs=tuple(locked_outputs(graph, known)),
        gpu=gpu,
        estimate=estimate,
        open=(*open_models, *open_packs, *open_python),
        graph_source=source.name,
    )
    _check_use(lock, path)
    unasked = (f"The volume was not asked for models: {stored.fault.message}",) if stored.fault is not None else ()
    return Locked(lock, requirements, (*notes, *renamed, *unasked, *_silent_loaders(graph, foreign, named, models, options)))


def _checked_name(path: Path, options: LockOptions) -> str:
    """Return the lock's name, after checking what can be without reading the graph."""
    name = checked_lock_name(options.name or name_of(path))
    if name.replace("-", "_") in BUILT_IN:
        raise InvalidInputError(f"The name {name!r} is that of a workflow.", f"Choose another: --name my-{name}")
    if (wrong := next((word for word in options.apt if not APT.fullmatch(word)), None)) is not None:
        raise InvalidInputError(f"--apt {wrong[:80]!r} is no name of a package of Debian.", "Write it as --apt libsndfile1")
    if options.before is not None:
        check_moves(options.moves, options.before)
    return name


def _check_use(lock: GraphLock, path: Path) -> None:
    """Refuse to write what could not be read again, or not be used.

    Raises:
        InvalidInputError: the graph has something that no lock may have.

    """
    if (wrong := next(lock_faults(lock), None)) is not None:
        raise InvalidInputError(f"{path.name} cannot be locked: {wrong}", "Change that in ComfyUI, and save the graph again.")
    workflow_of(lock)


def _with_commands(options: LockOptions, path: Path) -> LockOptions:
    command = options.command or f"ryla-gen graph lock {path_word(path)}"
    return replace(options, command=command, retry=options.retry or command, packs=replace(options.packs, command=command))


def _source_of(path: Path, options: LockOptions) -> GraphSource:
    """Read the graph of a file; of a lock, the graph that it has."""
    if path.suffix != SUFFIX:
        return read_source(path)
    lock = options.before or read_graph_lock(path)
    return GraphSource(lock.graph_source or path.name, lock.graph, None)


def name_of(path: Path) -> str:
    """Make a lock's name of a file's: ``My Portrait_v2.json`` is ``my-portrait-v2``."""
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.removesuffix(".api").lower()).strip("-")
    return (name if name[:1].isalpha() else f"graph-{name}")[:41].rstrip("-")


def _converted(source: GraphSource, known: Schemas, options: LockOptions) -> tuple[dict[str, Any], tuple[str, ...]]:
    try:
        return source.to_api(known)
    except InvalidInputError as error:
        if not error.details.get("unknown"):
            raise
        lacking = ", ".join(map(str, error.details["unknown"]))
        text = f"The values of {lacking} in {source.name} cannot be matched to their inputs without the node schemas of their pack."
        hint = (
            f"Ask a ComfyUI that has the pack: {options.retry} --url http://127.0.0.1:8188. "
            "Or export the graph there with Workflow > Export (API)."
        )
        raise InvalidInputError(text, hint, error.details) from None


def _with_forward_slashes(graph: dict[str, Any], known: Schemas) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write the names of files as a server on Linux lists them."""
    wide = [item for item in named_files(graph, known) if "\\" in item.file]
    for item in wide:
        for node in graph.values():
            node["inputs"].update(
                {name: item.file.replace("\\", "/") for name, value in node["inputs"].items() if value == item.file}
            )
    return graph, tuple(f"{item.file} is {item.file.replace(chr(92), '/')} on Linux; the graph was changed so." for item in wide)


def _hints(source: GraphSource, options: LockOptions, stored: VolumeModels) -> ModelHints:
    drawing = source.drawing or {}
    return ModelHints(
        chosen={**_models_before(options, bool(drawing)), **options.models},
        drawn=drawn_models(drawing),
        noted=noted_addresses(drawing),
        listed=options.listed,
        listed_name=options.listed_name,
        stored=stored.find,
        command=options.command,
    )


def _models_before(options: LockOptions, drawn: bool) -> dict[str, LockedModel]:
    """Return the models of the earlier lock without their pins: what the caller said of them, and where there is no drawing all."""
    models = options.before.models if options.before is not None else ()
    kept = (item for item in models if not drawn or item.source == SOURCE or not item.url)
    return {item.label: unpinned(item) for item in kept if not options.models.keys() & set(names_of(item.folder, item.file))}


def _chosen_inputs(graph: Mapping[str, Any], options: LockOptions) -> tuple[str, ...]:
    """Return the fields that were chosen by hand, now or for the earlier lock; of one name the new one counts."""
    now = {text.partition("=")[0].lower().replace("-", "_") for text in options.inputs}
    kept = kept_inputs(options.before, graph, options.moves)
    return (*(text for text in kept if text.partition("=")[0] not in now), *options.inputs)


def _brought(named: Sequence[NamedFile], models: Sequence[LockedModel], options: LockOptions) -> Iterator[LockedModel]:
    """Yield the files that no node names and the caller brings, now or for the earlier lock."""
    before = options.before.models if options.before is not None else ()
    chosen = {item.label: unpinned(item) for item in before if BY_ITSELF in item.source} | dict(options.models)
    there = {item.label for item in models}
    yield from (item for item in unnamed_choices(named, chosen) if item.label not in there)


def _silent_loaders(
    graph: Mapping[str, Any],
    classes: Mapping[str, ClassHint],
    named: Sequence[NamedFile],
    models: Sequence[LockedModel],
    options: LockOptions,
) -> Iterator[str]:
    """Yield a sentence for each loader of a pack that names no file: which ones it reads stands in its code alone."""
    loud = {item.node for item in named}
    if any(BY_ITSELF in item.source for item in models):
        return
    for node_id, node in graph.items():
        kind = str(node["class_type"])
        if kind in classes and "load" in kind.lower() and node_id not in loud:
            command = f"{options.command} --model FOLDER/FILE=hf://OWNER/REPOSITORY/FILE"
            yield f"{kind} (node {node_id}) names no file. Where it loads some by itself, bring each of them: {command}"


def _named_by_nobody(classes: Mapping[str, ClassHint], questions: Sequence[OpenQuestion], sources: PackSources) -> tuple[str, ...]:
    """Return the classes in question of which neither the drawing nor a node map says anything."""
    silent = (item.subject for item in questions if classes.get(item.subject) == ClassHint())
    return tuple(kind for kind in silent if not (sources.listed and sources.listed.packs_of(kind)))


def _known_packs(
    classes: Mapping[str, ClassHint], sources: PackSources, before: GraphLock | None
) -> tuple[tuple[NodePack, ...], tuple[OpenQuestion, ...]]:
    """Find the packs of node classes that ComfyUI itself does not have: those of the built-in families first."""
    ours = {kind: pack for pack in node_packs() for kind in pack.nodes if kind in classes and kind not in sources.chosen}
    found = find_packs({kind: hint for kind, hint in classes.items() if kind not in ours}, sources)
    tried = {
        pack.name: replace(pack, nodes=tuple(kind for kind in pack.nodes if kind in ours), source="the built-in families")
        for pack in ours.values()
    }
    packs = {pack.repo.lower(): pack for pack in with_kept_facts(found.packs, before)}
    # A class that a family's pack does not list may be named by the caller: one pack, at the caller's commit, gives them all.
    for pack in [item for item in tried.values() if item.repo.lower() in packs]:
        chosen = packs[pack.repo.lower()]
        packs[pack.repo.lower()] = replace(chosen, nodes=tuple(dict.fromkeys((*chosen.nodes, *pack.nodes))))
    return (*(item for item in tried.values() if item.repo.lower() not in packs), *packs.values()), found.questions
