"""What can be set in a graph, and setting it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ryla_gen import CustomWorkflow, FluxDev
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs.inputs import inputs_of, with_values

GRAPH = FluxDev(prompt="a fox", seed=1).build().to_api()
SAMPLER = next(node_id for node_id, node in GRAPH.items() if node["class_type"] == "KSampler")
LATENT = next(node_id for node_id, node in GRAPH.items() if node["class_type"] == "EmptySD3LatentImage")


def titled() -> dict[str, Any]:
    graph = copy.deepcopy(GRAPH)
    graph[SAMPLER]["_meta"] = {"title": "The v1.5 sampler"}
    return graph


def test_every_value_is_listed_with_its_type_and_range_and_no_link_is() -> None:
    found = {slot.key: slot for slot in inputs_of(GRAPH)}
    seed, sampler, size = found[f"{SAMPLER}.seed"], found[f"{SAMPLER}.sampler_name"], found[f"{LATENT}.width"]
    assert (seed.type, seed.value, seed.minimum, seed.maximum) == ("INT", 1, 0, 2**64 - 1)
    assert (sampler.type, sampler.value) == ("COMBO", "euler")
    assert "uni_pc" in sampler.choices
    assert (size.type, size.step) == ("INT", 16)
    assert f"{SAMPLER}.model" not in found


def test_an_unknown_class_tells_its_types_by_its_values() -> None:
    graph = {"1": {"class_type": "MyOwn", "inputs": {"a": 1, "b": 1.5, "c": True, "d": "x", "e": None, "f": ["2", 0]}}}
    assert [slot.type for slot in inputs_of(graph)] == ["INT", "FLOAT", "BOOLEAN", "STRING", "*"]


@pytest.mark.parametrize(
    ("key", "value", "made"),
    [
        (f"{SAMPLER}.seed", "42", 42),
        ("KSampler.seed", 42, 42),
        ("ksampler.steps", "3", 3),
        ("KSampler.steps", 3.0, 3),
        ("The v1.5 sampler.cfg", "2", 2.0),
        ("KSampler.sampler_name", "uni_pc", "uni_pc"),
        ("SaveImage.filename_prefix", "42", "42"),
        ("CheckpointLoaderSimple.ckpt_name", "any.safetensors", "any.safetensors"),
    ],
)
def test_a_value_is_set_by_id_title_or_class_and_read_as_the_slots_type(key: str, value: Any, made: Any) -> None:
    graph = titled()
    done = with_values(graph, {key: value})
    changed = {
        (node_id, name)
        for node_id, node in done.items()
        for name, new in node["inputs"].items()
        if new != graph[node_id]["inputs"][name]
    }
    assert len(changed) == 1
    node_id, name = changed.pop()
    assert done[node_id]["inputs"][name] == made
    assert type(done[node_id]["inputs"][name]) is type(made)
    assert graph == titled()


@pytest.mark.parametrize(
    ("key", "value", "said", "hint"),
    [
        ("KSampler.sed", "1", "no input 'sed'", f"{SAMPLER}.seed"),
        ("KSamplr.seed", "1", "No node of the graph is called 'KSamplr'", "KSampler.seed"),
        ("CLIPTextEncode.text", "x", "2 nodes match", "by its id"),
        ("KSampler.model", "x", "is linked", "graph inputs"),
        ("KSampler.seed", "x", "takes a whole number", "graph inputs"),
        ("KSampler.seed", True, "takes a whole number", "graph inputs"),
        ("KSampler.seed", 1.5, "takes a whole number", "graph inputs"),
        ("KSampler.seed", "-1", "takes 0 to", "graph inputs"),
        ("KSampler.cfg", "nan", "takes a number", "graph inputs"),
        ("KSampler.cfg", "1e3", "takes 0.0 to 100.0", "graph inputs"),
        ("KSampler.sampler_name", "eulerr", "no option 'eulerr'", "euler"),
        ("SaveImage.filename_prefix", 5, "takes text", "graph inputs"),
        ("CheckpointLoaderSimple.ckpt_name", ["1", 0], "takes a name", "graph inputs"),
        ("seed", "1", "does not name an input", "3.seed"),
        (".", "1", "does not name an input", "3.seed"),
        ("99999999999999999999.x", "1", "No node", "graph inputs"),
    ],
)
def test_what_does_not_fit_is_told_with_the_nearest_that_does(key: str, value: Any, said: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        with_values(GRAPH, {key: value})
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("text", "made"), [("yes", True), ("0", False), ("FALSE", False), (True, True)])
def test_yes_and_no_are_read(text: Any, made: bool) -> None:
    graph = {"1": {"class_type": "MyOwn", "inputs": {"on": not made}}}
    assert with_values(graph, {"1.on": text})["1"]["inputs"]["on"] is made
    with pytest.raises(InvalidInputError, match="true or false"):
        with_values(graph, {"1.on": "perhaps"})


def test_a_request_changes_its_graph_and_stays_safe() -> None:
    request = CustomWorkflow(graph={**GRAPH, "90": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})
    assert request.with_values({"KSampler.seed": 5}).build().to_api()[SAMPLER]["inputs"]["seed"] == 5
    with pytest.raises(InvalidInputError, match="outside the server's own folder"):
        request.with_values({"90.image": "/etc/passwd"})
