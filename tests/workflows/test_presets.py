"""A preset that is changed brings its own steps and size; what the user chose stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen import SDXL, Client, FluxDev, QwenImage, Wan22, load
from ryla_gen.workflows.base import Workflow


def test_another_speed_brings_its_own_steps() -> None:
    usual = QwenImage(prompt="a fox", seed=7)
    fast = usual.changed(speed="lightning")
    assert (fast.steps, fast.cfg, fast.seed, fast.prompt) == (*_of(QwenImage(prompt="x", speed="lightning")), 7, "a fox")
    assert fast.changed(speed="quality") == usual


def _of(workflow: QwenImage) -> tuple[int, float]:
    return workflow.steps, workflow.cfg


def test_a_value_of_ones_own_stays() -> None:
    mine = QwenImage(prompt="a fox", steps=33)
    assert mine.changed(speed="lightning").steps == 33
    assert mine.changed(speed="lightning", steps=5).steps == 5
    assert QwenImage(prompt="a fox").changed(prompt="a cat").steps == 50, "nothing else is filled in anew"


def test_another_shape_brings_its_own_size_unless_one_was_chosen() -> None:
    wide = QwenImage(prompt="a fox", aspect_ratio="16:9")
    tall = QwenImage(prompt="a fox").changed(aspect_ratio="9:16")
    assert (tall.width, tall.height) == (wide.height, wide.width)
    chosen = QwenImage(prompt="a fox", width=512, height=640).changed(speed="lightning")
    assert (chosen.width, chosen.height) == (512, 640)


def test_presets_that_only_fit_together_are_changed_together() -> None:
    small = Wan22(prompt="a fox", model="5B")
    large = small.changed(model="14B")
    assert (large.width, large.height, large.steps) == (
        (other := Wan22(prompt="a fox", model="14B")).width,
        other.height,
        other.steps,
    )
    assert SDXL(prompt="a fox").changed(speed="turbo") == SDXL(prompt="a fox", speed="turbo")
    assert FluxDev(prompt="a fox").changed(speed="turbo") == FluxDev(prompt="a fox", speed="turbo")


def test_a_saved_picture_is_made_again_with_another_speed(tmp_path: Path) -> None:
    with Client("emulator") as client:
        made = client.run(QwenImage(prompt="a fox", width=512, height=512, steps=2, seed=7))
    (path,) = made.save(tmp_path)
    assert load(path, speed="lightning").to_plain()["steps"] == 2, "the steps were chosen"
    plain = QwenImage(prompt="a fox", seed=7)
    assert load(path, steps=50, speed="quality").to_plain()["steps"] == plain.steps


@pytest.mark.parametrize(
    "workflow", [QwenImage(prompt="x"), SDXL(prompt="x"), FluxDev(prompt="x"), Wan22(prompt="x")], ids=lambda item: item.name
)
def test_the_same_preset_again_changes_nothing(workflow: Workflow) -> None:
    assert workflow.changed(speed="quality") == workflow
