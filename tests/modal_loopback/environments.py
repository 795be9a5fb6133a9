"""Virtual environments with the named distributions and nothing else, linked from the tests' own: no network, no pip."""

from __future__ import annotations

import re
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def minimal_environment(folder: Path, *requirements: str) -> Path:
    """Make a virtual environment with these distributions and all that they require.

    Args:
        folder: where to make it.
        requirements: as in pyproject (``"modal>=1.5"``, ``"pydantic[email]"``); the versions are those installed here.

    Returns:
        The path of its Python.

    """
    venv.create(folder, symlinks=True, with_pip=False, clear=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    for found in closure(*requirements).values():
        link(found, site)
    return folder / "bin" / "python"


def closure(*requirements: str) -> dict[str, Distribution]:
    """The installed distributions that these requirements need, markers and extras considered."""
    chosen: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        for extra in {"", *wanted.extras} - {known for other, known in seen if other == name}:
            seen.add((name, extra))
            chosen[name] = distribution(name)
            needs = [Requirement(text) for text in chosen[name].requires or []]
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return chosen


def link(found: Distribution, site: Path) -> None:
    """Link the modules of one distribution, file by file, since namespace packages are shared."""
    for file in found.files or []:
        target = site / file
        if ".." in file.parts or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(str(found.locate_file(file))))
