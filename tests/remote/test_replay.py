"""One image's whole build, run for real: needs the package index and some minutes, so it runs where RYLA_LOCK_TESTS is set."""

from __future__ import annotations

import faulthandler
import os
import re
from pathlib import Path

import pytest

from ryla_gen.locks import pins
from ryla_gen.remote import image

from .replaying import Replay

pytestmark = pytest.mark.skipif(not os.environ.get("RYLA_LOCK_TESTS"), reason="it needs the network: set RYLA_LOCK_TESTS=1")
FAMILIES = os.environ.get("RYLA_LOCK_TESTS_FAMILIES", "faces").split(",")
"""Faces has most: a package in C++, two node packs, two packages that are one module. The others run when they are asked for."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_command_of_an_image_runs_and_installs_its_lock_and_nothing_else(family: str, tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # a gigabyte of wheels takes longer than any other test; the mark above is the bound
    replay = Replay(tmp_path, image.recipe(family))
    commands = replay.run()
    locked = pins(image.recipe(family).lock.read_text())
    assert replay.installed() == locked
    assert "pip check" in commands
    assert {command for command in commands if re.search(r"\b(pip|uv)\b.*\binstall\b", command)} == {
        command for command in commands if command.startswith(image.INSTALL)
    }
    if "opencv-python-headless" in locked:
        assert replay.says(
            "import cv2; print(cv2.__version__, 'GUI: NONE' in ' '.join(cv2.getBuildInformation().split()))"
        ).split() == [
            "4.12.0",
            "True",
        ]
