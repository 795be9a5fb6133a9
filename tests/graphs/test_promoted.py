"""The instance of a subgraph shows values of the nodes inside it, and they reach the graph as ComfyUI's page exports them.

What is expected here was measured at that page (comfyui-frontend-package 1.45.21), where no sentence says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import Converted, convert
from ryla_gen.models.node_schemas import node_schemas

from .sheets import Sheet

UUID = "aaaaaaaa-1111-4222-8333-444444444444"
INNER = "bbbbbbbb-1111-4222-8333-444444444444"
SAMPLED = [7, "fixed", 20, 8.0, "euler", "simple", 1.0]
SCHEMAS = {
    **node_schemas(),
    "Switch": {"input": {"required": {"on_false": ["*", {}], "switch": ["BOOLEAN", {"default": False}]}}, "output": ["*"]},
    "Show": {"input": {"required": {"source": ["*", {}]}}, "output": []},
}


def inputs(done: Converted, node: str) -> dict[str, Any]:
    found: dict[str, Any] = done.graph[node]["inputs"]
    return found


def part() -> dict[str, Any]:
    """A subgraph: a sampler without links, and a VAE loader whose name is the only input."""
    inside = Sheet()
    inside.add("KSampler", SAMPLED, id=11)
    inside.add("VAELoader", ["inside.safetensors"], id=12, inputs={"vae_name": (-10, 0)}, widgets=("vae_name",))
    return inside.subgraph(UUID, ("vae_name",))


def instance(values: Any, proxies: Any, *more: Any, extra: Any = None) -> Converted:
    sheet = Sheet()
    properties = {} if proxies is None else {"proxyWidgets": proxies}
    sheet.add(UUID, values, inputs={"vae_name": None}, types={"vae_name": "COMBO"}, widgets=("vae_name",), properties=properties)
    return convert(sheet.ui(part(), *more, extra=extra or {}), SCHEMAS)


@pytest.mark.parametrize(
    ("proxies", "values"),
    [
        ([["11", "seed"], ["-1", "vae_name"]], [42, "ae.safetensors"]),
        ([["-1", "vae_name"], ["11", "seed"]], ["ae.safetensors", 42]),
        ([["11", "seed"], ["12", "vae_name"]], [42, "ae.safetensors"]),
        ('[["11", "seed"], ["-1", "vae_name"]]', [42, "ae.safetensors"]),
    ],
    ids=["input", "turned", "widget", "text"],
)
def test_values_of_an_instance_stand_in_the_order_of_its_list(proxies: Any, values: list[Any]) -> None:
    done = instance(values, proxies)
    assert inputs(done, "1:12") == {"vae_name": "ae.safetensors"}
    assert inputs(done, "1:11")["seed"] == 42
    assert inputs(done, "1:11")["steps"] == 20


def test_an_empty_place_in_the_list_leaves_the_value_inside() -> None:
    done = instance([None, None], [["11", "seed"], ["-1", "vae_name"]])
    assert (inputs(done, "1:11")["seed"], inputs(done, "1:12")["vae_name"]) == (7, "inside.safetensors")


@pytest.mark.parametrize("proxies", [[["99", "seed"], ["-1", "none"], 5, [], [None]], "[", 7, {"a": 1}, [[["x"], {}]]])
def test_a_list_that_names_nothing_changes_nothing(proxies: Any) -> None:
    done = instance([42, "ae.safetensors"] if isinstance(proxies, list) else [], proxies)
    assert (inputs(done, "1:11")["seed"], inputs(done, "1:12")["vae_name"]) == (7, "inside.safetensors")


def test_values_that_only_newer_pages_read_are_left_inside_and_said() -> None:
    done = instance(["ae.safetensors"], None, extra={"frontendVersion": "1.48.5"})
    assert inputs(done, "1:12") == {"vae_name": "inside.safetensors"}
    assert any("Node 1 lists values of its own" in note and "1.48.5" in note for note in done.notes)
    for older in ({"frontendVersion": "1.27.10"}, {"frontendVersion": "x"}, {}):
        assert inputs(instance(["ae.safetensors"], None, extra=older), "1:12") == {"vae_name": "ae.safetensors"}


def test_the_value_of_a_subgraphs_input_reaches_its_plain_sockets_too() -> None:
    inside = Sheet()
    inside.add("PrimitiveStringMultiline", ["a fox"], id=11, inputs={"value": (-10, 0)}, widgets=("value",))
    inside.add("Switch", [True], id=12, inputs={"on_false": (-10, 0)})
    inside.add("Show", [], id=13, inputs={"source": (-10, 0)})
    sheet = Sheet()
    sheet.add(UUID, [], inputs={"value": None}, widgets=("value",))
    done = convert(sheet.ui(inside.subgraph(UUID, ("value",))), SCHEMAS)
    assert inputs(done, "1:12") == {"switch": True, "on_false": "a fox"}
    assert inputs(done, "1:13") == {"source": "a fox"}


def test_the_first_widget_on_an_input_gives_all_others_its_value() -> None:
    inside = Sheet()
    inside.add("EmptyLatentImage", [512, 64, 1], id=11, inputs={"width": (-10, 0)}, widgets=("width",))
    inside.add("EmptyLatentImage", [768, 64, 1], id=12, inputs={"width": (-10, 0)}, widgets=("width",))
    sheet = Sheet()
    sheet.add(UUID, [], inputs={"width": None}, widgets=("width",))
    whole = inside.subgraph(UUID, ("width",))
    assert [inputs(convert(sheet.ui(whole), SCHEMAS), f"1:{node}")["width"] for node in (11, 12)] == [512, 512]
    whole["inputs"][0]["linkIds"] = [2, 1]
    assert [inputs(convert(sheet.ui(whole), SCHEMAS), f"1:{node}")["width"] for node in (11, 12)] == [768, 768]


@pytest.mark.parametrize("text", ['{"a": "b"}', "a {red|blue} hat", "see https://example.org"])
def test_a_text_that_a_subgraphs_input_gives_is_left_alone(text: str) -> None:
    inside = Sheet()
    inside.add("CLIPTextEncode", [text], id=11, inputs={"text": (-10, 0)}, widgets=("text",))
    sheet = Sheet()
    sheet.add(UUID, [], inputs={"text": None}, widgets=("text",))
    done = convert(sheet.ui(inside.subgraph(UUID, ("text",))), SCHEMAS)
    assert inputs(done, "1:11")["text"] == text
    assert done.notes == ()


def test_an_instance_may_leave_out_the_inputs_of_its_widgets() -> None:
    inside = Sheet()
    inside.add("EmptyImage", [64, 64, 1, 0], id=11, inputs={"width": (-10, 0)}, widgets=("width",))
    inside.add("ImageScale", ["area", 8, 8, "disabled"], id=12, inputs={"image": (-10, 1)})
    sheet = Sheet()
    image = sheet.add("EmptyImage", [32, 32, 1, 0])
    sheet.add(UUID, [], inputs={"image": (image, 0)})
    done = convert(sheet.ui(inside.subgraph(UUID, ("width", "image"))), SCHEMAS)
    assert inputs(done, "2:12")["image"] == ["1", 0]
    assert inputs(done, "2:11")["width"] == 64


def test_values_go_through_subgraphs_inside_subgraphs() -> None:
    outer = Sheet()
    outer.add(UUID, [], id=21, inputs={"vae_name": (-10, 0)}, types={"vae_name": "COMBO"}, widgets=("vae_name",))
    sheet = Sheet()
    proxies = [["-1", "vae_name"]]
    sheet.add(INNER, ["ae.safetensors"], inputs={"vae_name": None}, widgets=("vae_name",), properties={"proxyWidgets": proxies})
    sheet.add(INNER, [], inputs={"vae_name": None}, widgets=("vae_name",))
    done = convert(sheet.ui(part(), outer.subgraph(INNER, ("vae_name",))), SCHEMAS)
    assert inputs(done, "1:21:12") == {"vae_name": "ae.safetensors"}
    assert inputs(done, "2:21:12") == {"vae_name": "inside.safetensors"}


def test_a_number_that_two_sheets_use_is_exchanged_inside_the_subgraph() -> None:
    inside = Sheet()
    inside.add("EmptyImage", [64, 64, 1, 0], id=1)
    inside.add("SaveImage", ["x"], id=5, inputs={"images": (1, 0)})
    sheet = Sheet()
    sheet.add(UUID, [7], id=3, properties={"proxyWidgets": [["1", "width"]]})
    sheet.add("EmptyImage", [64, 64, 1, 0], id=1)
    done = convert(sheet.ui(inside.subgraph(UUID), last_node_id=8), SCHEMAS)
    assert set(done.graph) == {"1", "3:9", "3:5"}
    assert inputs(done, "3:5")["images"] == ["3:9", 0]
    assert inputs(done, "3:9")["width"] == 7


@pytest.mark.parametrize("mode", [2, 4])
def test_what_a_silenced_instance_inside_another_holds_is_exported_all_the_same(mode: int) -> None:
    outer = Sheet()
    outer.add(UUID, [], id=21, mode=mode)
    sheet = Sheet()
    sheet.add(INNER, [])
    assert set(convert(sheet.ui(part(), outer.subgraph(INNER)), SCHEMAS).graph) == {"1:21:11", "1:21:12"}


def test_behind_a_bypassed_node_the_type_of_the_input_passed_through_counts() -> None:
    sheet = Sheet()
    sheet.add("CheckpointLoaderSimple", ["a.safetensors"])
    sheet.add("LoraLoader", ["b.safetensors", 1.0, 1.0], inputs={"model": (1, 0), "clip": (1, 1)}, mode=4)
    sheet.add("Reroute", inputs={"": (2, 1)}, outputs=("*",))
    sheet.add("CLIPTextEncode", ["a"], inputs={"clip": (3, 0)})
    assert inputs(convert(sheet.ui(), SCHEMAS), "4")["clip"] == ["1", 1]


def test_silent_subgraphs_that_hold_each_other_many_times_end() -> None:
    inside = Sheet()
    for number in range(11, 31):
        inside.add(UUID, [], id=number, mode=2, inputs={"a": (-10, 0)}, types={"a": "INT"}, widgets=("a",))
    sheet = Sheet()
    sheet.add(UUID, [], inputs={"a": None}, widgets=("a",))
    with pytest.raises(InvalidInputError, match="contain themselves|Nothing in this drawing"):
        convert(sheet.ui(inside.subgraph(UUID, ("a",))), SCHEMAS)
