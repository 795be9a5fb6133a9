"""Define the lock of a graph, and write it: what its image is made of, as for a built-in family, and all that the graph needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInputError, LockOpenError
from ..names import APP, LOCK_APP_PREFIX
from ..support.counting import count_text
from .image_lock import FORMAT, ImageLock, add_image, add_rows, sha256_of, table_of

SUFFIX = ".lock"
"""What the name of a lock's file ends with."""
VOLUME = "volume"
"""Begins the source of a file that is published nowhere: it is on the volume already, and has a hash and no address."""
PENDING = "pending"
"""Stands for a hash that nobody published: the first download fixes it."""
DIGEST_LENGTH = 12
"""Digits of the digest of a lock that messages and Modal's tags show."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
"""A lock's name; it is a part of the app's name and, with ``_`` for ``-``, a name in Python."""
LARGEST = 2**63 - 1
"""Whole numbers of TOML end here."""
HEAD = (
    "What a graph needs to run: ComfyUI, node packs, Python packages, models, inputs. Written by ryla-gen graph lock.\n"
    "Commit it with the file of requirements beside it. To change something: ryla-gen graph lock --update"
)


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One file that the graph loads."""

    file: str
    """Its name as the loader node has it, inside the folder."""
    folder: str
    """Below ComfyUI's ``models``."""
    url: str
    """``https://`` address that it is downloaded from; empty where its source is the volume."""
    revision: str | None
    """Commit of a Hub repository; None where the address has none, or where it was not looked up."""
    sha256: str
    """Its hash, or ``pending``."""
    bytes: int | None
    licence: str | None
    gated: bool | None
    """Whether the download needs an account that has accepted the licence; None where it was not looked up."""
    source: str
    """Where the address is known from."""
    needed: bool = True
    """Whether a node that runs loads it; the others are listed, and not downloaded."""

    @property
    def label(self) -> str:
        """Folder and name below ``models``."""
        return f"{self.folder}/{self.file}"

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LockedInput:
    """One field of the graph's method."""

    name: str
    type: str
    """prompt, text, texts, seed, int, float, bool, choice, image or video."""
    places: tuple[str, ...]
    """The inputs that it sets, such as ``3.seed``."""
    help: str
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
    choices: tuple[str, ...] = ()
    source: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LockedOutput:
    """One node that ends the graph with a file or a text."""

    node: str
    class_type: str
    kind: str
    """image, video, audio, text or file."""
    source: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LockedGpu:
    """The GPU proposed."""

    name: str
    why: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class LockedEstimate:
    """What a second on it costs."""

    usd_per_second: float
    """Of the GPU alone; cores and memory add some percent."""
    prices_as_of: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Something that could not be settled; a lock with one is not deployed."""

    kind: str
    """model, pack, class or comfyui."""
    subject: str
    question: str
    command: str
    """What settles it."""
    source: str = ""

    def to_data(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"kind": self.kind, "subject": self.subject, "question": self.question, "command": self.command}


@dataclass(frozen=True, slots=True)
class GraphLock:
    """Everything that one graph needs to run."""

    name: str
    graph: Mapping[str, Any] = field(repr=False)
    """The API format."""
    image: ImageLock
    builder: str
    """Modal's image builder."""
    apt: tuple[str, ...]
    """Packages of Debian beside those of every image."""
    models: tuple[LockedModel, ...]
    inputs: tuple[LockedInput, ...]
    outputs: tuple[LockedOutput, ...]
    gpu: LockedGpu
    estimate: LockedEstimate
    open: tuple[OpenQuestion, ...] = ()
    graph_source: str = ""
    """What file the graph was read from: its name, without its folders."""

    @property
    def python_name(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")

    @property
    def app(self) -> str:
        """Name of its Modal app."""
        return f"{LOCK_APP_PREFIX}{self.name}"

    @property
    def classes(self) -> frozenset[str]:
        """Every node class that the graph uses."""
        return frozenset(str(node["class_type"]) for node in self.graph.values())

    @property
    def graph_sha256(self) -> str:
        """Digest of the graph."""
        return sha256_of(graph_text(self.graph))

    def require_closed(self) -> None:
        """Refuse a lock with open questions.

        Raises:
            LockOpenError: it has some.

        """
        if self.open:
            asked = "\n".join(f"  {item.subject}: {item.question}\n    {item.command}" for item in self.open)
            text = f"{self.name}.lock has {count_text(len(self.open), 'open question')}:\n{asked}"
            raise LockOpenError(text, "Settle them with the commands above.", {"questions": [item.to_data() for item in self.open]})


def graph_text(graph: Mapping[str, Any]) -> str:
    """Return a graph as the text that a lock holds, and whose digest it names."""
    return json.dumps(graph, ensure_ascii=False, separators=(",", ":"))  # in the graph's own order, which outputs keep


def checked_lock_name(text: str) -> str:
    """Return a lock's name.

    Raises:
        InvalidInputError: it cannot name one.

    """
    name = text.replace("_", "-")
    if not NAME.fullmatch(name) or name.endswith("-"):
        hint = "Use lower case letters, digits and dashes, at most 41, a letter first: --name my-portrait"
        raise InvalidInputError(f"{text[:80]!r} cannot name a lock.", hint)
    if f"{LOCK_APP_PREFIX}{name}" == APP:
        raise InvalidInputError(f"The name {name!r} is taken.", f"Choose another, such as --name my-{name}")
    return name


def lock_digest(text: str) -> str:
    """Return by what a lock's text is told from another: the beginning of its sha256."""
    return sha256_of(text)[:DIGEST_LENGTH]


def lock_of_app(app: str) -> str | None:
    """Return the name of the lock whose app has this name; None for an app of families."""
    return app.removeprefix(LOCK_APP_PREFIX) if app.startswith(LOCK_APP_PREFIX) and app != APP else None


def lock_text(lock: GraphLock) -> str:
    """Write a lock as TOML."""
    import tomlkit  # here, because containers read locks and have no tomlkit

    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    document["lock"] = FORMAT
    document["graph"] = table_of(
        name=lock.name, sha256=lock.graph_sha256, source=lock.graph_source or None, api=graph_text(lock.graph)
    )
    add_image(document, lock.image)
    source = "ryla_gen; apt: --apt" if lock.apt else "ryla_gen"
    document["image"] = table_of(builder=lock.builder, python=lock.image.python.version, apt=list(lock.apt), source=source)
    document["gpu"] = table_of(name=lock.gpu.name, why=lock.gpu.why, source=lock.gpu.source or None)
    estimate = lock.estimate
    document["estimate"] = table_of(
        usd_per_second=estimate.usd_per_second, prices_as_of=estimate.prices_as_of, source=estimate.source or None
    )
    add_rows(document, "models", [table_of(**_model_row(item)) for item in lock.models])
    add_rows(document, "inputs", [table_of(**_input_row(item)) for item in lock.inputs])
    rows = [
        table_of(node=item.node, class_type=item.class_type, kind=item.kind, source=item.source or None) for item in lock.outputs
    ]
    add_rows(document, "outputs", rows)
    add_rows(document, "open", [table_of(**item.to_data(), source=item.source or None) for item in lock.open])
    return tomlkit.dumps(document)


def _model_row(item: LockedModel) -> dict[str, Any]:
    return {**item.to_data(), "url": item.url or None, "needed": None if item.needed else False}


def _input_row(item: LockedInput) -> dict[str, Any]:
    row = {**item.to_data(), "choices": list(item.choices) or None, "source": item.source or None}
    if isinstance(row["default"], int) and abs(row["default"]) > LARGEST:
        row["default"] = None  # the graph has it
    return row
