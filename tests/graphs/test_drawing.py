"""Drawings of graphs as Mermaid text: everything is in them, and no text of a graph becomes markup."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from ryla_gen import FluxDev, FluxInstantID
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import draw_mermaid
from ryla_gen.workflows.preview import api_of
from ryla_gen.workflows.registry import prepared_names

NASTY = "</text><script>alert(1)</script>&\"'`]\x00\x1b\ud800 -->|x| \n{%0}#quot;"


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def boxes(text: str) -> list[str]:
    return re.findall(r'^  n\d+\["(.*)"\]$', text, re.MULTILINE)


def arrows(text: str) -> list[str]:
    return re.findall(r"^  n\d+ -->.*$", text, re.MULTILINE)


def test_every_node_value_and_link_is_drawn() -> None:
    graph = FluxDev(prompt="a fox", seed=77).build().to_api()
    text = draw_mermaid(graph)
    assert text.startswith("flowchart LR\n")
    assert sorted(re.findall(r"<b>(\w+)</b>", text)) == sorted(item["class_type"] for item in graph.values())
    assert all(f": {value}" in text for value in ("a fox", "77", "euler"))
    links = sum(isinstance(value, list) for item in graph.values() for value in item["inputs"].values())
    assert len(arrows(text)) == links
    assert len(set(re.findall(r"stroke:(#\w+)", text))) == 6  # model, clip, vae, conditioning, latent, image


@pytest.mark.parametrize("name", prepared_names())
def test_every_workflow_is_drawn_by_its_name(name: str) -> None:
    graph = api_of(name.replace("_", "-"))
    assert len(boxes(draw_mermaid(graph))) == len(graph)


def test_a_workflow_itself_is_drawn() -> None:
    assert len(boxes(draw_mermaid(FluxInstantID(prompt="a", reference_image=b"")))) == 19


def test_nothing_that_a_graph_says_becomes_markup() -> None:
    graph = {NASTY: node(NASTY, **{NASTY: NASTY}), "end": {**node("SaveImage", images=[NASTY, 0]), "_meta": {"title": NASTY}}}
    lines = draw_mermaid(graph).splitlines()
    assert len(lines) == 5
    assert not any(sign in line for line in lines[1:3] for sign in ("script>", "`", "]]", "\x00"))
    assert [line.count('"') for line in lines[1:3]] == [2, 2]


def test_long_texts_are_cut() -> None:
    (box,) = boxes(draw_mermaid({"1": node("CLIPTextEncode", text="word " * 100)}))
    assert len(box) < 100
    assert "word word" in box


def test_a_circle_and_a_link_to_nowhere_are_drawn_all_the_same() -> None:
    graph = {"1": node("A", a=["2", 0], b=["9", 0]), "2": node("B", a=["1", 0], b=["2", 0])}
    assert len(arrows(draw_mermaid(graph))) == 3


def test_a_graph_of_a_thousand_nodes_is_drawn() -> None:
    chance = random.Random(3)
    graph = {str(at): node("N", **{f"i{n}": [str(chance.randrange(at)), 0] for n in range(2)} if at else {}) for at in range(1000)}
    assert len(boxes(draw_mermaid(graph))) == 1000


def test_a_long_chain_to_which_one_node_is_linked_all_along_is_drawn() -> None:
    graph = {"0": node("N")} | {str(at): node("N", a=[str(at - 1), 0], b=["0", 0]) for at in range(1, 1500)}
    assert len(arrows(draw_mermaid(graph))) == 2998


def test_what_is_neither_file_nor_workflow_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no workflow"):
        api_of("nobody")
