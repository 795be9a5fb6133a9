"""What a pack's files say at its commit, and two packs that do not fit together: by real git and real uv."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ryla_gen import locks
from ryla_gen.errors import InvalidInputError
from ryla_gen.locks import NodePack, Requirements
from ryla_gen.locks.lists import fetched_repositories
from ryla_gen.remote import pins
from ryla_gen.tools.locking.pack_files import look_into
from tests.locks.test_resolving import AT_ALL_TIMES, index, wheel
from tests.remote.replaying import repository

__all__ = ["index"]

PROJECT = '[project]\nname = "a"\nlicense = {text = "MIT"}\ndependencies = ["numpy>=1", "tqdm"]\n[tool.comfy]\nPublisherId = "x"\n'


def pack(folder: Path, name: str, files: dict[str, str], *classes: str) -> NodePack:
    commit = repository(folder / name, {"__init__.py": 'MAPPINGS = {"Sharpen It": object}\n'} | files)
    return NodePack(name, f"file://{folder / name}", None, commit, None, classes, source="the drawing")


def test_without_a_list_the_projects_dependencies_count(tmp_path: Path) -> None:
    assert locks.requirement_list(pack(tmp_path, "a", {"pyproject.toml": PROJECT})) == "numpy>=1\ntqdm"
    assert locks.requirement_list(pack(tmp_path, "b", {"pyproject.toml": PROJECT, "requirements.txt": "av\n"})) == "av\n"
    for name, text in [("c", "[project"), ("d", '[project]\nname = "d"\n'), ("e", "project = 1\n")]:
        assert locks.requirement_list(pack(tmp_path, name, {"pyproject.toml": text})) == ""


def test_a_lock_says_what_is_not_run_and_what_no_file_names(tmp_path: Path) -> None:
    one = pack(tmp_path, "one", {"install.py": "raise SystemExit", "pyproject.toml": PROJECT}, "Sharpen It", "Absent")
    two = pack(tmp_path, "two", {}, "Sharpen It")
    with fetched_repositories((one, two)) as folders:
        first, second = look_into((one, two), folders)
    assert first.source == (
        "the drawing; it has an install.py, which is not run; "
        "none of its Python files names Absent: the check at the image's build decides"
    )
    assert first.licence == "MIT" and second == two
    assert not any(folder.exists() for folder in folders.values())


def test_a_class_that_nobody_knows_is_its_whose_files_register_it_and_nobodys_where_two_do(tmp_path: Path) -> None:
    one = pack(tmp_path, "one", {"beta/nodes.py": 'NODES = {\n    "Blur It" : object,\n}\nnode_id="Both"\n'}, "Sharpen It")
    two = pack(tmp_path, "two", {"more.py": "if kind == 'Named Only':\n    pass\nNODE_CLASS_MAPPINGS['Both'] = object\n"})
    with fetched_repositories((one, two)) as folders:
        first, second = look_into((one, two), folders, ["Blur It", "Both", "Named Only", "Nowhere"])
        again, _ = look_into((first, second), folders)
    assert first.nodes == ("Sharpen It", "Blur It") and second.nodes == ()
    assert first.source == "the drawing; beta/nodes.py:2 registers Blur It"
    assert again == first, "what is known already is not said twice"


def test_two_packs_that_do_not_fit_together_are_named_with_what_each_asks_for(index: Path, tmp_path: Path) -> None:
    wheel(index, "tensors", "1.0")
    wheel(index, "tensors", "2.0")
    one = pack(tmp_path, "one", {"requirements.txt": "tensors<2\n"})
    two = pack(tmp_path, "two", {"requirements.txt": "Tensors >= 2.0\n"})
    with pytest.raises(InvalidInputError) as caught:
        locks.resolve(Requirements((), (one, two), until=AT_ALL_TIMES))
    message = caught.value.message
    assert "one asks for tensors<2 and two asks for tensors>=2.0. uv says: Because you require" in message, message
    assert "\n" not in message and len(message) < 600
    assert "--pack" in caught.value.hint and "No solution found" in caught.value.details["uv"]


def test_a_pack_that_pins_another_torch_is_named_beside_what_asks_for_ours(index: Path, tmp_path: Path) -> None:
    wheel(index, "torch", "2.1.0")
    wheel(index, "torch", "2.9.1")
    old = pack(tmp_path, "old", {"requirements.txt": "torch==2.1.0\n"})
    with pytest.raises(InvalidInputError, match=r"this package asks for torch==2\.9\.1 and old asks for torch==2\.1\.0"):
        locks.resolve(Requirements(("torch==2.9.1",), (old,), until=AT_ALL_TIMES))


@pytest.mark.parametrize("line", ["./wheels/a-1-py3-none-any.whl", "a-1.0-py3-none-any.whl", "a @ ./a.zip", "-f wheels"])
def test_lines_with_files_are_named_with_their_pack(line: str, index: Path, tmp_path: Path) -> None:
    item = pack(tmp_path, "one", {"requirements.txt": f"{line}\n"})
    with pytest.raises(InvalidInputError, match="The list of one at") as caught:
        locks.resolve(Requirements((), (item,), until=AT_ALL_TIMES))
    assert caught.value.details == {"pack": "one", "line": line} and "--pack" in caught.value.hint


def test_an_image_with_a_pack_of_a_stranger_is_resolved_from_its_list_too(tmp_path: Path) -> None:
    from dataclasses import replace

    lock = pins.image_lock("flux")
    stranger = pack(tmp_path, "stranger", {})
    made = pins.requirements_of(replace(lock, packs=(stranger,)))
    assert made.repositories == (lock.comfyui, stranger) and made.replaced == pins.REPLACED
    assert set(pins.requirements_of(lock).own) == set(made.own)


@pytest.mark.skipif(not os.environ.get("RYLA_LOCK_TESTS"), reason="it needs the network: set RYLA_LOCK_TESTS=1")
@pytest.mark.timeout(600)
def test_a_list_of_a_pack_is_resolved_with_ours_at_the_real_index(tmp_path: Path) -> None:
    item = pack(tmp_path, "one", {"requirements.txt": "opencv-python>=4.7\nOnnxRuntime\nnumpy>=1.25\n"})
    made = Requirements(("numpy==2.2.6",), (item,), replaced=pins.REPLACED)
    lock = locks.resolve(made)
    found = locks.pins(lock)
    assert found["numpy"] == "2.2.6" and {"opencv-python-headless", "onnxruntime-gpu"} <= set(found)
    assert not {"opencv-python", "onnxruntime"} & set(found)
    locks.check_closed(lock, made)
