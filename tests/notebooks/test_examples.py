"""The notebooks of ``examples/notebooks``: each runs from a clean kernel, and what is saved in it shows pictures on a code host."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from docs_tools.notebooks import FOLDER, clean, execute

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_500_000
"""Bytes: code hosts stop showing larger notebooks, and a repository keeps every version of them."""
PICTURES = {
    "01-first-picture": 3,
    "02-a-character": 5,
    "03-video-and-upscaling": 6,
    "04-batches-costs-plots": 3,
    "05-your-graph": 2,
}


def pictures(notebook: Any) -> Iterator[tuple[int, Image.Image]]:
    """Every output that a host shows as a picture, decoded, with the number of its cell; one with HTML it may not show."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for media_type in ("image/png", "image/jpeg"):
                if media_type in data and "text/html" not in data:
                    picture = Image.open(io.BytesIO(b64decode(data[media_type])))
                    picture.load()
                    yield number, picture


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_a_clean_kernel_and_its_saved_outputs_are_those_pictures(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    saved = nbformat.read(path, as_version=4)
    fresh = execute(path, tmp_path)
    assert path.read_bytes() == before
    assert len(before) <= LARGEST
    shown, kept = list(pictures(fresh)), list(pictures(saved))
    assert len(kept) >= PICTURES[path.stem]
    assert all(min(picture.size) >= 64 and len(picture.convert("RGB").getcolors(1 << 24) or []) > 50 for _, picture in kept)
    sizes = [(number, picture.size) for number, picture in shown], [(number, picture.size) for number, picture in kept]
    assert sizes[0] == sizes[1], f"Save it anew: python -m docs_tools.notebooks {path.stem}"
    assert nbformat.writes(clean(saved)) + "\n" == before.decode(), "it holds what differs between machines"
    for cell in fresh.cells:
        assert not [output for output in cell.get("outputs", []) if output.get("name") == "stderr"], cell.source
    assert {item.name for item in tmp_path.iterdir()} >= {"home"} or list(tmp_path.glob("ryla-gen-*"))


def test_all_of_them_are_there_and_the_videos_are_players() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(PICTURES)
    text = (FOLDER / "03-video-and-upscaling.ipynb").read_text(encoding="utf-8")
    assert text.count("<video controls") >= 4
    assert text.count("poster=") >= 4
