"""Every open template that ComfyUI ships today ends in a lock or in a sentence, and no model of it is lost or made up."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from statistics import median

import pytest

from ryla_gen.errors import WorkflowInvalidError
from ryla_gen.locks.graph_lock import lock_text
from ryla_gen.locks.lock_reading import parse_lock
from ryla_gen.tools.locking.locking import lock_graph
from ryla_gen.workflows.locked import workflow_of
from ryla_gen.workflows.preview import sample_of

FOLDER = files("comfyui_workflow_templates_json") / "templates"
KNOWN = 208
"""Open templates of version 0.1.123 whose node classes ComfyUI 0.28.2 has."""
SECONDS = 1.0
"""Bound for half of the templates, offline: on two idle cores one takes 0.05 to 0.5 s, and a slow machine is no fault."""


def templates() -> list[str]:
    """List the drawings that are not about services of others."""
    names = sorted(item.name for item in FOLDER.iterdir() if item.name.endswith(".json") and not item.name.startswith("api_"))
    return [name for name in names if '"nodes"' in (FOLDER / name).read_text(encoding="utf-8")]


def embedded(data: object) -> list[dict[str, str]]:
    """Find every entry of a ``models`` list, however deep, without any code of the package."""
    if isinstance(data, list):
        return [row for item in data for row in embedded(item)]
    if not isinstance(data, dict):
        return []
    own = (
        [row for row in data.get("models") or () if isinstance(row, dict) and "url" in row]
        if isinstance(data.get("models"), list)
        else []
    )
    return own + [row for name, item in data.items() if name != "models" for row in embedded(item)]


@pytest.mark.timeout(600)
def test_every_template_ends_in_a_lock_or_a_sentence(tmp_path):
    locked = refused = 0
    taken = []
    for name in templates():
        path = tmp_path / name
        path.write_text((FOLDER / name).read_text(encoding="utf-8"), encoding="utf-8")
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
            continue
        began = time.perf_counter()
        try:
            lock = lock_graph(path).lock
        except WorkflowInvalidError as error:
            assert name in error.message
            assert error.details["classes"], "a class is named"
            refused += 1
            continue
        text = lock_text(lock)
        taken.append(time.perf_counter() - began)
        locked += 1
        assert lock.open == (), name
        assert parse_lock(text, name) == lock
        held = {(item.file.rpartition("/")[2], item.folder): item.url for item in lock.models}
        for row in embedded(data):
            folder = {"clip": "text_encoders", "unet": "diffusion_models"}.get(row["directory"], row["directory"])
            assert held[row["name"], folder] == row["url"].partition("?")[0].replace("/blob/", "/resolve/"), (name, row)
        assert {(item.file.rpartition("/")[2]) for item in lock.models} <= {row["name"] for row in embedded(data)}, (
            "none is made up"
        )
        assert sample_of(workflow_of(lock)) is not None, name
    assert median(taken) < SECONDS
    assert locked >= KNOWN
    assert refused
