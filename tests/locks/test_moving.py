"""A family goes to another release of ComfyUI, by the real uv and git, with packages and a repository on this disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ryla_gen import locks
from ryla_gen.errors import InvalidInputError
from ryla_gen.remote import pins
from ryla_gen.remote.locks import __main__ as command
from ryla_gen.remote.locks.moving import Move, changes_of, moved_lock, tagged_commit
from tests.remote.replaying import git, repository

from .test_resolving import AT_ALL_TIMES, index, wheel

__all__ = ["index"]


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A repository with two releases: the tag of the first is an object of its own, the other's is not."""
    folder = tmp_path / "ComfyUI"
    repository(folder, {"requirements.txt": "torch\n"})
    git(folder, "tag", "-a", "v0.3.71", "-m", "a release")
    (folder / "requirements.txt").write_text("torch\ncomfy-kitchen==0.2.20\n")
    git(folder, "commit", "-q", "-a", "-m", "needs more")
    git(folder, "tag", "v0.28.2")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed locks, in a folder that may be written."""
    shutil.copytree(pins.LOCKS, tmp_path / "locks")
    monkeypatch.setattr(pins, "LOCKS", tmp_path / "locks")
    return tmp_path / "locks"


def test_the_commit_is_the_one_of_the_tag(comfyui: Path) -> None:
    assert tagged_commit(str(comfyui), "v0.28.2") == git(comfyui, "rev-parse", "HEAD")
    assert tagged_commit(str(comfyui), "v0.3.71") == git(comfyui, "rev-parse", "HEAD~1"), "not that of the tag's own object"
    with pytest.raises(InvalidInputError, match=r"has no tag v0\.9"):
        tagged_commit(str(comfyui), "v0.9")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        tagged_commit(str(comfyui / "nowhere"), "v0.28.2")


def test_only_comfyui_the_date_and_what_is_asked_for_change() -> None:
    lock = pins.image_lock("faces")
    moved = moved_lock(lock, Move("v0.3.71", "a" * 40, AT_ALL_TIMES, ("torch==2.9.1",)))
    assert (moved.release, moved.comfyui.commit, moved.comfyui.repo) == ("0.3.71", "a" * 40, lock.comfyui.repo)
    assert moved.packs == lock.packs
    assert (lock.comfyui.source, moved.comfyui.source) == ("its tag v0.28.2", "named by --commit")
    assert (moved.python.until, moved.python.version) == (AT_ALL_TIMES, lock.python.version)
    assert moved.python.requirements == ("torch==2.9.1", *lock.python.requirements[1:])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT00:00:00Z", moved_lock(lock, Move("0.3.71", "a" * 40)).python.until), "of today"
    with pytest.raises(InvalidInputError, match="names no version"):
        moved_lock(lock, Move("0.3.71", "a" * 40, requirements=("torch>=2",)))


def test_what_changes_is_told_of_the_classes_that_the_family_uses() -> None:
    head, *lines = changes_of("video", "0.3.71", "0.28.2")
    told = re.fullmatch(r"ComfyUI 0\.3\.71 -> 0\.28\.2: (\d+) changes in the \d+ node classes that its workflows use", head)
    assert told and int(told[1]) == len(lines) > 1, "as many as are told after it: a new workflow of a family may add some"
    assert "  CreateVideo.bit_depth: input new: INT, optional, default 8" in lines
    assert list(changes_of("video", "0.28.2", "0.28.2"))[1:] == []
    assert "no node schemas of ComfyUI 0.45.2 are packaged" in next(changes_of("video", "0.28.2", "0.45.2"))


def required(items: tuple[str, ...]) -> list[str]:
    return [word for item in items for word in ("--require", item)]


def test_the_command_moves_a_family_and_says_what_changed(
    comfyui: Path, place: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for item in pins.requirements("flux").own:
        name, _, version = item.partition("==")
        wheel(index, name.replace("-", "_"), version)
    older_torch = ("torch==2.9.1", "torchvision==0.24.1", "torchaudio==2.9.1")
    for item in ("comfy_kitchen==0.2.20", *older_torch):
        wheel(index, *item.split("=="))
    asked = pins.image_lock("flux").python.requirements
    source = ["--source", f"ComfyUI={comfyui}", "--until", AT_ALL_TIMES]
    assert command.main(["move", "flux", "0.3.71", *required(older_torch), *source]) == 0
    older = pins.image_lock("flux")
    assert (older.release, older.comfyui.commit) == ("0.3.71", git(comfyui, "rev-parse", "HEAD~1"))
    assert "comfy-kitchen" not in locks.pins(pins.requirements_file("flux").read_text())
    assert command.fresh("flux") and command.fresh("video"), "the others stay as they are"
    capsys.readouterr()
    assert command.main(["move", "flux", "0.28.2", *required(asked), *source]) == 0
    newer = pins.image_lock("flux")
    assert (newer.release, newer.comfyui.commit) == ("0.28.2", git(comfyui, "rev-parse", "HEAD"))
    said = capsys.readouterr().out
    assert "comfy-kitchen absent -> 0.2.20" in said
    changes = [line for line in said.splitlines() if line.startswith("flux:   ")]
    assert f"flux: ComfyUI 0.3.71 -> 0.28.2: {len(changes)} changes" in said
    assert "KSampler.sampler_name: input changed: options new: exp_heun_2_x0" in said


def test_a_release_that_is_not_there_changes_nothing(comfyui: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pins.lock_file("flux").read_bytes()
    assert command.main(["move", "flux", "0.99.0", "--source", f"ComfyUI={comfyui}"]) == 1
    assert "has no tag v0.99.0" in capsys.readouterr().err
    assert pins.lock_file("flux").read_bytes() == before
