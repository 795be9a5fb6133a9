"""Drawings become what the page of ComfyUI 0.28.2 exports: 64 official templates, as that page loaded and exported them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.graphs import convert

DATA = Path(__file__).parent.parent / "data"


def recorded(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


SCHEMAS = recorded("page_object_info.json.gz")
EXPORTS = recorded("page_exports.json.gz")


def compared(graph: dict[str, Any]) -> dict[str, Any]:
    """Class and inputs of every node; the page puts a random number behind the address of a sound."""
    found = {key: (node["class_type"], dict(node["inputs"])) for key, node in graph.items()}
    for _, inputs in found.values():
        if "audioUI" in inputs:
            inputs["audioUI"] = inputs["audioUI"].partition("&rand=")[0]
    return found


@pytest.mark.parametrize("row", EXPORTS, ids=lambda row: row["name"])
def test_a_template_becomes_what_the_page_exports(row: dict[str, Any]) -> None:
    assert compared(convert(row["ui"], SCHEMAS).graph) == compared(row["api"])


def test_the_recording_is_whole() -> None:
    assert len(EXPORTS) == 64
    assert sum(len(row["api"]) for row in EXPORTS) > 1000
