"""What restyle promises: its fields reach the graph, it survives the way to a server, and this package offers it."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.base import Files
from ryla_gen.workflows.registry import workflow_class

from ryla_restyle import Restyle


def picture() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    return file.getvalue()


def test_every_field_reaches_the_graph() -> None:
    request = Restyle(prompt="ink", image=picture(), change=0.4, megapixels=0.5, steps=9, seed=5)
    nodes = request.build(Files(media={"image": "abc.png"}, prefix="ryla/job/restyle")).to_api().values()
    inputs = {node["class_type"]: node["inputs"] for node in nodes}
    assert inputs["LoadImage"]["image"] == "abc.png"
    assert inputs["CLIPTextEncode"]["text"] == "ink"
    assert inputs["ImageScaleToTotalPixels"]["megapixels"] == 0.5
    assert [inputs["KSampler"][name] for name in ("denoise", "steps", "seed")] == [0.4, 9, 5]
    assert inputs["SaveImage"]["filename_prefix"] == "ryla/job/restyle"


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="change"):
        Restyle(prompt="ink", image=picture(), change=0)


def test_it_survives_the_way_to_a_server() -> None:
    request = Restyle(prompt="ink", image=picture(), seed=5)
    assert Restyle.from_plain(request.to_plain()) == request


def test_this_package_offers_it() -> None:
    assert workflow_class("restyle") is Restyle
