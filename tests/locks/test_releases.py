"""For which ComfyUI a graph is locked, who chose it, and which graphs no release that can be locked runs."""

from __future__ import annotations

import pytest

from ryla_gen.errors import InvalidInputError, WorkflowInvalidError
from ryla_gen.locks.families import family_lock
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.tools.locking.image_choice import LOCKABLE
from ryla_gen.tools.locking.pack_lookup import PackSources
from tests.locks.graphs import drawing, locked, picture_graph

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_release_can_be_chosen(tmp_path):
    for other in ("0.1.0", "0.3.71", "0.30.0"):
        with pytest.raises(InvalidInputError, match=f"No requirements of ComfyUI '{other}' are shipped") as caught:
            locked(tmp_path, picture_graph(), comfyui=other)
        assert caught.value.hint == "Lock it for one whose requirements are: --comfyui 0.28.2"
    newest = "shipped with this package: the newest release that knows the graph's classes"
    assert locked(tmp_path, picture_graph()).lock.image.comfyui.source == newest
    first = locked(tmp_path, picture_graph(), comfyui="v0.28.2").lock
    assert (first.image.release, first.image.comfyui.source) == ("0.28.2", "shipped with this package: --comfyui")
    assert locked(tmp_path, picture_graph(), before=first).lock == first
    moved = locked(tmp_path, picture_graph(), before=first, moves=("comfyui",)).lock
    assert moved.image.comfyui.source == newest


def test_the_releases_that_can_be_locked_are_those_of_families_without_packs():
    images = [family_lock(family) for family in CLASS_OF_FAMILY]
    assert set(LOCKABLE) == {image.release for image in images if not image.packs}


def test_a_class_that_a_server_has_from_comfyui_itself_is_one_of_a_newer_release(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "NodeOfTomorrow", "inputs": {"images": ["1", 0]}}}
    for module in ("nodes", "comfy_extras.nodes_tomorrow", "comfy_api_nodes.nodes_tomorrow"):
        schemas = {"NodeOfTomorrow": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "python_module": module}}
        with pytest.raises(WorkflowInvalidError, match=r"needs a ComfyUI newer than 0\.28\.2: that one has no NodeOfTomorrow"):
            locked(tmp_path, graph, schemas=schemas)
        chosen_pack = PackSources(chosen={"NodeOfTomorrow": f"o/Sharp@{COMMIT}"})
        assert locked(tmp_path, graph, schemas=schemas, packs=chosen_pack).lock.image.packs
    schemas["NodeOfTomorrow"]["python_module"] = "custom_nodes.Sharp"
    (question,) = locked(tmp_path, graph, schemas=schemas).lock.open
    assert (question.kind, question.subject) == ("pack", "NodeOfTomorrow")


def test_a_newer_comfyui_is_named(tmp_path):
    node = {"id": 1, "type": "NodeOfTomorrow", "mode": 0, "inputs": [], "outputs": [], "widgets_values": []}
    for properties, page in (({"cnr_id": "comfy-core", "ver": "0.40.0"}, "1.20.0"), ({}, "1.60.0")):
        with pytest.raises(WorkflowInvalidError, match=r"newer than 0\.28\.2.*NodeOfTomorrow"):
            locked(tmp_path, drawing({**node, "properties": properties}, page=page))


def test_services_of_others_are_refused(tmp_path):
    with pytest.raises(WorkflowInvalidError, match="GeminiImageNode: paid services"):
        locked(tmp_path, {"1": {"class_type": "GeminiImageNode", "inputs": {}}})
