"""The folder in which a page is tried: empty, as a newcomer's. Its files come from ``ryla-gen samples``, which the pages name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageShow

from tests.typescript.conftest import node_modules, sources  # noqa: F401 - fixtures

from .running import Reader


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
    """Somebody with an empty home, in an empty folder."""
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("LINES", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Reader(folder, monkeypatch)
