"""Estimates: from runs of this machine where there are some, else from published numbers, and always with their basis."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ryla_gen import (
    SDXL,
    AsyncClient,
    Client,
    CustomWorkflow,
    Flux,
    FluxDev,
    FluxInstantID,
    FluxKontext,
    InstantID,
    SeedVR2,
    Settings,
    Wan2,
    Wan22,
)
from ryla_gen.client.requests import estimate
from ryla_gen.costs.estimates import Estimate
from ryla_gen.errors import BackendNotConfiguredError, InvalidInputError
from ryla_gen.history import History
from ryla_gen.remote.config import FAMILIES
from ryla_gen.remote.costs import cost_of
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.facts import Duration, Work
from ryla_gen.workflows.registry import built_in_classes, prepared_names

PNG = b"\x89PNG"
MEGAPIXEL = Flux(prompt="a fox", seed=1)


@pytest.fixture
def history(clean_environment: Path) -> Iterator[History]:
    with contextlib.closing(History(Settings.load().history_path)) as made:
        yield made


def ran(history: History, workflow: Workflow, seconds: float, gpu: str | None = "L40S", backend: str = "modal") -> None:
    """A finished run in the journal."""
    job = str(uuid.uuid4())
    history.record(job, backend=backend, workflow=workflow.name, inputs=workflow.described(), seed=1)
    history.update(job, state="succeeded", gpu=gpu, gpu_seconds=seconds, cost_usd=seconds * 0.0007)


def on(history: History, workflow: Workflow, backend: str = "modal", **settings: Any) -> Estimate:
    return estimate(workflow, Settings.load(backend=backend, **settings), history)


def test_three_runs_of_the_same_work_are_enough_and_the_prompt_does_not_matter(history: History) -> None:
    for number, seconds in enumerate((2.0, 2.2, 2.6)):
        ran(history, Flux(prompt=f"fox {number}", seed=number), seconds)
    found = on(history, MEGAPIXEL)
    assert (found.source, found.runs) == ("measured", 3)
    assert (found.seconds.low, found.seconds.likely, found.seconds.high) == (2.0, 2.2, 2.6)
    assert "From 3 runs of this workflow, size and steps on L40S" in found.basis


def test_a_run_without_gpu_seconds_counts_by_its_clock_and_one_whose_times_are_damaged_not_at_all(history: History) -> None:
    for ended in ("2026-01-31T12:00:03Z", "2026-01-31T12:00:03Z", "2026-01-31T12:00:03Z", "damaged", None):
        job = str(uuid.uuid4())
        history.record(job, backend="modal", workflow="flux", inputs=MEGAPIXEL.described())
        history.update(job, state="succeeded", gpu="L40S", started_at="2026-01-31T12:00:00Z", finished_at=ended)
    found = on(history, MEGAPIXEL)
    assert (found.source, found.runs) == ("measured", 3)
    assert found.seconds.likely == pytest.approx(3.0, abs=0.001)


def test_one_cold_run_among_many_moves_the_high_end_and_not_the_likely_one(history: History) -> None:
    for seconds in (2.0,) * 19 + (60.0,):
        ran(history, MEGAPIXEL, seconds)
    found = on(history, MEGAPIXEL).seconds
    assert (found.low, found.likely, found.high) == (2.0, 2.0, 2.0)
    ran(history, MEGAPIXEL, 60.0)
    ran(history, MEGAPIXEL, 60.0)
    assert on(history, MEGAPIXEL).seconds.high == 60.0


def test_runs_of_other_sizes_and_steps_are_scaled_and_the_range_widens(history: History) -> None:
    ran(history, MEGAPIXEL, 2.0)
    ran(history, MEGAPIXEL, 2.0)
    found = on(history, Flux(prompt="a fox", steps=8, seed=1))
    assert (found.source, found.runs) == ("scaled", 2)
    assert (found.seconds.low, found.seconds.likely, found.seconds.high) == (2.0, 4.0, 8.0)
    assert on(history, Flux(prompt="a fox", width=512, height=512, seed=1)).seconds.likely == 0.5
    assert on(history, Flux(prompt="a fox", cfg=2.0, seed=1)).seconds.likely == 4.0  # the model runs twice a step
    assert "0 of them of this size" in found.basis


def test_another_gpu_another_model_and_another_backend_do_not_count(history: History) -> None:
    ran(history, MEGAPIXEL, 99.0, gpu="T4")
    ran(history, MEGAPIXEL, 99.0, backend="comfyui", gpu=None)
    assert on(history, MEGAPIXEL).source == "table"
    ran(history, FluxDev(prompt="a fox", speed="turbo", seed=1), 99.0)
    assert on(history, FluxDev(prompt="a fox", seed=1)).source == "table"
    ran(history, Wan2(prompt="a fox", model="14B", seed=1), 999.0)
    assert on(history, Wan2(prompt="a fox", seed=1)).source == "table"
    found = on(history, MEGAPIXEL, "comfyui", comfyui_url="http://127.0.0.1:9")
    assert (found.source, found.seconds.likely) == ("scaled", 99.0)


def test_without_runs_the_table_speaks_and_names_its_source(history: History) -> None:
    found = on(history, FluxDev(prompt="a fox", seed=1))
    assert (found.source, found.runs, found.gpu) == ("table", 0, "L40S")
    assert "RYLA's first system measured" in found.basis
    assert found.seconds.low < found.seconds.likely < found.seconds.high
    longer = on(history, FluxDev(prompt="a fox", steps=40, seed=1))
    assert longer.seconds.likely == pytest.approx(2 * found.seconds.likely)
    assert longer.seconds.high / longer.seconds.low > found.seconds.high / found.seconds.low
    assert "scaled by 2.00" in longer.basis


def test_what_nobody_measured_is_called_unknown_and_has_a_wide_range(history: History) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}
    for workflow in (InstantID(prompt="x", reference_image=b"\x89PNG"), SeedVR2(image=b"\x89PNG"), CustomWorkflow(graph=graph)):
        found = on(history, workflow)
        assert found.source == "unknown"
        assert found.seconds.high / found.seconds.low >= 5
    assert "nothing is known about this workflow" in on(history, CustomWorkflow(graph=graph)).basis


def test_every_built_in_workflow_but_a_graph_of_one_s_own_says_its_duration() -> None:
    assert {cls.name for cls in built_in_classes() if cls.durations} == set(prepared_names())
    for item in (item for cls in built_in_classes() for item in cls.durations.values()):
        assert 0 < item.low < item.likely < item.high
        assert len(item.source) > 20


def test_a_variant_with_a_size_of_its_own_is_estimated_for_that_size(history: History) -> None:
    small, usual = (on(history, Wan22(prompt="x", model=model)).seconds.likely for model in ("5B", "14B"))
    assert small == pytest.approx(180.0, rel=0.01), "what was written for 1280×704 and 121 frames"
    assert small < usual == 400.0


def test_pictures_that_guide_sdxl_count_and_its_source_names_no_face_model(history: History) -> None:
    plain = on(history, SDXL(prompt="x"))
    assert "face" not in plain.basis and plain.source == "unknown"
    guides = {"pose_image": PNG, "depth_image": PNG, "edge_image": PNG}
    for count in (1, 2, 3):
        guided = on(history, SDXL(prompt="x", **dict(list(guides.items())[:count])))
        assert guided.seconds.likely == pytest.approx((1 + count / 2) * plain.seconds.likely)
        assert "assumed" in guided.basis
    assert "face model" in on(history, InstantID(prompt="x", reference_image=PNG)).basis


@pytest.mark.parametrize("make", [FluxDev, partial(FluxKontext, image=b"\x89PNG")])
def test_steps_that_are_skipped_make_an_estimate_shorter(history: History, make: Callable[..., Workflow]) -> None:
    quality, balanced = (on(history, make(prompt="x", speed=speed)) for speed in ("quality", "balanced"))
    assert balanced.seconds.likely == pytest.approx(quality.seconds.likely / 1.85, rel=0.03)
    assert "EasyCache" in balanced.basis


class Collage(Workflow):
    """A plug-in's, whose cost follows from the number of its tiles."""

    name: ClassVar[str] = "collage"
    family: ClassVar[str] = "custom"
    durations: ClassVar[Mapping[str, Duration]] = {"": Duration(1.0, 2.0, 4.0, "its author measured it on an L40S")}

    tiles: int = 4

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        return Work((), float(inputs["tiles"]))


def test_a_plug_in_says_its_duration_and_its_work_itself(history: History) -> None:
    usual, double = on(history, Collage()), on(history, Collage(tiles=8))
    assert (usual.source, usual.seconds.likely, double.seconds.likely) == ("table", 2.0, 4.0)
    assert "its author measured it" in usual.basis
    assert "scaled by 2.00" in double.basis


def test_the_price_is_what_a_result_will_say(history: History) -> None:
    for _ in range(3):
        ran(history, MEGAPIXEL, 10.0)
    config = FAMILIES["flux"]
    found = on(history, MEGAPIXEL)
    assert found.usd.likely == pytest.approx(cost_of(10.0, "L40S", cpu=config.cpu, memory=config.memory).total_usd)
    assert found.prices_as_of == "2026-09-01"
    assert f"{config.cpu:g} cores and {config.memory / 1024:g} GiB" in found.basis


def test_a_region_is_priced_where_it_is_configured_and_named_where_it_is_not(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = on(history, MEGAPIXEL)
    assert any("region" in text for text in plain.not_included)
    monkeypatch.setenv("RYLA_DEPLOY_REGION", "eu,us")
    found = on(history, MEGAPIXEL)
    config, seconds = FAMILIES["flux"], found.seconds.likely
    told = cost_of(seconds, "L40S", cpu=config.cpu, memory=config.memory, region=("eu", "us"))
    assert found.usd.likely == pytest.approx(1.25 * plain.usd.likely) == pytest.approx(told.total_usd), "as a result will say"
    assert found.usd.high == pytest.approx(1.75 * plain.usd.high)
    assert "in eu, us at" in found.basis
    assert not any("a region" in text for text in found.not_included)
    monkeypatch.setenv("RYLA_DEPLOY_REGION", "ca-toronto")
    assert on(history, MEGAPIXEL).usd.likely == pytest.approx(2.5 * plain.usd.likely)


def test_other_gpus_are_scaled_by_their_data_sheets_and_priced_as_themselves(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = on(history, MEGAPIXEL)
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_GPU", "H100:2,L40S")
    found = on(history, MEGAPIXEL)
    assert found.gpu == "H100"
    assert found.seconds.likely < usual.seconds.likely
    assert found.most_usd_per_second > 2 * 0.001097
    assert any("L40S" in text and "scarce" in text for text in found.not_included)
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_GPU", "X999")
    unknown = on(history, MEGAPIXEL)
    assert "of unknown speed" in unknown.basis
    assert unknown.most_usd_per_second > 0.001736  # at least as dear as the dearest that is known


def test_a_cold_start_stands_beside_the_cost_and_not_in_it(history: History) -> None:
    found = on(history, MEGAPIXEL)
    assert 0 < found.cold_start.low < found.cold_start.likely <= found.cold_start.high == FAMILIES["flux"].load
    assert found.cold_start_usd.likely == pytest.approx(found.cold_start.likely * found.usd.likely / found.seconds.likely)
    assert any(text.startswith("the start of a container") for text in found.not_included)
    pod = on(history, MEGAPIXEL, "comfyui", comfyui_url="http://127.0.0.1:9")
    assert pod.cold_start.high == 0


def test_the_idle_window_stands_beside_the_cost_and_not_in_it(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    found = on(history, MEGAPIXEL)
    assert found.idle_window == 300
    assert found.idle_window_usd == pytest.approx(300 * found.usd.likely / found.seconds.likely)
    assert any("stays up to 300 s" in text for text in found.not_included)
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_SCALEDOWN_WINDOW", "60")
    assert on(history, MEGAPIXEL).idle_window == 60
    pod = on(history, MEGAPIXEL, "comfyui", comfyui_url="http://127.0.0.1:9", comfyui_hourly_usd=1.0)
    assert (pod.idle_window, pod.idle_window_usd) == (0, 0)


def test_a_pod_costs_its_hourly_rate_and_nothing_when_there_is_none(history: History) -> None:
    free = on(history, MEGAPIXEL, "comfyui", comfyui_url="http://127.0.0.1:9")
    assert free.usd.high == 0
    assert "No price is set for comfyui" in free.basis
    paid = on(history, MEGAPIXEL, "comfyui", comfyui_url="http://127.0.0.1:9", comfyui_hourly_usd=3600.0)
    assert paid.usd == paid.seconds
    assert "the GPU here is not known" in paid.basis


def test_a_backend_that_is_not_set_up_cannot_be_estimated(history: History) -> None:
    with pytest.raises(BackendNotConfiguredError):
        on(history, MEGAPIXEL, "comfyui")


def test_the_emulator_costs_nothing_and_learns_its_time_from_its_runs() -> None:
    with Client("emulator") as client:
        request = Flux(prompt="a fox", width=256, height=256, seed=1)
        assert client.estimate(request).usd.high == 0
        for _ in range(3):
            client.run(request)
        found = client.estimate(request)
        assert (found.source, found.runs, found.usd.high) == ("measured", 3, 0)
        assert 0 < found.seconds.likely < 30
        assert client.estimate(request, backend="modal").usd.likely > 0
        with pytest.raises(InvalidInputError, match="not a workflow"):
            client.estimate("a fox")  # type: ignore[arg-type]


async def test_the_async_client_estimates_too_without_reading_a_picture(tmp_path: Path) -> None:
    async with AsyncClient("modal") as client:
        found = client.estimate(FluxInstantID(prompt="x", reference_image=str(tmp_path / "not there.png")))
    assert found.usd.likely > 0
    assert json.loads(json.dumps(found.to_data()))["usd"]["likely"] == found.usd.likely
    assert str(found).startswith("flux_instantid on L40S: $")


def test_work_is_told_apart_by_what_costs_time() -> None:
    clip, longer = Wan2(prompt="x").described(), Wan2(prompt="y", length=65).described()
    assert Wan2.work(longer).amount / Wan2.work(clip).amount == pytest.approx(17 / 9)  # latent frames
    assert Flux.work(Flux(prompt="x", batch_size=4).described()).amount == 4 * Flux.work(MEGAPIXEL.described()).amount
    assert SeedVR2.work({"image": {}, "resolution": 2160}).amount == 4 * SeedVR2.work({"image": {}}).amount
    assert SeedVR2.work({"video": {}}).variant != SeedVR2.work({"image": {}}).variant
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"steps": 20}},
        "2": {"class_type": "E", "inputs": {"width": 8, "height": 8}},
    }
    assert CustomWorkflow.work({"graph": graph}).amount == 20 * 64
    assert CustomWorkflow.work({"graph": "damaged"}).amount == 1.0
