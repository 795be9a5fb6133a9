"""Sampler steps against k-diffusion's own results, and against the exact solution of a Gaussian's probability flow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ryla_gen.comfy.schema import input_specs
from ryla_gen.emulator.sampling import flow
from ryla_gen.emulator.sampling.samplers import SAMPLERS, STOCHASTIC, sampler_named
from ryla_gen.emulator.sampling.walk import Array, Walk
from ryla_gen.models.node_schemas import node_schemas

MEASURED = json.loads((Path(__file__).with_name("data") / "k_diffusion.json").read_text())
MEAN = np.array([[0.7, -1.3, 0.2, 2.0]], np.float32)
START = np.array([[1.0, -0.4, 0.3, 0.8]], np.float32)
NOISE = np.array([[0.5, -0.25, 1.0, -1.0]], np.float32)
VARIANCE = 0.05
FIRST_ORDER = ("euler", "ddim", "gradient_estimation", "euler_cfg_pp", "gradient_estimation_cfg_pp", "heunpp2")


def added(x: Array, sigma: float) -> Array:
    """The perfect denoiser of a Gaussian when x = picture + σ·noise."""
    return np.asarray(MEAN + np.float32(VARIANCE / (VARIANCE + sigma**2)) * (x - MEAN), np.float32)


def blended(x: Array, sigma: float) -> Array:
    """The perfect denoiser of a Gaussian when x = (1-σ)·picture + σ·noise."""
    keep = 1 - sigma
    gain = np.float32(VARIANCE * keep / (keep**2 * VARIANCE + sigma**2))
    return np.asarray(MEAN + gain * (x - np.float32(keep) * MEAN), np.float32)


def walked(name: str, steps: int, seen: list[int] | None = None) -> Array:
    sigmas = flow.sampling_levels(flow.FLUX_DEV, "simple", steps, name)
    generator = np.random.default_rng(3)
    fresh = lambda: generator.standard_normal(START.shape, np.float32)  # noqa: E731
    walk = Walk(blended, sigmas, fresh, True, lambda i, _: (seen if seen is not None else []).append(i))
    return SAMPLERS[name](walk, START)


@pytest.mark.parametrize("name", sorted(set(MEASURED) & set(SAMPLERS)))
def test_eps_samplers_give_what_k_diffusion_gives(name: str) -> None:
    sigmas = np.array(MEASURED["sigmas"])
    walk = Walk(added, sigmas, lambda: NOISE, False, lambda _i, _d: None)
    assert SAMPLERS[name](walk, START * np.float32(sigmas[0]))[0] == pytest.approx(MEASURED[name], abs=2e-5)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - STOCHASTIC))
def test_deterministic_samplers_reach_the_exact_solution_of_the_flow(name: str) -> None:
    exact = MEAN + np.float32(VARIANCE**0.5) * START
    errors = [float(np.abs(walked(name, steps) - exact).max()) for steps in (20, 80, 320)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (0.01 if name in FIRST_ORDER else 0.003)


@pytest.mark.parametrize("name", ["heun", "dpm_2", "lms", "ipndm", "dpmpp_2m", "res_multistep"])
def test_higher_order_samplers_beat_euler_by_far(name: str) -> None:
    """Down to σ = 0.1, where every level has a logarithm and the exact solution is known."""
    sigmas = np.linspace(1.0, 0.1, 25)
    exact = 0.9 * MEAN + np.sqrt(0.81 * VARIANCE + 0.01) * START
    errors = {}
    for each in (name, "euler"):
        walk = Walk(blended, sigmas, lambda: NOISE, True, lambda _i, _d: None)
        errors[each] = np.abs(SAMPLERS[each](walk, START) - exact).max()
    assert errors[name] < 0.2 * errors["euler"]


@pytest.mark.parametrize("name", ["uni_pc", "uni_pc_bh2"])
def test_uni_pc_gives_what_its_published_form_gives(name: str) -> None:
    for steps, wanted in MEASURED["uni_pc_on_wan"][name].items():
        sigmas = flow.sampling_levels(flow.WAN, "simple", int(steps), name)
        walk = Walk(blended, sigmas, lambda: NOISE, True, lambda _i, _d: None)
        assert SAMPLERS[name](walk, START)[0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", sorted(STOCHASTIC - {"lcm"}))
def test_stochastic_samplers_keep_the_distribution_of_the_flow(name: str) -> None:
    """Many walkers end with the mean and spread of the Gaussian, on the flow as on the added noise."""
    count = 4000
    for denoise, sampling in ((blended, flow.FLUX_DEV), (added, flow.SDXL)):
        if name == "ddpm" and sampling is flow.FLUX_DEV:
            continue  # written for added noise; on a flow ComfyUI's ddpm is wrong as well
        generator = np.random.default_rng(5)
        sigmas = flow.sampling_levels(sampling, "simple" if sampling.is_flow else "karras", 60, name)
        draw = lambda g=generator: g.standard_normal((count, 4), np.float32)  # noqa: E731
        walk = Walk(denoise, sigmas, draw, sampling.is_flow, lambda _i, _d: None)
        ends = SAMPLERS[name](walk, draw() * np.float32(sigmas[0]))
        assert ends.mean(0) == pytest.approx(MEAN[0], abs=0.03)
        assert ends.std(0) == pytest.approx(np.full(4, VARIANCE**0.5), rel=0.25)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_reports_each_step_once_and_in_order(name: str) -> None:
    for steps in (1, 2, 7):
        seen: list[int] = []
        assert np.isfinite(walked(name, steps, seen)).all()
        assert seen == list(range(steps))


def test_every_sampler_of_comfyui_is_there_and_another_is_named() -> None:
    specs = input_specs(node_schemas("0.28.2")["KSampler"])
    assert list(SAMPLERS) == list(specs["sampler_name"].options or ())
    assert sorted(flow.SCHEDULERS) == sorted(specs["scheduler"].options or ())
    with pytest.raises(NotImplementedError, match=r"'euler_too'.*euler"):
        sampler_named("euler_too")
