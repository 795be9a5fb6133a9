"""Find what hooks on outputs require and an image does not install, before it is deployed. Loads no hook, installs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from ..locks import canonical, pins
from ..names import CLASS_OF_FAMILY, HOOK_GROUP
from .image import installed_plugins, recipe
from .pins import REPLACED

PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
"""Where a container runs, for requirements that hold on some systems only."""


def family_warnings(families: Sequence[str]) -> list[str]:
    """Warn of each hook whose requirements the images of some families lack: there every job would fail."""
    found: dict[tuple[str, str], list[str]] = {}
    for family in families:
        made_of = recipe(family)
        for hook, needs in unmet(made_of.lock, made_of.python).items():
            found.setdefault((hook, needs), []).append(CLASS_OF_FAMILY[family])
    return [_warning(hook, needs, f"the image of {', '.join(classes)}") for (hook, needs), classes in found.items()]


def lock_warnings(requirements: Path, python: str) -> list[str]:
    """Warn of each hook whose requirements the image of a locked graph lacks.

    Args:
        requirements: the file with the Python packages of its image.
        python: version of Python in it.
    """
    return [_warning(hook, needs, "the image of this lock") for hook, needs in unmet(requirements, python).items()]


def unmet(lock: Path, python: str) -> Mapping[str, str]:
    """Return the hooks that an image does not have all requirements of, and what is lacking.

    Args:
        lock: everything that is installed into the image.
        python: version of Python in it.
    """
    there = pins(lock.read_text(encoding="utf-8"))
    found = {}
    for point in installed_plugins(HOOK_GROUP):
        needs = list(_lacking(point.dist, there, python)) if point.dist is not None else []
        if needs:
            found[point.name] = ", ".join(needs)
    return found


def _lacking(package: Distribution, there: Mapping[str, str], python: str) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement  # a deploy with a hook alone needs it

    where = PLATFORM | {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    for text in package.requires or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # pip refuses such a package; nothing can be said of it
        name = canonical(wanted.name)
        name = name if name in there else dict(REPLACED).get(name, name)  # the same modules by another name
        if name == "ryla-gen" or (wanted.marker is not None and not wanted.marker.evaluate(where)):
            continue  # our own source is in every image
        shown = f"{wanted.name}{wanted.specifier}"
        if name not in there:
            yield shown
        elif not wanted.specifier.contains(there[name], prereleases=True):
            yield f"{shown} (it has {there[name]})"


def _warning(hook: str, needs: str, where: str) -> str:
    return (
        f"The hook {hook} requires {needs}, which {where} does not install: if it cannot be imported there, every job fails with"
        " hook_failed. What to do: the section On Modal of docs/safety-hook.md"
    )
