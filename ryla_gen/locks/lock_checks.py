"""Say what no lock may hold: a path, an option, a command, an address that is not public. A lock may come from a stranger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from .graph_lock import PENDING, GraphLock

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
APT = re.compile(r"[a-z0-9][a-z0-9+.-]*")
PACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,60}")
SHA256 = re.compile(r"[0-9a-f]{64}")
REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+( ;[^\\]*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|    ?#.*|#.*|"
)
"""A line of a file with every package and its hashes; no option and no address has this form."""
TYPES = ("prompt", "text", "texts", "seed", "int", "float", "bool", "choice", "image", "video")


def lock_faults(lock: GraphLock) -> Iterator[str]:
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
