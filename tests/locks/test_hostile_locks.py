"""A lock of a stranger, or one edited by hand, is refused by a sentence, and nothing else happens."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tomlkit

from ryla_gen.errors import InvalidInputError, RylaGenError
from ryla_gen.locks.graph_lock import GraphLock, LockedInput, OpenQuestion, lock_text
from ryla_gen.locks.lock_checks import is_https
from ryla_gen.locks.lock_reading import LARGEST_FILE, parse_lock, read_graph_lock
from ryla_gen.locks.model_places import HASH_NOTE, PLACE_NOTE, stored_row
from ryla_gen.remote.image import check_steps, comfyui_steps, pack_steps, recipe_of
from ryla_gen.workflows.locked import LockedWorkflow, workflow_of
from tests.locks.locking import checkpoint, colour_lock, portrait_lock, write_lock

OTHERS: tuple[Any, ...] = (True, 0, -1, 2**63 - 1, 1e308, math.inf, math.nan, "", "x", "a\nb", [], [1], ["x"], [[]], {}, {"a": 1})
"""What is put in the place of every value."""
NAMES = sorted(name for name in (*dir(LockedWorkflow), "name") if not name.startswith("_"))


def full_lock() -> GraphLock:
    """Return a lock with a row of every kind."""
    lock = portrait_lock()
    more = (
        LockedInput("sampler", "choice", ("4.sampler_name",), "Sampler.", "euler", choices=("euler", "ddim")),
        LockedInput("cfg", "float", ("4.cfg",), "Guidance.", 1.0, 0.0, 100.0),
    )
    return replace(lock, inputs=(*lock.inputs, *more), open=(OpenQuestion("model", "x", "Which?", "that one"),), apt=("git",))


def full_data() -> dict[str, Any]:
    pack = {"name": "x", "repository": "https://github.com/a/b", "commit": "a" * 40, "classes": ["A"], "version": "1"}
    return {**tomllib.loads(lock_text(full_lock())), "packs": [pack]}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    rows = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in rows:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> str:
    """Return a lock's text with one value put in, or left out where it is None."""
    data = copy.deepcopy(data)
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return tomlkit.dumps(data)


def use(text: str) -> None:
    """Read a lock, and do with it what is done before a run; the typed errors are what a person may see."""
    try:
        workflow = workflow_of(parse_lock(text, "portrait.lock"))
        workflow.model_json_schema()
        workflow(**{name: "x" for name, info in workflow.model_fields.items() if info.is_required()}).build()
    except RylaGenError:
        return


@pytest.mark.parametrize("table", sorted(full_data()))
def test_a_value_of_another_type_gives_a_sentence_or_a_workflow(table):
    data = full_data()
    for path in [(table,), *places(data[table], (table,))]:
        for value in (*OTHERS, None):
            use(changed(data, path, value))


@pytest.mark.parametrize("name", NAMES)
def test_no_input_takes_the_place_of_something_that_every_workflow_has(name):
    lock = portrait_lock()
    with pytest.raises(InvalidInputError, match=f"cannot have the name '{name}'"):
        workflow_of(replace(lock, inputs=(LockedInput(name, "int", ("4.steps",), "Steps.", 2),)))


def test_no_input_is_a_word_of_python():
    lock = colour_lock()
    text = lock_text(replace(lock, inputs=(replace(lock.inputs[0], name="class"),)))
    with pytest.raises(InvalidInputError, match="is no input that a lock may have"):
        parse_lock(text, "colour.lock")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "int", "minimum": 0.5}, "no number of its type"),
        ({"type": "float", "maximum": math.nan}, "no number of its type"),
        ({"type": "int", "minimum": 5, "maximum": 2}, "has no value between"),
        ({"type": "int", "multiple_of": 0}, "cannot be a multiple of"),
        ({"type": "text", "default": "x", "minimum": 1}, "is no number"),
        ({"type": "choice", "default": "x"}, "a choice of nothing"),
        ({"type": "choice", "default": "x", "choices": ("a",)}, "cannot have the default"),
        ({"type": "int", "default": "x"}, "cannot have the default"),
        ({"type": "float", "default": math.inf}, "cannot have the default"),
    ],
)
def test_an_input_has_a_range_that_something_is_in(given, words):
    lock = colour_lock()
    text = lock_text(
        replace(lock, inputs=(LockedInput(**{"name": "color", "places": ("1.color",), "help": "", "default": 7, **given}),))
    )
    with pytest.raises(InvalidInputError, match=words):
        parse_lock(text, "colour.lock")


def test_two_thousand_inputs_are_refused():
    lock = colour_lock()
    rows = tuple(LockedInput(f"i{number}", "int", ("1.color",), "", 7) for number in range(2000))
    with pytest.raises(InvalidInputError, match="at most 300"):
        parse_lock(lock_text(replace(lock, inputs=rows)), "colour.lock")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/a/b\nFROM\tscratch",
        "https://github.com/a/b\rc",
        "https://github.com/a/b?x\ny",
        "https://github.com/a/b?x y",
        "https://github.com/a/b#\x1b[2J",
    ],
)
def test_an_address_is_one_word(url):
    assert is_https("https://github.com/a/b?x=1&y=2")
    assert not is_https(url)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("comfyui", "version"), "0.28.2\nRUN whoami"),
        (("comfyui", "version"), "1; whoami"),
        (("python", "version"), "3.11 AS x"),
        (("image", "builder"), "2025.06 --x"),
        (("gpu", "name"), "L40S; whoami"),
        (("gpu", "name"), "L40S:9000"),
        (("estimate", "usd_per_second"), math.nan),
        (("estimate", "usd_per_second"), -1.0),
        (("outputs", 0, "node"), "99"),
        (("outputs", 0, "kind"), "secret"),
        (("models", 0, "sha256"), "A" * 64),
        (("models", 0, "bytes"), -1),
        (("packs", 0, "repository"), "https://github.com/a/b\nFROM\tscratch"),
    ],
)
def test_what_goes_into_an_image_has_the_form_that_it_has(path, value):
    with pytest.raises(InvalidInputError):
        parse_lock(changed(full_data(), path, value), "portrait.lock")


def test_packs_and_models_do_not_lie_over_each_other():
    data = full_data()
    data["packs"].append({**data["packs"][0], "name": "X", "commit": "b" * 40})
    with pytest.raises(InvalidInputError, match="two packs have the same name"):
        parse_lock(tomlkit.dumps(data), "portrait.lock")
    data = full_data()
    data["models"].append({**data["models"][0], "url": "https://example.com/other.safetensors"})
    with pytest.raises(InvalidInputError, match="two models have the same folder and name"):
        parse_lock(tomlkit.dumps(data), "portrait.lock")


def test_a_node_class_adds_no_line_to_the_commands_that_build_an_image(tmp_path):
    lock = colour_lock()
    graph = {**lock.graph, "3": {"class_type": "X'\nUSER root\nRUN whoami #", "inputs": {}}}
    with pytest.raises(InvalidInputError, match="no name of a node class"):
        parse_lock(lock_text(replace(lock, graph=graph)), "colour.lock")
    odd = {**lock.graph, "1; rm -rf /": {"class_type": "It's; $(whoami) `x` 🔧", "inputs": {}}}
    read = parse_lock(lock_text(replace(lock, graph=odd)), "colour.lock")
    made = recipe_of(read, tmp_path)
    steps = [*comfyui_steps(made.comfyui), *pack_steps(made.packs), *check_steps(made)]
    assert all("\n" not in step for step in steps)
    assert "'It'\"'\"'s; $(whoami) `x` 🔧'" in " ".join(steps), "quoted for the shell"


def test_a_graph_of_broken_letters_is_refused():
    lock = colour_lock()
    data = tomllib.loads(lock_text(lock))
    data["graph"]["api"] = json.dumps({**lock.graph, "3": {"class_type": "\ud800", "inputs": {}}})
    with pytest.raises(InvalidInputError, match="is not the lock of a graph"):
        parse_lock(tomlkit.dumps(data), "colour.lock")


def test_a_lock_larger_than_any_lock_is_not_read(tmp_path):
    path = tmp_path / "huge.lock"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(InvalidInputError, match="larger than 64 MB"):
        read_graph_lock(path)


def test_a_file_of_packages_that_is_larger_than_any_is_not_read(tmp_path):
    path = write_lock(colour_lock(), tmp_path)
    with (tmp_path / "colour.requirements.txt").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(InvalidInputError, match="larger than"):
        read_graph_lock(path)


@pytest.mark.parametrize("name", [HASH_NOTE, PLACE_NOTE])
def test_a_model_is_never_read_as_a_note_of_ours(tmp_path, name):
    model = checkpoint(file=name)
    assert stored_row(model, tmp_path).name == f"model-{name}"
    assert stored_row(checkpoint(), tmp_path).name == "tiny.safetensors"


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../loras/mia/lora.json"},
        {"file": "/volumes/ryla-models/x.safetensors"},
        {"folder": "../loras"},
        {"sha256": "pending"},
        {"sha256": "../" * 21 + "x"},
        {"bytes": None},
        {"bytes": 0},
        {"bytes": -5},
        {"source": "the drawing"},
        {"source": ""},
        {"url": "volume"},
        {"url": "file:///volumes/ryla-models/x"},
    ],
)
def test_a_file_of_a_volume_is_told_by_its_content_and_by_no_path(change):
    honest = checkpoint("", sha256="a" * 64, bytes=10, source="volume")
    assert parse_lock(lock_text(portrait_lock(models=(honest,))), "portrait.lock").models == (honest,)
    with pytest.raises(InvalidInputError):
        parse_lock(lock_text(portrait_lock(models=(replace(honest, **change),))), "portrait.lock")
