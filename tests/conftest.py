"""What every test gets: a clean environment, a home of its own, and small pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from PIL import Image, ImageDraw

SETTINGS = ("RYLA_GEN_", "COMFYUI_", "MODAL_", "RUNPOD_", "HF_", "DO_NOT_TRACK", "NO_COLOR", "COLUMNS", "LINES")

# A busy machine is no fault: no example has a deadline.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No setting of the person who runs the tests reaches them; what they write goes to a folder of their own."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("RYLA_GEN_HOME", str(home))
    yield home


def portrait(size: tuple[int, int] = (256, 256), colour: str = "#b04030") -> Image.Image:
    """A picture that is not flat: an oval with eyes on a coloured ground."""
    image = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.ellipse((width * 0.25, height * 0.15, width * 0.75, height * 0.85), fill="#e8c0a0")
    for x in (0.4, 0.6):
        draw.ellipse((width * (x - 0.04), height * 0.4, width * (x + 0.04), height * 0.46), fill="#202020")
    return image


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def face() -> bytes:
    """A picture in which the emulator sees a face."""
    return encoded(portrait())
