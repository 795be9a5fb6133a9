"""Say what no lock may hold: a path, an option, a command, an address that is not public. A lock may come from a stranger."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from .base import UNTIL
from .graph_lock import PENDING, VOLUME, GraphLock, LockedInput, LockedModel
from .image_lock import ImageLock

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
APT = re.compile(r"[a-z0-9][a-z0-9+.-]*")
PACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,60}")
SHA256 = re.compile(r"[0-9a-f]{64}")
REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+( ;[^\\]*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|    ?#.*|#.*|"
)
"""A line of a file with every package and its hashes; no option and no address has this form."""
RELEASE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")
"""A version of ComfyUI or of Python, and that of Modal's image builder."""
GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}(:[1-8])?")
LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,300}")
"""A name of one line. Names of node classes stand in the commands that build an image, where a line end would begin another one."""
TYPES = ("prompt", "text", "texts", "seed", "int", "float", "bool", "choice", "image", "video")
KINDS = ("image", "video", "audio", "text", "file")
"""What an output may be."""
DEFAULTS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "texts": (str,),
    "seed": (int,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "choice": (str,),
}
"""Type of an input → what its default may be."""
MOST_INPUTS = 300
"""Inputs of one lock; a command line has an option for each."""


def lock_faults(lock: GraphLock) -> Iterator[str]:
    """Yield what no lock may hold: a path, an option, a command, an address that is not public, a number that is none."""
    if lock.image.python.file != f"{lock.name}.requirements.txt":
        yield f"the requirements must be {lock.name}.requirements.txt, not {lock.image.python.file[:80]!r}."
    yield from _image_faults(lock.image)
    if not RELEASE.fullmatch(lock.builder):
        yield f"{lock.builder[:80]!r} is no image builder of Modal."
    yield from (f"{name[:80]!r} is no package of Debian." for name in lock.apt if not APT.fullmatch(name))
    yield from (f"{name[:80]!r} is no name of a node class." for name in sorted(lock.classes) if not LINE.fullmatch(name))
    yield from _model_faults(lock)
    yield from _outside_faults(lock)
    if len(lock.inputs) > MOST_INPUTS:
        yield f"it has {len(lock.inputs)} inputs, and a lock has at most {MOST_INPUTS}."
    for given in lock.inputs:
        yield from _input_faults(given, lock.graph)
    if len({given.name for given in lock.inputs}) < len(lock.inputs):
        yield "two inputs have the same name."


def _image_faults(image: ImageLock) -> Iterator[str]:
    if not RELEASE.fullmatch(image.release):
        yield f"{image.release[:80]!r} is no release of ComfyUI."
    if not RELEASE.fullmatch(image.python.version):
        yield f"{image.python.version[:80]!r} is no version of Python."
    if not UNTIL.fullmatch(image.python.until):
        yield f"{image.python.until[:80]!r} is no time such as 2026-08-01T00:00:00Z, up to which packages count."
    for pack in (image.comfyui, *image.packs):
        if not PACK.fullmatch(pack.name) or not is_https(pack.repo):
            yield f"a pack needs a plain name and an https:// address: {pack.name[:80]!r}, {pack.repo[:200]!r}."
    if len({pack.name.lower() for pack in image.packs}) < len(image.packs):
        yield "two packs have the same name, and would lie in the same folder."


def _model_faults(lock: GraphLock) -> Iterator[str]:
    for item in lock.models:
        if not is_model_name(item.file) or not FOLDER.fullmatch(item.folder) or ".." in item.folder:
            yield f"{item.label[:200]!r} cannot name a file in ComfyUI's models folder."
        if item.url and not is_https(item.url):
            yield f"{item.label}: {item.url[:200]!r} is not an https:// address."
        if not item.url and not _is_on_volume(item):
            yield f"{item.label} has no address, and is no file of the volume with a sha256 and its bytes."
        if item.sha256 != PENDING and not SHA256.fullmatch(item.sha256):
            yield f"{item.label}: {item.sha256[:80]!r} is no sha256."
        if item.bytes is not None and item.bytes < 0:
            yield f"{item.label}: a file has no {item.bytes} bytes."
    if len({item.label for item in lock.models}) < len(lock.models):
        yield "two models have the same folder and name."


def _is_on_volume(item: LockedModel) -> bool:
    """Whether a file without an address is told by its content: no lock names where it is on a volume."""
    return item.source.startswith(VOLUME) and item.sha256 != PENDING and bool(item.bytes)


def _outside_faults(lock: GraphLock) -> Iterator[str]:
    """Yield what is wrong with the GPU, its price, and what comes out."""
    if not GPU.fullmatch(lock.gpu.name):
        yield f"{lock.gpu.name[:80]!r} is no GPU."
    if not 0 <= lock.estimate.usd_per_second < math.inf:
        yield f"a second cannot cost {lock.estimate.usd_per_second} USD."
    for made in lock.outputs:
        if made.node not in lock.graph or made.kind not in KINDS:
            yield f"the graph has no output {made.node[:80]!r} of the kind {made.kind[:40]!r}."


def _input_faults(given: LockedInput, graph: Mapping[str, Any]) -> Iterator[str]:
    if not FIELD.fullmatch(given.name) or iskeyword(given.name) or given.type not in TYPES:
        yield f"{given.name[:80]!r} ({given.type[:40]}) is no input that a lock may have."
    yield from (
        f"the input {given.name} sets {place[:80]!r}, which the graph does not have."
        for place in given.places
        if not _has(graph, place)
    )
    bounds = (given.minimum, given.maximum)
    if not all(bound is None or _is_number(bound, whole=given.type == "int") for bound in bounds):
        yield f"the input {given.name} has a bound that is no number of its type: {bounds!r:.100}."
    elif given.minimum is not None and given.maximum is not None and given.minimum > given.maximum:
        yield f"the input {given.name} has no value between {given.minimum} and {given.maximum}."
    if given.multiple_of is not None and not (_is_number(given.multiple_of, whole=True) and given.multiple_of > 0):
        yield f"the input {given.name} cannot be a multiple of {given.multiple_of!r:.100}."
    if any(value is not None for value in (*bounds, given.multiple_of)) and given.type not in ("int", "float", "seed"):
        yield f"the input {given.name} is no number, and has a range."
    if (given.type == "choice") is not bool(given.choices):
        yield f"the input {given.name} is a choice of nothing, or has choices and is none."
    if not _fits(given):
        yield f"the input {given.name} cannot have the default {given.default!r:.100}."


def _fits(given: LockedInput) -> bool:
    """Whether a default has the type of its input, and is among its choices; none is the graph's own value."""
    value = given.default
    if value is None:
        return True
    kinds = DEFAULTS.get(given.type, ())
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    return math.isfinite(value) if isinstance(value, float) else not given.choices or value in given.choices


def _is_number(value: object, *, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


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
    # urlsplit leaves line ends and tabs out of what it returns.
    return plain and url.isprintable() and " " not in url and not re.search(r"[\s\"'`$;&|<>\\]", parts.netloc + parts.path)
