"""Every command of ours that a text of this project names is understood by the command line: hints, remarks, examples."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.running import misfit

ROOT = Path(__file__).resolve().parents[2]
FILLED = "HOLE"
"""What stands in the holes of an f-string: a placeholder, as a reader would read it."""
END = re.compile(r'";|' r"`|\n|\\n|  |; |\. |, |\)|: |\.$| or ryla-gen| \| | && | — | \(")
"""Where the command in a sentence is over."""
NO_COMMANDS = {
    "job HOLE": "the name of a task",
    "arrivals HOLE": "the name of a task",
    "outcome HOLE": "the name of a task",
    "lists them": "prose",
    "from TypeScript": "prose",
    "or ComfyUI saved": "prose",
    "ryla_gen_items": "the name of a group of completions, for zsh",
}
"""Words after ``ryla-gen`` that are no command, and what they are."""
SOURCES = sorted(path for top in ("ryla_gen", "cli", "examples", "docs_tools") for path in (ROOT / top).rglob("*.py"))
OTHERS = sorted(
    path
    for top in ("ryla_gen", "examples", "benchmarks")
    for path in (ROOT / top).rglob("*")
    if path.suffix in (".ts", ".mjs", ".ipynb", ".toml", ".lock", ".html", ".css") and "node_modules" not in path.parts
)


def python_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module, an f-string as one, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def commands_in(text: str) -> Iterator[str]:
    """What follows the name of the command, up to the end of its part of the sentence."""
    for found in re.finditer(r"\bryla-gen (?=[a-z-])", text):
        words = END.split(text[found.end() :])[0].rstrip(".").strip()
        if words not in NO_COMMANDS:
            yield words


def wrong_in(texts: Iterator[tuple[int, str]]) -> list[str]:
    """Every command that does not exist as it is written."""
    named = [(line, words) for line, text in texts for words in commands_in(text)]
    found = [(line, words, misfit([word.strip("\"'/],;") for word in words.split()], whole=False)) for line, words in named]
    return [f"line {line}: ryla-gen {words}: {problem}" for line, words, problem in found if problem]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_module_names_exists_with_its_options(path: Path) -> None:
    assert wrong_in(python_texts(path)) == []


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_another_file_names_exists_with_its_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert wrong_in(enumerate(text.splitlines(), start=1)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Try: ryla-gen jobs status 7f0c", "jobs status"),
        ("Deploy it again: ryla-gen deploy --famly x, or wait.", "--famly"),
        ("ryla-gen weigths sync", "weigths"),
    ],
)
def test_a_command_that_is_wrong_is_found(text: str, words: str) -> None:
    (found,) = wrong_in(iter([(1, text)]))
    assert words in found


def test_commands_are_found_at_all() -> None:
    assert sum(1 for path in SOURCES for _, text in python_texts(path) for _ in commands_in(text)) > 250
