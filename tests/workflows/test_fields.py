"""What is said of a field's value that does not fit."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from pydantic import Field

from ryla_gen import CustomWorkflow, Flux, Flux2Klein, FluxDev, FluxFill, FluxLora, QwenImage, QwenImageEdit, SeedVR2, Wan2, ZImage
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
        (Flux, {"prompt": "fox", "width": 1000, "steps": 0}, "steps=1, width=992"),
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
    assert f"ryla-gen lora push {shlex.quote(given)} --id {made}; then name it {made}" in caught.value.message


def test_a_list_whose_only_item_does_not_fit_is_not_called_too_short_besides() -> None:
    with pytest.raises(InvalidInputError) as caught:
        QwenImageEdit(prompt="x", images=[None])
    assert [item["field"] for item in caught.value.details["errors"]] == ["images.0"]
    with pytest.raises(InvalidInputError, match="images: must have at least 1 item, not 0"):
        QwenImageEdit(prompt="x", images=[])


def test_a_field_is_that_of_the_nearest_class_that_declares_it_whatever_the_order_of_the_bases() -> None:
    class Usual(SampledWorkflow):
        """Says its own steps."""

        steps: int = Field(default=33, ge=1, le=50)
        """Steps, 1 to 50."""

    class Beside(SampledWorkflow):
        """Adds a field, and says nothing of steps."""

        extra: int = 1
        """More."""

    class Both(Beside, Usual):
        """Has both."""

    assert Both(prompt="x").steps == 33 and Both.model_fields["steps"].description == "Steps, 1 to 50."
    with pytest.raises(InvalidInputError, match="less than or equal to 50"):
        Both(prompt="x", steps=60)


@pytest.mark.parametrize(
    ("cls", "fields", "says"),
    [
        (FluxDev, {"loras": ["ada"]}, "loras: no such field; it is in flux_lora, z_image and qwen_image"),
        (QwenImage, {"image": b"x"}, "image: no such field; it is in qwen_image_edit (images), z_image and flux"),
        (ZImage, {"mask": b"x"}, "mask: no such field; it is in qwen_image_edit and flux_fill"),
        (Flux2Klein, {"mask": b"x"}, "mask: no such field; it is in qwen_image_edit and flux_fill"),
        (FluxFill, {"image": b"x", "speed": "balanced"}, "speed: no such field; it is in flux_dev, flux_kontext and qwen_image"),
        (Wan2, {"last_image": b"x"}, "last_image: no such field; it is in wan22"),
        (Flux2Klein, {"image": b"x"}, "image: no such field; did you mean images?"),
        (ZImage, {"lora": ["ada"]}, "lora: no such field; did you mean loras?"),
        (ZImage, {"stepz": 3}, "stepz: no such field; did you mean steps?"),
        (ZImage, {"wat": 3}, "wat: no such field"),
    ],
)
def test_where_other_workflows_have_the_field_that_one_lacks_they_are_named(
    cls: type[Workflow], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cls(prompt="x", **fields)
    assert caught.value.message == f"{cls.name} does not accept this: {says}"
    with pytest.raises(InvalidInputError) as again:
        cls.from_plain({"prompt": "x", **fields})
    assert again.value.message == caught.value.message


def test_a_workflow_of_ones_own_names_those_that_have_a_field_it_lacks() -> None:
    class Mine(SampledWorkflow):
        """From elsewhere."""

        name = "mine"
        family = "mine"

    with pytest.raises(InvalidInputError, match="no such field; it is in z_image, qwen_image and flux_lora"):
        Mine(prompt="x", loras=["ada"])


@pytest.mark.parametrize(
    ("fields", "says", "hint"),
    [
        ({"padding": {"left": 7, "top": 8}}, "padding.left: must be a multiple of 8", "padding.left=8"),
        ({"padding": {"lft": 8}}, "padding.lft: no such field; did you mean left?", ""),
        ({"padding": 64}, "padding: must be a dictionary", ""),
        ({"mask_box": {"x": -1, "y": 0, "width": 8, "height": 8}}, "mask_box.x: must be greater", "mask_box.x=0"),
        ({"loras": [{"id": "a", "strength": 5}]}, "loras.0.strength: must be less", "loras.0.strength=2"),
        ({"loras": [{"id": "a"}] * 9}, "loras: must have at most 8 items, not 9", ""),
        ({"loras": 5}, "loras: must be a list", ""),
    ],
)
def test_what_is_wrong_inside_of_a_field_is_said_with_the_way_out(fields: dict[str, Any], says: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        FluxFill(prompt="x", image=b"x", **fields)
    assert says in caught.value.message
    assert hint in caught.value.hint
