"""A PostHog on the loopback, a ComfyUI server that is not the in-process emulator, and a clean slate of sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ryla_gen import Client, telemetry
from ryla_gen.emulator.server import Emulator

from .capture import Capture

SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256, "steps": 1}


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Capture]:
    """Where this test's events go."""
    with Capture() as made:
        monkeypatch.setenv("RYLA_GEN_POSTHOG_KEY", "phc_test")
        monkeypatch.setenv("RYLA_GEN_POSTHOG_HOST", made.url)
        yield made
        made.go.set()
        assert telemetry.flush(240)


@pytest.fixture(scope="session")
def comfy() -> Iterator[Emulator]:
    """A server that counts as a ComfyUI of one's own: its runs are not called emulated."""
    with Emulator() as made:
        made.start()
        yield made


@pytest.fixture
def client(comfy: Emulator, capture: Capture) -> Iterator[Client]:
    """A client of that server, whose events go to the capture server."""
    with Client(url=comfy.url) as made:
        yield made


class Heard:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.all: list[telemetry.TelemetryEvent] = []

    def __call__(self, event: telemetry.TelemetryEvent) -> None:
        self.all.append(event)

    def types(self) -> list[str]:
        """Kinds of what was told, after everything was handed over."""
        assert telemetry.flush(240)
        return [item.type for item in self.all]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Such a sink, added for one test."""
    sink = Heard()
    telemetry.add(sink)
    yield sink
    telemetry.remove(sink)
