"""Every code block of README and docs does what a reader would do with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from docs_tools.markdown import Block, blocks, inline_code, pages
from tests.typescript.conftest import execute

from .running import Reader, kind, misfit

ROOT = Path(__file__).resolve().parents[2]
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in pages(ROOT)}
FOLLOWED = ("docs/adding-a-workflow.md",)
"""Pages that another test follows literally: what they install is not here."""
BLOCKS = {name: blocks(text, name) for name, text in PAGES.items()}
TRIED = [name for name, found in BLOCKS.items() if name not in FOLLOWED and any(kind(block) != "text" for block in found)]


@pytest.mark.parametrize("page", TRIED)
def test_every_block_of_a_page_runs_in_order(page: str, reader: Reader) -> None:
    for block in BLOCKS[page]:
        reader.does(block)


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_that_is_not_tried_here_is_followed_elsewhere(page: str) -> None:
    others = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent != Path(__file__).parent]
    assert any(Path(page).name in path.read_text(encoding="utf-8") for path in others)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_text_exists(page: str) -> None:
    wrong = []
    released = PAGES[page].split("\n## 0.")[0].count("\n") + 1  # what a version had then may be called otherwise now
    for line, code in inline_code(PAGES[page]):
        if code.startswith("ryla-gen ") and line <= released:
            words = code.split("#")[0].split(" > ")[0].split()
            problem = misfit(words[1:], whole=False)
            wrong += [f"{page}:{line}: {code}: {problem}"] if problem else []
    assert wrong == []


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_every_typescript_block_is_accepted_by_the_compiler(sources: Path) -> None:
    found = [block for page in BLOCKS.values() for block in page if kind(block) == "typescript"]
    assert found
    names = {f"block{number}.ts": block for number, block in enumerate(found)}
    for name, block in names.items():
        (sources / "src" / name).write_text(block.text + "\n", encoding="utf-8")
    done = execute("node", "node_modules/typescript/bin/tsc", "--noEmit", cwd=sources)
    said = done.stdout + done.stderr
    for name, block in names.items():
        said = said.replace(f"src/{name}", f"{block.place}, line")
    assert done.returncode == 0, said


def test_a_block_that_does_not_run_says_why() -> None:
    vague = [block.place for page in BLOCKS.values() for block in page if block.not_run and len(block.not_run.split()) < 3]
    assert vague == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("run flux-dev fox --nope", "--nope"),
        ("run flux-dev fox bear", "bear"),
        ("frobnicate", "frobnicate"),
        ("workflows shew flux", "shew"),
        ("batch prompts.jsonl", "missing"),
        ("workflows list more", "more"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed_without_running_it(line: str, problem: str) -> None:
    assert problem in misfit(line.split())


def test_a_failing_block_fails_the_page(reader: Reader) -> None:
    with pytest.raises(ZeroDivisionError):
        reader.does(Block("x.md", 3, "python", "1 / 0", "", False))
    with pytest.raises(AssertionError, match="exit 2"):
        reader.does(Block("x.md", 3, "sh", "ryla-gen graph run nowhere.json", "", False))
    with pytest.raises(AssertionError, match="No such file"):
        reader.does(Block("x.md", 3, "sh", "$ ryla-gen graph run nowhere.json\nerror[not_this]: it is not there", "", False))
    with pytest.raises(AssertionError, match="say why"):
        reader.does(Block("x.md", 3, "sh", "modal deploy", "", False))
    with pytest.raises(ValueError, match="delimiter"):
        reader.does(Block("x.md", 3, "json", '{"a": 1 "b"}', "", False))
