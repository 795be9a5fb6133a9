"""A real Chromium without a window, and files as this package saves them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from ryla_gen import media
from ryla_gen.results import METADATA_KEY
from tests.conftest import encoded

APT = "apt-get install chromium chromium-driver"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--window-size=1280,900",
]
SECONDS = 100
JOB = "7f0c0000-0000-4000-8000-{:012d}"


def noted(colour: str = "#446688", size: tuple[int, int] = (48, 32), **note: Any) -> bytes:
    """A PNG with a note as this package writes it; the colour tells pictures apart."""
    fields = {"contract": 1, "sdk": "0.1.0", "workflow": "flux_dev", "seed": 7, "job": JOB.format(0)} | note
    return media.add_png_text(encoded(Image.new("RGB", size, colour)), {METADATA_KEY: json.dumps(fields)})


def start_chromium(folder: Path, *flags: str) -> webdriver.Chrome:
    """Start a browser with a profile of its own."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(SECONDS)
    driver.set_script_timeout(SECONDS)
    return driver


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """The browser of the whole run. Where it is not installed its tests are skipped, or fail when RYLA_BROWSER_TESTS is set."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        (pytest.fail if os.environ.get("RYLA_BROWSER_TESTS") else pytest.skip)(f"Chromium is not installed: {APT}")
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, wide and light as at first, on an empty page, its logs read."""
    chromium.set_window_size(1280, 900)
    emulate(chromium)
    chromium.get("about:blank")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    yield chromium


def emulate(driver: webdriver.Chrome, width: int | None = None, **features: str) -> None:
    """Set what the person prefers (``prefers_color_scheme="dark"``), and a phone's width."""
    wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    if width is None:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    else:
        phone = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
