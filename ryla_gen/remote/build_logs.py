"""Keep what the last deploy of an app said while it built the images, secrets masked: one file for each app in the home folder.

Modal keeps a build's log under the id of its image, and names that id only while it builds; of an app whose first build failed
there is nothing to ask at all. Must not deploy.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import NotDeployedError
from ..settings import Settings
from ..support.log_text import LogText

log = logging.getLogger("ryla_gen.modal")

FOLDER = "logs"
"""Folder of these files in the home folder."""
IMAGE = re.compile(r"\bim-[A-Za-z0-9]{1,40}\b")
"""The id of an image: a deploy that builds one names it, and one that finds all of them built names none."""
IMAGE_LINE = "ryla_gen: this container runs on the image "
"""What a container writes at its start before the id of its image: nothing else tells it to others."""


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """What a deploy said."""

    path: Path
    at: str
    """When that was; ISO 8601 UTC."""
    lines: tuple[str, ...]


def build_log_path(settings: Settings) -> Path:
    """Return the file of the app that the settings mean."""
    environment = f".{settings.modal_environment}" if settings.modal_environment else ""
    return settings.home / FOLDER / f"{settings.modal_app}{environment}.build.log"


@contextmanager
def kept_build(settings: Settings, on_line: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Keep the lines of a deploy, beside handing each on. A deploy that built nothing, and worked, leaves the file as it was.

    Args:
        settings: which app, and where.
        on_line: takes each line as it is.
    """
    said, text, built = list[str](), LogText(), False

    def take(line: str) -> None:
        nonlocal built
        said.extend(text.add(f"{line}\n"))
        built = built or IMAGE.search(line) is not None
        on_line(line)

    try:
        yield take
    except NotDeployedError:  # not a refused token or a dead network: those say nothing about the image
        built = True
        raise
    finally:
        if built:
            _write(build_log_path(settings), said)


def read_build(settings: Settings) -> KeptBuild | None:
    """Return what the last deploy from this machine that built something said; None where there was none."""
    path = build_log_path(settings)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
    return KeptBuild(path, changed.isoformat(timespec="seconds").replace("+00:00", "Z"), tuple(lines))


def _write(path: Path, lines: list[str]) -> None:
    """Write the file whole or not at all; a disk that is full fails no deploy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")
        temporary.replace(path)
    except OSError as error:
        log.warning("warning: the log of the build could not be kept in %s: %s", path, error.strerror or error)
