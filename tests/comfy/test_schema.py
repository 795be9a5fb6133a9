"""Node-schema validation beyond the recorded pairs (tests/emulator/test_server.py): dialects, conversions, hostile graphs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryla_gen.comfy.lint import oddities
from ryla_gen.comfy.schema import (
    NO_FILES,
    converted_inputs,
    file_inputs,
    input_specs,
    live_specs,
    rename_classes,
    types_fit,
    upload_inputs,
    validate,
)
from ryla_gen.errors import InvalidInputError
from ryla_gen.models.node_schemas import OLDEST_VERSION, VERSIONS, node_schemas


def node_class(output: list[Any], *, optional: dict[str, Any] | None = None, save: bool = False, **required: Any) -> dict[str, Any]:
    return {"input": {"required": required, "optional": optional or {}}, "output": output, "output_node": save}


SCHEMAS = {
    "Make": node_class(["IMAGE", "MASK"], width=["INT", {"min": 1, "max": 100}]),
    "Any": node_class(["*"], value=["*", {}]),
    "Text": node_class(["STRING,INT"], text=["STRING", {}], flag=["BOOLEAN", {}], scale=["FLOAT", {"min": 0.0}]),
    "Old": node_class(["IMAGE"], image=["IMAGE"], kind=[["a", "b"], {}]),
    "New": node_class(["IMAGE"], image=["IMAGE", {}], kind=["COMBO", {"options": ["a", "b"]}]),
    "Load": node_class(["IMAGE"], image=[["x.png"], {"image_upload": True}]),
    "Model": node_class(["MODEL"], ckpt_name=[["m.safetensors"], {}], lora=[[], {}], mode=[["fast"], {}]),
    "Both": node_class(["IMAGE"], optional={"more": ["IMAGE", {}]}, image=["IMAGE,MASK", {}]),
    "Save": node_class([], save=True, images=["IMAGE", {}]),
}


def graph(**nodes: tuple[Any, ...]) -> dict[str, Any]:
    """``graph(a=("Make", {"width": 1}))``."""
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def errors(nodes: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Node, type and input of every error."""
    verdict = validate(nodes, SCHEMAS)
    return [
        (node_id, error["type"], error["extra_info"].get("input_name"))
        for node_id, entry in verdict.node_errors.items()
        for error in entry["errors"]
    ]


MAKE = ("Make", {"width": 8})


@pytest.mark.parametrize("kind", ["Old", "New"])
def test_an_enum_is_checked_in_either_dialect(kind):
    for value, expected in (("a", []), ("c", [("b", "value_not_in_list", "kind")]), (1, [("b", "value_not_in_list", "kind")])):
        nodes = graph(a=MAKE, b=(kind, {"image": ["a", 0], "kind": value}), s=("Save", {"images": ["b", 0]}))
        assert errors(nodes) == expected


def test_a_long_enum_is_counted_and_a_short_one_is_spelled_out():
    for count, listed in ((20, str([f"o{n}" for n in range(20)])), (21, "(list of length 21)")):
        schemas = SCHEMAS | {"Save": node_class([], save=True, kind=[[f"o{n}" for n in range(count)], {}])}
        error = validate(graph(s=("Save", {"kind": "x"})), schemas).node_errors["s"]["errors"][0]
        assert error["details"] == f"kind: 'x' not in {listed}"
        assert (error["extra_info"]["input_config"] is None) == (count > 20)


def test_inputs_that_newer_servers_fill_elsewhere_are_left_to_them():
    schemas = SCHEMAS | {
        "Save": node_class(
            [], save=True, group=["COMFY_AUTOGROW_V3", {}], far=["COMBO", {"options": [], "remote": {"route": "/x"}}]
        )
    }
    assert validate(graph(s=("Save", {"group.0": 1, "far": "anything"})), schemas).ok
    assert not validate(graph(s=("Save", {"group.0": 1})), schemas).ok


def test_an_error_of_the_output_itself_is_told_in_the_details():
    verdict = validate(graph(s=("Save", {})), SCHEMAS)
    assert verdict.error and verdict.error["details"] == "Required input is missing: images"


@pytest.mark.parametrize(
    ("received", "wanted", "fits"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "MASK", False),
        ("STRING,INT", "INT", True),
        ("STRING , INT", "FLOAT,STRING", True),
        ("STRING,INT", "FLOAT", False),
        ("*", "MODEL", True),
        ("MODEL", "*", True),
        (["a", "b"], ["a", "b"], True),
        (["a"], ["b"], False),
        ("COMBO", ["a"], False),
    ],
)
def test_types_fit_as_comfyui_fits_them(received, wanted, fits):
    assert types_fit(received, wanted) is fits


@pytest.mark.parametrize(
    ("text", "flag", "scale", "expected"),
    [
        (5, "yes", "1.5", {"text": "5", "flag": True, "scale": 1.5}),
        ({"__value__": "wrapped"}, 0, 2, {"text": "wrapped", "flag": False, "scale": 2.0}),
        (None, "", True, {"text": "None", "flag": False, "scale": 1.0}),
    ],
)
def test_literals_become_the_types_of_their_inputs(text, flag, scale, expected):
    node = {"class_type": "Text", "inputs": {"text": text, "flag": flag, "scale": scale, "unknown": 1}}
    converted = converted_inputs(node, SCHEMAS["Text"])
    assert converted == expected and type(converted["scale"]) is float


def test_links_stay_and_defaults_are_not_filled_in():
    assert converted_inputs({"inputs": {"image": ["a", 0]}}, SCHEMAS["Old"]) == {"image": ["a", 0]}
    assert converted_inputs({}, SCHEMAS["Old"]) == {}


@pytest.mark.parametrize("width", ["abc", None, {}, "1.5", float("nan"), float("inf"), "9" * 5000])
def test_what_is_no_number_is_refused(width):
    assert errors(graph(a=("Make", {"width": width}), s=("Save", {"images": ["a", 0]}))) == [("a", "invalid_input_type", "width")]


@pytest.mark.parametrize("link", [["a"], ["a", 0, 0], []])
def test_a_link_of_another_length_is_a_bad_link(link):
    assert errors(graph(a=MAKE, s=("Save", {"images": link}))) == [("s", "bad_linked_input", "images")]


@pytest.mark.parametrize("link", [["zz", 0], [7, 0], [["a"], 0], [{}, 0], ["a", 2], ["a", "0"], ["a", None], ["a", 0.0], ["a", -3]])
def test_a_link_to_nowhere_is_refused_with_a_reason(link):
    nodes = graph(a=MAKE, b=("Both", {"image": link}), s=("Save", {"images": ["b", 0]}))
    assert errors(nodes) == [("b", "exception_during_inner_validation", "images")]
    details = validate(nodes, SCHEMAS).node_errors["b"]["errors"][0]["details"]
    assert details.startswith("input 'image' of node b links to")
    assert errors(graph(a=MAKE, s=("Save", {"images": link}))) == [("s", "exception_during_validation", None)]


def test_an_output_is_counted_from_the_end_as_python_does_it():
    assert validate(graph(a=MAKE, s=("Save", {"images": ["a", -2]})), SCHEMAS).ok
    assert errors(graph(a=MAKE, s=("Save", {"images": ["a", -1]}))) == [("s", "return_type_mismatch", "images")]


@pytest.mark.parametrize(
    ("node", "newer", "older"),
    [
        (None, "http_500", "http_500"),
        (5, "http_500", "http_500"),
        ([], "http_500", "invalid_prompt"),
        ("x", "http_500", "invalid_prompt"),
        ({}, "missing_node_type", "invalid_prompt"),
        ({"class_type": None}, "missing_node_type", "invalid_prompt"),
        ({"class_type": ["Make"]}, "http_500", "http_500"),
        ({"class_type": "Nope"}, "missing_node_type", "invalid_prompt"),
        ({"class_type": "Nope", "_meta": 5}, "http_500", "invalid_prompt"),
        ({"class_type": "Make", "inputs": None}, "http_500", "prompt_no_outputs"),
    ],
)
def test_what_is_no_known_node_is_answered_as_each_release_does(node, newer, older):
    for version, expected in (("0.28.2", newer), ("0.3.71", older)):
        verdict = validate({"a": node}, SCHEMAS, version=version)
        assert verdict.error and verdict.error["type"] == expected and verdict.node_errors == {}
        assert expected == "prompt_no_outputs" or "a" in verdict.error["details"]


def test_one_bad_output_does_not_stop_the_others():
    nodes = graph(a=MAKE, good=("Save", {"images": ["a", 0]}), b=("Make", {"width": 0}), bad=("Save", {"images": ["b", 0]}))
    verdict = validate(nodes, SCHEMAS)
    assert verdict.ok and verdict.error is None and verdict.outputs == ["good"]
    assert verdict.node_errors["b"]["dependent_outputs"] == ["bad"]


def test_a_fault_is_reported_once_and_names_every_output_that_needs_it():
    nodes = graph(
        a=("Make", {"width": 0}),
        x=("Both", {"image": ["a", 0], "more": ["a", 0]}),
        s=("Save", {"images": ["x", 0]}),
        t=("Save", {"images": ["a", 0]}),
    )
    verdict = validate(nodes, SCHEMAS)
    assert {key: (len(entry["errors"]), entry["dependent_outputs"]) for key, entry in verdict.node_errors.items()} == {
        "a": (1, ["s", "t"])
    }


def test_uploads_are_asked_for_and_never_looked_up_in_the_list():
    nodes = graph(l=("Load", {"image": "sub/new.png"}), s=("Save", {"images": ["l", 0]}))
    assert validate(nodes, SCHEMAS).ok
    asked: list[Any] = []
    verdict = validate(nodes, SCHEMAS, lambda *question: asked.append(question) or "no such file")
    assert asked == [("Load", "image", "sub/new.png")]
    error = verdict.node_errors["l"]["errors"][0]
    assert (error["type"], error["details"]) == ("custom_validation_failed", "image - no such file")


def test_file_inputs_are_told_from_other_enums():
    assert file_inputs(SCHEMAS["Model"]) == ("ckpt_name", "lora")
    assert upload_inputs(SCHEMAS["Load"]) == ("image",) and file_inputs(SCHEMAS["Load"]) == ()
    packaged = node_schemas()
    assert file_inputs(packaged["DualCLIPLoader"]) == ("clip_name1", "clip_name2")
    assert file_inputs(packaged["KSampler"]) == ()
    assert upload_inputs(packaged["LoadVideo"]) == ("file",)


@pytest.mark.parametrize("version", VERSIONS)
def test_packaged_schemas_name_no_file_of_any_server(version: str):
    for name, schema in node_schemas(version).items():
        for spec in input_specs(schema).values():
            if spec.uploads or spec.name in file_inputs(schema):
                assert set(spec.options or []) <= set(NO_FILES), name


def test_all_node_classes_of_both_releases_are_packaged_and_the_packs_beside_them():
    newest, pinned = node_schemas(), node_schemas(OLDEST_VERSION)
    assert newest is node_schemas("v0.28.2") and len(newest) == 576 + 23 and len(pinned) == 414
    assert {"ApplyInstantID", "KSampler", "Canny"} <= newest.keys() & pinned.keys()
    assert "ResizeImageMaskNode" in newest and "ResizeImageMaskNode" not in pinned
    assert "SaveLoRANode" in pinned and "SaveLoRANode" not in newest


def test_a_release_without_packaged_schemas_names_those_that_are_there():
    with pytest.raises(InvalidInputError, match=r"'0\.45\.2' .* 0\.28\.2 and 0\.3\.71") as caught:
        node_schemas("0.45.2")
    assert "--url" in caught.value.hint


@pytest.mark.parametrize("end", [("Make", {"width": 1}), ("Old", {"image": ["5", 0], "kind": "a"})])
def test_a_chain_of_ten_thousand_nodes_and_a_circle_as_long_are_judged_quickly(end):
    nodes = graph(**{str(n): ("Old", {"image": [str(n + 1), 0], "kind": "a"}) for n in range(10_000)})
    nodes |= graph(**{"10000": end, "s": ("Save", {"images": ["0", 0]})})
    started = time.perf_counter()
    verdict = validate(nodes, SCHEMAS)
    assert time.perf_counter() - started < 20, "linear: walked again from each node it would take minutes"
    assert verdict.ok is (end[0] == "Make")
    if not verdict.ok:
        assert [error["type"] for error in verdict.node_errors["5"]["errors"]] == ["dependency_cycle"]


def test_a_lattice_with_a_million_million_ways_through_is_judged_quickly():
    nodes = graph(**{"0": MAKE})
    for n in range(1, 400):
        nodes |= graph(**{str(n): ("Both", {"image": [str(n - 1), 0], "more": [str(n - 1), 0]})})
    assert validate(nodes | graph(s=("Save", {"images": ["399", 0]})), SCHEMAS).ok


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a", "b", "0", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
LINKS = st.tuples(st.sampled_from("0123"), st.integers(0, 1)).map(list)
NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(sorted(SCHEMAS)),
        "inputs": st.dictionaries(st.sampled_from(["image", "images", "width", "kind", "value", "text", "more"]), LINKS | VALUES),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("0123"), NODES | VALUES))
def test_any_graph_gets_a_verdict_that_can_be_sent(nodes):
    verdict = validate(nodes, SCHEMAS)
    json.dumps([verdict.error, verdict.node_errors])
    assert verdict.ok is (verdict.error is None) is bool(verdict.outputs)
    for node_id in verdict.node_errors:
        assert verdict.node_errors[node_id]["errors"] and verdict.node_errors[node_id]["dependent_outputs"]


BY = "scale by multiplier"
RESIZE = {"input": ["l", 0], "scale_method": "area"}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"resize_type": BY, "resize_type.multiplier": 2}, []),
        ({"resize_type": BY, "resize_type.multiplier": "2"}, []),
        ({"resize_type": BY}, [("required_input_missing", "resize_type.multiplier")]),
        ({"resize_type": BY, "multiplier": 2}, [("required_input_missing", "resize_type.multiplier")]),
        ({"resize_type": BY, "resize_type.multiplier": 9}, [("value_bigger_than_max", "resize_type.multiplier")]),
        ({"resize_type": BY, "resize_type.multiplier": "x"}, [("invalid_input_type", "resize_type.multiplier")]),
        ({"resize_type": BY, "resize_type.multiplier": [1]}, [("bad_linked_input", "resize_type.multiplier")]),
        ({"resize_type": BY, "resize_type.multiplier": ["l", 0]}, [("return_type_mismatch", "resize_type.multiplier")]),
        ({"resize_type": "match size", "resize_type.match": ["l", 1]}, [("required_input_missing", "resize_type.crop")]),
        ({"resize_type": "scale by magic"}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_inputs_that_a_choice_brings_are_judged_as_its_own(inputs, expected):
    nodes = graph(
        l=("LoadImage", {"image": "a.png"}), r=("ResizeImageMaskNode", RESIZE | inputs), s=("PreviewImage", {"images": ["r", 0]})
    )
    verdict = validate(nodes, node_schemas())
    found = [(error["type"], error["extra_info"]["input_name"]) for error in verdict.node_errors.get("r", {}).get("errors", [])]
    assert found == expected and verdict.ok is (expected == [])


@pytest.mark.parametrize(
    ("inputs", "node", "expected"),
    [
        ({"images.image0": ["l", 0], "images.image1": ["l", 0]}, None, None),
        ({"images.image1": ["l", 0]}, "b", ("required_input_missing", "images.image0")),
        ({"images.image0": ["l", 1], "images.image1": ["l", 0]}, "b", ("return_type_mismatch", "images.image0")),
        ({"images.image0": ["e", 0], "images.image1": ["l", 0]}, "e", ("value_smaller_than_min", "width")),
        ({"images.image0": ["zz", 0], "images.image1": ["l", 0]}, "b", ("exception_during_inner_validation", "images")),
        ({"images.image0": ["l", 0], "images.image1": ["l", 0], "images.image77": "x"}, None, None),
    ],
)
def test_a_growing_list_is_judged_and_its_links_are_followed(inputs, node, expected):
    nodes = graph(
        l=("LoadImage", {"image": "a.png"}),
        e=("EmptyImage", {"width": 0, "height": 8, "batch_size": 1, "color": 0}),
        b=("BatchImagesNode", inputs),
        s=("PreviewImage", {"images": ["b", 0]}),
    )
    verdict = validate(nodes, node_schemas())
    found = {
        key: [(e["type"], e["extra_info"]["input_name"]) for e in entry["errors"]] for key, entry in verdict.node_errors.items()
    }
    assert found == ({node: [expected]} if node else {})


def test_a_choice_that_the_page_types_in_is_never_judged():
    nodes = graph(c=("CustomCombo", {"choice": "mine", "index": 1, "option1": "mine"}), s=("PreviewAny", {"source": ["c", 1]}))
    assert validate(nodes, node_schemas()).ok
    assert converted_inputs(nodes["c"], node_schemas()["CustomCombo"]) == {"choice": "mine", "index": 1, "option1": "mine"}


def test_null_for_a_choice_is_taken_by_the_older_release_alone():
    schemas = SCHEMAS | {"Save": node_class([], save=True, kind=["COMBO", {"options": ["a"]}])}
    nodes = graph(s=("Save", {"kind": None}))
    assert validate(nodes, schemas, version="0.3.71").ok
    assert validate(nodes, schemas).node_errors["s"]["errors"][0]["type"] == "value_not_in_list"


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("0.3.71", "invalid_prompt"),
        ("v0.3.70", "invalid_prompt"),
        ("0.2.9", "invalid_prompt"),
        ("0.27.1", "invalid_prompt"),
        ("0.28.2", "missing_node_type"),
        ("0.45.2+abc", "missing_node_type"),
        ("main", "missing_node_type"),
        ("", "missing_node_type"),
    ],
)
def test_another_release_is_judged_by_the_rules_of_the_newest_that_is_not_newer(version, kind):
    verdict = validate({"1": {"class_type": "Nope", "inputs": {}}}, SCHEMAS, version=version)
    assert verdict.error and verdict.error["type"] == kind


def test_a_circle_blames_its_nodes_and_no_input():
    nodes = graph(a=("Old", {"image": ["b", 0], "kind": "a"}), b=("Old", {"image": ["a", 0], "kind": "x"}))
    nodes |= graph(s=("Save", {"images": ["a", 0]}))
    assert sorted(errors(nodes), key=str) == [
        ("a", "dependency_cycle", None),
        ("b", "dependency_cycle", None),
        ("b", "value_not_in_list", "kind"),
    ]
    details = validate(nodes, SCHEMAS).node_errors["a"]["errors"][0]["details"]
    assert details == "a (Old) -> b (Old) -> a (Old)"


def test_a_renamed_class_is_rewritten_before_it_is_judged_and_left_alone_where_the_server_has_it():
    old = {"class_type": "T2IAdapterLoader", "inputs": {"t2i_adapter_name": "x"}, "_meta": {"title": "T"}}
    nodes = {"1": old, **graph(s=("PreviewAny", {"source": ["1", 0]}))}
    known = node_schemas()
    assert rename_classes(nodes, known)["1"] == {**old, "class_type": "ControlNetLoader", "inputs": {"control_net_name": "x"}}
    assert validate(nodes, known).node_errors["1"]["errors"][0]["type"] == "value_not_in_list"
    assert rename_classes(nodes, {**known, "T2IAdapterLoader": {}}) is nodes
    assert rename_classes(nodes, known, version="0.3.71") is nodes
    without_meta = validate({**nodes, "1": {**old, "_meta": None}}, known)
    assert without_meta.error and without_meta.error["type"] == "http_500"


ODD = [
    None,
    [],
    {},
    {"input": None},
    {"input": []},
    {"input": {"required": None}},
    {"input": {"required": []}},
    {"input": {"required": {"a": []}}},
    {"input": {"required": {"a": None, "b": 5, "c": "INT", "d": {}, "e": [[]], "f": [None], "g": [5], "h": ["INT", None]}}},
    {"input": {"required": {"a": ["COMBO", {"options": 5}], "b": ["COMBO", []], "c": ["COMBO", {"options": {"x": 1}}]}}},
    {"input": {"required": {"a": ["INT", {"min": "x", "max": None}], "b": ["COMFY_DYNAMICCOMBO_V3", {"options": 5}]}}},
    {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {"template": {"names": 5, "min": "x", "input": 3}}]}}},
    {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {"template": {"max": 10**9, "input": {"required": {"b": []}}}}]}}},
    {"input": {"required": {"a": ["COMFY_DYNAMICCOMBO_V3", {"options": [None, {}, {"key": 1, "inputs": 5}]}]}}},
    {"input": {"required": {"a": ["COMFY_DYNAMICSLOT_V3", {"inputs": [1]}]}, "hidden": 5}, "output": 5, "output_node": "yes"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_node_schemas_are_read_as_far_as_they_can_be(odd):
    schema = {"output": ["IMAGE"], "output_node": True, **odd} if isinstance(odd, dict) else odd
    assert isinstance(input_specs(schema), dict)
    for value in (1, "x", None, {}, ["s", 0], [[], {}]):
        nodes = graph(o=("Odd", dict.fromkeys("abcdefgh", value)), s=("Save", {"images": ["o", 0]}))
        verdict = validate(nodes, SCHEMAS | {"Odd": schema})
        assert isinstance(verdict.ok, bool)
        assert all(isinstance(text, str) for text in oddities(nodes, SCHEMAS | {"Odd": schema}))
        assert isinstance(converted_inputs({"inputs": {"z": value}}, schema), dict)


def test_an_input_that_cannot_be_read_takes_anything_and_the_rest_is_judged():
    schemas = SCHEMAS | {"Pack": node_class(["IMAGE"], odd=[], width=["INT", {"min": 1}])}
    nodes = graph(p=("Pack", {"width": 0}), s=("Save", {"images": ["p", 0]}))
    verdict = validate(nodes, schemas)
    assert [error["type"] for error in verdict.node_errors["p"]["errors"]] == ["value_smaller_than_min"]


def test_groups_within_groups_end():
    inner: dict[str, Any] = {"required": {"x": ["INT", {}]}}
    for _ in range(400):
        inner = {"required": {"c": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "k", "inputs": inner}]}]}}
    inputs = {".".join(["c"] * depth): "k" for depth in range(1, 400)}
    assert len(live_specs({"input": inner}, inputs)) < 100


def test_inputs_of_a_group_are_not_called_ignored_and_a_misspelt_one_is():
    inputs = {
        "input": ["l", 0],
        "resize_type": BY,
        "resize_type.multiplier": 2,
        "resize_type.multiplyer": 3,
        "scale_method": "area",
    }
    nodes = graph(l=("LoadImage", {"image": "a.png"}), r=("ResizeImageMaskNode", inputs), s=("PreviewImage", {"images": ["r", 0]}))
    (said,) = oddities(nodes, node_schemas())
    assert "has no input 'resize_type.multiplyer'" in said and "did you mean resize_type.multiplier" in said
    nodes["r"]["inputs"] = {"input": ["l", 0], "resize_type": "scale by magic", "scale_method": "area"}
    (said,) = oddities(nodes, node_schemas())
    assert said.startswith("Node r (ResizeImageMaskNode): resize_type='scale by magic' is not one of its options")
