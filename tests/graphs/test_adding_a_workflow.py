"""docs/adding-a-workflow.md, followed to the letter: its files saved, its commands run in order, in an empty folder.

The reader's Python has ryla-gen, pip and pytest, and pip reaches no network. The containers have what a deploy ships.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ryla_gen import load
from ryla_gen.graphs import draw_mermaid, read
from tests.modal_loopback import Loopback, minimal_environment
from tests.suite.conftest import EMULATED, IN_CONTAINERS, ROOT

PAGE = ROOT / "docs" / "adding-a-workflow.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SAVED = re.compile(r"[Ss]ave (?:this|it)[^`]* as\s+`([^`]+)`:\s*$")
"""The end of the sentence in front of a block that is to be saved."""


def steps() -> list[tuple[str, str, str]]:
    """The page's blocks in order: language, the file it is saved as (empty for a command), text."""
    text = PAGE.read_text(encoding="utf-8")
    found = []
    for block in BLOCK.finditer(text):
        named = SAVED.search(text[: block.start()].rstrip() + "\n".strip())
        found.append((block[1], named[1] if named else "", block[2]))
    return found


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """The reader's Python, and an empty folder beside it."""
    python = minimal_environment(tmp_path / "python", "ryla-gen", "pip", "flit_core", "pytest")
    command = python.with_name("ryla-gen")
    command.write_text(f'#!/bin/sh\nexec "{python}" -m ryla_gen_cli "$@"\n')
    command.chmod(0o755)
    (tmp_path / "empty").mkdir()
    return python


@pytest.fixture
def modal(tmp_path: Path) -> Iterator[Loopback]:
    """A workspace of Modal's to which nothing was deployed."""
    python = minimal_environment(tmp_path / "container", *IN_CONTAINERS)
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path / "work")}
    with Loopback(python=python, container_env=inside, max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


def test_every_block_of_the_page_is_saved_or_run() -> None:
    kinds = [(language, bool(file)) for language, file, _ in steps()]
    assert set(kinds) == {("json", True), ("python", True), ("bash", False), ("mermaid", False)}
    assert kinds.count(("bash", False)) >= 6


def test_the_pages_picture_is_what_the_page_draws(tmp_path: Path) -> None:
    path = tmp_path / "lighthouse.json"
    path.write_text(next(text for language, _, text in steps() if language == "json"))
    assert read(path).kind == "ui"
    assert [text for language, _, text in steps() if language == "mermaid"] == [draw_mermaid(path)]


@pytest.mark.timeout(600)
def test_the_page_works_word_for_word(reader: Path, modal: Loopback, clean_environment: Path) -> None:
    folder = reader.parents[2] / "empty"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "RYLA_", "PYTHON", "VIRTUAL_"))}
    # No network: what the package needs is there already. "0" is how pip wants "no isolation" to be said.
    quiet = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{reader.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**kept, **modal.env, **quiet, "PATH": path, "RYLA_GEN_HOME": str(clean_environment)}
    said = ""
    for language, file, text in steps():
        if file:
            assert (folder / file).parent.is_dir(), f"{file}: the page says nothing about its folder"
            (folder / file).write_text(text, encoding="utf-8")
            continue
        if language == "mermaid":
            continue  # a drawing, which the test above holds
        assert language == "bash"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    for name in ("fog.png", "dusk.png", "noon-*.png", "modal.png"):
        (made,) = folder.glob(name)
        with Image.open(made) as picture:
            assert picture.size == (512, 512)
    again = read(folder / "modal.png").data
    assert again["2"]["inputs"]["text"] == "a lighthouse, red roof, white walls, at night, under stars"
    assert load(folder / "fog.png").seed is None  # a graph of its own brings its seed inside
    assert read(folder / "fog.png").data["6"]["inputs"]["seed"] == 42
    assert "7 (512, 512)" in said
    assert modal.containers, "nothing ran on Modal"
