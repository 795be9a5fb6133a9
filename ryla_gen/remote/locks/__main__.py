"""Write the images' locks, list the stale ones, or move a family to another ComfyUI: ``python -m ryla_gen.remote.locks``.

For maintainers. It needs uv, git and the network. Nothing is installed; packages without wheels are unpacked to read what they
need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ... import locks
from ...errors import InvalidInputError, RylaGenError
from .. import pins
from ..config import FAMILIES
from .moving import Move, changes_of, move_families

COMMAND = "python -m ryla_gen.remote.locks"
MOVE = "move"
"""First word of the command that moves families."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _move(_move_parser().parse_args(given[1:])) if given[:1] == [MOVE] else _write(_parser().parse_args(given))
    except RylaGenError as error:
        sys.stderr.write(f"error[{error.code}]: {error}\n")
        return 1


def _write(options: argparse.Namespace) -> int:
    images = options.images or list(pins.IMAGES)
    return check(images) if options.check else write(images, _folders(options.source))


def _move(options: argparse.Namespace) -> int:
    folders = _folders(options.source)
    target = Move(options.version, options.commit, options.until, tuple(options.require))
    before = {family: pins.image_lock(family) for family in options.families}
    after = move_families(options.families, target, folders.get("ComfyUI"))
    done = write(options.families, folders, after)
    for family, lock in after.items():
        sys.stdout.write("".join(f"{family}: {line}\n" for line in changes_of(family, before[family].release, lock.release)))
    return done


def check(images: Sequence[str]) -> int:
    """Print which locks are out of date; return 1 when there is one."""
    stale = [image for image in images if not fresh(image)]
    for image in images:
        sys.stdout.write(f"{image}: {'stale' if image in stale else 'made from the pins as they are'}\n")
    if stale:
        sys.stderr.write(f"Write them again: {COMMAND} {' '.join(stale)}\n")
    return 1 if stale else 0


def fresh(image: str) -> bool:
    """Whether an image's committed packages were resolved from the pins as they are, and the lock names that very file."""
    text = _read_committed(image)
    named = image == pins.WEIGHTS or pins.image_lock(image).python.sha256 == locks.sha256_of(text)
    return named and pins.requirements(image).made(text)


def write(images: Sequence[str], folders: Mapping[str, Path], moved: Mapping[str, locks.ImageLock] | None = None) -> int:
    """Resolve and write the locks, and say of each what changed. Nothing is written unless all of them resolve.

    Args:
        images: families, or ``weights``.
        folders: by the name of a repository, a clone to read from in place of its address.
        moved: locks that differ from the files, by family.
    """
    chosen = {image: pins.image_lock(image) for image in images if image != pins.WEIGHTS} | dict(moved or {})
    made = {}
    for image in images:
        sys.stderr.write(f"{image}: resolving\n")
        asked = pins.requirements_of(chosen[image]) if image in chosen else pins.requirements(image)
        made[image] = locks.resolve(asked, folders)
    for image, text in made.items():
        changes = locks.differences(_read_committed(image), text)
        if image in chosen:
            lock = chosen[image]
            named = replace(lock.python, file=file_of(image, text, made), sha256=locks.sha256_of(text))
            locks.write_lock(pins.lock_file(image), replace(lock, python=named))
        pins.requirements_file(image).write_text(text, encoding="utf-8", newline="\n")
        lines = [f"{image}: {len(locks.pins(text))} packages, {len(changes)} changed", *(f"  {line}" for line in changes)]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def file_of(image: str, text: str, made: Mapping[str, str]) -> str:
    """Return the file of a family's packages, by name: another family's where it holds the same, never one that another needs.

    Args:
        image: the family.
        text: its packages, resolved.
        made: packages of the families that are written together, by family; those of the others are the committed ones.
    """
    others = {other: pins.image_lock(other).python.file for other in FAMILIES if other != image}
    texts = {
        name: [made.get(other, _read_committed(other)) for other in others if others[other] == name] for name in others.values()
    }
    same = next((name for name, held in texts.items() if all(item == text for item in held)), None)
    own = pins.image_lock(image).python.file
    return same or (own if own not in texts else f"{image}.requirements.txt")


def _read_committed(image: str) -> str:
    file = pins.requirements_file(image)
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
    text = "Write the locks of the images again, and say what changed."
    more = f"Another release of ComfyUI: {COMMAND} {MOVE} --help"
    parser = argparse.ArgumentParser(prog=COMMAND, description=text, epilog=more)
    parser.add_argument("images", nargs="*", choices=[*pins.IMAGES, []], metavar="IMAGE", help=f"of {', '.join(pins.IMAGES)}")
    parser.add_argument("--check", action="store_true", help="write nothing; say which locks are out of date")
    _add_source(parser)
    return parser


def _move_parser() -> argparse.ArgumentParser:
    text = "Move families to another release of ComfyUI: resolve their packages, and say what changed, also in their node classes."
    parser = argparse.ArgumentParser(prog=f"{COMMAND} {MOVE}", description=text)
    parser.add_argument("families", nargs="+", choices=list(FAMILIES), metavar="FAMILY", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("version", metavar="VERSION", help="release of ComfyUI, such as 0.28.2")
    parser.add_argument("--commit", help="its commit; the one of the tag unless given")
    parser.add_argument("--until", metavar="DATE", help="leave out later packages; the beginning of today unless given")
    more = "version of a package that the families pin beside ComfyUI's list: torch==2.11.0"
    parser.add_argument("--require", action="append", default=[], metavar="NAME==VERSION", help=more)
    _add_source(parser)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", action="append", default=[], metavar="NAME=DIR", help="read a repository from a clone, not from its address"
    )


if __name__ == "__main__":
    raise SystemExit(main())
