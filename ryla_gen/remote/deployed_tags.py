"""Write down in tags what is deployed, and read it there: Modal keeps them, and tells them without a container.

The app's tags are those of its last deploy. Each version in Modal's history has one tag of its own beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..locks.families import family_lock
from ..names import CLASS_OF_FAMILY, GRAPH_CLASS, GRAPH_FAMILY
from ..version import __version__

VERSION_TAG = "ryla-gen"
"""Tag with the version of this package."""
COMFYUI_TAG = "comfyui-"
"""Beginning of the tags with ComfyUI's version, one a family."""
LOCK_TAG = "lock"
"""Tag with the digest of a graph's lock."""
_VERSION = re.compile(r"(?P<app>[^_]+)_comfyui-(?P<comfyui>.+?)(?:_lock-(?P<lock>[0-9a-f]+))?")


def app_tags(families: Iterable[str] = tuple(CLASS_OF_FAMILY)) -> dict[str, str]:
    """Return the tags of the app as it is deployed from this package, with the classes of these families."""
    return {VERSION_TAG: __version__, **{f"{COMFYUI_TAG}{family}": family_lock(family).release for family in families}}


def versions_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what an app's tags say: by family ComfyUI's version, and as ``app`` this package's."""
    found = {family: tags.get(f"{COMFYUI_TAG}{family}") for family in CLASS_OF_FAMILY} | {"app": tags.get(VERSION_TAG)}
    return {name: version for name, version in found.items() if version}


def version_tag(families: Iterable[str] = tuple(CLASS_OF_FAMILY)) -> str:
    """Return the tag of one version: this package's version and the ComfyUI of these families, ``0.2.0_comfyui-0.28.2``."""
    return f"{__version__}_comfyui-{'_'.join(sorted({family_lock(family).release for family in families}))}"


def graph_tags(release: str, digest: str) -> tuple[dict[str, str], str]:
    """Return the tags of a locked graph's app, and the one of its version.

    Args:
        release: its ComfyUI.
        digest: that of its lock.
    """
    tags = {VERSION_TAG: __version__, f"{COMFYUI_TAG}{GRAPH_FAMILY}": release, LOCK_TAG: digest}
    return tags, f"{__version__}_comfyui-{release}_lock-{digest}"


def read_version_tag(tag: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the version of this package and those of ComfyUI that a version's tag names; None and nothing where it is not ours."""
    found = _VERSION.fullmatch(tag)
    return (found["app"], tuple(found["comfyui"].split("_"))) if found else (None, ())


def read_lock_tag(tag: str) -> str | None:
    """Return the digest of the lock that a version's tag names; None where it names none."""
    found = _VERSION.fullmatch(tag)
    return found["lock"] if found else None


def replace_versions(tags: Mapping[str, str], version: str, classes: Iterable[str]) -> dict[str, str]:
    """Return an app's tags after a rollback: what they said of versions now follows from the tag of the version that is live.

    Args:
        tags: the app's tags.
        version: the tag of the version that is live.
        classes: the classes that the app has.
    """
    kept = {name: value for name, value in tags.items() if name not in (VERSION_TAG, LOCK_TAG) and not name.startswith(COMFYUI_TAG)}
    app, comfyui = read_version_tag(version)
    if app is None or len(comfyui) != 1:  # of several it is not known which family has which
        return kept
    there, digest = set(classes), read_lock_tag(version)
    families = [family for family, name in (CLASS_OF_FAMILY | {GRAPH_FAMILY: GRAPH_CLASS}).items() if name in there]
    kept |= {LOCK_TAG: digest} if digest else {}
    return kept | {VERSION_TAG: app, **{f"{COMFYUI_TAG}{family}": comfyui[0] for family in families}}
