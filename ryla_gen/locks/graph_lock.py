"""Read and write the lock of a graph: what its image is made of, as for a built-in family, and the graph with all that it needs.

A lock may come from a stranger: what is read here is checked, so that nothing in it is a path, an option or a command.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..errors import HashMismatchError, InvalidInputError, LockOpenError, StorageFailedError
from ..support.counting import count_text
from .image_lock import FORMAT, ImageLock, add_image, add_rows, image_from, sha256_of, table_of

SUFFIX = ".lock"
"""What the name of a lock's file ends with."""
PENDING = "pending"
"""Stands for a hash that nobody published: the first download fixes it."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
"""A lock's name; it is a part of the app's name and, with ``_`` for ``-``, a name in Python."""
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
APT = re.compile(r"[a-z0-9][a-z0-9+.-]*")
PACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,60}")
SHA256 = re.compile(r"[0-9a-f]{64}")
REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+( ;[^\\]*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|    ?#.*|#.*|"
)
"""A line of a file with every package and its hashes; no option and no address has this form."""
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
    """``https://`` address that it is downloaded from."""
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
        return f"ryla-{self.name}"

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
        InvalidInputError: it cannot name one, or a built-in workflow has it.

    """
    from ..workflows.registry import BUILT_IN

    name = text.replace("_", "-")
    if not NAME.fullmatch(name) or name.endswith("-"):
        hint = "Use lower case letters, digits and dashes, at most 41, a letter first: --name my-portrait"
        raise InvalidInputError(f"{text[:80]!r} cannot name a lock.", hint)
    if name.replace("-", "_") in BUILT_IN or name == "comfyui":
        raise InvalidInputError(f"The name {name!r} is taken.", f"Choose another, such as --name my-{name}")
    return name


def requirements_beside(path: Path) -> Path:
    """Return the file with the Python packages of a lock's file."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.requirements.txt")


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
    document["image"] = table_of(builder=lock.builder, python=lock.image.python.version, apt=list(lock.apt), source="ryla_gen")
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
    return {**item.to_data(), "needed": None if item.needed else False}


def _input_row(item: LockedInput) -> dict[str, Any]:
    row = {**item.to_data(), "choices": list(item.choices) or None, "source": item.source or None}
    if isinstance(row["default"], int) and abs(row["default"]) > LARGEST:
        row["default"] = None  # the graph has it
    return row


def read_graph_lock(path: Path) -> GraphLock:
    """Read the lock of a graph from its file, and check the file of requirements beside it.

    Raises:
        InvalidInputError: it is none, or a part of it is missing, or is nothing that a lock may hold.
        HashMismatchError: the graph or the requirements are not those that were locked.
        StorageFailedError: a file cannot be read.

    """
    lock = parse_lock(_read_text(path), path.name)
    beside = path.with_name(lock.image.python.file)
    check_requirements(_read_text(beside), lock)
    return lock


def read_requirements(path: Path) -> str:
    """Return the text of the file with the packages of a lock's file.

    Raises:
        StorageFailedError: it cannot be read.

    """
    return _read_text(requirements_beside(path))


def parse_lock(text: str, name: str) -> GraphLock:
    """Read the lock of a graph from its text.

    Args:
        text: the file's content.
        name: the file's name, for messages.

    Raises:
        InvalidInputError: it is none, or a part of it is missing, or is nothing that a lock may hold.
        HashMismatchError: the graph is not the one that was locked.

    """
    hint = "Make a new one: ryla-gen graph lock FILE.json"
    try:
        data = tomllib.loads(text)
        if data.get("lock") != FORMAT:
            raise InvalidInputError(f"{name} is a lock of form {data.get('lock')!r}, not {FORMAT}.", "Update this package.")
        if "graph" not in data:
            raise InvalidInputError(f"{name} is the lock of an image without a graph.", hint)
        lock = _lock_from(data)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{name} is not the lock of a graph: {type(error).__name__}: {error}.", hint) from error
    if lock.graph_sha256 != data["graph"]["sha256"]:
        text = f"The graph in {name} is not the one that was locked: somebody changed it by hand."
        raise HashMismatchError(text, "Change the graph in ComfyUI and lock it again: ryla-gen graph lock FILE.json")
    wrong = next(_faults(lock), None)
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
    if sha256_of(text) != python.sha256:
        told = f"{python.file} is not the file that {lock.name}.lock names: it has another sha256."
        raise HashMismatchError(told, "Bring the file that belongs to it, or lock the graph again: ryla-gen graph lock FILE.json")
    wrong = next((line for line in text.splitlines() if not REQUIREMENT.fullmatch(line)), None)
    if wrong is not None:
        raise InvalidInputError(f"{python.file} has a line that is no package with its hashes: {wrong[:100]}")


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise StorageFailedError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


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
        url=str(row["url"]),
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


TYPES = ("prompt", "text", "texts", "seed", "int", "float", "bool", "choice", "image", "video")


def _faults(lock: GraphLock) -> Iterator[str]:
    """Yield what no lock may hold: a path, an option, a command, an address that is not public."""
    if lock.image.python.file != f"{lock.name}.requirements.txt":
        yield f"the requirements must be {lock.name}.requirements.txt, not {lock.image.python.file[:80]!r}."
    for pack in (lock.image.comfyui, *lock.image.packs):
        if not PACK.fullmatch(pack.name) or not is_https(pack.repo):
            yield f"a pack needs a plain name and an https:// address: {pack.name[:80]!r}, {pack.repo[:200]!r}."
    for item in lock.models:
        if not is_model_name(item.file) or not FOLDER.fullmatch(item.folder) or ".." in item.folder:
            yield f"{item.label[:200]!r} cannot name a file in ComfyUI's models folder."
        if not is_https(item.url):
            yield f"{item.label}: {item.url[:200]!r} is not an https:// address."
        if item.sha256 != PENDING and not SHA256.fullmatch(item.sha256):
            yield f"{item.label}: {item.sha256[:80]!r} is no sha256."
    yield from (f"{name[:80]!r} is no package of Debian." for name in lock.apt if not APT.fullmatch(name))
    for given in lock.inputs:
        if not FIELD.fullmatch(given.name) or given.type not in TYPES:
            yield f"{given.name[:80]!r} ({given.type[:40]}) is no input that a lock may have."
        yield from (
            f"the input {given.name} sets {place[:80]!r}, which the graph does not have."
            for place in given.places
            if not _has(lock.graph, place)
        )
    if len({given.name for given in lock.inputs}) < len(lock.inputs):
        yield "two inputs have the same name."


def _has(graph: Mapping[str, Any], place: str) -> bool:
    node, _, name = place.rpartition(".")
    return node in graph and name in graph[node]["inputs"]


def is_model_name(name: str) -> bool:
    """Whether a loader's value can name a file inside ComfyUI's folder, and nowhere else."""
    parts = PurePosixPath(name).parts
    plain = bool(parts) and not name.startswith(("/", ".", "~", "-")) and "\\" not in name and ":" not in name
    return (
        plain and not any(part in ("..", ".") or part.startswith(".") for part in parts) and name.isprintable() and len(name) < 240
    )


def is_https(url: str) -> bool:
    """Whether this is a plain ``https://`` address: a host, and no credentials."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port in (None, 443)
    except ValueError:
        return False
    return plain and not re.search(r"[\s\"'`$;&|<>\\]", parts.netloc + parts.path)


def file_sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
