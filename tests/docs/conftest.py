"""The folder in which a page is tried: the files that the pages speak of, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageShow

from docs_tools.markdown import blocks
from ryla_gen import Flux
from tests.conftest import encoded, portrait
from tests.models.loras.files import lora
from tests.typescript.conftest import node_modules, sources  # noqa: F401 - fixtures

from .running import Reader

ROOT = Path(__file__).resolve().parents[2]


class _NoWindow(ImageShow.Viewer):
    """Takes every picture that a page shows, so that no window opens."""

    def show(self, image: Image.Image, **options: object) -> bool:
        image.load()
        return True


@pytest.fixture(scope="session", autouse=True)
def no_windows() -> Iterator[None]:
    """Pictures are shown to nobody."""
    viewer = _NoWindow()
    ImageShow.register(viewer, 0)
    yield
    ImageShow._viewers.remove(viewer)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Somebody with an empty home, in a folder with the files of the examples."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "face.png").write_bytes(encoded(portrait()))
    (folder / "small.png").write_bytes(encoded(portrait((256, 256), "#3060a0")))
    for name in ("mira", "ada"):
        (folder / f"{name}.safetensors").write_bytes(lora("flux, kohya", seed=len(name)))
    newcomer = (ROOT / "docs" / "adding-a-workflow.md").read_text(encoding="utf-8")
    first = next(block for block in blocks(newcomer, "adding-a-workflow.md") if block.language == "json")
    (folder / "lighthouse.json").write_text(first.text, encoding="utf-8")  # the graph that other pages go on with
    graph = Flux(prompt="a hill", width=256, height=256, steps=2).seeded().build().to_api()
    (folder / "my_graph_api.json").write_text(json.dumps(graph), encoding="utf-8")
    rows = [{"workflow": "flux", "prompt": text, "width": 256, "height": 256, "steps": 1} for text in ("a fox", "a hare")]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(folder)
    for name in ("LINES", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Reader(folder, monkeypatch)
