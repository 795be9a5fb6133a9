"""Pictures of graphs: everything is in them, nothing lies on something else, and no text of a graph becomes markup."""

from __future__ import annotations

import itertools
import random
from typing import Any
from xml.etree import ElementTree

import pytest
from ryla_gen.graphs.layout import arrange

from ryla_gen import FluxDev, FluxInstantID
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs import draw_mermaid, draw_svg

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</text><script>alert(1)</script>&\"'`]\x00\x1b\ud800 -->|x| \n{%0}#quot;"


def texts(svg: str) -> list[str]:
    return [item.text or "" for item in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def test_every_node_value_and_link_is_drawn() -> None:
    graph = FluxDev(prompt="a fox", seed=77).build().to_api()
    svg = draw_svg(graph)
    words = texts(svg)
    assert {item["class_type"] for item in graph.values()} <= set(words)
    assert {"a fox", "77", "euler"} <= set(words)
    links = sum(isinstance(value, list) for item in graph.values() for value in item["inputs"].values())
    paths = [item for item in ElementTree.fromstring(svg).iter(f"{SVG}path") if item.get("class") == "edge"]
    assert len(paths) == links
    assert len({path.get("stroke") for path in paths}) == 6  # model, clip, vae, conditioning, latent, image


@pytest.mark.parametrize("name", ["flux", "flux-dev", "flux-lora", "instantid", "flux-instantid", "flux-pulid", "wan2", "seedvr2"])
def test_every_workflow_is_drawn_by_its_name(name: str) -> None:
    assert ElementTree.fromstring(draw_svg(name)).tag == f"{SVG}svg"
    assert draw_mermaid(name).startswith("flowchart LR\n")


def test_a_workflow_itself_is_drawn() -> None:
    assert draw_svg(FluxInstantID(prompt="a", reference_image=b"")).count('class="box"') == 19


def test_nothing_that_a_graph_says_becomes_markup() -> None:
    graph = {NASTY: node(NASTY, **{NASTY: NASTY}), "end": {**node("SaveImage", images=[NASTY, 0]), "_meta": {"title": NASTY}}}
    svg = draw_svg(graph)
    root = ElementTree.fromstring(svg)
    assert {item.tag.removeprefix(SVG) for item in root.iter()} <= {"svg", "title", "style", "rect", "g", "path", "circle", "text"}
    lines = draw_mermaid(graph).splitlines()
    assert len(lines) == 5
    assert not any(sign in line for line in lines[1:3] for sign in ("script>", "`", "]]", "\x00"))
    assert [line.count('"') for line in lines[1:3]] == [2, 2]


def test_long_texts_are_cut_and_kept_for_the_pointer() -> None:
    svg = draw_svg({"1": node("CLIPTextEncode", text="word " * 100)})
    assert all(len(text) <= 40 for text in texts(svg))
    assert "word " * 90 in svg


def test_a_circle_and_a_link_to_nowhere_are_drawn_all_the_same() -> None:
    graph = {"1": node("A", a=["2", 0], b=["9", 0]), "2": node("B", a=["1", 0], b=["2", 0])}
    assert draw_svg(graph).count('class="edge"') == 3


def test_a_graph_of_a_thousand_nodes_is_drawn() -> None:
    chance = random.Random(3)
    graph = {str(at): node("N", **{f"i{n}": [str(chance.randrange(at)), 0] for n in range(2)} if at else {}) for at in range(1000)}
    assert draw_svg(graph).count('class="box"') == 1000


def test_a_long_chain_to_which_one_node_is_linked_all_along_is_drawn() -> None:
    graph = {"0": node("N")} | {str(at): node("N", a=[str(at - 1), 0], b=["0", 0]) for at in range(1, 1500)}
    assert draw_svg(graph).count('class="edge"') == 2998


def test_no_box_covers_another_and_lines_run_to_the_right() -> None:
    chance = random.Random(5)
    sizes = {str(at): (chance.uniform(50, 200), chance.uniform(20, 150)) for at in range(60)}
    links = [(str(a), str(b)) for a in range(60) for b in range(a + 1, 60) if chance.random() < 0.05]
    layout = arrange(sizes, links)
    for left, right in itertools.combinations(layout.places.values(), 2):
        apart_x = left.x + left.width <= right.x or right.x + right.width <= left.x
        assert apart_x or left.y + left.height <= right.y + 0.01 or right.y + right.height <= left.y + 0.01
    assert all(layout.places[a].x + layout.places[a].width < layout.places[b].x for a, b in links)
    assert max(place.y + place.height for place in layout.places.values()) <= layout.height + 0.01


def test_what_is_neither_file_nor_workflow_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no workflow"):
        draw_svg("nobody")
