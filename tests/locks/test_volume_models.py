"""Files of a graph that are on the volume already, and published nowhere: in the lock by their content, and checked there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import ModelNotFoundError
from ryla_gen.locks.graph_lock import LockedModel, lock_text
from ryla_gen.locks.kept import sources_of
from ryla_gen.locks.lock_reading import parse_lock
from ryla_gen.locks.model_places import stored_file
from ryla_gen.locks.model_prune import find_unneeded, needed_by_lock
from ryla_gen.locks.model_rows import row_of
from ryla_gen.locks.model_sync import check_models, sync_models
from ryla_gen.models import downloads
from ryla_gen.models.loras.base import Card
from ryla_gen.tools.locking.build_files import comfy_build_yaml
from ryla_gen.tools.locking.locking import Locked
from ryla_gen.tools.locking.model_options import parse_model_option
from tests.locks.graphs import checkpoint_graph, locked
from tests.locks.locking import portrait_lock

DATA = b"my own weights" * 50
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "mine.safetensors"


class FolderVolume:
    """A volume that is a folder of this machine; counts the files that it had to read."""

    def __init__(self, root: Path, recorded: Mapping[str, str] | None = None) -> None:
        self.root, self.hashes, self.read = root, recorded or {}, 0

    @property
    def files(self) -> Mapping[str, int]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.stat().st_size for path in found}

    def recorded(self, path: str) -> str | None:
        return self.hashes.get(path)

    def sha256(self, path: str) -> str:
        self.read += 1
        return hashlib.sha256((self.root / path).read_bytes()).hexdigest()

    def card(self, lora_id: str) -> Card | None:
        return Card(lora_id, f"{SHA256[:16]}.safetensors", SHA256, len(DATA), "flux") if lora_id == "my-style" else None


@pytest.fixture
def volume(tmp_path: Path) -> FolderVolume:
    put(tmp_path / "volume", f"checkpoints/{NAME}")
    return FolderVolume(tmp_path / "volume")


def put(root: Path, label: str, data: bytes = DATA) -> Path:
    path = root / label
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def lora_graph(name: str) -> dict[str, Any]:
    """Return a graph that loads a LoRA for its model."""
    graph = checkpoint_graph(NAME)
    loader = {"lora_name": name, "strength_model": 1.0, "strength_clip": 1.0, "model": ["1", 0], "clip": ["1", 1]}
    graph["9"] = {"class_type": "LoraLoader", "inputs": loader}
    graph["5"]["inputs"]["model"] = ["9", 0]
    return graph


def lock_of(folder: Path, graph: dict[str, Any], *texts: str, volume: FolderVolume | None = None, **more: Any) -> Locked:
    choices = [parse_model_option(text) for text in texts]
    models = {item.name: item.model("", item.name) for item in choices}
    return locked(folder, graph, models=models, volume=lambda: volume, **more)


def on_volume(**more: Any) -> LockedModel:
    known = LockedModel("tiny.safetensors", "checkpoints", "", None, SHA256, len(DATA), None, None, "volume")
    return replace(known, **more)


# -- locking ---------------------------------------------------------------------------------------------------------


def test_a_file_that_the_caller_says_is_on_the_volume_is_locked_by_its_content(tmp_path: Path, volume: FolderVolume) -> None:
    made = lock_of(tmp_path, checkpoint_graph(NAME), f"{NAME}=volume", volume=volume).lock
    (item,) = made.models
    assert (item.label, item.url, item.sha256, item.bytes, item.source) == (f"checkpoints/{NAME}", "", SHA256, len(DATA), "volume")
    assert made.open == ()
    text = lock_text(made)
    assert "url" not in text.partition("[[models]]")[2].partition("[[inputs]]")[0]
    assert parse_lock(text, "portrait.lock").models == made.models
    assert not any(SHA256 in source or not source for source in sources_of(made))
    assert "sourceUri" not in comfy_build_yaml(made)


def test_a_file_with_a_recorded_hash_is_found_by_itself_and_another_one_is_a_question(tmp_path: Path, volume: FolderVolume) -> None:
    (question,) = lock_of(tmp_path, checkpoint_graph(NAME), volume=volume).lock.open
    assert question.subject == f"checkpoints/{NAME}"
    assert question.command.endswith(f"--model checkpoints/{NAME}=volume")
    assert volume.read == 0, "a file of gigabytes is read when somebody asks for it"
    volume.hashes = {f"checkpoints/{NAME}": SHA256}
    made = lock_of(tmp_path, checkpoint_graph(NAME), volume=volume).lock
    assert (made.open, made.models[0].sha256, made.models[0].source, volume.read) == ((), SHA256, "volume", 0)


def test_the_volume_is_asked_last_and_never_offline(tmp_path: Path, volume: FolderVolume) -> None:
    volume.hashes = {f"checkpoints/{NAME}": SHA256}
    (item,) = lock_of(tmp_path, checkpoint_graph(NAME), f"{NAME}=hf://a/b/{NAME}", volume=volume).lock.models
    assert item.url
    (question,) = lock_of(tmp_path, checkpoint_graph(NAME), f"{NAME}=volume").lock.open
    assert "not asked" in question.question
    assert "without --offline" in question.question


def test_a_file_that_is_not_there_is_a_question_with_both_ways_out(tmp_path: Path, volume: FolderVolume) -> None:
    (question,) = lock_of(tmp_path, checkpoint_graph("other.safetensors"), "other.safetensors=volume", volume=volume).lock.open
    assert "modal volume put ryla-models FILE checkpoints/other.safetensors" in question.question
    assert "--model checkpoints/other.safetensors=https" in question.command


@pytest.mark.parametrize("name", ["my-style.safetensors", f"my-style/{SHA256[:16]}.safetensors"])
def test_a_stored_lora_that_the_graph_names_is_no_question(tmp_path: Path, volume: FolderVolume, name: str) -> None:
    made = lock_of(tmp_path, lora_graph(name), f"{NAME}=volume", volume=volume).lock
    lora = next(item for item in made.models if item.folder == "loras")
    assert (lora.file, lora.sha256, lora.source, made.open) == (name, SHA256, "volume: LoRA my-style", ())


def test_a_file_of_a_lora_is_said_to_be_a_stored_one(tmp_path: Path, volume: FolderVolume) -> None:
    graph = lora_graph("Style v2.safetensors")
    (question,) = lock_of(tmp_path, graph, f"{NAME}=volume", volume=volume).lock.open
    assert "loras/Style v2.safetensors=lora:ID" in question.question
    made = lock_of(tmp_path, graph, f"{NAME}=volume", "Style v2.safetensors=lora:my-style", volume=volume).lock
    assert (made.open, made.models[-1].label, made.models[-1].sha256) == ((), "loras/Style v2.safetensors", SHA256)
    (unknown,) = lock_of(tmp_path, graph, f"{NAME}=volume", "Style v2.safetensors=lora:nobody", volume=volume).lock.open
    assert "no stored LoRA 'nobody'" in unknown.question


def test_locking_again_keeps_the_content_and_an_update_looks_again(tmp_path: Path, volume: FolderVolume) -> None:
    first = lock_of(tmp_path, checkpoint_graph(NAME), f"{NAME}=volume", volume=volume).lock
    put(volume.root, f"checkpoints/{NAME}", b"trained again")
    again = lock_of(tmp_path, checkpoint_graph(NAME), before=first).lock
    assert (again.models, again.open) == (first.models, ())
    moved = lock_of(tmp_path, checkpoint_graph(NAME), volume=volume, before=first, moves=(NAME,)).lock
    assert moved.models[0].sha256 == hashlib.sha256(b"trained again").hexdigest()


# -- on the volume ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["checkpoints/tiny.safetensors", f"loras/my-style/{SHA256[:16]}.safetensors"])
def test_a_file_is_found_by_its_content_hashed_and_never_downloaded_or_pruned(tmp_path: Path, place: str) -> None:
    there = put(tmp_path, place)
    report = sync_models([on_volume()], tmp_path)
    assert report["downloaded"] == 0
    assert report["hashes"] == {"checkpoints/tiny.safetensors": SHA256}
    assert report["files"][0]["outcome"] == "verified"
    assert stored_file(on_volume(), tmp_path) == there
    assert check_models([on_volume()], tmp_path, None, hashed=True)["ok"]
    lock = portrait_lock(models=(on_volume(),))
    assert find_unneeded(tmp_path, needed_by_lock(lock)) == []
    assert find_unneeded(tmp_path, needed_by_lock(portrait_lock(models=()))) == [], "people put it there"


def test_another_file_of_the_same_size_is_noticed_by_the_next_deploy(tmp_path: Path) -> None:
    there = put(tmp_path, "checkpoints/tiny.safetensors")
    sync_models([on_volume()], tmp_path)
    there.write_bytes(DATA[:-1] + b"X")
    with pytest.raises(ModelNotFoundError, match="no file with its sha256"):
        sync_models([on_volume()], tmp_path)
    assert stored_file(on_volume(), tmp_path) is None
    there.write_bytes(DATA)
    sync_models([on_volume()], tmp_path)
    assert stored_file(on_volume(), tmp_path) == there


def test_what_is_not_there_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    put(tmp_path, "checkpoints/other.safetensors")
    with pytest.raises(ModelNotFoundError) as caught:
        sync_models([on_volume()], tmp_path)
    assert "--model checkpoints/tiny.safetensors=ADDRESS" in caught.value.hint
    assert "modal volume put ryla-models FILE checkpoints/tiny.safetensors" in caught.value.hint
    assert list(tmp_path.glob("content/*/*")) == []


def test_in_a_folder_of_this_machine_it_has_to_be_put_there_by_hand(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        downloads.sync([row_of(on_volume())], tmp_path).raise_for_failures()
    assert str(tmp_path / "checkpoints" / "tiny.safetensors") in caught.value.hint
    put(tmp_path, "checkpoints/tiny.safetensors")
    assert downloads.sync([row_of(on_volume())], tmp_path).ok
