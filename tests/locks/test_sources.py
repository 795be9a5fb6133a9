"""Every entry of a lock says where it is known from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ryla_gen.locks.graph_lock import GraphLock, lock_text
from ryla_gen.locks.lock_reading import parse_lock
from ryla_gen.tools.locking.pack_lookup import PackSources
from tests.locks.graphs import checkpoint_graph, drawing, loader, locked, model, picture_graph

STRANGE = {"class_type": "Strange", "inputs": {"images": ["6", 0]}}


def entries(lock: GraphLock) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every table of a lock as it is read from its file, with its name."""
    assert parse_lock(lock_text(lock), "portrait.lock") == lock
    for name, table in tomllib.loads(lock_text(lock)).items():
        yield from ((name, row) for row in (table if isinstance(table, list) else [table]) if isinstance(row, dict))


def test_every_entry_has_a_source(tmp_path: Path) -> None:
    graph = {**checkpoint_graph("mine.safetensors"), "8": STRANGE, "9": {"class_type": "Other", "inputs": {"images": ["8", 0]}}}
    graph["3"]["inputs"]["text"] = "embedding:../../x"
    packs = PackSources(chosen={"Strange": f"owner/strange@{'a' * 40}"})
    both = loader("m.safetensors", model("m.safetensors", repo="a/b"), model("m.safetensors", repo="c/d"))
    made = [
        locked(tmp_path, graph, packs=packs, apt=("libsndfile1",)).lock,
        locked(tmp_path, drawing(both)).lock,
        locked(tmp_path, checkpoint_graph("../x.safetensors")).lock,
        locked(tmp_path, picture_graph()).lock,
    ]
    assert {item.kind for item in made[0].open} == {"model", "pack", "python"}
    found = [(name, row) for lock in made for name, row in entries(lock)]
    assert {name for name, _ in found} > {"graph", "comfyui", "image", "packs", "python", "inputs", "outputs", "gpu", "open"}
    assert [(name, row) for name, row in found if not row.get("source")] == []


def test_who_says_what_stands_in_it(tmp_path: Path) -> None:
    plain = locked(tmp_path, picture_graph()).lock
    assert plain.image.python.source == "shipped with this package: as for the built-in families"
    assert [item.source for item in plain.outputs] == ["an output node by its schema"]
    both = loader("m.safetensors", model("m.safetensors", repo="a/b"), model("m.safetensors", repo="c/d"))
    (question,) = locked(tmp_path, drawing(both)).lock.open
    assert question.source == "the drawing"
