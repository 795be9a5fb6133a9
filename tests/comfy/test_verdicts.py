"""The validator against what ComfyUI itself answered: 0.28.2 to official templates and changed ones, 0.3.71 to a smaller set.

Recorded from real servers whose queue was held. What differed between starts, whose order of inputs is that of a set, is left out.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.comfy.schema import input_specs, validate

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = {
    "verdicts_0.28.2": ("0.28.2", "page_object_info"),
    "verdicts_0.28.2_more": ("0.28.2", "page_object_info"),
    "verdicts_0.3.71": ("0.3.71", "verdicts/object_info_0.3.71"),
}
"""Recording to release and node schemas."""


@cache
def loaded(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


def files_of(schemas: Any) -> Callable[[str, str, Any], str | None]:
    """The uploaded files of the recording are those that its lists name."""

    def check(class_type: str, name: str, value: Any) -> str | None:
        return None if value in (input_specs(schemas[class_type])[name].options or ()) else "Invalid file"

    return check


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_verdict_is_the_validators(name: str) -> None:
    version, schemas = RECORDED[name][0], loaded(RECORDED[name][1])
    wrong = []
    for row in loaded(f"verdicts/{name}"):
        before = copy.deepcopy(row["prompt"])
        verdict = validate(row["prompt"], schemas, files_of(schemas), version=version)
        assert row["prompt"] == before, "judging changed the graph"
        nodes = {
            node_id: sorted(([error["type"], error["extra_info"].get("input_name")] for error in entry["errors"]), key=str)
            for node_id, entry in verdict.node_errors.items()
        }
        got = {"valid": verdict.ok, "type": verdict.error["type"] if verdict.error else None, "nodes": nodes}
        recorded = {**row["comfyui"], "nodes": {key: sorted(errors, key=str) for key, errors in row["comfyui"]["nodes"].items()}}
        if got != recorded:
            wrong.append((row["graph"], row["op"], recorded, got))
    assert wrong == []
