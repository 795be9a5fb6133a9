"""Write the images' locks, or list the stale ones: ``python -m ryla_gen.remote.locks``. For maintainers.

It needs uv, git and the network. Nothing is installed; packages without wheels are unpacked to read what they need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import locks
from ...errors import InvalidInputError, RylaGenError
from .. import pins

COMMAND = "python -m ryla_gen.remote.locks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    images = options.images or list(pins.IMAGES)
    try:
        return check(images) if options.check else write(images, _folders(options.source))
    except RylaGenError as error:
        sys.stderr.write(f"error[{error.code}]: {error}\n")
        return 1


def check(images: Sequence[str]) -> int:
    """Print which locks are out of date; return 1 when there is one."""
    stale = [image for image in images if not fresh(image)]
    for image in images:
        sys.stdout.write(f"{image}: {'stale' if image in stale else 'made from the pins as they are'}\n")
    if stale:
        sys.stderr.write(f"Write them again: {COMMAND} {' '.join(stale)}\n")
    return 1 if stale else 0


def fresh(image: str) -> bool:
    """Whether an image's committed lock was made from the pins as they are."""
    return pins.requirements(image).made(_read_committed(image))


def write(images: Sequence[str], folders: dict[str, Path]) -> int:
    """Resolve and write the locks, and say of each what changed. Nothing is written unless all of them resolve."""
    made = {}
    for image in images:
        sys.stderr.write(f"{image}: resolving\n")
        made[image] = locks.resolve(pins.requirements(image), folders)
    for image, lock in made.items():
        changes = locks.differences(_read_committed(image), lock)
        pins.lock_file(image).write_text(lock, encoding="utf-8", newline="\n")
        lines = [f"{image}: {len(locks.pins(lock))} packages, {len(changes)} changed", *(f"  {line}" for line in changes)]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _read_committed(image: str) -> str:
    file = pins.lock_file(image)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _folders(given: Sequence[str]) -> dict[str, Path]:
    known = {item.name for image in pins.IMAGES for item in pins.requirements(image).repositories}
    folders = {}
    for item in given:
        name, mark, folder = item.partition("=")
        if name not in known or not mark or not folder:
            raise InvalidInputError(f"--source {item} names no repository.", f"NAME=DIR; names: {', '.join(sorted(known))}")
        folders[name] = Path(folder).expanduser().resolve()
    return folders


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the locks of the images again, and say what changed.")
    parser.add_argument("images", nargs="*", choices=[*pins.IMAGES, []], metavar="IMAGE", help=f"of {', '.join(pins.IMAGES)}")
    parser.add_argument("--check", action="store_true", help="write nothing; say which locks are out of date")
    parser.add_argument(
        "--source", action="append", default=[], metavar="NAME=DIR", help="read a repository from a clone, not from its address"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
