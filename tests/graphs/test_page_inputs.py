"""Inputs that only ComfyUI's page knows are in the graph as it exports them: players, previews, typed-in options."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.comfy.lint import oddities
from ryla_gen.graphs import convert
from ryla_gen.graphs.page_inputs import is_page_input

SCHEMAS = json.loads(gzip.decompress((Path(__file__).parent.parent / "data" / "page_object_info.json.gz").read_bytes()))


def inputs(kind: str, values: list[Any] | None) -> dict[str, Any]:
    node = {"id": 1, "type": kind, **({} if values is None else {"widgets_values": values})}
    found: dict[str, Any] = convert({"nodes": [node], "links": []}, SCHEMAS).graph["1"]["inputs"]
    return found


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["b", 0, "a", "b", ""], {"choice": "b", "index": 1, "option1": "a", "option2": "b", "option3": ""}),
        (["b", 0, "a", "b"], {"choice": "b", "index": 1, "option1": "a", "option2": "b", "option3": ""}),
        (["c", 5, "a", "", "x"], {"choice": "c", "index": -1, "option1": "a", "option2": ""}),
        (None, {"choice": "", "index": 0, "option1": ""}),
    ],
    ids=["saved", "without the empty one", "not among them", "new"],
)
def test_typed_in_options_come_with_the_place_of_the_choice(values: list[Any] | None, wanted: dict[str, Any]) -> None:
    assert inputs("CustomCombo", values) == wanted


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        ("ImageCompare", [], {"compare_view": {"__value__": ["", ""]}}),
        ("SaveGLB", ["3d/x", ""], {"filename_prefix": "3d/x", "image": ""}),
        ("Preview3D", ["a.glb", ""], {"model_file": "a.glb", "image": ""}),
        ("SaveAudioMP3", ["audio/x", "V0"], {"filename_prefix": "audio/x", "quality": "V0", "audioUI": ""}),
        ("LoadVideo", ["a.mp4", "image"], {"file": "a.mp4", "video-preview": ""}),
        (
            "LoadAudio",
            ["voices/a b.mp3", None, None],
            {"audio": "voices/a b.mp3", "audioUI": "/api/view?filename=a%20b.mp3&type=input&subfolder=voices&rand=0"},
        ),
        ("RecordAudio", [], {"audio": ""}),
        ("Save3DAdvanced", ["3d/x", "", 64, 32], {"filename_prefix": "3d/x", "viewport_state": "", "width": 64, "height": 32}),
    ],
)
def test_players_and_previews_are_written_as_the_page_writes_them(kind: str, values: list[Any], wanted: dict[str, Any]) -> None:
    assert inputs(kind, values) == wanted


@pytest.mark.parametrize(
    "values",
    [["none", "upload3dmodel", "uploadExtraResources", "clear", "", 640, 480], ["none", "", 640, 480]],
    ids=["with buttons", "without"],
)
def test_the_buttons_above_a_3d_scene_do_not_shift_its_size(values: list[Any]) -> None:
    found = inputs("Load3D", values)
    assert {name: found[name] for name in ("model_file", "image", "width", "height")} == {
        "model_file": "none", "image": "", "width": 640, "height": 480
    }  # fmt: skip
    assert (found["upload 3d model"], found["clear"]) == ("upload3dmodel", "clear")


def test_values_kept_for_plain_sockets_by_old_pages_are_left_out_where_they_fit() -> None:
    schema = {"Forced": {"input": {"required": {"a": ["INT", {"forceInput": True}], "b": ["INT", {"default": 1}]}}, "output": []}}
    for values in ([9, 5], [5]):
        node = {"id": 1, "type": "Forced", "widgets_values": values}
        assert convert({"nodes": [node], "links": []}, schema).graph["1"]["inputs"] == {"b": 5}


def test_none_of_them_is_told_to_be_ignored() -> None:
    for kind, values in (("CustomCombo", ["b", 0, "a", "b", ""]), ("SaveGLB", ["x", ""]), ("LoadAudio", ["a.mp3"])):
        found = inputs(kind, values)
        assert [text for text in oddities({"1": {"class_type": kind, "inputs": found}}, SCHEMAS) if "ignored" in text] == []
    assert not is_page_input("KSampler", "audioUI")
    assert not is_page_input("CustomCombo", "optional")


def test_an_input_that_a_custom_node_writes_as_an_empty_list_is_a_socket() -> None:
    schema = {"Odd": {"input": {"required": {"a": [], "b": ["INT", {"default": 1}]}}, "output": []}}
    node = {"id": 1, "type": "Odd", "widgets_values": [5]}
    assert convert({"nodes": [node], "links": []}, schema).graph["1"]["inputs"] == {"b": 5}
