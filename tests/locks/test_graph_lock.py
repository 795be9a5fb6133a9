"""A lock of a graph says the same after it was written and read, and holds nothing that could do harm."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ryla_gen.errors import HashMismatchError, InvalidInputError, LockOpenError, StorageFailedError
from ryla_gen.locks.graph_lock import GraphLock, LockedModel, OpenQuestion, checked_lock_name, lock_text
from ryla_gen.locks.image_lock import sha256_of
from ryla_gen.locks.lock_reading import parse_lock, read_graph_lock
from ryla_gen.tools.locking.graph_models import DrawnModel
from ryla_gen.tools.locking.model_choice import from_drawing
from tests.locks.graphs import HUB, checkpoint_graph, locked, picture_graph, write_lock_files

CHECKPOINT = f"{HUB}/owner/repo/resolve/main/model.safetensors"


@pytest.fixture
def lock(tmp_path) -> GraphLock:
    return locked(tmp_path, checkpoint_graph(), models={"model.safetensors": _model()}).lock


def test_a_lock_is_read_as_it_was_written(lock):
    assert parse_lock(lock_text(lock), "portrait.lock") == lock
    assert list(parse_lock(lock_text(lock), "portrait.lock").graph) == list(checkpoint_graph()), "outputs keep the graph's order"


def test_numbers_beyond_toml_come_from_the_graph(tmp_path):
    graph = checkpoint_graph()
    graph["4"]["inputs"]["batch_size"] = 2**64 - 1  # a value of the graph, whatever a server says of it
    made = locked(tmp_path, graph, models={"model.safetensors": _model()}).lock
    text = lock_text(made)
    assert all(abs(int(number)) < 2**63 for number in re.findall(r"^default = (-?\d+)$", text, re.MULTILINE))
    assert parse_lock(text, "x").graph["4"]["inputs"]["batch_size"] == 2**64 - 1


def _model() -> LockedModel:
    return from_drawing(DrawnModel("model.safetensors", "checkpoints", CHECKPOINT, None, "the drawing"))


def test_a_graph_changed_by_hand_is_refused(lock):
    text = lock_text(lock)
    changed = text.replace("a fox", "a dog")
    assert changed != text
    with pytest.raises(HashMismatchError, match="changed it by hand") as failure:
        parse_lock(changed, "portrait.lock")
    assert "ryla-gen graph lock" in failure.value.hint


def test_requirements_changed_by_hand_are_refused(tmp_path):
    path = write_lock_files(tmp_path, locked(tmp_path, picture_graph()))
    read_graph_lock(path)
    beside = tmp_path / "portrait.requirements.txt"
    beside.write_text(beside.read_text() + "evil==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(HashMismatchError, match="another sha256"):
        read_graph_lock(path)
    beside.unlink()
    with pytest.raises(StorageFailedError, match="No such file"):
        read_graph_lock(path)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple",
        "-e git+https://evil.example/x.git#egg=x",
        "-r /etc/passwd",
        "x @ https://evil.example/x.whl",
        "./local.whl",
        "x==1.0",
        "x>=1.0 \\",
    ],
)
def test_requirements_of_a_stranger_name_packages_with_hashes_and_nothing_else(tmp_path, line):
    made = locked(tmp_path, picture_graph())
    text = made.requirements + line + "\n"
    python = replace(made.lock.image.python, sha256=sha256_of(text))
    lock = replace(made.lock, image=replace(made.lock.image, python=python))
    path = write_lock_files(tmp_path, replace(made, lock=lock, requirements=text))
    with pytest.raises(InvalidInputError, match="no package with its hashes"):
        read_graph_lock(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('file = "model.safetensors"', 'file = "../../etc/passwd"'),
        ('file = "model.safetensors"', 'file = "/etc/passwd"'),
        ('file = "model.safetensors"', 'file = "a\\\\..\\\\b"'),
        ('folder = "checkpoints"', 'folder = "../checkpoints"'),
        ('folder = "checkpoints"', 'folder = "/checkpoints"'),
        ('folder = "checkpoints"', 'folder = "x/../../checkpoints"'),
        (f'url = "{CHECKPOINT}"', 'url = "http://huggingface.co/a/b/resolve/main/c.safetensors"'),
        (f'url = "{CHECKPOINT}"', 'url = "file:///etc/passwd"'),
        (f'url = "{CHECKPOINT}"', 'url = "https://user:token@huggingface.co/a"'),
        (f'url = "{CHECKPOINT}"', 'url = "https://huggingface.co:8443/a"'),
        ('sha256 = "pending"', 'sha256 = "abc"'),
        ("apt = []", 'apt = ["-o APT::Update=1"]'),
        ("apt = []", 'apt = ["x; rm -rf /"]'),
        ('repository = "https://github.com/comfyanonymous/ComfyUI"', 'repository = "ext::sh -c whoami"'),
        ('repository = "https://github.com/comfyanonymous/ComfyUI"', 'repository = "https://github.com/x/$(whoami)"'),
        ('file = "portrait.requirements.txt"', 'file = "../other.requirements.txt"'),
        ('places = ["5.seed"]', 'places = ["9.seed"]'),
        ('name = "seed"', 'name = "__class__"'),
        ('name = "portrait"', 'name = "../portrait"'),
        ("lock = 1", "lock = 2"),
        ('[gpu]\nname = "L40S"', "[gpu]"),
    ],
)
def test_a_stranger_cannot_name_a_path_an_option_or_an_address(lock, old, new):
    text = lock_text(lock)
    assert old in text, old
    with pytest.raises(InvalidInputError):
        parse_lock(text.replace(old, new), "portrait.lock")


@pytest.mark.parametrize("text", ["", "lock = 1", "not toml [", "lock = 1\n[graph]\n", "\x00", "lock = 1\ngraph = 3"])
def test_other_files_are_no_locks(text):
    with pytest.raises(InvalidInputError):
        parse_lock(text, "x.lock")


def test_a_family_lock_is_no_lock_of_a_graph():
    from ryla_gen.locks.families import FOLDER

    with pytest.raises(InvalidInputError, match="without a graph"):
        read_graph_lock(FOLDER / "flux.lock")


def test_open_questions_stop_a_deploy(lock):
    lock.require_closed()
    question = OpenQuestion("model", "vae/x", "Which one?", "ryla-gen graph lock x.json --model vae/x=https://…")
    with pytest.raises(LockOpenError, match="1 open question") as failure:
        replace(lock, open=(question,)).require_closed()
    assert question.command in failure.value.message
    assert failure.value.details["questions"] == [question.to_data()]


@pytest.mark.parametrize("name", ["portrait", "my-portrait", "my_portrait", "p2"])
def test_names(name):
    assert checked_lock_name(name) == name.replace("_", "-")


@pytest.mark.parametrize("name", ["", "Portrait", "2portrait", "-x", "x-", "a" * 42, "comfyui", "a/b", "a b"])
def test_names_that_are_refused(name):
    with pytest.raises(InvalidInputError):
        checked_lock_name(name)
