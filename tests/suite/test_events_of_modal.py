"""Events to PostHog from real runs on Modal: what the worker's reply says of LoRAs arrives there too."""

from __future__ import annotations

from pathlib import Path

import modal
import pytest

from ryla_gen import Client, FluxLora, telemetry
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.loras.files import lora
from tests.telemetry.capture import Capture


def test_a_lora_that_a_container_copies_is_an_event_once(
    modal_app: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "events.safetensors"
    file.write_bytes(lora())
    with Capture() as capture, connected(modal_app):
        monkeypatch.setenv("RYLA_GEN_POSTHOG_KEY", "phc_test")
        monkeypatch.setenv("RYLA_GEN_POSTHOG_HOST", capture.url)
        with modal.Volume.from_name("ryla-models", create_if_missing=True).batch_upload(force=True) as batch:
            batch.put_file(file, "/loras/of-events.safetensors")
        with Client("modal") as client:
            for seed in (1, 2):
                client.run(FluxLora(prompt="a fox", width=256, height=256, steps=1, lora_id="of-events", seed=seed))
        assert telemetry.flush(20)
        told = capture.properties("modal_lora_loaded")
        assert (told["lora_id"], told["lora_size_mb"]) == ("of-events", round(file.stat().st_size / 1e6, 3))
        assert told["load_time_ms"] >= 0
        assert capture.names().count("modal_lora_generation_completed") == 2
        assert capture.names().count("modal_lora_generation_requested") == 2
