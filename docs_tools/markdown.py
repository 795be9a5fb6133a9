"""Reads Markdown as far as the checks need it: code blocks, headings, links. Renders nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>```+|~~~+)\s*(?P<language>[\w+-]*)(?P<rest>.*)$")
NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>.+?) -->\s*$")
IN_CI = re.compile(r"^\s*<!-- ci: (?P<name>.+?) -->\s*$")
SAVED_AS = re.compile(r"as `([\w./-]+\.(?:json|jsonl|csv|toml|py|txt))`[.:]?\s*$")
HEADING = re.compile(r"^(#{1,6})\s+(?P<text>.+?)\s*#*\s*$")
EXPLICIT_ANCHOR = re.compile(r"""<a\s+(?:id|name)=["']([^"']+)["']|\{#([\w.-]+)\}\s*$""")
LINK = re.compile(
    r"""(?P<before>!?\[(?P<words>(?:[^\[\]]|\[[^\]]*\]\([^)]*\)|\[[^\]]*\])*)\]\()(?P<target>[^)\s]+)(?P<after>(?:\s+"[^"]*")?\))"""
)
INLINE_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    page: str
    line: int
    """Line of the opening fence, from 1."""
    language: str
    text: str
    not_run: str
    """Why it is only parsed; empty when it runs."""
    in_ci: bool
    """Whether ``.ci/run`` runs it, as its marker says."""
    file: str = ""
    """The file that the line above tells the reader to save it as: "… as `name.json`:"."""

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"


def blocks(text: str, page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    number, marks = 0, [""]
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            if lines[number].strip():
                marks = [*marks[-1:], lines[number]]
            number += 1
            continue
        indent, fence, began = opening["indent"], opening["fence"], number
        number += 1
        inside = []
        while number < len(lines) and not lines[number].strip().startswith(fence):
            inside.append(lines[number].removeprefix(indent))
            number += 1
        reason = next((match["reason"] for mark in marks if (match := NOT_RUN.match(mark))), "")
        in_ci = any(IN_CI.match(mark) for mark in marks)
        file = next((match[1] for mark in marks if (match := SAVED_AS.search(mark))), "")
        found.append(Block(page, began + 1, opening["language"].lower(), "\n".join(inside), reason, in_ci, file))
        marks = [""]
        number += 1
    return found


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and line of everything outside code blocks."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        opening = FENCE.match(line)
        if not fence and opening:
            fence = opening["fence"]
        elif fence:
            fence = "" if line.strip().startswith(fence) else fence
        else:
            yield number, line


def slug(heading: str) -> str:
    """Return a heading's anchor as code hosts make it (and the site, see ``mkdocs.yml``): signs dropped, each space a hyphen."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return every anchor that a link may name in a page."""
    seen: Counter[str] = Counter()
    found = set()
    for _, line in prose(text):
        if match := HEADING.match(line):
            name = slug(match["text"])
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
        found.update(one or other for one, other in EXPLICIT_ANCHOR.findall(line))
    return found


def links(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and target of every link and picture outside code."""
    for number, line in prose(text):
        bare = INLINE_CODE.sub(lambda match: "`" * len(match[0]), line)
        yield from ((number, match["target"]) for match in LINK.finditer(bare))
        yield from ((number, target) for target in re.findall(r"""<(?:img|a)\s[^>]*(?:src|href)=["']([^"']+)["']""", bare))


def inline_code(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every code span outside code blocks."""
    for number, line in prose(text):
        yield from ((number, match[2].strip()) for match in INLINE_CODE.finditer(line))


def pages(root: Path) -> list[Path]:
    """Return the Markdown files that people read: those beside the README, and docs."""
    return [root / "README.md", *sorted({*root.glob("*.md")} - {root / "README.md"}), *sorted((root / "docs").rglob("*.md"))]


def dead_links(root: Path) -> list[str]:
    """Return what is wrong with the links of README and docs: a file that is not there, an anchor that no heading makes."""
    found = []
    texts: dict[Path, str] = {}
    for page in pages(root):
        for line, target in links(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue  # another site: looked at by people, not in every test run
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            where = f"{page.relative_to(root)}:{line}"
            if not file.is_relative_to(root) or not file.exists():
                found.append(f"{where}: {target} is not there")
            elif anchor and file.suffix == ".md":
                text = texts.setdefault(file, file.read_text(encoding="utf-8"))
                if anchor not in anchors(text):
                    found.append(f"{where}: {target} names no heading of that page")
    return found
