"""Choose ComfyUI for a lock, and the packages of its image: shipped, kept, or resolved. Asks whom the options name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import InvalidInputError
from ...locks.base import NodePack, beginning_of_today
from ...locks.families import FOLDER, family_lock
from ...locks.graph_lock import OpenQuestion
from ...locks.image_lock import ImageLock, sha256_of
from ...models.node_schemas import GRAPH_VERSION, VERSIONS, core_schemas
from ...names import CLASS_OF_FAMILY
from .graph_file import GraphSource
from .keeping import COMFYUI, EVERYTHING, PYTHON
from .lock_options import LockOptions

LOCKABLE = (GRAPH_VERSION,)
"""Releases of ComfyUI whose requirements are shipped: those of the built-in families without packs."""
SHIPPED = "shipped with this package: "
"""Begins the source of ComfyUI; who chose its release follows."""
NEWEST = "the newest release that knows the graph's classes"


def wanted_release(source: GraphSource, options: LockOptions) -> tuple[str, str]:
    """Return the release to lock for, and who chose it: the newest that knows every class of ComfyUI's own, unless one is named."""
    if options.comfyui is not None:
        return options.comfyui.strip().removeprefix("v"), options.comfyui_source
    if options.before is not None and not {EVERYTHING, COMFYUI}.intersection(options.moves):
        before = options.before.image
        return before.release, before.comfyui.source.partition(SHIPPED)[2] or NEWEST
    classes = set(source.classes())
    every = set().union(*(core_schemas(version) for version in VERSIONS))
    fits = (version for version in VERSIONS if classes & every <= set(core_schemas(version)))
    return next(fits, GRAPH_VERSION), NEWEST


def shipped_image(release: str, source: str) -> ImageLock:
    """Return the image of a release without packs.

    Raises:
        InvalidInputError: its requirements are not shipped.

    """
    found = (lock for lock in map(family_lock, CLASS_OF_FAMILY) if lock.release == release and not lock.packs)
    if (base := next(found, None)) is None:
        hint = f"Lock it for one whose requirements are: --comfyui {' or '.join(LOCKABLE)}"
        raise InvalidInputError(f"No requirements of ComfyUI {release[:40]!r} are shipped.", hint)
    return replace(base, comfyui=replace(base.comfyui, source=f"{SHIPPED}{source}"))


def locked_image(
    name: str, base: ImageLock, packs: tuple[NodePack, ...], options: LockOptions, unknown: Sequence[str]
) -> tuple[ImageLock, str, tuple[OpenQuestion, ...]]:
    """Return the image of a lock, its packages, and what is open about them.

    Args:
        name: the lock's.
        base: the image of its release without packs.
        packs: those of the graph.
        options: whether packages are kept, and who is asked for them.
        unknown: classes that nobody knows the pack of.

    Raises:
        InvalidInputError: packages contradict each other.
        BackendUnreachableError: a repository or the package index does not answer.

    """
    python = replace(base.python, file=f"{name}.requirements.txt", until=_until(base, packs, options))
    image, text, questions = replace(base, packs=packs, python=python), "", tuple[OpenQuestion, ...]()
    source = f"resolved by uv from the lists of ComfyUI and of {_names(packs)}"
    if not packs:
        text, source = (FOLDER / base.python.file).read_text(encoding="utf-8"), f"{SHIPPED}as for the built-in families"
    elif (kept := _kept_packages(image, options)) is not None:
        text = kept
    elif options.network is not None:
        image, text = options.network.packages(image, unknown)
    else:
        questions, source = (_unresolved(packs, options),), "not resolved"
    return replace(image, python=replace(python, sha256=sha256_of(text), source=source)), text, questions


def _until(base: ImageLock, packs: Sequence[NodePack], options: LockOptions) -> str:
    """Return the time up to which packages count; only those of packs are resolved here, and so can move."""
    before, shipped = options.before.image if options.before is not None else None, base.python.until
    if not packs:
        return shipped
    if {EVERYTHING, PYTHON}.intersection(options.moves):
        return max(shipped, beginning_of_today())
    if before is None or not before.packs:
        return shipped
    return before.python.until if before.release == base.release else max(shipped, before.python.until)


def _kept_packages(image: ImageLock, options: LockOptions) -> str | None:
    """Return the packages of the earlier lock where nothing that they are made of has moved."""
    before = options.before
    if before is None or not options.packages or {EVERYTHING, PYTHON}.intersection(options.moves):
        return None
    same = {pack.name: pack.commit for pack in before.image.packs} == {pack.name: pack.commit for pack in image.packs}
    return options.packages if same and before.image.comfyui.commit == image.comfyui.commit else None


def _unresolved(packs: tuple[NodePack, ...], options: LockOptions) -> OpenQuestion:
    names = _names(packs)
    text = f"The Python packages of {names} were not resolved, since that needs the network: lock it without --offline."
    return OpenQuestion("python", names, text, options.command, f"the lists of {names}")


def _names(packs: Sequence[NodePack]) -> str:
    return ", ".join(pack.name for pack in packs)
