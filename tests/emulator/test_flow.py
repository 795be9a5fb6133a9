"""Sigma schedules against their definitions and against numbers measured with k-diffusion and SciPy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen.emulator.sampling import flow

MEASURED = json.loads((Path(__file__).with_name("data") / "k_diffusion.json").read_text())
MODELS = {"dev": flow.FLUX_DEV, "schnell": flow.FLUX_SCHNELL, "wan": flow.WAN, "sdxl": flow.SDXL}


def test_flux_dev_simple_is_the_shifted_uniform_grid() -> None:
    shift = math.exp(1.15)
    wanted = [shift / (shift + 1 / t - 1) for t in (1.0, 0.75, 0.5, 0.25)]
    assert flow.schedule(flow.FLUX_DEV, "simple", 4) == pytest.approx([*wanted, 0.0])


def test_schnell_walks_in_equal_steps() -> None:
    assert flow.schedule(flow.FLUX_SCHNELL, "simple", 4) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_wan_is_shifted_by_eight() -> None:
    wanted = [8 * t / (1 + 7 * t) for t in (1.0, 0.5)]
    assert flow.schedule(flow.WAN, "simple", 2) == pytest.approx([*wanted, 0.0])


def test_sdxl_levels_and_karras_and_exponential_are_k_diffusions() -> None:
    low, high = MEASURED["sdxl_min_max"]
    assert (flow.SDXL.sigma_min, flow.SDXL.sigma_max) == pytest.approx((low, high))
    assert flow.schedule(flow.SDXL, "karras", 12) == pytest.approx(MEASURED["sigmas"], abs=1e-5)
    assert flow.schedule(flow.SDXL, "exponential", 12) == pytest.approx(MEASURED["exponential"], abs=1e-5)


def test_the_beta_quantile_is_scipys() -> None:
    probability = 1.0 - np.linspace(0.0, 1.0, 20, endpoint=False)
    assert flow.beta_quantile(probability, 0.6, 0.6) == pytest.approx(MEASURED["beta_ppf"], abs=1e-7)


def test_flux_shift_at_its_two_anchors() -> None:
    assert flow.flux_shift(1.15, 0.5, 1024, 1024) == pytest.approx(1.15)
    assert flow.flux_shift(1.15, 0.5, 256, 256) == pytest.approx(0.5)


@given(st.sampled_from(sorted(MODELS)), st.sampled_from(flow.SCHEDULERS), st.integers(2, 60))
def test_every_schedule_falls_from_the_top_to_zero(model: str, scheduler: str, steps: int) -> None:
    sampling = MODELS[model]
    levels = flow.schedule(sampling, scheduler, steps)
    assert levels[-1] == 0.0 or scheduler == "ddim_uniform"
    assert np.all(np.diff(levels) < 0)
    assert levels[0] <= sampling.sigma_max * 1.0001
    assert 2 <= len(levels) <= 2 * steps + 2


@given(st.sampled_from(sorted(MODELS)), st.integers(1, 40), st.floats(0.05, 0.99))
def test_a_part_denoise_takes_the_last_steps_of_a_longer_schedule(model: str, steps: int, denoise: float) -> None:
    levels = flow.sampling_levels(MODELS[model], "simple", steps, "euler", denoise)
    longer = flow.schedule(MODELS[model], "simple", int(steps / denoise))
    assert levels.tolist() == longer[-(steps + 1) :].tolist()
    assert levels[0] <= MODELS[model].sigma_max


def test_uni_pc_leaves_out_the_last_level_before_zero() -> None:
    levels = flow.sampling_levels(flow.WAN, "simple", 10, "uni_pc")
    assert levels.tolist() == [*flow.schedule(flow.WAN, "simple", 11)[:-2].tolist(), 0.0]


def test_no_denoise_gives_no_levels_and_an_unknown_scheduler_is_named() -> None:
    assert len(flow.sampling_levels(flow.SDXL, "karras", 10, "euler", 0.0)) == 0
    with pytest.raises(ValueError, match="'magic'.*simple"):
        flow.schedule(flow.SDXL, "magic", 10)


def test_percent_to_sigma_runs_from_noise_to_picture() -> None:
    assert (flow.WAN.percent_to_sigma(0.0), flow.WAN.percent_to_sigma(1.0)) == (1.0, 0.0)
    assert flow.FLUX_DEV.percent_to_sigma(0.5) == pytest.approx(flow.FLUX_DEV.level_at(0.5))
    assert flow.SDXL.percent_to_sigma(0.0) > flow.SDXL.sigma_max > flow.SDXL.percent_to_sigma(0.5) > 0.0
