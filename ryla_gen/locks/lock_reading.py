"""Read the lock of a graph, and the file of packages beside it. Runs nothing, asks nobody."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import HashMismatchError, InvalidInputError, StorageFailedError
from .graph_lock import (
    GraphLock,
    LockedEstimate,
    LockedGpu,
    LockedInput,
    LockedModel,
    LockedOutput,
    OpenQuestion,
    checked_lock_name,
)
from .image_lock import FORMAT, image_from, sha256_of
from .lock_checks import REQUIREMENT, lock_faults

LARGEST_FILE = 64 * 2**20
"""Bytes of a lock, and of its file of packages: a graph may have half of it."""


def read_graph_lock(path: Path) -> GraphLock:
    """Read the lock of a graph from its file, and check the file of requirements beside it.

    Raises:
        InvalidInputError: it is none, or a part of it is missing, or is nothing that a lock may hold.
        HashMismatchError: the graph or the requirements are not those that were locked.
        StorageFailedError: a file cannot be read.

    """
    lock = parse_lock(_read_text(path), path.name)
    check_requirements(read_requirements(path, lock), lock)
    return lock


def read_requirements(path: Path, lock: GraphLock) -> str:
    """Return the text of the file with the packages of a lock, which lies beside the lock's own.

    Raises:
        StorageFailedError: it cannot be read.

    """
    return _read_text(path.with_name(lock.image.python.file))


def parse_lock(text: str, name: str) -> GraphLock:
    """Read the lock of a graph from its text.

    Args:
        text: the file's content.
        name: the file's name, for messages.

    Raises:
        InvalidInputError: it is none, or a part of it is missing, or is nothing that a lock may hold.
        HashMismatchError: the graph is not the one that was locked.

    """
    hint = "Make a new one: ryla-gen graph lock GRAPH.json"
    if len(text) > LARGEST_FILE:
        raise InvalidInputError(f"{name} is larger than {LARGEST_FILE // 2**20} MB, which no lock is.")
    try:
        data = tomllib.loads(text)
        if data.get("lock") != FORMAT:
            raise InvalidInputError(f"{name} is a lock of form {data.get('lock')!r}, not {FORMAT}.", "Update this package.")
        if "graph" not in data:
            raise InvalidInputError(f"{name} is the lock of an image without a graph.", hint)
        lock, digest = _lock_from(data), data["graph"]["sha256"]
        changed, wrong = lock.graph_sha256 != digest, next(lock_faults(lock), None)
    except (tomllib.TOMLDecodeError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"{name} is not the lock of a graph: {why}.", hint) from error
    if changed:
        text = f"The graph in {name} is not the one that was locked: somebody changed it by hand."
        raise HashMismatchError(text, "Change the graph in ComfyUI and lock it again: ryla-gen graph lock GRAPH.json")
    if wrong is not None:
        raise InvalidInputError(f"{name}: {wrong}", hint)
    return lock


def check_requirements(text: str, lock: GraphLock) -> None:
    """Check the file of requirements of a lock.

    Raises:
        HashMismatchError: it is not the one that was locked.
        InvalidInputError: a line is no package with its hashes.

    """
    python = lock.image.python
    if len(text) > LARGEST_FILE:
        raise InvalidInputError(f"{python.file} is larger than {LARGEST_FILE // 2**20} MB, which no list of packages is.")
    if sha256_of(text) != python.sha256:
        told = f"{python.file} is not the file that {lock.name}.lock names: it has another sha256."
        raise HashMismatchError(told, "Bring the file that belongs to it, or lock the graph again: ryla-gen graph lock GRAPH.json")
    wrong = next((line for line in text.splitlines() if not REQUIREMENT.fullmatch(line)), None)
    if wrong is not None:
        raise InvalidInputError(f"{python.file} has a line that is no package with its hashes: {wrong[:100]}")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise InvalidInputError(f"{path} is larger than {LARGEST_FILE // 2**20} MB, which no lock is.")
        return data.decode("utf-8")
    except InvalidInputError:
        raise
    except (OSError, ValueError) as error:
        text = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}."
        hint = "Give the path of a lock that you may read; its file of packages lies beside it."
        raise StorageFailedError(text, hint) from error


def _lock_from(data: Mapping[str, Any]) -> GraphLock:
    from pydantic_core import PydanticCustomError

    from ..graphs.api_format import checked_nodes

    graph, gpu, estimate = data["graph"], data["gpu"], data["estimate"]
    try:
        api = checked_nodes(json.loads(graph["api"]))
    except PydanticCustomError as error:
        raise InvalidInputError(error.message()) from None
    return GraphLock(
        name=checked_lock_name(str(graph["name"])),
        graph=api,
        image=image_from(data),
        builder=str(data["image"]["builder"]),
        apt=tuple(map(str, data["image"].get("apt", ()))),
        models=tuple(_model(row) for row in data.get("models", ())),
        inputs=tuple(_input(row, api) for row in data.get("inputs", ())),
        outputs=tuple(
            LockedOutput(str(row["node"]), str(row["class_type"]), str(row["kind"]), str(row.get("source", "")))
            for row in data.get("outputs", ())
        ),
        gpu=LockedGpu(str(gpu["name"]), str(gpu["why"]), str(gpu.get("source", ""))),
        estimate=LockedEstimate(float(estimate["usd_per_second"]), str(estimate["prices_as_of"]), str(estimate.get("source", ""))),
        open=tuple(_question(row) for row in data.get("open", ())),
        graph_source=str(graph.get("source", "")),
    )


def _model(row: Mapping[str, Any]) -> LockedModel:
    texts = {name: None if row.get(name) is None else str(row[name]) for name in ("revision", "licence")}
    size, gated = row.get("bytes"), row.get("gated")
    return LockedModel(
        file=str(row["file"]),
        folder=str(row["folder"]),
        url=str(row.get("url", "")),
        sha256=str(row["sha256"]),
        bytes=None if size is None else int(size),
        gated=None if gated is None else bool(gated),
        source=str(row["source"]),
        needed=bool(row.get("needed", True)),
        **texts,
    )


def _input(row: Mapping[str, Any], graph: Mapping[str, Any]) -> LockedInput:
    places = tuple(map(str, row["places"]))
    read = LockedInput(
        name=str(row["name"]),
        type=str(row["type"]),
        places=places,
        help=str(row["help"]),
        default=row.get("default"),
        minimum=row.get("minimum"),
        maximum=row.get("maximum"),
        multiple_of=row.get("multiple_of"),
        choices=tuple(map(str, row.get("choices", ()))),
        source=str(row.get("source", "")),
    )
    if read.default is None and read.type == "int":
        node, _, name = places[0].rpartition(".")
        read = replace(read, default=graph[node]["inputs"][name])
    return read


def _question(row: Mapping[str, Any]) -> OpenQuestion:
    texts = {name: str(row.get(name, "")) for name in ("kind", "subject", "question", "command", "source")}
    return OpenQuestion(**texts)
