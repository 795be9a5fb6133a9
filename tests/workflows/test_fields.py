"""What is said of a field's value that does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from ryla_gen import CustomWorkflow, Flux, FluxLora, SeedVR2, Wan2
from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.base import SampledWorkflow, Workflow

GRAPH = {"1": {"class_type": "KSampler", "inputs": {}}}


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (SeedVR2, {"image": b"x", "scale": 0}),
        (SeedVR2, {"image": b"x", "scale": -1.5}),
        (CustomWorkflow, {"graph": GRAPH, "limit": 0}),
        (CustomWorkflow, {"graph": GRAPH, "limit": -3}),
    ],
)
def test_no_value_is_offered_that_would_be_refused_too(cls: type[Workflow], fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="must be greater than 0") as caught:
        cls(**fields)
    assert "Nearest" not in caught.value.hint
    assert "workflows show" in caught.value.hint


@pytest.mark.parametrize(
    ("cls", "fields", "nearest"),
    [
        (SeedVR2, {"image": b"x", "scale": 9}, "scale=8.0"),
        (SeedVR2, {"image": b"x", "resolution": 1081}, "resolution=1080"),
        (CustomWorkflow, {"graph": GRAPH, "limit": 1e6}, "limit=86400.0"),
        (Flux, {"prompt": "fox", "width": 1000, "steps": 0}, "width=992, steps=1"),
        (Wan2, {"prompt": "fox", "length": 82}, "length=81"),
        (Wan2, {"prompt": "fox", "length": 500}, "length=161"),
    ],
)
def test_the_nearest_value_that_fits_is_offered(cls: type[Workflow], fields: dict[str, Any], nearest: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cls(**fields)
    assert f"Nearest valid: {nearest}. " in caught.value.hint


@pytest.mark.parametrize("name", ["width", "height", "steps", "cfg"])
def test_the_ground_of_the_sampled_workflows_tells_the_ranges_as_they_do(name: str) -> None:
    info = SampledWorkflow.model_fields[name]
    low, high = (next(getattr(mark, end) for mark in info.metadata if hasattr(mark, end)) for end in ("ge", "le"))
    assert f"{low} to {high}" in str(info.description)


@pytest.mark.parametrize(
    ("given", "made"), [("x.safetensors", "x"), ("./dir/My x.SAFETENSORS", "my-x"), ("..safetensors", "my-lora")]
)
def test_the_file_of_a_lora_is_told_how_it_gets_an_id(given: str, made: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        FluxLora(prompt="a fox", lora_id=given)
    assert f"ryla-gen lora push {given} --id {made}; then name it {made}" in caught.value.message
