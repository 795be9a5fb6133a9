"""Make a workflow class of a lock, so that a graph of one's own is estimated, run and recorded like a built-in workflow."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from ..errors import InvalidInputError
from ..graphs.graph import Graph
from ..locks.graph_lock import GraphLock, LockedInput, lock_digest
from ..locks.image_lock import ImageLock
from ..locks.lock_reading import read_graph_lock
from ..locks.model_rows import row_of
from ..models.weights_table import Weights
from ..names import GRAPH_FAMILY
from ..support.shell_words import path_word
from .base import Files, Seed, Workflow
from .facts import OutputKind, Work, graph_work
from .fields import ImageInput, VideoInput

IMAGE_LIMIT, OTHER_LIMIT = 900.0, 3600.0
"""Seconds a graph may run that makes pictures alone, and any other: the limits of the families with such graphs."""
TEXT_LENGTH = 20_000
NOT_SET = ("name",)
"""What every workflow class has, and their base has not."""


class LockedWorkflow(Workflow):
    """A graph of one's own, as its lock describes it."""

    family: ClassVar[str] = GRAPH_FAMILY
    lock: ClassVar[GraphLock]
    _own_file: ClassVar[str] = ""
    """Its file, where a path named it; a lock that is found by its name needs none."""
    _digest: ClassVar[str] = ""
    _read_from: ClassVar[Path | None] = None

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by the graph with the request's numbers in it."""
        return graph_work(_with_values(cls.lock, {name: value for name, value in inputs.items() if not isinstance(value, dict)}))

    @classmethod
    def image_lock(cls) -> ImageLock:
        """Return what the lock says of its image."""
        return cls.lock.image

    @classmethod
    def command_word(cls) -> str:
        """Return what names it on a command line: its file, where it is not known by its name."""
        return path_word(cls._own_file) if cls._own_file else cls.lock.name

    @classmethod
    def lock_file(cls) -> str:
        """Return the file that it was read from."""
        return cls._own_file or super().lock_file()

    @classmethod
    def packages_file(cls) -> Path:
        """Return the file of its Python packages: beside the lock, which a package of its own has beside its module."""
        beside = cls._read_from or Path(str(sys.modules[cls.__module__].__file__))
        return beside.with_name(cls.lock.image.python.file)

    @classmethod
    def lock_digest(cls) -> str:
        """Return the digest of the file that it was read from."""
        return cls._digest

    def checks_files(self) -> bool:
        """Return False: a server judges the names itself, and the emulator needs no more than those."""
        return False

    def time_limit(self) -> float:
        """Return the limit of the families that make the same."""
        return IMAGE_LIMIT if all(item.kind == "image" for item in self.lock.outputs) else OTHER_LIMIT

    def required_weights(self) -> tuple[Weights, ...]:
        """Return the models of the lock that the graph loads."""
        return tuple(row_of(item) for item in self.lock.models if item.needed)

    def stored_loras(self) -> dict[str, str | None]:
        """Return none: every file that the graph loads is in the lock."""
        return {}

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return the graph with this request's values in it, its files saved under the request's own folder."""
        media = self.media_fields()
        values = {item.name: files.of(item.name) if item.name in media else getattr(self, item.name) for item in self.lock.inputs}
        api = _with_values(self.lock, values)
        for node in api.values():
            if isinstance(node["inputs"].get("filename_prefix"), str):
                node["inputs"]["filename_prefix"] = files.prefix
        return Graph.from_api(api)


def workflow_of(lock: GraphLock) -> type[LockedWorkflow]:
    """Make the workflow class of a lock.

    Raises:
        InvalidInputError: an input of it has a name that is taken.

    """
    taken = next((item.name for item in lock.inputs if hasattr(LockedWorkflow, item.name) or item.name in NOT_SET), None)
    if taken is not None:
        text = f"An input of {lock.name}.lock cannot have the name {taken!r}: every workflow has something of that name."
        raise InvalidInputError(text, f"Give it another one: --input my_{taken}=NODE.INPUT")
    fields: dict[str, Any] = {item.name: (_annotation(item), _field(item)) for item in lock.inputs}
    name = "".join(part.capitalize() for part in lock.name.split("-"))
    made = create_model(name, __base__=LockedWorkflow, __module__=__name__, __doc__=f"The graph {lock.name}.", **fields)
    made.name = lock.python_name
    made.lock = lock
    made.output_kind = _output_kind(lock)
    return made


def read_workflow(path: Path, *, kept: bool = False) -> type[LockedWorkflow]:
    """Make the workflow class of a lock's file.

    Args:
        path: the file.
        kept: whether it is found by its name, so that nobody has to know the file.

    Raises:
        InvalidInputError, HashMismatchError, StorageFailedError: it is no lock that can be used.

    """
    made = workflow_of(read_graph_lock(path))
    made._own_file, made._digest = "" if kept else str(path), lock_digest(path.read_text(encoding="utf-8"))
    made._read_from = path.absolute()
    return made


def _with_values(lock: GraphLock, values: Mapping[str, Any]) -> dict[str, Any]:
    api = copy.deepcopy(dict(lock.graph))
    for item in lock.inputs:
        if (value := values.get(item.name)) is not None:
            for place in item.places:
                node, _, name = place.rpartition(".")
                api[node]["inputs"][name] = value
    return api


def _annotation(item: LockedInput) -> Any:
    plain: dict[str, Any] = {
        "prompt": str,
        "text": str,
        "texts": str | None,
        "seed": Seed,
        "int": int,
        "float": float,
        "bool": bool,
        "image": ImageInput,
        "video": VideoInput,
    }
    return Literal[item.choices] if item.type == "choice" else plain[item.type]


def _field(item: LockedInput) -> Any:
    match item.type:
        case "prompt":
            return Field(min_length=1, max_length=TEXT_LENGTH, description=item.help)
        case "text" | "texts":
            return Field(default=item.default, max_length=TEXT_LENGTH, description=item.help)
        case "image" | "video":
            return Field(description=item.help)
    return Field(default=item.default, ge=item.minimum, le=item.maximum, multiple_of=item.multiple_of, description=item.help)


def _output_kind(lock: GraphLock) -> OutputKind | None:
    kinds = {item.kind for item in lock.outputs}
    return "image" if kinds == {"image"} else "video" if kinds == {"video"} else None
