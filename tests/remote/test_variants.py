"""The requests that a workflow's choices and optional pictures make: what images and volumes are filled for."""

from __future__ import annotations

import string
from typing import Any, ClassVar, Literal

import pydantic

from ryla_gen.remote.variants import MOST_VARIANTS, default_of, variants, variants_with_options
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import BUILT_IN, workflow_class


def test_defaults_come_first_among_the_variants() -> None:
    assert default_of(workflow_class("wan2")).changed(seed=None) == workflow_class("wan2")(prompt="waves at dusk")
    files = {row.name for request in variants(workflow_class("flux_dev")) for row in request.required_weights()}
    assert files == {"flux1-dev-fp8.safetensors", "flux.1-turbo-alpha.safetensors"}


def test_variants_have_few_options_first_and_optional_pictures_among_them() -> None:
    found = list(variants_with_options(workflow_class("wan22")))
    assert [len(item.options) for item in found] == sorted(len(item.options) for item in found)
    assert found[0].options == {}
    ways = [set(item.options) for item in found]
    assert {"image"} in ways and {"image", "last_image"} in ways and {"last_image"} not in ways


def test_every_combination_of_a_built_in_workflow_is_looked_at_and_of_a_graph_with_many_choices_the_first() -> None:
    assert all(len([*variants(workflow_class(name))]) < MOST_VARIANTS for name in BUILT_IN)

    class ManyChoices(Workflow):
        """A workflow with more combinations than could ever be listed."""

        name: ClassVar[str] = "many_choices"
        family: ClassVar[str] = "custom"

    letters: Any = {f"choice_{letter}": (Literal["a", "b", "c", "d"], "a") for letter in string.ascii_lowercase}
    many = pydantic.create_model("ManyChoices", __base__=ManyChoices, **letters)
    assert len([*variants(many)]) == MOST_VARIANTS
