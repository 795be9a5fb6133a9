"""A graph is found in every file that holds one; what is wrong with the others is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ryla_gen.tools.graph_files import api_of

from ryla_gen import CustomWorkflow, FluxDev
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import read
from ryla_gen.graphs.graph_file import LIMIT_BYTES, parse

from .sheets import drawn

GRAPH = FluxDev(prompt="a fox", seed=1).build().to_api()


def png(**texts: str) -> bytes:
    notes, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        notes.add_text(name, text)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_that_says_what_it_is_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(json.dumps(GRAPH).encode(encoding))
    assert read(path).data == GRAPH
    assert CustomWorkflow.from_file(path).graph == GRAPH


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (json.dumps({"prompt": GRAPH}).encode(), "api"),
        (json.dumps(drawn(GRAPH)).encode(), "ui"),
        (json.dumps({"workflow": drawn(GRAPH)}).encode(), "ui"),
        (png(prompt=json.dumps(GRAPH), workflow=json.dumps(drawn(GRAPH))), "api"),
        (png(workflow=json.dumps(drawn(GRAPH))), "ui"),
    ],
    ids=["body", "ui", "wrapped", "png", "png-ui"],
)
def test_every_holder_gives_the_same_graph(data: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "holder"
    path.write_bytes(data)
    found = read(path)
    assert found.kind == kind
    plain = {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in api_of(path).items()}
    assert plain == GRAPH


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"   \n", "is empty"),
        (b"not json", "is not JSON"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (json.dumps(GRAPH).encode("utf-16-le"), "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"1":' * 300 + b"1" + b"}" * 300, "nested too deeply"),
        (b"[1, 2]", "Must be a dictionary"),
        (b'{"nodes": [5], "links": []}', "damaged"),
        (png(), "without a graph inside"),
        (png(prompt="{half"), "damaged"),
        (b"\x89PNG\r\n\x1a\n but no more", "without a graph inside"),
    ],
)
def test_what_holds_no_graph_is_told_why(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError) as caught:
        api_of(path)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_file_of_100_megabytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert path.stat().st_size > LIMIT_BYTES
    for reader in (read, CustomWorkflow.from_file):
        with pytest.raises(InvalidInputError, match="larger than 32 MB"):
            reader(path)


@pytest.mark.parametrize("name", ["none.json", "with\0nul", "."])
def test_a_file_that_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Cannot read"):
        read(tmp_path / name)


def test_values_nested_without_end_are_refused_in_python_too() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        CustomWorkflow(graph={"1": {"class_type": "A", "inputs": {"a": value}}})


def test_numbers_that_json_does_not_have_are_empty_widgets() -> None:
    assert parse(b'{"a": NaN}', "x") == {"a": None}
