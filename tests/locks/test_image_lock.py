"""The lock of an image: read, written, and what is said of one that is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ryla_gen.errors import InvalidInputError, RylaGenError, StorageFailedError
from ryla_gen.locks import ImageLock, NodePack, PythonLock, read_lock, write_lock

COMFYUI = NodePack("ComfyUI", "https://example.com/ComfyUI", "0.28.2", "a" * 40, "GPL-3.0", ())
PACK = NodePack("a-pack", "https://example.com/a-pack", None, "b" * 40, None, ("ANode", 'Another "Node"'))
PYTHON = PythonLock("3.11", "x86_64-manylinux_2_28", "2026-08-01T00:00:00Z", ("torch==2.11.0",), "a.requirements.txt", "c" * 64)
LOCK = ImageLock(COMFYUI, (PACK, replace(PACK, name="b-pack", nodes=tuple(f"Node{n}" for n in range(40)))), PYTHON)


@pytest.mark.parametrize("lock", [LOCK, replace(LOCK, packs=()), replace(LOCK, python=replace(PYTHON, requirements=()))])
def test_what_is_written_is_read_again(lock: ImageLock, tmp_path: Path) -> None:
    write_lock(tmp_path / "a.lock", lock)
    assert read_lock(tmp_path / "a.lock") == lock
    assert lock.release == "0.28.2"
    text = (tmp_path / "a.lock").read_text()
    write_lock(tmp_path / "a.lock", read_lock(tmp_path / "a.lock"))
    assert (tmp_path / "a.lock").read_text() == text, "again, the same"
    assert max(map(len, text.splitlines())) <= 160


def changed(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "a.lock"
    write_lock(path, LOCK)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("lock = 1", "lock = 2", InvalidInputError, "a lock of form 2, not 1"),
        ("lock = 1", "", InvalidInputError, "a lock of form None"),
        ("[comfyui]", "[comfy]", InvalidInputError, "not the lock of an image: 'comfyui'"),
        ("[comfyui]", "[comfyui", InvalidInputError, "not the lock of an image"),
        ('commit = "a', 'commit = "x', InvalidInputError, "is not a commit"),
        ('name = "a-pack"', "", InvalidInputError, "not the lock of an image: 'name'"),
        ('file = "a.req', 'fil = "a.req', InvalidInputError, "not the lock of an image: 'file'"),
        ('requirements = ["torch==2.11.0"]', "requirements = 3", InvalidInputError, "not the lock of an image"),
    ],
)
def test_a_damaged_lock_is_refused_with_what_is_wrong(
    tmp_path: Path, old: str, new: str, error: type[RylaGenError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        read_lock(changed(tmp_path, old, new))
    assert caught.value.hint


def test_a_lock_that_is_not_there_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError, match=r"nothing\.lock cannot be read"):
        read_lock(tmp_path / "nothing.lock")
