"""Load the schemas of ComfyUI's node classes, one file a release, and of the node packs that the built-in workflows use.

Read from data files of this package. Which weights files a server has is not part of them: those enums are
empty here, or hold only what is no file.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError

FOLDER = Path(__file__).parent
GRAPH_VERSION = "0.28.2"
"""The release that graphs of one's own are read, judged and emulated for, unless told otherwise."""
OLDEST_VERSION = "0.3.71"
"""The oldest release that this package speaks to; older ones do not take a prompt's id from their client."""
VERSIONS = (GRAPH_VERSION, OLDEST_VERSION)
"""The releases whose node schemas this package has, newest first."""


def node_schemas(version: str = GRAPH_VERSION) -> dict[str, dict[str, Any]]:
    """Return node class name to ``/object_info`` entry. Shared by all callers: do not change it.

    Args:
        version: a release of ComfyUI, one of ``VERSIONS``.

    Raises:
        InvalidInputError: the package has no schemas of that release.

    """
    return _read(known_version(version))


def core_schemas(version: str = GRAPH_VERSION) -> dict[str, dict[str, Any]]:
    """Return the node classes of ComfyUI itself, without those of packs. Shared by all callers: do not change it.

    Args:
        version: a release of ComfyUI, one of ``VERSIONS``.

    Raises:
        InvalidInputError: the package has no schemas of that release.

    """
    return _read_core(known_version(version))


def known_version(version: str) -> str:
    """Return the name of a release whose schemas the package has; a leading ``v`` is taken.

    Raises:
        InvalidInputError: it has none of that release.

    """
    name = version.strip().removeprefix("v")
    if name in VERSIONS:
        return name
    known = " and ".join(VERSIONS)
    hint = "Ask a server that runs it: --url URL. Or save its /object_info and name that file: --schemas FILE.json"
    raise InvalidInputError(f"No node schemas of ComfyUI {version!r} are packaged; there are those of {known}.", hint)


def release_key(version: str) -> tuple[int, ...] | None:
    """Return a release's numbers, to compare releases by; None for a version that cannot be read."""
    numbers = version.strip().removeprefix("v").split("+")[0].split("-")[0].split(".")
    return tuple(map(int, numbers)) if all(number.isdecimal() and len(number) < 9 for number in numbers) else None


@cache
def _read(version: str) -> dict[str, dict[str, Any]]:
    packs = json.loads((FOLDER / "node_schemas_packs.json").read_text(encoding="utf-8"))
    return {**packs, **_read_core(version)}


@cache
def _read_core(version: str) -> dict[str, dict[str, Any]]:
    import gzip  # imported late: most commands start without schemas

    return dict(json.loads(gzip.decompress((FOLDER / f"node_schemas_{version}.json.gz").read_bytes())))
