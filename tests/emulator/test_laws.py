"""What holds of every picture the emulator makes, whatever it shows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from running import Array, Graph, Runner, flux, folders_in, pictures, reference

from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.painting import paint
from ryla_gen.emulator.sampling.samplers import SAMPLERS, STOCHASTIC
from tests.models.loras.files import lora

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PROMPTS = st.sampled_from(
    [
        "a lighthouse at dusk, red roof",
        "portrait of a woman",
        "a fox in a snowy forest",
        "zorbl flumen",
        "city at night",
        "",
        "日本",
    ]
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_in(tmp_path)
    reference(made.input / "blue.png", (30, 60, 200))
    Image.new("RGB", (64, 64), (90, 90, 90)).save(made.input / "flat.png")
    return made


def distance(one: Array, other: Array) -> float:
    return float(np.abs(one - other).mean())


@FEW
@given(
    prompt=PROMPTS, seed=st.integers(0, 2**64 - 1), sampler=st.sampled_from(sorted(SAMPLERS)), side=st.sampled_from([64, 80, 128])
)
def test_the_same_request_gives_the_same_bytes(folders: Folders, prompt: str, seed: int, sampler: str, side: int) -> None:
    graph = flux(prompt, size=side, seed=seed, sampler_name=sampler, steps=4)
    first, second = (Runner(graph, folders).run().files()[0].read_bytes() for _ in range(2))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


@FEW
@given(prompt=PROMPTS, seeds=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2, unique=True))
def test_another_seed_gives_another_picture(folders: Folders, prompt: str, seeds: list[int]) -> None:
    one, other = (pictures(flux(prompt, seed=seed), folders) for seed in seeds)
    assert distance(one, other) > 0.005


def test_seeds_choose_among_different_compositions(folders: Folders) -> None:
    shots = [pictures(flux("a lighthouse", seed=seed, size=64), folders)[0] for seed in range(10)]
    towers = {int(np.argmax((shot[..., 0] - shot[..., 2]).max(0))) // 6 for shot in shots}
    assert len(towers) >= 3


@FEW
@given(seed=st.integers(0, 2**32))
def test_batch_items_differ_and_the_first_is_the_single_picture(folders: Folders, seed: int) -> None:
    batch = pictures(flux(seed=seed, batch_size=3), folders)
    assert min(distance(batch[0], batch[1]), distance(batch[1], batch[2]), distance(batch[0], batch[2])) > 0.005
    assert np.array_equal(batch[:1], pictures(flux(seed=seed), folders))


def with_lora(strength: float, loader: str = "LoraLoader", name: str = "style.safetensors") -> Graph:
    graph = flux()
    inputs = {"model": ["1", 0], "lora_name": name, "strength_model": strength}
    if loader == "LoraLoader":
        inputs |= {"clip": ["1", 1], "strength_clip": strength}
        graph["2"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["9", 1]
    graph["9"] = {"class_type": loader, "inputs": inputs}
    graph["5"]["inputs"]["model"] = ["9", 0]
    return graph


@pytest.mark.parametrize("loader", ["LoraLoader", "LoraLoaderModelOnly"])
def test_a_lora_of_strength_zero_is_no_lora_and_a_stronger_one_shows_more(folders: Folders, loader: str) -> None:
    plain = pictures(flux(), folders)
    assert np.array_equal(plain, pictures(with_lora(0.0, loader), folders))
    shifts = [distance(plain, pictures(with_lora(strength, loader), folders)) for strength in (0.3, 0.6, 1.0)]
    assert 0.003 < shifts[0] < shifts[1] < shifts[2]


def test_a_loras_look_comes_from_its_content_and_not_from_its_name(folders: Folders) -> None:
    loras = folders.models / "loras"
    loras.mkdir()
    for name, content in (("a.safetensors", lora(seed=1)), ("b.safetensors", lora(seed=1)), ("c.safetensors", lora(seed=2))):
        (loras / name).write_bytes(content)
    a, b, c = (pictures(with_lora(1.0, name=f"{name}.safetensors"), folders) for name in "abc")
    assert np.array_equal(a, b)
    assert distance(a, c) > 0.005


def test_an_accelerator_lora_leaves_the_look_alone(folders: Folders) -> None:
    assert np.array_equal(pictures(flux(), folders), pictures(with_lora(1.0, name="FLUX.1-Turbo-Alpha.safetensors"), folders))


def instantid(identity: float | None, placement: float = 0.0, image: str = "blue.png") -> Graph:
    graph = flux("portrait of a man in a green forest", steps=10, cfg=4.5, sampler_name="ddpm", scheduler="karras")
    graph["1"]["inputs"]["ckpt_name"] = "RealVisXL_V5.0_fp16.safetensors"
    if identity is None:
        return graph
    strengths = {"ip_weight": identity, "cn_strength": placement, "start_at": 0.0, "end_at": 1.0, "noise": 0.0}
    parts = {"instantid": ["20", 0], "insightface": ["21", 0], "control_net": ["22", 0], "image": ["23", 0]}
    links = {"model": ["1", 0], "positive": ["3", 0], "negative": ["2", 0]}
    apply = {**parts, **links, **strengths, "combine_embeds": "average"}
    graph["20"] = {"class_type": "InstantIDModelLoader", "inputs": {"instantid_file": "ip-adapter.bin"}}
    graph["21"] = {"class_type": "InstantIDFaceAnalysis", "inputs": {"provider": "CPU"}}
    graph["22"] = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "instantid.safetensors"}}
    graph["23"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    graph["24"] = {"class_type": "ApplyInstantIDAdvanced", "inputs": apply}
    graph["5"]["inputs"] |= {"model": ["24", 0], "positive": ["24", 1], "negative": ["24", 2]}
    return graph


def pulid(weight: float, image: str = "blue.png") -> Graph:
    graph = flux("portrait of a man in a green forest")
    links = {"model": ["1", 0], "pulid_flux": ["20", 0], "eva_clip": ["21", 0], "face_analysis": ["22", 0], "image": ["23", 0]}
    graph["20"] = {"class_type": "PulidFluxModelLoader", "inputs": {"pulid_file": "pulid_flux_v0.9.1.safetensors"}}
    graph["21"] = {"class_type": "PulidFluxEvaClipLoader", "inputs": {}}
    graph["22"] = {"class_type": "PulidFluxInsightFaceLoader", "inputs": {"provider": "CPU"}}
    graph["23"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    graph["24"] = {"class_type": "ApplyPulidFlux", "inputs": {**links, "weight": weight, "start_at": 0.0, "end_at": 1.0}}
    graph["5"]["inputs"]["model"] = ["24", 0]
    return graph


def from_blue(picture: Array) -> float:
    """How far the middle of a picture is from the reference's blue."""
    middle = picture[0, 24:72, 24:72].reshape(-1, 3).mean(0)
    return float(np.abs(middle - np.array([60, 60, 200]) / 255).mean())


def test_identity_strength_zero_is_no_reference_and_a_stronger_one_moves_towards_it(folders: Folders) -> None:
    plain = pictures(instantid(None), folders)
    assert np.array_equal(plain, pictures(instantid(0.0, 0.0), folders))
    steps = [from_blue(pictures(instantid(strength), folders)) for strength in (0.0, 0.4, 0.8, 1.6)]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[0] - 0.05
    placed = [from_blue(pictures(instantid(0.0, strength), folders)) for strength in (0.0, 0.5, 1.0)]
    assert placed[0] > placed[1] > placed[2]


def test_pulid_moves_towards_the_reference_as_well(folders: Folders) -> None:
    plain = pictures(flux("portrait of a man in a green forest"), folders)
    assert np.array_equal(plain, pictures(pulid(0.0), folders))
    steps = [from_blue(pictures(pulid(weight), folders)) for weight in (0.0, 0.5, 1.0)]
    assert steps[0] > steps[1] > steps[2]


def test_a_flat_reference_has_no_face(folders: Folders) -> None:
    with pytest.raises(Exception, match=r"^Reference Image: No face detected\.$"):
        pictures(instantid(0.8, 0.8, "flat.png"), folders)
    plain = pictures(flux("portrait of a man in a green forest"), folders)
    assert np.array_equal(plain, pictures(pulid(1.0, "flat.png"), folders))


def refined(denoise: float) -> Graph:
    graph = flux("city at night", denoise=denoise, steps=12)
    graph["30"] = {"class_type": "LoadImage", "inputs": {"image": "blue.png"}}
    graph["31"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["30", 0], "vae": ["1", 2]}}
    graph["5"]["inputs"]["latent_image"] = ["31", 0]
    return graph


def test_less_denoise_stays_nearer_to_the_input_and_none_returns_it(folders: Folders) -> None:
    source = np.asarray(Image.open(folders.input / "blue.png"), np.float32)[None] / 255
    away = [distance(pictures(refined(denoise), folders), source) for denoise in (0.0, 0.05, 0.3, 0.6, 1.0)]
    assert away == sorted(away)
    assert away[0] < 0.01
    assert away[1] < 0.03


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - STOCHASTIC))
def test_more_steps_change_less(folders: Folders, sampler: str) -> None:
    five, ten, twenty, forty = (pictures(flux(sampler_name=sampler, steps=n, seed=5, size=256), folders) for n in (5, 10, 20, 40))
    assert distance(twenty, forty) < distance(five, ten)


def test_the_negative_prompt_counts_only_above_cfg_one(folders: Folders) -> None:
    shots = {}
    for cfg in (1.0, 4.0):
        for text in ("", "night, dark blue"):
            graph = flux(cfg=cfg)
            graph["2"]["inputs"]["text"] = text
            shots[cfg, text] = pictures(graph, folders)
    assert np.array_equal(shots[1.0, ""], shots[1.0, "night, dark blue"])
    assert distance(shots[4.0, ""], shots[4.0, "night, dark blue"]) > 0.001


def test_the_samplers_of_cfg_plus_plus_differ_from_their_plain_ones_only_where_cfg_counts(folders: Folders) -> None:
    shots = {
        (cfg, name): pictures(flux(cfg=cfg, sampler_name=name, scheduler="simple"), folders)
        for cfg in (1.0, 4.0)
        for name in ("euler", "euler_cfg_pp")
    }
    assert np.allclose(shots[1.0, "euler"], shots[1.0, "euler_cfg_pp"], atol=1e-4)
    assert distance(shots[4.0, "euler"], shots[4.0, "euler_cfg_pp"]) > 0.0003


def hue_share(picture: Array, wanted: str) -> float:
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    tests = {
        "red": (red > 0.35) & (red > green * 2.0) & (red > blue * 2.0),
        "green": (green > red * 1.15) & (green > blue * 1.15),
        "blue": (blue > red * 1.25) & (blue > green * 1.1),
    }
    return float(tests[wanted].mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_red_roof_is_red(folders: Folders, seed: int) -> None:
    red = pictures(flux("a lighthouse at noon, red roof", size=128, seed=seed), folders)[0]
    blue = pictures(flux("a lighthouse at noon, blue roof", size=128, seed=seed), folders)[0]
    assert hue_share(red, "red") > 0.004
    assert hue_share(blue, "red") < hue_share(red, "red") / 3


def test_light_and_colour_words_show() -> None:
    def mean(text: str) -> float:
        return float(np.mean([paint(text, 96, 96, layout).mean() for layout in range(4)]))

    assert mean("a lighthouse at night") < mean("a lighthouse at dusk") < mean("a lighthouse at noon")
    assert mean("a meadow in winter snow") > mean("a meadow")
    for colour in ("red", "green"):
        assert hue_share(paint(f"a {colour} boat at sea", 128, 128), colour) > 0.01
    assert np.allclose(paint("", 64, 48), 0.5)


def test_a_portrait_has_a_face_where_a_landscape_has_a_horizon() -> None:
    face = paint("portrait of a woman with black hair", 128, 128)
    skin, corner = face[60:76, 56:72].reshape(-1, 3).mean(0), face[:12, :12].reshape(-1, 3).mean(0)
    assert skin[0] > skin[2] * 1.2
    assert np.abs(skin - corner).max() > 0.12
    land = paint("a green meadow", 128, 128)
    rows = land.mean(1)
    assert rows[10:30, 2].mean() > rows[10:30, 0].mean()
    assert rows[100:120, 1].mean() > rows[100:120, 2].mean() * 1.2
