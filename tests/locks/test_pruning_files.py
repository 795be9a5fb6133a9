"""Which files of a models folder can go, and that no others do: on real folders, with real downloads."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import InvalidInputError, JobCanceledError, StorageFailedError
from ryla_gen.locks.graph_lock import PENDING
from ryla_gen.locks.model_places import address_key
from ryla_gen.locks.model_prune import (
    LONGEST_DOWNLOAD,
    NeededFiles,
    find_unneeded,
    is_needed,
    needed_by_lock,
    needed_from,
    remove_files,
    unknown_hashes,
)
from ryla_gen.locks.model_sync import sync_models
from ryla_gen.models import downloads
from ryla_gen.models.weights_table import Weights
from ryla_gen.remote.needed_weights import needed_by_workflows
from ryla_gen.workflows.registry import locks_folder
from tests.cli.shell import envelope, ryla
from tests.models.downloads.hub import COMMIT, Hub

from .locking import checkpoint, portrait_lock, write_lock

DATA = {"one": b"one weights" * 300, "two": b"two weights" * 200, "three": b"three weights" * 100}
SHA256 = {name: hashlib.sha256(data).hexdigest() for name, data in DATA.items()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        for name, data in DATA.items():
            server.put(f"maker/{name}", "tiny.safetensors", data)
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def model(name: str, **more: Any) -> Any:
    return checkpoint(f"https://huggingface.co/maker/{name}/resolve/main/tiny.safetensors", **more)


def needing(*wanted: Any) -> NeededFiles:
    return needed_by_lock(portrait_lock(models=tuple(replace(item, file=f"{at}.x") for at, item in enumerate(wanted))))


def row(name: str, folder: str = "checkpoints") -> Weights:
    known = {"revision": COMMIT, "file": "tiny.safetensors", "bytes": len(DATA[name]), "approx_size": None, "nodes": ()}
    more = {"sha256_source": "primary", "gated": False, "licence": None, "source": "", "note": None}
    return Weights(folder=folder, name=f"{name}.safetensors", repo=f"maker/{name}", sha256=SHA256[name], **known, **more)  # type: ignore[arg-type]


def files(models: Path, needed: NeededFiles, **more: Any) -> list[str]:
    return [item.file for item in find_unneeded(models, needed, **more)]


def test_a_model_stays_for_its_hash_for_its_address_and_for_another_lock(hub: Hub, models: Path) -> None:
    pending, known = model("one"), model("two", sha256=SHA256["two"])
    sync_models([pending, replace(known, file="other.safetensors")], models, endpoint=hub.url)
    one, two = f"content/{SHA256['one']}/tiny.safetensors", f"content/{SHA256['two']}/other.safetensors"
    assert files(models, needing(pending, known)) == []
    assert files(models, needing(replace(pending, sha256=SHA256["one"]))) == [two]
    assert files(models, needing(known)) == [one]
    found = find_unneeded(models, NeededFiles())
    assert [(item.file, item.bytes, item.repo, item.reason) for item in found] == [
        (one, len(DATA["one"]), "maker/one", "no lock needs it"),
        (two, len(DATA["two"]), "maker/two", "no lock needs it"),
    ]
    note = models / "content" / address_key(pending) / "sha256.txt"
    note.unlink()  # it is written last: the record is there before
    assert files(models, needing(pending)) == [two]
    assert unknown_hashes(needing(pending), models) == frozenset()
    assert unknown_hashes(needing(model("three")), models) == {address_key(model("three"))}


def test_a_removal_leaves_a_folder_that_syncs_as_if_the_file_had_never_been_there(hub: Hub, models: Path) -> None:
    wanted = [model("one"), model("two", file="two.safetensors", sha256=SHA256["two"])]
    sync_models(wanted, models, endpoint=hub.url)
    found = find_unneeded(models, needing(wanted[1]))
    commits: list[str] = []
    [removal] = remove_files(found, models, commit=lambda: commits.append("commit"))
    assert (removal.outcome, removal.bytes, commits) == ("removed", len(DATA["one"]), ["commit"])
    assert not (models / "content" / SHA256["one"]).exists()
    assert [item.outcome for item in remove_files(found, models)] == ["removed"], "what is gone is done"
    report = sync_models(wanted, models, endpoint=hub.url)
    assert [item["outcome"] for item in report["files"]] == ["downloaded", "already"]
    assert report["hashes"] == {"checkpoints/tiny.safetensors": SHA256["one"], "checkpoints/two.safetensors": SHA256["two"]}


def test_an_interrupted_removal_is_completed_by_the_next(hub: Hub, models: Path) -> None:
    sync_models([model(name, file=f"{name}.safetensors", sha256=SHA256[name]) for name in DATA], models, endpoint=hub.url)
    found = find_unneeded(models, NeededFiles())

    def stop(progress: downloads.SyncProgress) -> None:
        if progress.bytes:
            raise JobCanceledError("Stopped.")

    with pytest.raises(JobCanceledError):
        remove_files(found, models, progress=stop)
    left = find_unneeded(models, NeededFiles())
    assert [item.file for item in left] == [item.file for item in found[1:]]
    remove_files(left, models)
    assert files(models, NeededFiles()) == []


def test_the_weights_of_families_stay_by_name_and_a_lock_that_borrows_one_keeps_it(hub: Hub, models: Path) -> None:
    downloads.sync([row("one"), row("two"), row("three", "loras")], models, endpoint=hub.url)
    (models / "checkpoints" / "mine.safetensors").write_bytes(b"mine")
    (models / "checkpoints" / "link.safetensors").symlink_to(models / "checkpoints" / "mine.safetensors")
    assert files(models, NeededFiles(frozenset({"checkpoints/one.safetensors"}))) == ["checkpoints/two.safetensors"]
    assert files(models, NeededFiles(complete=False)) == [], "something may need files that are not named"
    borrowed = model("two", sha256=SHA256["two"])
    sync_models([borrowed], models, endpoint=hub.url)
    assert (models / "content" / SHA256["two"] / "place.txt").read_text() == "checkpoints/two.safetensors"
    assert files(models, needing(borrowed)) == ["checkpoints/one.safetensors"]
    [item] = find_unneeded(models, NeededFiles(frozenset({"checkpoints/one.safetensors"})))
    assert (is_needed(item, needing(borrowed), models), is_needed(item, NeededFiles(), models)) == (True, False)
    assert remove_files([item], models, lambda item: not is_needed(item, needing(borrowed), models))[0].outcome == "kept"
    assert remove_files([item], models)[0].outcome == "removed"
    assert sync_models([borrowed], models, endpoint=hub.url)["files"][0]["outcome"] == "downloaded", (
        "a note of a file that is gone is no harm"
    )


def test_a_download_that_may_still_run_stays_and_the_rest_of_one_that_ended_goes(models: Path) -> None:
    folder = models / "content" / ("a" * 64)
    folder.mkdir(parents=True)
    running, over, strange = folder / ".x.safetensors.1.part", folder / ".x.safetensors.2.part", folder / ".hidden"
    for path in (running, over, strange):
        path.write_bytes(b"x" * 10)
        os.utime(path, (0, path.stat().st_mtime - (LONGEST_DOWNLOAD + 60 if path != running else 0)))
    (models / "content" / "readme").mkdir()
    (models / "content" / "readme" / "me.txt").write_text("of a person")
    [item] = find_unneeded(models, NeededFiles())
    assert (item.file, item.reason) == (f"content/{'a' * 64}/{over.name}", "rest of a download")
    assert files(models, NeededFiles(models=frozenset({"a" * 64}))) == [], "the next download continues it"
    remove_files([item], models)
    assert (running.exists(), over.exists(), strange.exists()) == (True, False, True)


def test_a_file_that_was_replaced_since_stays(hub: Hub, models: Path) -> None:
    downloads.sync([row("one")], models, endpoint=hub.url)
    [item] = find_unneeded(models, NeededFiles())
    path = models / item.file
    path.write_bytes(b"x" * item.bytes)
    assert remove_files([item], models)[0].outcome == "kept"
    path.unlink()
    path.symlink_to(models)
    assert files(models, NeededFiles()) == []
    assert remove_files([item], models)[0].outcome == "kept"


def test_on_this_machine_only_what_a_download_put_there_goes(hub: Hub, models: Path) -> None:
    by_hand = models / "checkpoints" / "two.safetensors"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(DATA["two"])
    downloads.sync([row("one"), row("two")], models, endpoint=hub.url)
    downloads.verify([row("one"), row("two")], models)
    records = models / ".ryla" / "weights.json"
    placed = {label: item["placed"] for label, item in json.loads(records.read_text())["files"].items()}
    assert placed == {"checkpoints/one.safetensors": True, "checkpoints/two.safetensors": False}
    assert files(models, NeededFiles(), local=True) == ["checkpoints/one.safetensors"]
    records.write_text(records.read_text().replace('"placed": true', '"unknown": 1'))
    assert files(models, NeededFiles(), local=True) == [], "a record of an earlier version does not say"
    assert files(models, NeededFiles()) == ["checkpoints/one.safetensors"], "on the volume only downloads write"
    records.write_text("{")
    with pytest.raises(StorageFailedError):
        find_unneeded(models, NeededFiles())


def test_what_has_to_stay_crosses_as_plain_data_and_nothing_else_does() -> None:
    needed = needing(model("one"), model("two", sha256=SHA256["two"])) | NeededFiles(complete=False)
    assert address_key(model("one")) in needed.models
    assert needed_from(needed.to_data()) == needed
    for wrong in (None, {}, {"files": [], "models": None}, {"files": [1], "models": []}, {"files": "x", "models": "y"}):
        with pytest.raises(InvalidInputError):
            needed_from(wrong)
    assert PENDING not in needed.models


def prune(models: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    return ryla("weights", "prune", "--local", str(models), *more)


def test_the_command_shows_the_bytes_asks_and_removes_what_a_removed_lock_needed(hub: Hub, models: Path) -> None:
    downloads.sync([row("one"), row("two")], models, endpoint=hub.url)
    lock = portrait_lock(models=(model("one", file="one.safetensors", sha256=SHA256["one"]),))
    locks_folder().mkdir(parents=True, exist_ok=True)
    kept = write_lock(lock, locks_folder())
    shown = prune(models, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert b"checkpoints/two.safetensors" in shown.stdout
    assert b"checkpoints/one.safetensors" not in shown.stdout
    assert b"1 file, 2.2 kB." in shown.stdout
    unasked = prune(models)
    assert unasked.returncode == 2
    assert b"Remove 1 file, 2.2 kB, from " in unasked.stderr
    assert (models / "checkpoints" / "two.safetensors").is_file()
    kept.unlink()
    data = envelope(prune(models, "--yes", "--json").stdout)["data"]
    assert [(item["file"], item["outcome"]) for item in data["items"]] == [
        ("checkpoints/one.safetensors", "removed"),
        ("checkpoints/two.safetensors", "removed"),
    ]
    assert (data["dry_run"], data["freed"], data["folder"]) == (False, 5500, str(models))
    nothing = prune(models, "--yes")
    assert (nothing.returncode, nothing.stdout.decode()) == (0, f"Nothing can go: {models} has no such file.\n")
    (locks_folder() / "broken.lock").write_text("[graph")
    refused = prune(models, "--yes", "--json")
    assert refused.returncode == 2
    assert "unknown which models it needs" in envelope(refused.stdout)["error"]["message"]


def test_a_folder_that_is_not_there_has_nothing_that_could_go_or_stay(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, words in ((tmp_path / "nowhere", "There is no folder"), (tmp_path / "file", "is not a folder")):
        refused = prune(place, "--dry-run", "--json")
        error = envelope(refused.stdout)["error"]
        assert (refused.returncode, error["code"]) == (2, "invalid_input")
        assert words in error["message"] and str(place) in error["message"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in ("nowhere", "file")) == ["file"]


def test_every_file_of_the_table_is_needed() -> None:
    assert "checkpoints/flux1-dev-fp8.safetensors" in needed_by_workflows().files
