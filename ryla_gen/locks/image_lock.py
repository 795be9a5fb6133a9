"""Read and write the lock of an image, a TOML file: ComfyUI's version and commit, the node packs, what Python installs.

The packages with their hashes are in a file beside it, which the lock names with its sha256. Runs nothing.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, StorageFailedError
from .base import NodePack

FORMAT = 1
"""Number of the file's form; one with another number is refused."""
HEAD = (
    "What one image is made of. Versions, commits and requirements may be changed by hand;\n"
    "then run the command of CONTRIBUTING.md, which resolves the packages again."
)
LINE = 100
"""Characters of a list that are written in one line."""
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class PythonLock:
    """What Python installs."""

    version: str
    platform: str
    """As uv names it."""
    until: str
    """Packages that were uploaded later do not count."""
    requirements: tuple[str, ...]
    """Packages that this image asks for beside those of all images, one version each."""
    file: str
    """Name of the file beside the lock with every package and its hashes."""
    sha256: str
    """Of that file; empty while it is not written."""
    source: str = ""
    """Where the packages are known from; empty in the lock of a family."""


@dataclass(frozen=True, slots=True)
class ImageLock:
    """What one image is made of."""

    comfyui: NodePack
    packs: tuple[NodePack, ...]
    python: PythonLock

    @property
    def release(self) -> str:
        """ComfyUI's version."""
        return str(self.comfyui.version)


def read_lock(path: Path) -> ImageLock:
    """Read a lock.

    Raises:
        InvalidInputError: it is none, or a part of it is missing.
        StorageFailedError: the file cannot be read.

    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        if data.get("lock") != FORMAT:
            raise InvalidInputError(f"{path.name} is a lock of form {data.get('lock')!r}, not {FORMAT}.", "Update this package.")
        return image_from(data)
    except OSError as error:
        raise StorageFailedError(f"The lock {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        text = f"{path.name} is not the lock of an image: {error}."
        raise InvalidInputError(text, "CONTRIBUTING.md shows what one looks like.") from error


def image_from(data: Mapping[str, Any]) -> ImageLock:
    """Read the tables of an image; a lock of a graph has the same.

    Raises:
        InvalidInputError: a commit is none.
        KeyError, TypeError, AttributeError: a part is missing, or has another form.

    """
    packs = tuple(_pack(row, str(row["name"])) for row in data.get("packs", ()))
    return ImageLock(_pack(data["comfyui"], "ComfyUI"), packs, _python(data["python"]))


def write_lock(path: Path, lock: ImageLock) -> None:
    """Write a lock."""
    import tomlkit  # here, because containers read locks and have no tomlkit

    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    document["lock"] = FORMAT
    add_image(document, lock)
    path.write_text(tomlkit.dumps(document), encoding="utf-8", newline="\n")


def add_image(document: Any, lock: ImageLock) -> None:
    """Add the tables of an image to a TOML document."""
    document["comfyui"] = _table_of_pack(lock.comfyui)
    python = lock.python
    document["python"] = table_of(
        version=python.version,
        platform=python.platform,
        until=python.until,
        requirements=list(python.requirements),
        file=python.file,
        sha256=python.sha256,
        source=python.source or None,
    )
    add_rows(document, "packs", [_table_of_pack(pack, named=True) for pack in lock.packs])


def add_rows(document: Any, name: str, tables: Sequence[Any]) -> None:
    """Add tables of one name to a TOML document; none leave no trace."""
    import tomlkit

    if tables:
        document.add(tomlkit.nl())
        document[name] = rows = tomlkit.aot()
        for table in tables:
            rows.append(table)


def sha256_of(text: str) -> str:
    """Return the digest of a file with this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(row: Mapping[str, Any], name: str) -> NodePack:
    commit = str(row["commit"])
    if not COMMIT.fullmatch(commit):
        raise InvalidInputError(f"{name}: {commit!r} is not a commit.", "Write all 40 hexadecimal digits of it.")
    classes = tuple(map(str, row.get("classes", ())))
    version, licence, registry = (None if row.get(key) is None else str(row[key]) for key in ("version", "licence", "registry"))
    return NodePack(name, str(row["repository"]), version, commit, licence, classes, registry, str(row.get("source", "")))


def _python(row: Mapping[str, Any]) -> PythonLock:
    texts = {name: str(row[name]) for name in ("version", "platform", "until", "file", "sha256")}
    return PythonLock(**texts, requirements=tuple(map(str, row["requirements"])), source=str(row.get("source", "")))


def _table_of_pack(pack: NodePack, *, named: bool = False) -> Any:
    known = {
        "name": pack.name if named else None,
        "version": pack.version,
        "commit": pack.commit,
        "repository": pack.repo,
        "registry": pack.registry,
        "licence": pack.licence,
        "classes": list(pack.nodes) or None,
        "source": pack.source or None,
    }
    return table_of(**known)


def table_of(**values: Any) -> Any:
    """Return a TOML table; None leaves an entry out, and long lists stand on several lines."""
    import tomlkit

    table = tomlkit.table()
    for name, value in values.items():
        if value is None:
            continue
        table[name] = value
        if isinstance(value, list):
            table[name].multiline(sum(len(str(item)) + 4 for item in value) > LINE)
    return table
