"""Hooks of the site's build: README and its like become pages, links of a checkout links of the site. Changes no file."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from docs_tools.markdown import LINK, prose

ROOT = Path(__file__).resolve().parent.parent

BROUGHT = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "examples/README.md": "project/examples.md",
    "examples/plugin/README.md": "project/plugin.md",
    "examples/hook/README.md": "project/hook.md",
    "examples/typescript/README.md": "project/typescript.md",
}
"""Page of the checkout outside ``docs`` → its place on the site."""
HOME = {place: page for page, place in BROUGHT.items()}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside ``docs``."""
    for page, place in BROUGHT.items():
        if (ROOT / page).is_file():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn each link into one of the site; what the site does not have (source files) stays as words."""
    place = page.file.src_uri
    folder = posixpath.dirname(HOME.get(place, f"docs/{place}"))
    lines = markdown.splitlines()
    for number, line in prose(markdown):
        lines[number - 1] = LINK.sub(lambda match: _rewrite_link(match, folder, place, files), line)
    return "\n".join(lines)


def _rewrite_link(match: re.Match[str], folder: str, place: str, files: Any) -> str:
    target, _, anchor = match["target"].partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return match[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    inside = BROUGHT.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if not inside or files.get_file_from_path(inside) is None:
        if path.startswith("docs/"):
            return match[0]  # a dead link: the strict build says so
        return match["words"]
    moved = posixpath.relpath(inside, posixpath.dirname(place) or ".")
    return f"{match['before']}{moved}{'#' + anchor if anchor else ''}{match['after']}"


ROLE = re.compile(r":(?:class|meth|attr|func|mod|data):(?=<code>)")
"""Words of another documentation system, which editors show as links: on the site the code alone is enough."""


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Drop what the docstrings say to editors alone."""
    return ROLE.sub("", html)
