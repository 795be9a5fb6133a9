"""Write the generated pages, or check that they are fresh: ``python -m docs_tools [--check]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
OWNED = ("workflows", "images/graphs")
"""Folders in which every file is generated: what is there and not made any more is stale."""


def generated() -> Iterator[tuple[str, str]]:
    """Yield path below docs and text of every generated file."""
    from .api_page import api_page
    from .commands_page import commands_page
    from .errors_page import errors_page
    from .house_picture import house_picture, way_picture
    from .models_page import models_page
    from .workflow_pages import workflow_pages

    yield from workflow_pages()
    yield "models.md", models_page()
    yield "troubleshooting.md", errors_page()
    yield "cli.md", commands_page()
    yield "api.md", api_page()
    yield "images/house.svg", house_picture()
    yield "images/request.svg", way_picture()


def stale(docs: Path = DOCS, fresh: Mapping[str, str] | None = None) -> list[str]:
    """Return the files below docs that are not what the generator would write, or that it would not write at all."""
    fresh = dict(generated()) if fresh is None else fresh
    found = [name for name, text in fresh.items() if not _holds(docs / name, text)]
    there = [path.relative_to(docs).as_posix() for folder in OWNED for path in (docs / folder).glob("*") if path.is_file()]
    return [*found, *(name for name in there if name not in fresh)]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def write(docs: Path = DOCS) -> list[str]:
    """Write what is stale and return it."""
    fresh = dict(generated())
    names = stale(docs, fresh)
    for name in names:
        path = docs / name
        if name not in fresh:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fresh[name], encoding="utf-8", newline="\n")
    return names


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m docs_tools [--check]\n")
        return 2
    names = stale() if arguments else write()
    word = "stale" if arguments else "written"
    sys.stdout.writelines(f"{word}: docs/{name}\n" for name in names)
    if arguments and names:
        sys.stdout.write("Write them anew: python -m docs_tools\n")
    return 1 if arguments and names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
