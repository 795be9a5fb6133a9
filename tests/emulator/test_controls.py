"""What holds of pictures whose shapes follow another one's, and of the edges that are drawn for that."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import Array, Graph, Runner, flux, folders_in, pictures

from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.nodes.controls import find_edges, weight_between
from ryla_gen.emulator.painting import paint

SIDE = 192


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_in(tmp_path)
    shape = paint("a lighthouse at noon, red roof", SIDE, SIDE, 1)
    Image.fromarray((np.clip(shape, 0, 1) * 255).astype(np.uint8)).save(made.input / "shape.png")
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    depth = np.clip(255 - np.hypot(x - 90, y - 100) * 2.5, 0, 255).astype(np.uint8)
    Image.fromarray(np.stack([depth] * 3, axis=-1)).save(made.input / "depth.png")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, SIDE // 2 :] = 255
    Image.fromarray(mask).save(made.input / "right.png")
    return made


def plain(checkpoint: str = "sd_xl_base_1.0.safetensors", **settings: Any) -> Graph:
    graph = flux("a green forest at dusk", size=SIDE, cfg=5.0, **settings)
    graph["1"]["inputs"]["ckpt_name"] = checkpoint
    return graph | {
        "shape": {"class_type": "LoadImage", "inputs": {"image": "shape.png"}},
        "depth": {"class_type": "LoadImage", "inputs": {"image": "depth.png"}},
        "mask": {"class_type": "LoadImageMask", "inputs": {"image": "right.png", "channel": "red"}},
        "edges": {"class_type": "Canny", "inputs": {"image": ["shape", 0], "low_threshold": 0.15, "high_threshold": 0.3}},
        "net": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "union.safetensors"}},
        "union": {"class_type": "SetUnionControlNetType", "inputs": {"control_net": ["net", 0], "type": "auto"}},
        "patch": {"class_type": "ModelPatchLoader", "inputs": {"name": "Z-Image-Turbo-Fun-Controlnet-Union.safetensors"}},
    }


def controlled(strength: float, hint: str = "edges", start: float = 0.0, end: float = 1.0) -> Graph:
    graph = plain()
    inputs = {"positive": ["3", 0], "negative": ["2", 0], "control_net": ["union", 0], "image": [hint, 0]}
    inputs |= {"strength": strength, "start_percent": start, "end_percent": end}
    graph["apply"] = {"class_type": "ControlNetApplyAdvanced", "inputs": inputs}
    graph["5"]["inputs"] |= {"positive": ["apply", 0], "negative": ["apply", 1]}
    return graph


def patched(strength: float, **mask: Any) -> Graph:
    graph = plain("z_image_turbo_bf16.safetensors")
    inputs = {"model": ["1", 0], "model_patch": ["patch", 0], "vae": ["1", 2], "image": ["depth", 0], "strength": strength}
    graph["apply"] = {"class_type": "QwenImageDiffsynthControlnet", "inputs": {**inputs, **mask}}
    graph["5"]["inputs"]["model"] = ["apply", 0]
    return graph


def lights(picture: Array, hint: Array) -> float:
    """How far the lights and darks of two pictures agree."""
    return float(np.corrcoef(picture.mean(-1).ravel(), hint.mean(-1).ravel())[0, 1])


def lines(picture: Array, hint: Array) -> float:
    """How far the edges of two pictures agree."""
    steep = [np.hypot(*np.gradient(image.mean(-1))).ravel() for image in (picture, hint)]
    return float(np.corrcoef(*steep)[0, 1])


@pytest.mark.parametrize(("hint", "agreement"), [("edges", lines), ("depth", lights)])
def test_strength_zero_is_no_control_and_a_stronger_one_agrees_more(folders: Folders, hint: str, agreement: Any) -> None:
    assert np.array_equal(pictures(plain(), folders), pictures(controlled(0.0, hint), folders))
    wanted = Runner(plain(), folders).value(hint, 0)[0]
    found = [agreement(pictures(controlled(strength, hint), folders)[0], wanted) for strength in (0.0, 0.3, 0.7, 1.5)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.3


def test_a_shorter_part_of_the_sampling_holds_less_and_the_early_part_more_than_the_late(folders: Folders) -> None:
    wanted = Runner(plain(), folders).value("depth", 0)[0]

    def agreement(start: float, end: float) -> float:
        return lights(pictures(controlled(0.8, "depth", start, end), folders)[0], wanted)

    assert agreement(0.0, 1.0) > agreement(0.0, 0.5) > agreement(0.5, 1.0) > agreement(0.9, 1.0)
    assert np.array_equal(pictures(plain(), folders), pictures(controlled(0.8, "depth", 0.4, 0.4), folders))
    assert math.isclose(weight_between(0.0, 0.3) + weight_between(0.3, 1.0), 1.0)


def test_the_prompt_still_says_what_is_painted(folders: Folders) -> None:
    green, red = (controlled(1.0, "depth") for _ in range(2))
    red["7"]["inputs"]["text"] = "a red boat at noon"
    assert np.abs(pictures(green, folders) - pictures(red, folders)).mean() > 0.05


def test_the_older_node_is_the_newer_one_over_all_of_the_sampling(folders: Folders) -> None:
    graph = plain()
    inputs = {"conditioning": ["3", 0], "control_net": ["net", 0], "image": ["depth", 0], "strength": 0.8}
    graph["apply"] = {"class_type": "ControlNetApply", "inputs": inputs}
    graph["5"]["inputs"]["positive"] = ["apply", 0]
    newer = controlled(0.8, "depth")
    newer["5"]["inputs"]["negative"] = ["2", 0]
    assert np.array_equal(pictures(graph, folders), pictures(newer, folders))


def test_a_patched_model_follows_as_far_as_the_patch_is_strong_and_not_in_its_hole(folders: Folders) -> None:
    bare, none = pictures(plain("z_image_turbo_bf16.safetensors"), folders)[0], pictures(patched(0.0), folders)[0]
    assert np.array_equal(bare, none)
    wanted = Runner(plain(), folders).value("depth", 0)[0]
    found = [lights(pictures(patched(strength), folders)[0], wanted) for strength in (0.0, 0.4, 1.0)]
    assert found == sorted(found)
    change = np.abs(pictures(patched(1.0, mask=["mask", 0]), folders)[0] - bare).mean((0, 2))
    assert change[: SIDE // 3].mean() > 2 * change[-SIDE // 3 :].mean()


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_an_inpainting_control_net_keeps_what_is_outside_of_its_mask(folders: Folders, strength: float) -> None:
    graph = plain("qwen_image_fp8_e4m3fn.safetensors")
    inputs = {"positive": ["3", 0], "negative": ["2", 0], "control_net": ["net", 0], "vae": ["1", 2], "image": ["shape", 0]}
    inputs |= {"mask": ["mask", 0], "strength": strength, "start_percent": 0.0, "end_percent": 1.0}
    graph["apply"] = {"class_type": "ControlNetInpaintingAliMamaApply", "inputs": inputs}
    graph["5"]["inputs"] |= {"positive": ["apply", 0], "negative": ["apply", 1]}
    shape = Runner(graph, folders).value("shape", 0)[0]
    away = np.abs(pictures(graph, folders)[0] - shape).mean((0, 2))
    assert (away[: SIDE // 2 - 16].mean() < 0.03) == (strength > 0.0)
    assert away[SIDE // 2 + 16 :].mean() > 0.05


def test_grey_maps_beside_the_noise_are_followed(folders: Folders) -> None:
    graph = plain("flux1-canny-dev.safetensors")
    links = {"positive": ["3", 0], "negative": ["2", 0], "vae": ["1", 2], "pixels": ["edges", 0]}
    graph["apply"] = {"class_type": "InstructPixToPixConditioning", "inputs": links}
    graph["5"]["inputs"] |= {"positive": ["apply", 0], "negative": ["apply", 1], "latent_image": ["apply", 2]}
    wanted = Runner(graph, folders).value("edges", 0)[0]
    assert lines(pictures(graph, folders)[0], wanted) > lines(pictures(plain(), folders)[0], wanted) + 0.2


def test_edges_are_thin_closed_lines_between_what_differs() -> None:
    plane = np.zeros((40, 40), np.float32)
    plane[10:30, 10:30] = 1.0
    edges = find_edges(plane, 0.4, 0.8)
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert not edges[14:26, 14:26].any()
    assert (edges[15:25].sum(1) == 2).all()
    assert (edges[:, 15:25].sum(0) == 2).all()
    assert not find_edges(np.full((9, 9), 0.5, np.float32), 0.1, 0.2).any()


def test_a_weak_edge_counts_where_it_reaches_a_strong_one() -> None:
    plane = np.zeros((30, 60), np.float32)
    plane[15:] = np.linspace(0.02, 1.0, 60, dtype=np.float32)
    assert find_edges(plane, 0.05, 0.8).sum() > find_edges(plane, 0.79, 0.8).sum() + 10
    assert not find_edges(plane * 0.1, 0.01, 0.8).any()
