"""What every test gets: a clean environment, a home of its own, and small pictures."""

from __future__ import annotations

import io
import itertools
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis
import numpy  # noqa: F401 - whole before any test: pytest.approx looks into it even while an emulator's thread still loads it
import pytest
from PIL import Image, ImageDraw

from ryla_gen.emulator.server import Emulator

pytest_plugins = ["tests.support.https_fixtures"]

# The tests start hundreds of processes, and each would compile the package anew: a fifth of what a command takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SETTINGS = ("RYLA_GEN_", "COMFYUI_", "MODAL_", "RUNPOD_", "HF_", "DO_NOT_TRACK", "NO_COLOR", "COLUMNS", "LINES")

# A busy machine is no fault: no example has a deadline.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


HOMES = itertools.count()


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the homes of tests without a folder of their own are."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, homes: Path) -> Iterator[Path]:
    """No setting of the person who runs the tests reaches them; what they write goes to a folder of their own.

    The folder is in ``tmp_path`` where a test has one. It is not made: most tests write nothing, and a folder for each takes time.
    """
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    if "tmp_path" in request.fixturenames:
        home: Path = request.getfixturevalue("tmp_path") / "home"
    else:
        home = homes / f"{next(HOMES)}"
    monkeypatch.setenv("RYLA_GEN_HOME", str(home))
    yield home


@pytest.fixture
def one_day() -> None:
    """Begin after midnight where the day would end during the test: budgets count by the days of UTC."""
    now = datetime.now(UTC)
    left = (now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now).total_seconds()
    if left < 120:
        time.sleep(left)


@pytest.fixture
def server() -> Iterator[Emulator]:
    """An emulated ComfyUI of this test alone, which outlives the clients that call it."""
    with Emulator() as made:
        made.start()
        yield made


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
