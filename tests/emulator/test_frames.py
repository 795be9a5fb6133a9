"""What holds of videos that begin or end with given pictures, and of those that two models share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import Array, Graph, Runner, folders_in

from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.latents import decode, encode
from ryla_gen.emulator.painting import paint

WIDTH, HEIGHT, LENGTH = 128, 96, 17
HIGH, LOW = (f"wan2.2_i2v_{noise}_noise_14B_fp8_scaled.safetensors" for noise in ("high", "low"))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_in(tmp_path)
    for name, text in (("start", "a lighthouse at noon, red roof"), ("end", "a forest in orange leaves at dusk")):
        pixels = (np.clip(paint(text, WIDTH, HEIGHT, 1), 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(made.input / f"{name}.png")
    return made


def picture(folders: Folders, name: str) -> Array:
    """A given picture, as the VAE returns it."""
    return decode(encode(np.asarray(Image.open(folders.input / f"{name}.png"), np.float32) / 255))


def between(text: str, class_type: str, *given: str, **sizes: int) -> Graph:
    """Loaders, prompts and the node that begins or ends a video with given pictures."""
    size = {"width": WIDTH, "height": HEIGHT, "length": LENGTH, "batch_size": 1} | sizes
    images = {f"{name}_image": [name, 0] for name in given}
    return {
        "m": {"class_type": "UNETLoader", "inputs": {"unet_name": HIGH, "weight_dtype": "default"}},
        "l": {"class_type": "UNETLoader", "inputs": {"unet_name": LOW, "weight_dtype": "default"}},
        "c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "type": "wan"}},
        "v": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}},
        "t": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["c", 0]}},
        "n": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["c", 0]}},
        **{name: {"class_type": "LoadImage", "inputs": {"image": f"{name}.png"}} for name in given},
        "p": {
            "class_type": class_type,
            "inputs": {"positive": ["t", 0], "negative": ["n", 0], "vae": ["v", 0], **size, **images},
        },
    }


def frames(graph: Graph, folders: Folders, positive: str = "p", latent: Any = ("p", 2), **settings: Any) -> Array:
    inputs = {"seed": 1, "steps": 6, "cfg": 3.5, "sampler_name": "uni_pc", "scheduler": "simple", "denoise": 1.0} | settings
    negative = ["p", 1] if positive == "p" else ["n", 0]
    links = {"model": ["m", 0], "positive": [positive, 0], "negative": negative, "latent_image": list(latent)}
    return decoded({**graph, "k": {"class_type": "KSampler", "inputs": {**inputs, **links}}}, folders)


def decoded(graph: Graph, folders: Folders) -> Array:
    graph["d"] = {"class_type": "VAEDecode", "inputs": {"samples": ["k", 0], "vae": ["v", 0]}}
    return np.asarray(Runner(graph, folders).value("d", 0))


def moves(video: Array) -> list[float]:
    return [float(step) for step in np.abs(np.diff(video, axis=0)).mean((1, 2, 3))]


def distance(one: Array, other: Array) -> float:
    return float(np.abs(one - other).mean())


def test_a_video_begins_with_its_first_picture_and_moves(folders: Folders) -> None:
    video = frames(between("it is raining", "WanImageToVideo", "start"), folders)
    assert video.shape == (LENGTH, HEIGHT, WIDTH, 3)
    assert distance(video[0], picture(folders, "start")) < 0.001
    assert min(moves(video)) > 0.0005
    assert max(moves(video)) < 0.04
    assert distance(video[0], video[-1]) > 0.02


def test_words_and_seeds_change_what_follows_and_not_the_first_picture(folders: Folders) -> None:
    day, night, other = (
        frames(between(text, "WanImageToVideo", "start"), folders, seed=seed)
        for text, seed in (("the same", 1), ("it becomes night", 1), ("the same", 2))
    )
    assert max(distance(day[0], night[0]), distance(day[0], other[0])) < 0.001
    assert night[-1].mean() < day[-1].mean() - 0.1
    assert distance(day[-1], other[-1]) > 0.005
    assert np.array_equal(day, frames(between("the same", "WanImageToVideo", "start"), folders))


@pytest.mark.parametrize("given", [("start", "end"), ("start",), ("end",), ()])
def test_the_first_and_the_last_picture_are_those_that_are_given(folders: Folders, given: tuple[str, ...]) -> None:
    video = frames(between("a lighthouse", "WanFirstLastFrameToVideo", *given), folders)
    assert len(video) == LENGTH
    assert (distance(video[0], picture(folders, "start")) < 0.001) == ("start" in given)
    assert (distance(video[-1], picture(folders, "end")) < 0.001) == ("end" in given)
    assert max(moves(video)) < 0.08


def test_a_length_off_four_n_plus_one_still_ends_with_the_last_picture(folders: Folders) -> None:
    video = frames(between("a lighthouse", "WanFirstLastFrameToVideo", "start", "end", length=16), folders)
    assert len(video) == 13
    assert distance(video[-1], picture(folders, "end")) < 0.001


def test_what_a_vision_encoder_saw_changes_nothing(folders: Folders) -> None:
    graph = between("rain", "WanImageToVideo", "start")
    plain = frames(dict(graph), folders)
    graph |= {
        "look": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "clip_vision_h.safetensors"}},
        "seen": {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["look", 0], "image": ["start", 0], "crop": "none"}},
    }
    graph["p"]["inputs"]["clip_vision_output"] = ["seen", 0]
    assert np.array_equal(plain, frames(graph, folders))


def five_billion(folders: Folders, vae: str, *given: str) -> Array:
    graph = between("it is raining", "Wan22ImageToVideoLatent", *given)
    graph["m"]["inputs"]["unet_name"] = "wan2.2_ti2v_5B_fp16.safetensors"
    graph["v"]["inputs"]["vae_name"] = vae
    graph["p"]["inputs"] = {k: v for k, v in graph["p"]["inputs"].items() if k not in ("positive", "negative")}
    return frames(graph, folders, "t", ("p", 0))


def test_the_5b_model_begins_with_a_picture_that_its_latent_holds(folders: Folders) -> None:
    video = five_billion(folders, "wan2.2_vae.safetensors", "start")
    assert video.shape == (LENGTH, HEIGHT, WIDTH, 3)
    assert distance(video[0], picture(folders, "start")) < 0.001
    assert max(moves(video)) < 0.04
    assert distance(five_billion(folders, "wan2.2_vae.safetensors")[0], picture(folders, "start")) > 0.05


def test_the_5b_model_and_its_vae_go_together_only(folders: Folders) -> None:
    with pytest.raises(RuntimeError, match=r"size of the tensor \(48\) must match the existing size \(16\)"):
        five_billion(folders, "wan_2.1_vae.safetensors", "start")
    with pytest.raises(RuntimeError, match="16 channels, but got 48"):
        five_billion(folders, "wan_2.1_vae.safetensors")


def shared(graph: Graph, folders: Folders, seed: int) -> Array:
    """One run of six levels: the first three with one model, the rest, with what noise is left, with another."""
    both = {"steps": 6, "cfg": 3.5, "sampler_name": "euler", "scheduler": "simple", "positive": ["p", 0], "negative": ["p", 1]}
    first = {
        "add_noise": "enable",
        "noise_seed": seed,
        "start_at_step": 0,
        "end_at_step": 3,
        "return_with_leftover_noise": "enable",
    }
    second = {"add_noise": "disable", "noise_seed": 0, "start_at_step": 3, "end_at_step": 10_000}
    links = ({"model": ["m", 0], "latent_image": ["p", 2]}, {"model": ["l", 0], "latent_image": ["h", 0]})
    graph["h"] = {"class_type": "KSamplerAdvanced", "inputs": {**both, **first, **links[0]}}
    last = {**both, **second, **links[1], "return_with_leftover_noise": "disable"}
    return decoded({**graph, "k": {"class_type": "KSamplerAdvanced", "inputs": last}}, folders)


@pytest.mark.parametrize("given", [("start",), ()])
def test_two_models_share_a_run_as_one_would_make_it_alone(folders: Folders, given: tuple[str, ...]) -> None:
    graph = between("a boat on the sea at dusk", "WanImageToVideo", *given)
    whole = frames(dict(graph), folders, sampler_name="euler")
    assert distance(whole, shared(dict(graph), folders, 1)) < 0.004
    assert np.array_equal(shared(dict(graph), folders, 1), shared(dict(graph), folders, 1))
    assert distance(shared(dict(graph), folders, 1), shared(dict(graph), folders, 2)) > 0.004
