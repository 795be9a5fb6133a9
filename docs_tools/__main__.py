"""Write everything that is derived from the classes, or check that it is fresh: ``python -m docs_tools [--check]``.

That is the parts of sources that name every workflow (exports, the client's methods, the Modal app, TypeScript), the pages, the
tables of hand-written pages, the site's navigation, and the record of what a deploy registers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OWNED = ("docs/workflows",)
"""Folders in which every file is generated: what is there and not made any more is stale."""


def sources(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield path and text of the sources; the rest is made of what they say, in a process that has read them."""
    from .python_parts import python_sources
    from .typescript_parts import typescript_sources

    yield from python_sources(root)
    yield from typescript_sources(root)


def pages() -> Iterator[tuple[str, str]]:
    """Yield path and text of every page that is generated whole."""
    from .api_page import api_page
    from .commands_page import commands_page
    from .errors_page import errors_page
    from .models_page import models_page
    from .workflow_pages import workflow_pages

    yield from ((f"docs/{name}", text) for name, text in workflow_pages())
    yield "docs/models.md", models_page()
    yield "docs/troubleshooting.md", errors_page()
    yield "docs/cli.md", commands_page()
    yield "docs/api.md", api_page()


def generate(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield path and text of everything that is generated, or has a generated part."""
    from .deploy_record import deploy_record
    from .tables import hand_written_pages

    yield from sources(root)
    yield from pages()
    yield from hand_written_pages(root)
    yield from deploy_record(root)


def stale(root: Path = ROOT, fresh: Mapping[str, str] | None = None) -> list[str]:
    """Return the files that are not what the generator would write, or that it would not write at all."""
    fresh = dict(generate(root)) if fresh is None else fresh
    found = [name for name, text in fresh.items() if not _holds(root / name, text)]
    there = [path.relative_to(root).as_posix() for folder in OWNED for path in (root / folder).glob("*") if path.is_file()]
    return [*found, *(name for name in there if name not in fresh)]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def put(root: Path, fresh: Mapping[str, str]) -> list[str]:
    """Write the files that do not hold their text, and return them."""
    names = [name for name, text in fresh.items() if not _holds(root / name, text)]
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fresh[name], encoding="utf-8", newline="\n")
    return names


def write(root: Path = ROOT, fresh: Mapping[str, str] | None = None) -> list[str]:
    """Write what is stale, remove what is not made any more, and return both."""
    fresh = dict(generate(root)) if fresh is None else fresh
    gone = [name for name in stale(root, fresh) if name not in fresh]
    written = put(root, fresh)
    for name in gone:
        (root / name).unlink()
    return [*written, *gone]


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m docs_tools [--check]\n")
        return 2
    if arguments:
        names = stale()
        sys.stdout.writelines(f"stale: {name}\n" for name in names)
        if names:
            sys.stdout.write("Write them anew: python -m docs_tools\n")
        return 1 if names else 0
    changed = put(ROOT, dict(sources()))
    sys.stdout.writelines(f"written: {name}\n" for name in changed)
    if changed:  # this process was started with the old exports, methods and commands
        sys.stdout.flush()
        return subprocess.run([sys.executable, "-m", "docs_tools"], cwd=ROOT, check=False).returncode
    sys.stdout.writelines(f"written: {name}\n" for name in write())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
