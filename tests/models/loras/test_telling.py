"""What a LoRA's file tells of itself: base model, what a model takes of it, trigger words, an id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen.errors import InvalidInputError, LoraIncompatibleError
from ryla_gen.models.loras.base import LORA_ID, checked_id, nearest_id
from ryla_gen.models.loras.keys import base_of, is_lora
from ryla_gen.models.loras.source import PushOptions, default_id, hub_row, inspect_source
from ryla_gen.models.loras.trigger_words import trigger_words
from ryla_gen.models.safetensors import Header, Tensor, read_header

from .files import LORAS, layers, lora, safetensors, stored


def header(kind: str, metadata: dict[str, str] | None = None) -> Header:
    tensors = {name: Tensor("F16", shape, 0, 0) for name, shape in LORAS[kind][1].items()}
    return Header(tensors, metadata or {}, 0)


@pytest.mark.parametrize("kind", LORAS)
def test_the_base_model_is_told_from_the_names(kind: str) -> None:
    assert base_of(header(kind)) == LORAS[kind][0]
    assert is_lora(header(kind))


def test_metadata_decides_only_where_the_names_do_not_tell() -> None:
    for said, base in {"flux-1-dev/lora": "flux", "stable-diffusion-xl-v1-base/lora": "sdxl", "wan2.1": "wan", "x": None}.items():
        assert base_of(header("nobody knows", {"modelspec.architecture": said})) == base
    assert base_of(header("wan, kohya", {"modelspec.architecture": "flux-1-dev/lora"})) == "wan"
    assert base_of(header("nobody knows", {"ss_base_model_version": "sdxl_base_v1-0"})) == "sdxl"


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": " ohwx \x1b[31m woman\n"}, ("ohwx [31m woman",)),
        ({"trigger_words": '["ada", "ada", "lady"]'}, ("ada", "lady")),
        ({"ss_tag_frequency": '{"10_ohwx woman": {"ohwx woman": 20, "smile": 3}, "2_x": {"ink": 1}}'}, ("ohwx woman", "ink")),
        ({"ss_tag_frequency": '{"5_sks dog": {}}'}, ("sks dog",)),
        ({"ss_tag_frequency": "{broken", "trigger_word": ""}, ()),
        ({"ss_tag_frequency": "[1, 2]"}, ()),
        ({"ss_tag_frequency": '{"a": {"b": "many"}}'}, ("a",)),
        ({"modelspec.trigger_phrase": "said", "ss_tag_frequency": '{"1_x": {"counted": 9}}'}, ("said",)),
        ({"trigger_words": "[" * 5000}, ("[" * 200,)),
    ],
)
def test_trigger_words_come_from_the_metadata(metadata: dict[str, str], words: tuple[str, ...]) -> None:
    assert trigger_words(metadata) == words


@given(st.text(max_size=120))
def test_the_nearest_id_is_one_or_nothing(text: str) -> None:
    near = nearest_id(text)
    assert near == "" or LORA_ID.fullmatch(near)


def test_an_id_that_does_not_fit_is_refused_with_the_nearest() -> None:
    assert checked_id("ada-v1.2") == "ada-v1.2"
    for text, near in {"Ada Lovelace": "ada-lovelace", "../etc": "etc", "": "my-character", "ä": "my-character"}.items():
        with pytest.raises(InvalidInputError) as caught:
            checked_id(text)
        assert f"--id {near}" in caught.value.hint


def test_an_id_is_made_of_the_files_name_or_of_the_repositorys() -> None:
    assert default_id("/x/My LoRA (v2).safetensors") == "my-lora-v2"
    assert default_id(r"C:\x\Ada.safetensors") == "ada"
    assert default_id("hf://someone/Ink-Style/pytorch_lora_weights.safetensors") == "ink-style"
    assert default_id("hf://someone/Ink-Style/deep/er.safetensors@main") == "er"


@pytest.mark.parametrize("text", ["hf://", "hf://a/b", "hf://a/b/c.ckpt", "hf://a/b/../c.safetensors", "hf://a/b/c.safetensors@"])
def test_an_address_on_the_hub_has_to_be_one(text: str) -> None:
    with pytest.raises(InvalidInputError, match="does not name a .safetensors"):
        hub_row(text)


def test_a_revision_may_have_slashes() -> None:
    row = hub_row("hf://a/b/c/d.safetensors@refs/pr/1")
    assert (row.repo, row.file, row.revision) == ("a/b", "c/d.safetensors", "refs/pr/1")


def look(path: Path, base: str | None = None) -> str:
    return inspect_source(path, str(path), PushOptions(base), lambda count: None).base


def test_a_wrong_wish_and_a_base_of_no_use_are_refused(tmp_path: Path) -> None:
    assert look(stored(tmp_path, "a.safetensors", lora("flux, kohya")), "flux") == "flux"
    assert look(stored(tmp_path, "b.safetensors", lora("nobody knows")), "wan") == "wan"
    with pytest.raises(LoraIncompatibleError, match="those of a LoRA for FLUX.1, not for SDXL"):
        look(tmp_path / "a.safetensors", "sdxl")
    for kind in ("sd 1, kohya", "hunyuan"):
        with pytest.raises(LoraIncompatibleError, match="which no workflow here uses"):
            look(stored(tmp_path, "c.safetensors", lora(kind)), "flux")
    with pytest.raises(InvalidInputError, match="do not say"):
        look(tmp_path / "b.safetensors")
    with pytest.raises(InvalidInputError, match="no base model 'sd9'"):
        look(tmp_path / "b.safetensors", "sd9")


def test_a_whole_checkpoint_is_no_lora(tmp_path: Path) -> None:
    path = stored(tmp_path, "model.safetensors", safetensors({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (8, 8)}))
    with pytest.raises(InvalidInputError, match="none of its 1 tensors belongs to a LoRA"):
        look(path)


def test_a_header_of_thousands_of_tensors_is_read_and_told(tmp_path: Path) -> None:
    names = [
        f"lora_unet_{part}_blocks_{number}_img_attn_qkv_{copy}"
        for part in ("double",)
        for number in range(19)
        for copy in range(60)
    ]
    data = safetensors(
        layers(names, 4, ".lora_down.weight", ".lora_up.weight"), {"ss_tag_frequency": json.dumps({"1_x": {"y": 1}})}
    )
    found = read_header(stored(tmp_path, "many.safetensors", data))
    assert len(found.tensors) == 2280
    assert base_of(found) == "flux"
