"""The UI format becomes the API format that ComfyUI's own page exports."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from ryla_gen import Flux, FluxDev, FluxInstantID, FluxLora, FluxPulid, InstantID, SeedVR2, Wan2, Workflow
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import Converted, convert
from ryla_gen.graphs.widgets import choose_wildcards
from ryla_gen.models.node_schemas import OLDEST_VERSION, node_schemas

from .sheets import Sheet, drawn

UUID = "aaaaaaaa-1111-4222-8333-444444444444"
INNER = "bbbbbbbb-1111-4222-8333-444444444444"
SAMPLED = [7, "fixed", 20, 8.0, "euler", "simple", 1.0]
KSAMPLER = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
SHIPPED: list[Workflow] = [
    Flux(prompt="a"),
    FluxDev(prompt="a", speed="turbo"),
    FluxLora(prompt="a", lora_id="b"),
    InstantID(prompt="a", reference_image=b""),
    FluxInstantID(prompt="a", reference_image=b""),
    FluxPulid(prompt="a", reference_image=b""),
    Wan2(prompt="a"),
    SeedVR2(image=b""),
]


def inputs(done: Converted, node: str) -> dict[str, Any]:
    found: dict[str, Any] = done.graph[node]["inputs"]
    return found


def run(sheet: Sheet, *subgraphs: dict[str, Any]) -> Converted:
    return convert(sheet.ui(*subgraphs), node_schemas())


@pytest.mark.parametrize("workflow", SHIPPED, ids=lambda workflow: workflow.name)
def test_what_the_page_would_save_of_a_shipped_graph_becomes_that_graph(workflow: Workflow) -> None:
    api = workflow.build().to_api()
    done = convert(drawn(api), node_schemas(OLDEST_VERSION))
    assert {key: {part: node[part] for part in ("class_type", "inputs")} for key, node in done.graph.items()} == api
    assert done.notes == ()


@pytest.mark.parametrize(
    "values",
    [SAMPLED, [7, 20, 8.0, "euler", "simple", 1.0], [7, True, 20, 8.0, "euler", "simple", 1.0]],
    ids=["now", "never", "2023"],
)
def test_what_happens_to_a_seed_after_a_run_is_no_value(values: list[Any]) -> None:
    sheet = Sheet()
    sheet.add("KSampler", values)
    wanted = {"seed": 7, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    assert inputs(run(sheet), "1") == wanted


def test_values_by_name_keep_what_the_class_knows() -> None:
    sheet = Sheet()
    sheet.add("EmptyLatentImage", {"width": 640, "videopreview": {"hidden": True}})
    assert inputs(run(sheet), "1") == {"width": 640, "height": 512, "batch_size": 1}


@pytest.mark.parametrize("values", [["a.png", "image"], ["a.png"], ["a.png", None]])
def test_the_button_of_an_upload_is_no_value(values: list[Any]) -> None:
    sheet = Sheet()
    sheet.add("LoadImage", values)
    assert inputs(run(sheet), "1") == {"image": "a.png"}


def test_values_that_the_file_lacks_are_the_defaults() -> None:
    sheet = Sheet()
    sheet.add("KSampler", [7, "fixed", 30])
    found = inputs(run(sheet), "1")
    assert (found["steps"], found["cfg"], found["denoise"]) == (30, 8.0, 1.0)


def test_a_widget_turned_into_an_input_keeps_its_place_in_the_list() -> None:
    sheet = Sheet()
    number = sheet.add("PrimitiveInt", [42, "fixed"])
    sheet.add("KSampler", SAMPLED, inputs={"seed": (number, 0), "steps": None}, widgets=("seed", "steps"))
    assert inputs(run(sheet), "2") | {"seed": 0} == {
        "seed": 0, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0
    }  # fmt: skip
    assert inputs(run(sheet), "2")["seed"] == ["1", 0]


def test_an_input_that_never_has_a_widget_takes_no_value() -> None:
    schema = {"Forced": {"input": {"required": {"a": ["INT", {"forceInput": True}], "b": ["INT", {"default": 1}]}}, "output": []}}
    done = convert({"nodes": [{"id": 1, "type": "Forced", "widgets_values": [5]}], "links": []}, schema)
    assert inputs(done, "1") == {"b": 5}


def test_a_choice_brings_its_own_inputs() -> None:
    options = [{"key": "small", "inputs": {"required": {"side": ["INT", {"default": 1}]}}}, {"key": "free", "inputs": {}}]
    schema = {
        "Sized": {
            "input": {"required": {"size": ["COMFY_DYNAMICCOMBO_V3", {"options": options}], "name": ["STRING", {}]}},
            "output": [],
        }
    }
    for values, wanted in (
        (["small", 64, "x"], {"size": "small", "size.side": 64, "name": "x"}),
        (["free", "x"], {"size": "free", "name": "x"}),
    ):
        assert (
            inputs(convert({"nodes": [{"id": 1, "type": "Sized", "widgets_values": values}], "links": []}, schema), "1") == wanted
        )


def test_a_list_is_wrapped_so_that_nobody_takes_it_for_a_link() -> None:
    schema = {"Curved": {"input": {"required": {"points": ["CURVE", {}]}}, "output": []}}
    done = convert({"nodes": [{"id": 1, "type": "Curved", "widgets_values": [["a", 0]]}], "links": []}, schema)
    assert inputs(done, "1") == {"points": {"__value__": ["a", 0]}}


def test_notes_and_groups_leave_nothing() -> None:
    sheet = Sheet()
    sheet.add("Note", ["read me"])
    sheet.add("MarkdownNote", ["# read me"])
    sheet.add("EmptyLatentImage", [64, 64, 1])
    assert set(run(sheet).graph) == {"3"}


def test_thousands_of_reroutes_are_seen_through() -> None:
    sheet = Sheet()
    last = sheet.add("EmptyLatentImage", [64, 64, 1])
    for _ in range(3000):
        last = sheet.add("Reroute", inputs={"": (last, 0)}, outputs=("*",))
    target = sheet.add("KSampler", SAMPLED, inputs={"latent_image": (last, 0)})
    done = run(sheet)
    assert set(done.graph) == {"1", str(target)}
    assert inputs(done, str(target))["latent_image"] == ["1", 0]


def test_reroutes_in_a_circle_are_refused() -> None:
    sheet = Sheet()
    sheet.add("Reroute", inputs={"": (2, 0)}, outputs=("*",))
    sheet.add("Reroute", inputs={"": (1, 0)}, outputs=("*",))
    sheet.add("KSampler", SAMPLED, inputs={"latent_image": (1, 0)})
    with pytest.raises(InvalidInputError, match="loop"):
        run(sheet)


def test_a_primitive_gives_its_value_also_through_a_reroute() -> None:
    sheet = Sheet()
    primitive = sheet.add("PrimitiveNode", [99, "increment"], outputs=("INT",))
    reroute = sheet.add("Reroute", inputs={"": (primitive, 0)}, outputs=("*",))
    sheet.add("KSampler", SAMPLED, inputs={"seed": (reroute, 0), "steps": (primitive, 0)}, widgets=("seed", "steps"))
    found = inputs(run(sheet), "3")
    assert (found["seed"], found["steps"]) == (99, 99)


def lora_chain(mode: int) -> Sheet:
    sheet = Sheet()
    sheet.add("CheckpointLoaderSimple", ["a.safetensors"])
    sheet.add("LoraLoader", ["b.safetensors", 1.0, 1.0], inputs={"model": (1, 0), "clip": (1, 1)}, mode=mode)
    sheet.add("CLIPTextEncode", ["a fox"], inputs={"clip": (2, 1)})
    sheet.add("KSampler", SAMPLED, inputs={"model": (2, 0), "positive": (3, 0)})
    return sheet


def test_a_bypassed_node_passes_on_what_has_the_type() -> None:
    done = run(lora_chain(4))
    assert set(done.graph) == {"1", "3", "4"}
    assert inputs(done, "3")["clip"] == ["1", 1]
    assert inputs(done, "4")["model"] == ["1", 0]


def test_a_muted_node_is_gone_and_what_hung_on_it_stays_as_the_page_leaves_it() -> None:
    sheet = lora_chain(2)
    sheet.add("EmptyLatentImage", [64, 64, 1])
    done = run(sheet)
    assert set(done.graph) == {"1", "3", "4", "5"}
    assert inputs(done, "3") == {"text": "a fox"}
    assert done.lacking == {"3": ("clip",), "4": ("model",)}
    assert len(done.notes) == 2
    assert all("refuses this node" in note for note in done.notes)


def test_what_runs_of_it_is_without_the_nodes_that_hang_on_a_muted_one() -> None:
    sheet = lora_chain(2)
    sheet.add("EmptyLatentImage", [64, 64, 1])
    sheet.add("VAEDecode", [], inputs={"samples": (4, 0)})
    done = run(sheet).runnable(node_schemas())
    assert set(done.graph) == {"1", "5"}
    assert len(done.notes) == 3
    assert all("left out" in note for note in done.notes)
    assert run(lora_chain(4)).runnable(node_schemas()).graph == run(lora_chain(4)).graph


def test_an_optional_input_that_hung_on_a_muted_node_is_just_empty() -> None:
    sheet = Sheet()
    sheet.add("EmptyImage", [64, 64, 1, 0], mode=2)
    schemas = {**node_schemas(), "Blend": {"input": {"optional": {"a": ["IMAGE"]}}, "output": ["IMAGE"]}}
    sheet.add("Blend", [], inputs={"a": (1, 0)}, types={"a": "IMAGE"})
    assert convert(sheet.ui(), schemas).graph["2"]["inputs"] == {}


def test_a_bypassed_node_without_a_way_through_cuts_the_rest_off() -> None:
    sheet = Sheet()
    sheet.add("EmptyLatentImage", [64, 64, 1], mode=4)
    sheet.add("KSampler", SAMPLED, inputs={"latent_image": (1, 0)})
    assert inputs(run(sheet), "2") == dict(zip(KSAMPLER, [7, 20, 8.0, "euler", "simple", 1.0], strict=True))
    with pytest.raises(InvalidInputError, match="Nothing in this drawing would run"):
        run(sheet).runnable(node_schemas())
    sheet.add("EmptyImage", [64, 64, 1, 0])
    assert set(run(sheet).runnable(node_schemas()).graph) == {"3"}


def test_a_drawing_of_which_nothing_would_run_is_refused() -> None:
    sheet = Sheet()
    sheet.add("EmptyImage", [64, 64, 1, 0], mode=2)
    with pytest.raises(InvalidInputError, match="Nothing in this drawing would run"):
        run(sheet)


def test_what_is_set_in_one_place_is_got_in_another() -> None:
    sheet = Sheet()
    image = sheet.add("EmptyImage", [64, 64, 1, 0])
    sheet.add("SetNode", ["picture"], inputs={"IMAGE": (image, 0)}, outputs=("*",))
    got = sheet.add("GetNode", ["picture"], outputs=("IMAGE",))
    sheet.add("SaveImage", ["x"], inputs={"images": (got, 0)})
    assert inputs(run(sheet), "4")["images"] == ["1", 0]
    sheet.nodes[2]["widgets_values"] = ["nobody"]
    with pytest.raises(InvalidInputError, match="no SetNode"):
        run(sheet)


def part(values: list[Any]) -> dict[str, Any]:
    """A subgraph: prompt in, conditioning out."""
    inside = Sheet()
    inside.add("CLIPTextEncode", values, inputs={"clip": (-10, 0), "text": (-10, 1)}, widgets=("text",), id=5)
    inside.link(5, 0, -20, 0)
    return inside.subgraph(UUID, ("clip", "text"), ("out",))


def around(values: Any, **more: Any) -> Sheet:
    sheet = Sheet()
    sheet.add("CheckpointLoaderSimple", ["a.safetensors"])
    types = {"clip": "CLIP", "text": "STRING"}
    sockets = {"clip": (1, 1), "text": None}
    sheet.add(UUID, values, inputs=sockets, types=types, widgets=("text",), outputs=("CONDITIONING",), **more)
    sheet.add("KSampler", SAMPLED, inputs={"positive": (2, 0)})
    return sheet


@pytest.mark.parametrize(("values", "text"), [(["shown"], "shown"), ([], "inside"), (None, "inside")])
def test_a_subgraph_is_taken_apart_under_the_pages_own_ids(values: Any, text: str) -> None:
    done = run(around(values), part(["inside"]))
    assert set(done.graph) == {"1", "2:5", "3"}
    assert inputs(done, "2:5") == {"clip": ["1", 1], "text": text}
    assert inputs(done, "3")["positive"] == ["2:5", 0]


def test_a_linked_input_of_a_subgraph_goes_before_what_it_shows() -> None:
    sheet = around(["shown"])
    sheet.add("PrimitiveString", ["linked"])
    sheet.nodes[1]["inputs"][1]["link"] = sheet.link(4, 0, 2, 1)
    assert inputs(run(sheet, part(["inside"])), "2:5")["text"] == ["4", 0]


def test_subgraphs_inside_subgraphs_show_the_outermost_value() -> None:
    outer = Sheet()
    sockets = {"clip": (-10, 0), "text": (-10, 1)}
    types = {"clip": "CLIP", "text": "STRING"}
    outer.add(UUID, ["between"], inputs=sockets, types=types, widgets=("text",), outputs=("CONDITIONING",), id=8)
    outer.link(8, 0, -20, 0)
    sheet = around(["shown"])
    sheet.nodes[1]["type"] = INNER
    done = run(sheet, part(["inside"]), outer.subgraph(INNER, ("clip", "text"), ("out",)))
    assert inputs(done, "2:8:5") == {"clip": ["1", 1], "text": "shown"}
    assert inputs(done, "3")["positive"] == ["2:8:5", 0]


@pytest.mark.timeout(300)
def test_thousands_of_nodes_on_one_chain_are_found_in_one_walk() -> None:
    sheet = Sheet()
    last = sheet.add("EmptyImage", [64, 64, 1, 0])
    for _ in range(4000):
        last = sheet.add("Reroute", inputs={"": (last, 0)}, outputs=("*",))
    savers = [sheet.add("SaveImage", ["x"], inputs={"images": (last, 0)}) for _ in range(2000)]
    done = run(sheet)
    assert len(done.graph) == 2001
    assert all(inputs(done, str(number))["images"] == ["1", 0] for number in savers)


@pytest.mark.timeout(300)
def test_thousands_of_variables_are_looked_up_once() -> None:
    sheet = Sheet()
    image = sheet.add("EmptyImage", [64, 64, 1, 0])
    for number in range(2500):
        sheet.add("SetNode", [f"v{number}"], inputs={"IMAGE": (image, 0)}, outputs=("*",))
    got = [sheet.add("GetNode", [f"v{number}"], outputs=("IMAGE",)) for number in range(2500)]
    savers = [sheet.add("SaveImage", ["x"], inputs={"images": (number, 0)}) for number in got]
    done = run(sheet)
    assert all(inputs(done, str(number))["images"] == ["1", 0] for number in savers)


@pytest.mark.parametrize("mode", [2, 4])
def test_a_muted_or_bypassed_subgraph_runs_nothing_inside(mode: int) -> None:
    assert set(run(around([], mode=mode), part(["inside"])).graph) == {"1", "3"}


def test_a_line_straight_through_a_subgraph_is_followed() -> None:
    inside = Sheet()
    inside.link(-10, 0, -20, 0)
    sheet = Sheet()
    sheet.add("EmptyImage", [64, 64, 1, 0])
    sheet.add(UUID, [], inputs={"a": (1, 0)}, outputs=("IMAGE",))
    sheet.add("SaveImage", ["x"], inputs={"images": (2, 0)})
    assert inputs(run(sheet, inside.subgraph(UUID, ("a",), ("b",))), "3")["images"] == ["1", 0]


def test_a_subgraph_that_holds_itself_is_refused() -> None:
    inside = Sheet()
    inside.add(UUID, [], id=1)
    inside.add(UUID, [], id=2)
    sheet = Sheet()
    sheet.add(UUID, [])
    with pytest.raises(InvalidInputError, match="contain themselves"):
        run(sheet, inside.subgraph(UUID))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("workflow>Part", "group node"),
        ("workflow/Part", "group node"),
        (UUID, "does not define"),
        ("Anything Everywhere", "without drawing"),
    ],
)
def test_what_only_the_page_can_resolve_names_the_menu_item(kind: str, said: str) -> None:
    sheet = Sheet()
    sheet.add(kind, [1, 2, 3])
    with pytest.raises(InvalidInputError, match=said) as caught:
        run(sheet)
    assert "Export (API)" in caught.value.hint


def test_unknown_classes_are_all_named_with_the_way_to_their_schemas() -> None:
    sheet = Sheet()
    sheet.add("MyOwnFilter", [1, 2])
    sheet.add("MyOtherFilter", [1])
    with pytest.raises(InvalidInputError, match="MyOtherFilter, MyOwnFilter") as caught:
        run(sheet)
    assert "--url" in caught.value.hint
    assert convert(sheet.ui(), node_schemas(), lenient=True).graph["1"]["inputs"] == {}


def test_an_unknown_class_whose_drawing_names_its_widgets_is_taken_by_them() -> None:
    sheet = Sheet()
    sheet.add("MyOwnFilter", [5, "randomize", "soft"], inputs={"seed": None, "how": None}, widgets=("seed", "how"))
    done = run(sheet)
    assert inputs(done, "1") == {"seed": 5, "how": "soft"}
    assert "MyOwnFilter" in done.notes[0]


def test_version_1_writes_links_as_objects() -> None:
    old = drawn(FluxDev(prompt="a").build().to_api())
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    new = {**old, "version": 1, "links": [dict(zip(names, link, strict=True)) for link in old["links"]]}
    assert convert(new, node_schemas()).graph == convert(old, node_schemas()).graph


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a {red|blue} hat", "a red hat"),
        ("{a {b|c}|d} e", "a b e"),
        (r"a \{b\} c", "a {b} c"),
        ("a // b\nc /* d */e", "a \nc e"),
        ("plain", "plain"),
        ("{open", "open"),
        ("shut} {}", "shut} "),
    ],
)
def test_of_words_in_braces_the_first_is_taken_and_said(text: str, wanted: str) -> None:
    assert choose_wildcards(text) == wanted
    sheet = Sheet()
    sheet.add("CheckpointLoaderSimple", ["a.safetensors"])
    sheet.add("CLIPTextEncode", [text], inputs={"clip": (1, 1)})
    done = run(sheet)
    assert inputs(done, "2")["text"] == wanted
    assert bool(done.notes) == (text != wanted)


def broken(data: Any, chance: random.Random) -> Any:
    """The same data with one thing somewhere in it replaced."""
    data = copy.deepcopy(data)
    place, key = None, None
    inside = data
    while isinstance(inside, dict | list) and inside and (place is None or chance.random() < 0.8):
        place, key = inside, chance.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        inside = place[key]
    if place is not None:
        place[key] = chance.choice([None, -1, 10**30, "", "x", [], {}, [1], {"name": 5}, True, float("inf"), UUID, "-10", [[1, 2]]])
    return data


def test_a_damaged_drawing_never_ends_in_anything_but_our_error() -> None:
    outer = around(["shown"]).ui(part(["inside"]))
    whole = [drawn(FluxInstantID(prompt="a", reference_image=b"").build().to_api()), outer, lora_chain(4).ui()]
    chance = random.Random(1)
    refused = 0
    for number in range(1500):
        data = whole[number % len(whole)]
        for _ in range(1 + number % 3):
            data = broken(data, chance)
        try:
            convert(data, node_schemas())
        except InvalidInputError as error:
            refused += 1
            assert error.hint
    assert 100 < refused < 1400


def test_reroutes_on_the_lines_themselves_change_nothing() -> None:
    plain = drawn(FluxDev(prompt="a").build().to_api())
    reroutes = [{"id": 1, "pos": [0, 0], "linkIds": [1, 2]}, {"id": 2, "parentId": 1, "pos": [9, 9], "linkIds": [1]}]
    bent = {**plain, "extra": {"reroutes": reroutes, "linkExtensions": [{"id": 1, "parentId": 2}]}}
    assert convert(bent, node_schemas()).graph == convert(plain, node_schemas()).graph
