"""What holds of pictures that are edited, completed or held to a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import Array, Graph, Runner, folders_in

from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.painting import paint
from ryla_gen.emulator.painting.edits import paint_edit

SIDE = 192


def saved(picture: Array, path: Path) -> None:
    Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_in(tmp_path)
    saved(paint("a lighthouse at noon, red roof", SIDE, SIDE, 1), made.input / "one.png")
    saved(np.full((SIDE, SIDE, 3), (0.8, 0.4, 0.1), np.float32), made.input / "orange.png")
    hole = np.zeros((SIDE, SIDE), np.uint8)
    hole[96:176, 96:176] = 255
    Image.fromarray(hole).save(made.input / "hole.png")
    Image.fromarray(np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))).save(made.input / "ramp.png")
    return made


def source(folders: Folders) -> Array:
    return np.asarray(Image.open(folders.input / "one.png"), np.float32) / 255


def sampled(graph: Graph, positive: Any, negative: Any, latent: Any, folders: Folders, model: str = "m", **settings: Any) -> Array:
    inputs = {"seed": 1, "steps": 6, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0} | settings
    links = {"model": [model, 0], "positive": positive, "negative": negative, "latent_image": latent}
    graph |= {
        "k": {"class_type": "KSampler", "inputs": {**inputs, **links}},
        "d": {"class_type": "VAEDecode", "inputs": {"samples": ["k", 0], "vae": ["v", 0]}},
    }
    return np.asarray(Runner(graph, folders).value("d", 0))[0]


def loaders(model: str, vae: str, text: str) -> Graph:
    return {
        "m": {"class_type": "UNETLoader", "inputs": {"unet_name": model, "weight_dtype": "default"}},
        "c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "qwen_3_4b.safetensors", "type": "flux2"}},
        "v": {"class_type": "VAELoader", "inputs": {"vae_name": vae}},
        "t": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["c", 0]}},
        "n": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["t", 0]}},
        "e": {"class_type": "EmptyFlux2LatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1}},
        "i": {"class_type": "LoadImage", "inputs": {"image": "one.png"}},
    }


def klein(text: str, folders: Folders, *references: str, unet: str = "flux-2-klein-4b.safetensors", **settings: Any) -> Array:
    graph, prompt = loaders(unet, "flux2-vae.safetensors", text), ["t", 0]
    for index, name in enumerate(references):
        graph |= {
            f"load{index}": {"class_type": "LoadImage", "inputs": {"image": name}},
            f"encode{index}": {"class_type": "VAEEncode", "inputs": {"pixels": [f"load{index}", 0], "vae": ["v", 0]}},
            f"add{index}": {
                "class_type": "ReferenceLatent",
                "inputs": {"conditioning": prompt, "latent": [f"encode{index}", 0]},
            },
        }
        prompt = [f"add{index}", 0]
    return sampled(graph, prompt, ["n", 0], ["e", 0], folders, **settings)


def qwen_edit(text: str, folders: Folders, class_type: str = "TextEncodeQwenImageEditPlus", **images: str) -> Array:
    graph = loaders("qwen_image_edit_2511_fp8mixed.safetensors", "qwen_image_vae.safetensors", text)
    links = {}
    for name, file in images.items():
        graph[name] = {"class_type": "LoadImage", "inputs": {"image": file}}
        links[name] = [name, 0]
    graph |= {
        "p": {"class_type": class_type, "inputs": {"clip": ["c", 0], "prompt": text, "vae": ["v", 0], **links}},
        "q": {"class_type": class_type, "inputs": {"clip": ["c", 0], "prompt": "", "vae": ["v", 0], **links}},
    }
    return sampled(graph, ["p", 0], ["q", 0], ["e", 0], folders, cfg=2.5)


def luma(picture: Array) -> Array:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114], np.float32))


def agreement(one: Array, other: Array) -> float:
    """How alike two layouts are, above the caption, which is large in so small a picture."""
    above = slice(0, SIDE // 2)
    return float(np.corrcoef(luma(one)[above].ravel(), luma(other)[above].ravel())[0, 1])


def distance(one: Array, other: Array) -> float:
    return float(np.abs(one - other).mean())


INSTRUCTIONS = ("make it night", "change the sky to green", "turn it into a watercolour", "zorbl")


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_an_edit_keeps_the_layout_of_its_picture_and_its_words_change_it(folders: Folders, text: str) -> None:
    before, after = source(folders), klein(text, folders, "one.png")
    assert agreement(before, after) > 0.8 > 0.6 > agreement(before, klein("portrait of a woman", folders))
    same = klein("", folders, "one.png")
    assert distance(same, before) < 0.03
    assert distance(same, after) > 0.02


def test_instructions_differ_and_so_do_seeds_and_the_same_seed_gives_the_same_edit(folders: Folders) -> None:
    edits = [klein(text, folders, "one.png") for text in INSTRUCTIONS]
    assert min(distance(edits[i], edits[j]) for i in range(4) for j in range(i)) > 0.02
    again, other = klein(INSTRUCTIONS[0], folders, "one.png"), klein(INSTRUCTIONS[0], folders, "one.png", seed=2)
    assert np.array_equal(edits[0], again)
    assert 0.0005 < distance(again, other) < 0.03


def test_an_edit_changes_the_colour_it_names() -> None:
    before = paint("a lighthouse at noon, red roof", SIDE, SIDE, 1)
    sky = slice(0, SIDE // 4), slice(0, SIDE // 4)
    green = paint_edit(before, "change the sky to green")[sky].reshape(-1, 3).mean(0)
    assert green[1] > green[0] and green[1] > green[2]
    night = paint_edit(before, "make it night")
    assert luma(night).mean() < 0.6 * luma(before).mean()
    boat = paint_edit(before, "add a red boat")
    assert 0.01 < float((np.abs(boat - before).max(-1) > 0.1).mean()) < 0.4
    assert paint_edit(before, "zorbl") is before


def test_a_second_reference_gives_its_colours_and_the_first_still_the_layout(folders: Folders) -> None:
    one, two = klein("the same", folders, "one.png"), klein("the same", folders, "one.png", "orange.png")
    orange = np.array([0.8, 0.4, 0.1], np.float32)
    assert distance(two.mean((0, 1)), orange) < distance(one.mean((0, 1)), orange) - 0.05
    assert agreement(source(folders), two) > 0.8
    assert agreement(source(folders), klein("the same", folders, "one.png", "orange.png", "one.png")) > 0.8


def test_models_without_edits_ignore_references(folders: Folders) -> None:
    graph = loaders("sd_xl_base_1.0.safetensors", "sdxl_vae.safetensors", "a boat")
    plain = sampled(dict(graph), ["t", 0], ["n", 0], ["e", 0], folders)
    graph |= {
        "l": {"class_type": "VAEEncode", "inputs": {"pixels": ["i", 0], "vae": ["v", 0]}},
        "r": {"class_type": "ReferenceLatent", "inputs": {"conditioning": ["t", 0], "latent": ["l", 0]}},
    }
    assert np.array_equal(plain, sampled(graph, ["r", 0], ["n", 0], ["e", 0], folders))


def test_qwen_edits_with_one_two_or_no_pictures(folders: Folders) -> None:
    before = source(folders)
    assert agreement(before, qwen_edit("make it night", folders, image1="one.png")) > 0.8
    assert agreement(before, qwen_edit("make it night", folders, image1="one.png", image2="orange.png")) > 0.8
    assert agreement(before, qwen_edit("make it night", folders, "TextEncodeQwenImageEdit", image="one.png")) > 0.8
    assert agreement(before, qwen_edit("portrait of a woman", folders)) < 0.6


def fill(text: str, folders: Folders, mask: str = "hole.png", noise_mask: bool = True, strength: float | None = None) -> Array:
    graph = loaders("flux1-fill-dev.safetensors", "ae.safetensors", text)
    links = {"positive": ["t", 0], "negative": ["n", 0], "vae": ["v", 0], "pixels": ["i", 0], "mask": ["mask", 0]}
    graph |= {
        "mask": {"class_type": "LoadImageMask", "inputs": {"image": mask, "channel": "red"}},
        "p": {"class_type": "InpaintModelConditioning", "inputs": {**links, "noise_mask": noise_mask}},
        "soft": {"class_type": "DifferentialDiffusion", "inputs": {"model": ["m", 0], "strength": strength or 1.0}},
    }
    return sampled(graph, ["p", 0], ["p", 1], ["p", 2], folders, "m" if strength is None else "soft")


@pytest.mark.parametrize("noise_mask", [True, False])
def test_outside_the_mask_nothing_changes_and_inside_the_prompt_appears(folders: Folders, noise_mask: bool) -> None:
    black = fill("a red boat", folders, "hole.png", noise_mask)
    kept = fill("", folders, "hole.png", noise_mask)
    outside = np.ones((SIDE, SIDE), bool)
    outside[80:192, 80:192] = False
    assert np.array_equal(black[outside], kept[outside])
    assert distance(black[outside], source(folders)[outside]) < 0.02
    inside = (slice(104, 168), slice(104, 168))
    red, blue = (np.asarray(fill(f"a {colour} boat at sea", folders)[inside]) for colour in ("red", "blue"))
    assert red[..., 0].max() > 0.5
    assert distance(red, blue) > 0.003
    assert distance(black[inside], kept[inside]) > 0.03


def test_a_filled_hole_joins_at_its_edge(folders: Folders) -> None:
    filled = fill("a house at night", folders)
    steps = np.abs(np.diff(filled.mean(-1), axis=1))[100:172]
    assert steps[:, 92:100].mean() < 0.09


@pytest.mark.parametrize("strength", [None, 1.0, 0.5])
def test_the_greyer_a_mask_the_smaller_the_change(folders: Folders, strength: float | None) -> None:
    change = np.abs(fill("a forest at night", folders, "ramp.png", strength=strength) - source(folders)).mean((0, 2))
    quarters = [float(change[first : first + 48].mean()) for first in (0, 48, 96, 144)]
    assert quarters == sorted(quarters)
    assert quarters[0] < 0.1 * quarters[-1] + 0.02


def test_a_colour_picture_beside_the_noise_is_edited(folders: Folders) -> None:
    graph = loaders("flux1-dev.safetensors", "ae.safetensors", "make it night")
    links = {"positive": ["t", 0], "negative": ["n", 0], "vae": ["v", 0], "pixels": ["i", 0]}
    graph["p"] = {"class_type": "InstructPixToPixConditioning", "inputs": links}
    assert agreement(source(folders), sampled(graph, ["p", 0], ["p", 1], ["p", 2], folders)) > 0.8


def test_lotus_measures_depth_whatever_its_level(folders: Folders) -> None:
    graph = loaders("lotus-depth-d-v1-1.safetensors", "vae-ft-mse-840000-ema-pruned.safetensors", "")
    graph |= {
        "lotus": {"class_type": "LotusConditioning", "inputs": {}},
        "l": {"class_type": "VAEEncode", "inputs": {"pixels": ["i", 0], "vae": ["v", 0]}},
    }
    depth = sampled(graph, ["lotus", 0], ["n", 0], ["l", 0], folders, steps=1)
    assert float((depth.max(-1) - depth.min(-1)).mean()) < 0.02
    assert depth[:40].mean() > depth[-40:].mean() + 0.1
