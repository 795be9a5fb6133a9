"""Write down in the app's tags what is deployed, and read it there: Modal keeps them, and tells them without a container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..locks.families import family_lock
from ..names import CLASS_OF_FAMILY
from ..version import __version__

VERSION_TAG = "ryla-gen"
"""Tag with the version of this package."""
COMFYUI_TAG = "comfyui-"
"""Beginning of the tags with ComfyUI's version, one a family."""


def app_tags(families: Iterable[str] = tuple(CLASS_OF_FAMILY)) -> dict[str, str]:
    """Return the tags of the app as it is deployed from this package, with the classes of these families."""
    return {VERSION_TAG: __version__, **{f"{COMFYUI_TAG}{family}": family_lock(family).release for family in families}}


def versions_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what an app's tags say: by family ComfyUI's version, and as ``app`` this package's."""
    found = {family: tags.get(f"{COMFYUI_TAG}{family}") for family in CLASS_OF_FAMILY} | {"app": tags.get(VERSION_TAG)}
    return {name: version for name, version in found.items() if version}
