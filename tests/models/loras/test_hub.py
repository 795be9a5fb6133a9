"""LoRAs from the Hugging Face hub: a loopback one, with its knobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen import Client
from ryla_gen.errors import BackendUnreachableError, ModelNotFoundError, NotAuthorizedError, RylaGenError
from tests.models.downloads.hub import COMMIT, Hub

from .files import lora, safetensors

SOURCE = "hf://someone/ada-lora/ada.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
        made.put("someone/ada-lora", "ada.safetensors", lora(metadata={"modelspec.trigger_phrase": "ohwx"}))
        yield made


@pytest.fixture
def client(hub: Hub, clean_environment: Path) -> Iterator[Client]:
    with Client("emulator") as made:
        yield made


def downloads(home: Path) -> list[str]:
    return [path.name for path in (home / "downloads" / "loras").glob("*") if path.is_file()]


def test_a_lora_comes_from_the_hub_and_is_not_kept_twice(client: Client, hub: Hub, clean_environment: Path) -> None:
    stages: list[str] = []
    done = client.loras.push(f"{SOURCE}@{COMMIT}", progress=lambda now: stages.append(now.stage))
    assert (done.card.id, done.card.source, done.card.trigger_words) == ("ada", f"{SOURCE}@{COMMIT}", ("ohwx",))
    assert list(dict.fromkeys(stages)) == ["downloading", "checking", "sending"]
    assert downloads(clean_environment) == []
    assert client.loras.verify("ada").ok


def test_what_is_stored_already_is_not_even_downloaded(client: Client, hub: Hub) -> None:
    client.loras.push(SOURCE)
    sent = hub.sent
    assert client.loras.push(SOURCE).outcome == "already"
    assert hub.sent == sent


def test_an_interrupted_download_goes_on(client: Client, hub: Hub, clean_environment: Path) -> None:
    large = safetensors({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (300, 3072)}, seed=2)
    hub.put("someone/ada-lora", "ada.safetensors", large)
    hub.knobs.cuts, hub.knobs.cut_after = 2, 512 * 1024  # the look at the header, and the download
    client.loras.push(SOURCE)
    assert hub.seen.starts[-1] >= 512 * 1024, "it went on where the connection was cut"
    assert client.loras.verify("ada").ok


def test_what_is_of_no_use_is_refused_by_its_header_before_it_is_downloaded(
    client: Client, hub: Hub, clean_environment: Path
) -> None:
    checkpoint = safetensors({"model.weight": (2048, 2048)})
    sd1 = safetensors({"lora_unet_down_blocks_0_attentions_0_to_k.lora_down.weight": (2048, 2048)})
    for data, why in (
        (checkpoint, "none of its 1 tensors"),
        (sd1, "Stable Diffusion 1"),
        (b"PK\3\4" * 999_999, "is not a complete safetensors"),
    ):
        hub.put("someone/ada-lora", "ada.safetensors", data)
        hub.knobs.speed = 4e6
        before = hub.sent
        with pytest.raises(RylaGenError, match=why) as caught:
            client.loras.push(SOURCE)
        assert caught.value.code in ("invalid_input", "lora_incompatible")
        assert hub.sent - before < len(data) / 2
    assert client.loras.list() == []
    assert downloads(clean_environment) == []


def test_the_hubs_refusals_are_typed(client: Client, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelNotFoundError):
        client.loras.push("hf://someone/ada-lora/other.safetensors")
    hub.gated["someone/ada-lora"] = {"hf_good"}
    with pytest.raises(NotAuthorizedError, match="gated"):
        client.loras.push(SOURCE)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert client.loras.push(SOURCE).outcome == "pushed"
    assert hub.seen.logins["store"] == set(), "the token goes to the hub alone"


def test_a_hub_that_is_away_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BackendUnreachableError):
        client.loras.push(SOURCE)
