"""What ``--model`` says: which file, and where."""

from __future__ import annotations

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.graph_lock import PENDING
from ryla_gen.locks.lock_checks import is_https
from ryla_gen.tools.locking.model_options import parse_model_option

COMMIT = "1234567890abcdef1234567890abcdef12345678"
HUB = "https://huggingface.co/maker/model/resolve"
CIVITAI = "https://civitai.com/api/download/models/7"


@pytest.mark.parametrize(
    ("place", "kind", "url"),
    [
        ("hf://maker/model/a.safetensors", "hub", f"{HUB}/main/a.safetensors"),
        (f"hf://maker/model@{COMMIT}/split files/a.safetensors", "hub", f"{HUB}/{COMMIT}/split%20files/a.safetensors"),
        (f"hf://maker/model/x/a.safetensors@{COMMIT}", "hub", f"{HUB}/{COMMIT}/x/a.safetensors"),
        ("https://huggingface.co/maker/model/blob/main/a.safetensors?download=true", "hub", f"{HUB}/main/a.safetensors"),
        ("https://models.example/a.safetensors?dl=1", "https", "https://models.example/a.safetensors?dl=1"),
        ("https://github.com/m/t/releases/download/v1/a.onnx", "https", "https://github.com/m/t/releases/download/v1/a.onnx"),
        ("civitai:7", "civitai", CIVITAI),
        ("https://civitai.com/models/70?modelVersionId=7", "civitai", CIVITAI),
        (f"{CIVITAI}?type=Model&format=SafeTensor&token=secret", "civitai", f"{CIVITAI}?type=Model&format=SafeTensor"),
    ],
)
def test_a_place_becomes_the_address_that_a_lock_holds(place: str, kind: str, url: str) -> None:
    choice = parse_model_option(f"a.safetensors={place}")
    assert (choice.name, choice.kind, choice.url) == ("a.safetensors", kind, url)
    model = choice.model("checkpoints", "a.safetensors")
    assert model is not None and is_https(model.url) and (model.sha256, model.source) == (PENDING, "--model")
    assert model.revision == (COMMIT if COMMIT in url else None)


def test_a_name_is_the_file_with_its_folder_or_without() -> None:
    for name in ("vae/sub/a.safetensors", "sub/a.safetensors", "a.safetensors", "sub\\a.safetensors"):
        choice = parse_model_option(f"{name}=civitai:7")
        assert choice.means("vae", "sub/a.safetensors") and not choice.means("vae", "b.safetensors")
    assert not parse_model_option("loras/sub/a.safetensors=civitai:7").means("vae", "sub/a.safetensors")
    assert parse_model_option("a=b.safetensors=civitai:7").name == "a=b.safetensors"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.safetensors",
        "a.safetensors=",
        "=civitai:7",
        "a.safetensors=somewhere",
        "../a.safetensors=civitai:7",
        "/etc/passwd=civitai:7",
        "a.safetensors=http://models.example/a.safetensors",
        "a.safetensors=file:///etc/passwd",
        "a.safetensors=https://me:secret@models.example/a.safetensors",
        "a.safetensors=https://models.example:8443/a.safetensors",
        "a.safetensors=https://models.example/a.safetensors?token=secret",
        "a.safetensors=https://store.example/a?X-Amz-Signature=secret",
        "a.safetensors=hf://model/a.safetensors",
        "a.safetensors=hf://maker/model",
        "a.safetensors=hf://maker/model/../../a.safetensors",
        f"a.safetensors=hf://maker/model@main/a.safetensors@{COMMIT}",
        "a.safetensors=civitai:abc",
        "a.safetensors=https://civitai.com/models/70",
        "a.safetensors=lora:Anna B",
        "a.safetensors=volume:loras/x",
    ],
)
def test_nonsense_is_refused_with_an_example_and_without_its_secrets(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_model_option(text)
    assert caught.value.hint and "secret@" not in str(caught.value.to_data()) and "=secret" not in str(caught.value.to_data())


@pytest.mark.parametrize(("place", "source"), [("volume", "volume"), ("lora:anna", "volume: LoRA anna")])
def test_what_is_on_the_volume_has_a_source_and_no_address(place: str, source: str) -> None:
    model = parse_model_option(f"a.safetensors={place}").model("loras", "a.safetensors")
    assert (model.url, model.sha256, model.source) == ("", PENDING, source)
