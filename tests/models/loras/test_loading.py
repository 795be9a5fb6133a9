"""Which base model and size a LoRA's names tell, and what ComfyUI loads of it: held against ComfyUI's own verdicts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ryla_gen.models.loras.keys import BASES, base_of, is_lora, variant_named, variant_of
from ryla_gen.models.loras.loading import LOADED, PART, group_names, image_keys, not_loaded, reads_image
from ryla_gen.models.loras.source import PushOptions, inspect_source
from ryla_gen.models.safetensors import Header, Tensor

from .files import KOHYA, LORAS, PEFT, Shapes, layers, safetensors, stored
from .spellings import OTHERS, SPELLINGS, WAN_IMAGE, Row


def header(tensors: Shapes, metadata: dict[str, str] | None = None) -> Header:
    return Header({name: Tensor("F16", shape, 0, 0) for name, shape in tensors.items()}, metadata or {}, 0)


@pytest.mark.parametrize("row", [*SPELLINGS, *WAN_IMAGE, *OTHERS], ids=str)
def test_every_trainers_names_tell_base_and_size(row: Row) -> None:
    base = base_of(header(row.tensors))
    assert base == row.base
    assert variant_of(header(row.tensors), str(base)) == row.variant


@pytest.mark.parametrize("row", SPELLINGS, ids=str)
def test_what_is_loaded_is_what_comfyui_loads(row: Row) -> None:
    assert not_loaded(row.tensors, str(row.base), reads_image=False) == ([] if row.loaded else list(row.tensors))
    assert not_loaded(row.tensors, str(row.base)) == ([] if row.loaded else list(row.tensors))
    assert image_keys(row.tensors, str(row.base)) == []


@pytest.mark.parametrize("row", WAN_IMAGE, ids=str)
def test_layers_that_read_a_picture_are_loaded_into_wan_2_1_image_to_video_alone(row: Row) -> None:
    assert not_loaded(row.tensors, "wan") == []
    assert not_loaded(row.tensors, "wan", reads_image=False) == image_keys(row.tensors, "wan") == list(row.tensors)


def test_a_models_file_name_tells_whether_it_reads_a_picture() -> None:
    assert reads_image("wan2.1_i2v_480p_14B_fp16.safetensors")
    for name in (
        "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "Wan2_2-I2V-A14B-LOW.safetensors",
        "wan2.1_t2v_14B_fp16.safetensors",
    ):
        assert not reads_image(name), name


@pytest.mark.parametrize("base", BASES)
def test_a_base_takes_nothing_of_another_but_where_they_share_names(base: str) -> None:
    # As in ComfyUI: in diffusers' names, blocks of FLUX.1, FLUX.2 and Qwen-Image are called the same, and CLIP-L of SDXL.
    # What tells them apart is the base, from widths and numbers of blocks, before anything runs.
    shared = [{"flux", "flux2"}, {"flux", "qwen"}, {"flux2", "qwen"}, {"flux", "sdxl"}]
    for row in SPELLINGS:
        if row.base != base and {row.base, base} not in shared:
            assert not_loaded(row.tensors, base) == list(row.tensors), row


def test_half_a_name_is_not_enough() -> None:
    keys = [
        "diffusion_model.blocks.0.cross_attn.k.img.lora_A.weight",
        "diffusion_model.blocks.0.cross_attn.kk.lora_A.weight",
        "xdiffusion_model.blocks.0.cross_attn.k.lora_A.weight",
        "diffusion_model.blocks.0.cross_attn.k",
        "diffusion_model.blocks.0.cross_attn.k.oft_diag",
        "diffusion_model.blocks.0.cross_attn.k.lora_A.weight\n",
    ]
    assert not_loaded(keys, "wan") == keys


def test_every_pattern_is_of_whole_names() -> None:
    assert set(LOADED) == set(BASES)
    assert all(PART.search(f"x{end}") for ends in (KOHYA, PEFT) for end in ends)
    assert not_loaded(["anything.lora_A.weight"], "sd9") == ["anything.lora_A.weight"]


def test_kinds_of_layers_are_named_once() -> None:
    keys = [f"diffusion_model.blocks.{number}.cross_attn.k.img{end}" for number in range(40) for end in PEFT]
    assert group_names(keys) == ["diffusion_model.blocks.*.cross_attn.k.img"]


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "base", "size"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "wan", "14B"),
        ("wan2.1_t2v_1.3B_fp16.safetensors", "wan", "1.3B"),
        ("wan2.2_ti2v_5B_fp16.safetensors", "wan", "5B"),
        ("Wan2_2-T2V-A14B-HIGH_fp8.safetensors", "wan", "14B"),
        ("flux-2-klein-base-9b-fp8.safetensors", "flux2", "klein 9B"),
        ("flux-2-klein-4b.safetensors", "flux2", "klein 4B"),
        ("flux2_dev_fp8mixed.safetensors", "flux2", "dev"),
        ("flux1-dev.safetensors", "flux", ""),
        ("somebodys.safetensors", "wan", ""),
    ],
)
def test_a_models_file_name_tells_its_size(name: str, base: str, size: str) -> None:
    assert variant_named(name, base) == size


def blocks(count: int, name: str, wide: int = 3072) -> Shapes:
    return layers([name.replace("#", str(number)) for number in range(count)], wide, *PEFT)


def test_a_lora_of_flux_1_is_not_taken_for_one_of_klein_which_is_as_wide() -> None:
    assert base_of(header(blocks(5, "diffusion_model.double_blocks.#.img_attn.qkv"))) == "flux2"
    assert base_of(header(blocks(6, "diffusion_model.double_blocks.#.img_attn.qkv"))) == "flux"
    assert base_of(header(blocks(4, "diffusion_model.double_blocks.#.img_attn.qkv"))) == "flux"
    assert base_of(header(blocks(20, "diffusion_model.single_blocks.#.linear1"))) == "flux", "its MLP is FLUX.1's"
    five = blocks(5, "diffusion_model.double_blocks.#.img_attn.qkv")
    assert base_of(header({**five, **blocks(5, "diffusion_model.double_blocks.#.img_mod.lin")})) == "flux"
    for name, side, width, base in (
        ("img_mlp.0", 0, 18432, "flux2"),
        ("img_mlp.0", 0, 12288, "flux"),
        ("txt_mlp.2", 1, 9216, "flux2"),
        ("txt_mlp.2", 1, 12288, "flux"),
    ):
        down, up = ((1, 3072), (width, 1)) if side == 0 else ((1, width), (3072, 1))
        mlp = {f"diffusion_model.double_blocks.0.{name}{end}": shape for end, shape in zip(PEFT, (down, up), strict=True)}
        assert base_of(header({**five, **mlp})) == base, (name, width)


def test_blocks_beyond_a_models_own_tell_another() -> None:
    joint = "transformer.transformer_blocks.#.attn.to_q"
    assert base_of(header(blocks(19, joint))) == "flux"
    assert base_of(header(blocks(60, joint))) == "qwen"
    assert base_of(header(blocks(38, "transformer.single_transformer_blocks.#.attn.to_q"))) == "flux"
    assert base_of(header(blocks(40, "transformer.single_transformer_blocks.#.attn.to_q"))) == "hunyuan"
    unknown = {f"lycoris_single_transformer_blocks_{number}_attn_to_q.lokr_w1": (4,) for number in range(48)}
    assert base_of(header(unknown)) == "flux2"
    assert base_of(header(blocks(2, joint, wide=100))) is None
    assert base_of(header(blocks(2, joint, wide=100), {"modelspec.architecture": "Qwen-Image/lora"})) == "qwen"


def test_a_whole_difference_tells_the_width_too() -> None:
    assert variant_of(header({"diffusion_model.blocks.0.self_attn.q.diff": (5120, 5120)}), "wan") == "14B"
    assert variant_of(header({"diffusion_model.blocks.0.ffn.0.lora_A.weight": (4, 5120)}), "wan") == "", "attention alone is asked"


def test_every_known_file_is_a_lora() -> None:
    assert all(is_lora(header(row.tensors)) for row in (*SPELLINGS, *OTHERS) if "DoRA" not in row.tool)
    assert all(is_lora(header(tensors)) for _, tensors in LORAS.values())


# -- what a push says -------------------------------------------------------------------------------------------------


def look(folder: Path, name: str, tensors: Shapes) -> tuple[str, str, tuple[str, ...]]:
    path = stored(folder, name, safetensors(tensors))
    found = inspect_source(path, str(path), PushOptions(), lambda count: None)
    return found.base, found.variant, found.notes


def test_a_push_says_what_is_not_loaded(tmp_path: Path) -> None:
    good = layers([f"diffusion_model.blocks.{number}.self_attn.q" for number in range(3)], 5120, *PEFT)
    bad = layers([f"diffusion_model.blocks.{number}.cross_attn.k.img" for number in range(3)], 5120, *PEFT)
    image = layers([f"diffusion_model.blocks.{number}.cross_attn.k_img" for number in range(3)], 5120, *PEFT)
    assert look(tmp_path, "a.safetensors", good) == ("wan", "14B", ())
    base, variant, notes = look(tmp_path, "b_HighNoise_v2.safetensors", {**good, **bad, **image})
    assert (base, variant) == ("wan", "14B")
    assert notes == (
        "ComfyUI will not load 6 of its 18 tensors: diffusion_model.blocks.*.cross_attn.k.img.",
        "6 of its 18 tensors are loaded only into Wan 2.1's image-to-video models, which alone attend to a picture: "
        "diffusion_model.blocks.*.cross_attn.k_img.",
        "By its file's name it was trained for Wan 2.2's high-noise model; its tensors do not tell.",
    )
    [whole] = look(tmp_path, "c.safetensors", layers(["transformer.blocks.0.attn1.to_q"], 5120, *PEFT))[2]
    assert whole.startswith(
        "ComfyUI loads none of its 2 tensors, so it will have no effect there: transformer.blocks.*.attn1.to_q. Convert"
    )


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("ada_high_noise", "high"),
        ("ada-LowNoise", "low"),
        ("Ada_HIGH", "high"),
        ("ada_low", "low"),
        ("ada_high_and_low", None),
        ("highland_flowers", None),
        ("ada_lownoise", "low"),
    ],
)
def test_a_files_name_tells_which_of_wan_2_2s_models_it_is_for(tmp_path: Path, name: str, noise: str | None) -> None:
    notes = look(tmp_path, f"{name}.safetensors", layers(["diffusion_model.blocks.0.self_attn.q"], 5120, *PEFT))[2]
    assert [re.findall(r"2\.2's (high|low)-noise", note) for note in notes] == ([[noise]] if noise else [])


def test_names_in_a_note_are_cleaned_and_cut(tmp_path: Path) -> None:
    keys = [f"diffusion_model.blocks.0.self_attn.q.\x1b[31m{'x' * 300}{letter}" for letter in "abcdef"]
    shapes = {**layers(["diffusion_model.blocks.0.self_attn.q"], 5120, *PEFT), **layers(keys, 8, *PEFT)}
    [note] = look(tmp_path, "a.safetensors", shapes)[2]
    assert "\x1b" not in note
    assert note.endswith("and 3 more.")
    assert len(note) < 500
