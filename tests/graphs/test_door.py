"""Graphs as strangers keep them are taken, or refused with the way out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ryla_gen import CustomWorkflow, FluxDev, load
from ryla_gen.comfy.separators import with_server_names
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import read
from ryla_gen.graphs.reading import recognise

from .sheets import drawn

GRAPH: dict[str, Any] = FluxDev(prompt="a fox", seed=1).build().to_api()
LOADED = {"10": {"class_type": "LoadImage", "inputs": {"image": "https://example.org/a.png"}}}


@pytest.mark.parametrize(
    "wrapped",
    [
        {"input": {"workflow": GRAPH}},
        {"input": {"workflow": GRAPH, "images": [{"name": "a.png", "image": "data:…"}]}, "webhook": "x"},
        {"input": {"prompt": GRAPH}},
        {"workflow": GRAPH},
        {"prompt": GRAPH, "client_id": "x"},
    ],
    ids=["worker", "with pictures", "input", "workflow", "prompt"],
)
def test_what_tools_wrap_around_a_graph_is_taken_off(wrapped: dict[str, Any]) -> None:
    assert recognise(wrapped).data == GRAPH
    assert CustomWorkflow(graph=wrapped).graph == GRAPH


def test_a_drawing_is_taken_out_of_a_request_too() -> None:
    item = recognise({"input": {"workflow": drawn(GRAPH)}})
    assert (item.kind, item.data) == ("ui", drawn(GRAPH))


def test_a_graph_whose_nodes_are_called_like_a_wrapper_stays_whole() -> None:
    graph = {"input": GRAPH["1"], "workflow": GRAPH["1"]}
    assert recognise(graph).data == graph


@pytest.mark.parametrize("depth", [1, 5000])
def test_wrappers_without_a_graph_are_refused(depth: int) -> None:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"input": data}
    with pytest.raises(InvalidInputError):
        recognise(data)


@pytest.mark.parametrize("kind", ["Note", "MarkdownNote"])
def test_notes_in_a_graph_are_left_out(kind: str) -> None:
    note = {"class_type": kind, "inputs": {"": "read me"}}
    assert recognise({"99": note, **GRAPH}).data == GRAPH
    assert CustomWorkflow(graph={"99": note, **GRAPH}).graph == GRAPH
    with pytest.raises(InvalidInputError, match="no nodes but notes"):
        recognise({"99": note})


def test_a_node_whose_pack_was_missing_is_named_with_the_way_to_it() -> None:
    graph = {**GRAPH, "77": {"inputs": {"UNKNOWN": 5}, "_meta": {"title": "Super Upscaler {x}"}}}
    for make in (recognise, lambda data: CustomWorkflow(graph=data)):
        with pytest.raises(InvalidInputError, match="77.*Super Upscaler.*pack") as caught:
            make(graph)
        assert "graph convert FILE.json --url" in caught.value.message


@pytest.mark.parametrize("name", ["https://example.org/a.png", r"C:\Users\me\a.png", "/etc/passwd", "../a.png"])
def test_a_picture_that_the_caller_replaces_may_be_called_anything(name: str) -> None:
    graph = {"10": {"class_type": "LoadImage", "inputs": {"image": name}}}
    assert recognise(graph).data == graph
    for key in ("10", name):
        made = CustomWorkflow(graph=graph, images={key: b"x"})
        assert name not in json.dumps(made.build(files_of(key)).to_api())
    with pytest.raises(InvalidInputError, match="outside the server's own folder") as caught:
        CustomWorkflow(graph=graph)
    assert "--image 10=FILE" in caught.value.message


def files_of(key: str) -> Any:
    from ryla_gen.workflows.base import Files

    return Files(prefix="ryla/x/y", media={f"images[{key}]": "uploaded.png"})


def test_another_file_outside_its_folder_stays_refused_beside_a_replaced_picture() -> None:
    graph = {**LOADED, "11": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "/etc/passwd"}}}
    with pytest.raises(InvalidInputError, match="Node 11"):
        CustomWorkflow(graph=graph, images={"10": b"x"})


def png(**texts: str) -> bytes:
    notes, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        notes.add_text(name, text)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def webp(text: str) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0110] = text
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        png(Prompt=json.dumps(GRAPH)),
        webp("Prompt:" + json.dumps(GRAPH)),
        png(prompt="{half", workflow=json.dumps({"prompt": GRAPH})),
    ],
    ids=["png", "webp", "damaged beside whole"],
)
def test_pictures_of_other_tools_give_their_graph(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    assert read(tmp_path / "x.png").data == GRAPH


@pytest.mark.parametrize("data", [png(Prompt=json.dumps(GRAPH)), webp("Prompt:" + json.dumps(GRAPH))], ids=["png", "webp"])
def test_pictures_of_other_tools_run_again_too(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    recognise = load(tmp_path / "x.png")
    assert isinstance(recognise, CustomWorkflow)
    assert recognise.graph == GRAPH


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"prompt": "{half"}, "The graph inside .* is damaged: .* is not JSON"),
        ({"prompt": '{"1": ' + "9" * 5000 + "}"}, "a number of thousands of digits"),
        ({"workflow": json.dumps(drawn(GRAPH))}, "carries the drawing of its graph"),
    ],
    ids=["damaged", "digits", "drawing"],
)
def test_a_picture_that_cannot_run_again_says_why(texts: dict[str, str], says: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(**texts))
    with pytest.raises(InvalidInputError, match=says) as caught:
        load(tmp_path / "x.png")
    assert ("ryla-gen graph run" in caught.value.hint) is ("workflow" in texts)


def test_numbers_that_json_does_not_have_are_empty_in_a_picture_too(tmp_path: Path) -> None:
    graph = {"1": {"class_type": "A", "inputs": {"a": float("nan"), "b": float("inf")}, "is_changed": [float("nan")]}}
    (tmp_path / "x.png").write_bytes(png(prompt=json.dumps(graph)))
    assert read(tmp_path / "x.png").data["1"]["inputs"] == {"a": None, "b": None}
    again = load(tmp_path / "x.png")
    assert isinstance(again, CustomWorkflow)
    assert again.graph["1"]["inputs"] == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("given", "listed"), [(r"krea\a.safetensors", "krea/a.safetensors"), ("krea/a.safetensors", r"krea\a.safetensors")]
)
@pytest.mark.parametrize("entry", [lambda name: [[name, "b"]], lambda name: ["COMBO", {"options": [name, "b"]}]])
def test_a_weights_file_is_named_with_the_slashes_of_the_server(given: str, listed: str, entry: Any) -> None:
    schemas = {"L": {"input": {"required": {"lora": entry(listed), "text": ["STRING", {}]}}, "output": []}}
    graph = {
        "1": {"class_type": "L", "inputs": {"lora": given, "text": given, "link": ["2", 0]}},
        "2": {"class_type": "X", "inputs": {}},
    }
    changed = with_server_names(graph, schemas)
    assert changed["1"]["inputs"] == {"lora": listed, "text": given, "link": ["2", 0]}
    assert changed["2"] == graph["2"]
    assert with_server_names(changed, schemas) == changed
    assert graph["1"]["inputs"]["lora"] == given, "the caller's graph is his own"  # type: ignore[index]
