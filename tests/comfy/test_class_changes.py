"""What is different between two releases' node classes, told in lines."""

from __future__ import annotations

from typing import Any

import pytest

from ryla_gen.comfy.schema.changes import class_changes


def changes(before: dict[str, Any], after: dict[str, Any], output: list[str] | None = None) -> list[str]:
    old = {"Node": {"input": {"required": before}, "output": ["IMAGE"]}}
    new = {"Node": {"input": {"required": after}, "output": ["IMAGE"] if output is None else output}}
    return [str(item) for item in class_changes(old, new, ["Node"])]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": ["INT", {"tooltip": "x"}]}, {"a": ["INT", {"tooltip": "y", "advanced": True}]}, []),
        ({"a": [["x", "y"], {}]}, {"a": ["COMBO", {"options": ["x", "y"]}]}, []),
        ({"a": ["INT", {}]}, {}, ["Node.a: input gone"]),
        ({}, {"a": ["INT", {"default": 8}]}, ["Node.a: input new: INT, required, default 8"]),
        ({}, {"a": [["x"], {}]}, ["Node.a: input new: COMBO, required"]),
        ({"a": ["INT", {}]}, {"a": ["FLOAT", {}]}, ["Node.a: input changed: type INT → FLOAT"]),
        (
            {"a": ["INT", {"default": 1, "max": 4}]},
            {"a": ["INT", {"default": 2}]},
            ["Node.a: input changed: default 1 → 2; max 4 → None"],
        ),
        ({"a": [["x", "y"], {}]}, {"a": [["y", "z"], {}]}, ["Node.a: input changed: options gone: x; options new: z"]),
    ],
)
def test_what_decides_about_a_graph_is_told_and_nothing_else(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    assert changes(before, after) == said


def test_an_input_that_becomes_optional_and_other_outputs_are_told() -> None:
    old = {"Node": {"input": {"required": {"a": ["INT", {}]}}, "output": ["IMAGE"]}}
    new = {"Node": {"input": {"optional": {"a": ["INT", {}]}}, "output": ["IMAGE", "MASK"]}}
    assert [str(item) for item in class_changes(old, new, ["Node"])] == [
        "Node.a: input changed: now optional",
        "Node: outputs changed: IMAGE → IMAGE, MASK",
    ]


def test_a_class_that_is_gone_is_told_and_one_that_is_new_or_unknown_is_not() -> None:
    known: dict[str, Any] = {"Node": {"input": {}, "output": []}}
    assert [str(item) for item in class_changes(known, {}, ["Node", "Nobodys"])] == ["Node: class gone"]
    assert list(class_changes({}, known, ["Node"])) == []
