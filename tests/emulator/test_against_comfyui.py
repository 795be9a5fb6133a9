"""Schedules and samplers against numbers measured on ComfyUI 0.3.71 itself; data/comfyui_sampling.json says how they were."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ryla_gen.emulator.model import Model
from ryla_gen.emulator.sampling import flow
from ryla_gen.emulator.sampling import run as sampling
from ryla_gen.emulator.sampling.run import Guider, Noise
from ryla_gen.emulator.sampling.samplers import SAMPLERS, sampler_named
from ryla_gen.emulator.sampling.walk import Array, Walk
from ryla_gen.models.node_schemas import OLDEST_VERSION, node_schemas

MEASURED: dict[str, dict[str, Any]] = json.loads((Path(__file__).with_name("data") / "comfyui_sampling.json").read_text())
MODELS = {"flux": flow.FLUX_DEV, "schnell": flow.FLUX_SCHNELL, "wan": flow.WAN, "sdxl": flow.SDXL}
PATCHED = {
    "flux 512x768": flow.ModelSampling("flux", flow.flux_shift(1.15, 0.5, 512, 768)),
    "aura 1.73": flow.ModelSampling("flow", 1.73, 1.0),
    "sd3 5.0": flow.ModelSampling("flow", 5.0),
}
TARGET = np.array([0.7, -1.3, 0.2, 2.0], np.float32)
PULL = np.array([1.0, -0.5, 0.25, -1.0], np.float32)
START = np.array([1.0, -0.4, 0.3, 0.8], np.float32)


def same_levels(got: flow.Sigmas, wanted: list[float]) -> None:
    """Equal but for ComfyUI's float32."""
    assert got.tolist() == pytest.approx(wanted, rel=1e-5, abs=0)


@pytest.mark.parametrize("key", MEASURED["schedules"])
def test_schedules(key: str) -> None:
    model, scheduler, steps = key.split()
    same_levels(flow.schedule(MODELS[model], scheduler, int(steps)), MEASURED["schedules"][key])


@pytest.mark.parametrize("key", MEASURED["long"])
def test_long_schedules_by_length_sums_and_three_levels(key: str) -> None:
    model, scheduler, steps = key.split()
    levels = flow.schedule(MODELS[model], scheduler, int(steps))
    picked = [levels[1], levels[int(steps) // 2], levels[-2]]
    sums = [levels.sum(), (np.arange(len(levels)) * levels).sum()]
    same_levels(np.array([len(levels), *sums, *picked]), MEASURED["long"][key])


@pytest.mark.parametrize("key", MEASURED["ksampler"])
def test_the_levels_of_a_ksampler(key: str) -> None:
    model, scheduler, steps, sampler, denoise = key.split()
    levels = flow.sampling_levels(MODELS[model], scheduler, int(steps), sampler, float(denoise))
    same_levels(levels, MEASURED["ksampler"][key])


@pytest.mark.parametrize("key", MEASURED["basic_scheduler"])
def test_the_levels_of_a_basic_scheduler(key: str) -> None:
    model, scheduler, steps, denoise = key.split()
    same_levels(flow.denoised_tail(MODELS[model], scheduler, int(steps), float(denoise)), MEASURED["basic_scheduler"][key])


@pytest.mark.parametrize("key", MEASURED["between"])
def test_the_schedules_between_two_given_levels(key: str) -> None:
    scheduler, steps, *shape = key.split()
    run = getattr(flow, scheduler)
    same_levels(run(int(steps), 0.0291675, 14.614642, *map(float, shape)), MEASURED["between"][key])


@pytest.mark.parametrize("key", MEASURED["beta_shapes"])
def test_the_beta_schedule_in_other_shapes(key: str) -> None:
    model, steps, alpha, beta = key.split()
    same_levels(flow.beta(MODELS[model], int(steps), float(alpha), float(beta)), MEASURED["beta_shapes"][key])


@pytest.mark.parametrize("key", MEASURED["patched"])
def test_schedules_of_changed_shifts(key: str) -> None:
    model, scheduler, steps = key.rsplit(maxsplit=2)
    same_levels(flow.schedule(PATCHED[model], scheduler, int(steps)), MEASURED["patched"][key])


@pytest.mark.parametrize("key", MEASURED["percent"])
def test_percent_to_sigma(key: str) -> None:
    model, percent = key.split()
    assert MODELS[model].percent_to_sigma(float(percent)) == pytest.approx(MEASURED["percent"][key], rel=1e-6)


class Fixed(Noise):
    """The same noise for every seed."""

    def draw(self, latent: sampling.Latent, shape: tuple[int, ...]) -> Array:
        return np.resize(START, shape[1]).reshape(shape)


def denoiser(x: Array, sigma: float) -> Array:
    """The measured one. It looks at each element alone, so the four measured ones repeat over the sixteen channels."""
    pull, target = (np.resize(values, x.shape[1]).reshape(x.shape) for values in (PULL, TARGET))
    return np.asarray(np.float32(0.2) * x + np.float32(0.1) * np.tanh(x) + np.float32(0.1 * sigma) * pull + target, np.float32)


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A whole sampling run with the measured denoiser and noise: the end and the last guess, four numbers each."""
    monkeypatch.setattr(sampling, "Denoiser", lambda *_: denoiser)
    draws = iter(range(10_000))

    def fresh() -> Array:
        wave = 2.3 * next(draws) + 1.7 * np.arange(4) + 0.4
        return np.resize(np.sqrt(2.0) * np.sin(wave), 16).reshape(1, 16, 1, 1).astype(np.float32)

    monkeypatch.setattr(sampling, "Walk", lambda look, levels, _, *rest, **options: Walk(look, levels, fresh, *rest, **options))

    def run(model: str, levels: flow.Sigmas, name: str, picture: float = 0.0, mask: float | None = None, **options: float) -> Any:
        latent: sampling.Latent = {"samples": np.resize(picture * TARGET, 16).reshape(1, 16, 1, 1), "space": "flux"}
        if mask is not None:
            latent["noise_mask"] = np.full((1, 1, 1), mask, np.float32)
        guider = Guider(Model(model, "flux", MODELS[model]), positive=())
        context: Any = SimpleNamespace(progress=lambda *_: None, note_unpainted=lambda _: None)
        ends = sampling.sample_both(context, guider, Fixed(1), sampler_named(name), levels, latent, **options)
        return [each["samples"][0, :4, 0, 0] for each in ends]

    return run


def levels_for(key: str) -> tuple[str, flow.Sigmas, float, str]:
    model, scheduler, steps, denoise, kept, name = key.split()
    levels = flow.sampling_levels(MODELS[model], scheduler, int(steps), name, float(denoise))
    return model, levels[: int(kept) or None], float(denoise), name


def same_latents(got: Array, wanted: list[float]) -> None:
    """Equal but for float32, which loses most where a flow's last level 1-σ has divided the end."""
    assert np.abs(got - wanted).max() < 2e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("key", MEASURED["walks"])
def test_walks(walked: Any, key: str) -> None:
    model, levels, denoise, name = levels_for(key)
    end, guess = walked(model, levels, name, 0.5 if denoise < 1 else 0.0)
    same_latents(end, MEASURED["walks"][key])
    if key in MEASURED["last_guesses"]:
        same_latents(guess, MEASURED["last_guesses"][key])


@pytest.mark.parametrize("key", MEASURED["masked"])
def test_walks_under_a_mask(walked: Any, key: str) -> None:
    model, levels, _, name = levels_for(key)
    same_latents(walked(model, levels, name, 0.5, 0.25)[0], MEASURED["masked"][key])


@pytest.mark.parametrize("key", MEASURED["eta_and_s_noise"])
def test_walks_with_eta_and_s_noise(walked: Any, key: str) -> None:
    model, scheduler, steps, eta, s_noise, name = key.split()
    levels = flow.sampling_levels(MODELS[model], scheduler, int(steps), name)
    end, _ = walked(model, levels, name, eta=float(eta), s_noise=float(s_noise))
    same_latents(end, MEASURED["eta_and_s_noise"][key])


def test_ddim_keeps_what_a_mask_protects_under_noise_of_its_own(walked: Any) -> None:
    levels = flow.sampling_levels(flow.FLUX_DEV, "simple", 6, "euler")
    assert np.array_equal(walked("flux", levels, "ddim")[0], walked("flux", levels, "euler")[0])
    assert not np.allclose(walked("flux", levels, "ddim", 0.5, 0.25)[0], walked("flux", levels, "euler", 0.5, 0.25)[0])


def test_the_measured_samplers_are_all_there() -> None:
    """The others are held against the exact solution of a Gaussian's flow, in test_samplers."""
    measured = {key.split()[-1] for key in MEASURED["walks"]}
    assert len(measured) == 17
    assert measured <= set(SAMPLERS)
    assert SAMPLERS["dpmpp_2m_sde_gpu"] is SAMPLERS["dpmpp_2m_sde"]  # there it differs by where its noise is drawn


@pytest.mark.parametrize("node", ["KSampler", "KSamplerAdvanced", "KSamplerSelect", "BasicScheduler"])
def test_nodes_offer_the_names_that_comfyui_has(node: str) -> None:
    required = node_schemas(OLDEST_VERSION)[node]["input"]["required"]
    for name, wanted in (("sampler_name", "samplers"), ("scheduler", "schedulers")):
        if name in required:
            assert required[name][0] == MEASURED["names"][wanted]


def test_the_emulator_has_every_sampler_and_scheduler() -> None:
    names = MEASURED["names"]
    assert sorted(flow.SCHEDULERS) == sorted(names["schedulers"])
    assert sorted(flow.DISCARD_PENULTIMATE) == names["discard_penultimate"]
    assert set(names["samplers"]) <= set(SAMPLERS)
