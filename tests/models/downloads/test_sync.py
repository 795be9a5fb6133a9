"""A sync against a loopback hub: what arrives, what is asked for, what is recorded."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
from pathlib import Path

import pytest

from ryla_gen.errors import BackendUnreachableError, InvalidInputError, ModelNotFoundError, StorageFailedError
from ryla_gen.models.downloads import SyncProgress, status, verify
from ryla_gen.models.weights_table import Weights

from .conftest import DATA, SHA, failure, noise, row, run
from .hub import COMMIT, Hub


def leftovers(models: Path) -> list[Path]:
    return sorted(path for path in models.rglob("*.part"))


def states(models: Path, *rows: Weights) -> list[str]:
    return [item.state for item in status(rows, models)]


def test_a_missing_file_arrives_whole_and_verified(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    wanted = row(data=DATA)
    assert states(models, wanted) == ["missing"]
    report = run(hub, models, wanted)
    assert report.ok and [item.outcome for item in report.files] == ["downloaded"] and report.downloaded == len(DATA)
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA
    assert states(models, wanted) == ["present"] and leftovers(models) == []


def test_a_second_sync_asks_nobody_anything(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    run(hub, models, row(data=DATA))
    before = len(hub.seen.requests)
    report = run(hub, models, row(data=DATA), row(data=DATA))
    assert [item.outcome for item in report.files] == ["already"] and len(hub.seen.requests) == before


def test_small_files_that_the_hub_itself_serves_arrive_too(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "config.json", b"{}" * 50, large=False)
    assert run(hub, models, row("config.json")).ok
    assert (models / "checkpoints/config.json").read_bytes() == b"{}" * 50 and hub.count("store") == 0


@pytest.mark.parametrize("pinned", [COMMIT, None])
def test_files_of_a_repository_that_was_renamed_arrive(hub: Hub, models: Path, pinned: str | None) -> None:
    hub.put("maker/model-now", "a.safetensors", DATA)
    hub.put("maker/model-now", "small.bin", DATA, large=False)
    hub.renamed["maker/model"] = "maker/model-now"
    assert run(hub, models, row(data=DATA, revision=pinned), row("small.bin", revision=pinned)).ok
    assert states(models, row(data=DATA)) == ["present"]


def test_files_come_in_parallel_but_no_more_than_allowed(hub: Hub, models: Path) -> None:
    hub.knobs.speed = 800_000
    rows = [row(f"{number}.bin", noise(160_000, number)) for number in range(8)]
    for number, item in enumerate(rows):
        hub.put("maker/model", item.file, noise(160_000, number))
    assert run(hub, models, *rows, workers=3).ok
    assert hub.seen.most_at_once == 3


def test_a_connection_that_is_cut_is_continued_where_it_broke(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 100_000, 2
    assert run(hub, models, row(data=DATA)).ok
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA
    assert hub.seen.starts[0] == 0 < hub.seen.starts[1] < hub.seen.starts[2]
    assert hub.sent <= len(DATA) + 2 * 65_536  # what was under way when the line went dead comes twice, no more


def test_a_sync_that_gave_up_goes_on_later(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 200_000, 1
    broken = run(hub, models, row(data=DATA), tries=1)
    assert isinstance(failure(broken), BackendUnreachableError)
    assert states(models, row(data=DATA)) == ["partial"] and not (models / "checkpoints/a.safetensors").exists()
    report = run(hub, models, row(data=DATA))
    assert [item.outcome for item in report.files] == ["resumed"] and report.downloaded < len(DATA) - 100_000
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA


def test_a_server_that_ignores_ranges_costs_time_but_no_damage(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts, hub.knobs.ignore_ranges = 200_000, 1, True
    assert run(hub, models, row(data=DATA)).ok
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA


def test_a_busy_hub_and_an_address_that_ran_out_are_asked_again(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.busy, hub.knobs.refuse_store = 2, 1
    assert run(hub, models, row(data=DATA)).ok


def test_damaged_bytes_are_thrown_away_and_named(hub: Hub, models: Path) -> None:
    wrong = b"x" + DATA[1:]
    hub.put("maker/model", "a.safetensors", DATA, sent=wrong)
    error = failure(run(hub, models, row(data=DATA)))
    assert isinstance(error, StorageFailedError)
    assert error.details["expected"] == SHA and error.details["actual"] == hashlib.sha256(wrong).hexdigest()
    assert not (models / "checkpoints/a.safetensors").exists() and leftovers(models) == []


@pytest.mark.parametrize("sent", [DATA + b"more", DATA[:-1]])
def test_a_file_of_the_wrong_length_is_refused_at_its_first_byte(hub: Hub, models: Path, sent: bytes) -> None:
    hub.put("maker/model", "a.safetensors", DATA, sent=sent)
    error = failure(run(hub, models, row(data=DATA)))
    assert isinstance(error, StorageFailedError)
    assert (error.details["expected"], error.details["actual"]) == (len(DATA), len(sent))
    assert leftovers(models) == [] and hub.count("store") == 1


def test_a_rest_longer_than_what_is_served_begins_again(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 300_000, 1
    run(hub, models, row(data=DATA), tries=1)
    hub.files["maker/model", "a.safetensors"].sent = DATA[:100_000]
    assert isinstance(failure(run(hub, models, row(data=DATA))), StorageFailedError)
    hub.files["maker/model", "a.safetensors"].sent = DATA
    assert run(hub, models, row(data=DATA)).ok and (models / "checkpoints/a.safetensors").read_bytes() == DATA


def test_a_file_that_the_publisher_replaced_costs_no_download(hub: Hub, models: Path) -> None:
    other = noise(400_000, 2)
    hub.put("maker/model", "a.safetensors", other)
    error = failure(run(hub, models, row(data=DATA)))
    assert isinstance(error, StorageFailedError) and error.details["actual"] == hashlib.sha256(other).hexdigest()
    assert hub.count("store") == 0 and "weights.json" in error.hint


def test_one_bad_file_does_not_stop_the_others(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "good.bin", DATA)
    hub.put("maker/model", "bad.bin", DATA, sent=DATA[::-1])
    report = run(hub, models, row("bad.bin", DATA), row("good.bin", DATA), row("gone.bin"), row("../../evil.bin"))
    assert [item.outcome for item in report.files] == ["failed", "downloaded", "failed", "failed"]
    kinds = [type(item.error) for item in report.failures]
    assert kinds == [StorageFailedError, ModelNotFoundError, InvalidInputError]
    assert json.loads(json.dumps(report.to_data()))["files"][2]["error"]["code"] == "model_not_found"
    with pytest.raises(StorageFailedError, match=r"3 of 4 files failed:[\s\S]*gone\.bin"):
        report.raise_for_failures()


def test_an_unpinned_file_is_recorded_with_the_commit_it_came_from(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.put("maker/model", "b.safetensors", DATA)
    assert run(hub, models, row(revision=None), row("b.safetensors", revision=None)).ok
    kept = json.loads((models / ".ryla/weights.json").read_text())["files"]["checkpoints/a.safetensors"]
    assert (kept["revision"], kept["sha256"], kept["bytes"], kept["source"]) == (COMMIT, SHA, len(DATA), "hub")


def test_what_a_row_leaves_open_is_fixed_by_the_first_sync_and_told(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.put("maker/model", "small.bin", DATA, large=False)
    hub.put("maker/tool", "v1.0/r.pth", DATA)
    rows = [row(revision=None), row("small.bin"), row("r.pth", repo="github:maker/tool", revision="v1.0"), row("gone.bin")]
    told = [{"hash": SHA, "commit": COMMIT}, {"hash": SHA}, {"hash": SHA}, {}]
    assert [item["fixed"] for item in run(hub, models, *rows).to_data()["files"]] == told
    assert [item.fixed for item in run(hub, models, *rows[:3]).files] == told[:3], "every later sync tells it again"
    assert [item.sha256 for item in status(rows[:3], models)] == [SHA] * 3
    assert [item.fixed for item in run(hub, models, row(data=DATA)).files] == [{}], "a newer table knows it"


@pytest.mark.parametrize("large", [True, False])
def test_a_hash_that_the_first_sync_fixed_is_verified(hub: Hub, models: Path, large: bool) -> None:
    hub.put("maker/model", "a.safetensors", DATA, large=large)
    pending = row(revision=None)
    assert pending.pending == ("hash", "commit") and run(hub, models, pending).ok
    assert [item.state for item in verify([pending], models)] == ["present"]
    (models / "checkpoints/a.safetensors").write_bytes(DATA[::-1])
    assert [(item.state, item.sha256 == SHA) for item in verify([pending], models)] == [("wrong_hash", True)]


def test_unpinned_files_of_one_repository_come_from_one_commit(hub: Hub, models: Path) -> None:
    hub.knobs.restless = True
    rows = [row(f"{number}.bin", revision=None) for number in range(4)]
    for item in rows:
        hub.put("maker/model", item.file, DATA)
    assert run(hub, models, *rows).ok and hub.head != COMMIT
    kept = json.loads((models / ".ryla/weights.json").read_text())["files"]
    assert len(kept) == 4 and len({item["revision"] for item in kept.values()}) == 1


def test_an_unpinned_file_stays_with_its_commit_when_the_repository_moves_on(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    run(hub, models, row(revision=None))
    hub.head = "f" * 40
    hub.revisions.add(hub.head)
    (models / "checkpoints/a.safetensors").unlink()
    assert run(hub, models, row(revision=None)).ok
    assert hub.seen.requests[-2][2].startswith(f"/maker/model/resolve/{COMMIT}/")


@pytest.mark.parametrize("large", [True, False])
def test_a_recorded_hash_is_held_to(hub: Hub, models: Path, large: bool) -> None:
    hub.put("maker/model", "a.safetensors", DATA, large=large)
    assert run(hub, models, row(revision=None)).ok
    (models / "checkpoints/a.safetensors").unlink()
    other = noise(400_000, 2)
    hub.put("maker/model", "a.safetensors", other, large=large)
    error = failure(run(hub, models, row(revision=None)))
    assert isinstance(error, StorageFailedError)
    assert (error.details["expected"], error.details["actual"]) == (SHA, hashlib.sha256(other).hexdigest())
    assert not (models / "checkpoints/a.safetensors").exists()


def test_a_release_page_is_a_source_too(hub: Hub, models: Path) -> None:
    hub.put("maker/tool", "v1.0/r.pth", DATA)
    release = row("r.pth", repo="github:maker/tool", revision="v1.0", folder="facexlib")
    hub.knobs.cut_after, hub.knobs.cuts = 100_000, 1
    assert run(hub, models, release).ok
    assert (models / "facexlib/r.pth").read_bytes() == DATA and states(models, release) == ["present"]
    untagged = failure(run(hub, models, row("x.pth", repo="github:maker/tool", revision=None)))
    assert isinstance(untagged, ModelNotFoundError) and "tag" in untagged.hint
    gone = failure(run(hub, models, row("x.pth", repo="github:maker/tool", revision="v1.0")))
    assert isinstance(gone, ModelNotFoundError) and "/releases" in gone.hint


def test_a_file_put_there_by_hand_is_hashed_not_downloaded(hub: Hub, models: Path) -> None:
    path = models / "checkpoints/a.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert states(models, row(data=DATA)) == ["unverified"]
    assert [item.outcome for item in run(hub, models, row(data=DATA)).files] == ["verified"]
    assert states(models, row(data=DATA)) == ["present"] and hub.seen.requests == []


def test_a_file_put_there_by_hand_without_a_known_hash_is_compared_with_the_hub(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    path = models / "checkpoints/a.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert [item.outcome for item in run(hub, models, row()).files] == ["verified"] and hub.count("store") == 0


def test_a_wrong_file_is_replaced_only_by_the_right_one(hub: Hub, models: Path) -> None:
    path = models / "checkpoints/a.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"short")
    hub.put("maker/model", "a.safetensors", DATA, sent=DATA[::-1])
    assert states(models, row(data=DATA)) == ["wrong_size"]
    assert not run(hub, models, row(data=DATA)).ok and path.read_bytes() == b"short"
    hub.put("maker/model", "a.safetensors", DATA)
    assert run(hub, models, row(data=DATA)).ok and path.read_bytes() == DATA


def test_verify_reads_every_byte(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.put("maker/model", "b.safetensors", DATA)
    rows = [row(data=DATA), row("b.safetensors", DATA), row("c.safetensors", DATA)]
    run(hub, models, *rows[:2])
    (models / "checkpoints/b.safetensors").write_bytes(b"x" + DATA[1:])
    assert states(models, *rows) == ["present", "present", "missing"]
    seen: list[SyncProgress] = []
    assert [item.state for item in verify(rows, models, seen.append)] == ["present", "wrong_hash", "missing"]
    assert seen[-1].bytes == seen[-1].total == 2 * len(DATA)
    assert not [item for item in verify(rows, models) if item.actual_sha256 == SHA and item.state != "present"]


@pytest.mark.parametrize("wanted", [row(data=DATA), row(revision=None)])
def test_what_verify_found_damaged_is_mended_by_the_next_sync(hub: Hub, models: Path, wanted: Weights) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    run(hub, models, wanted)
    path = models / "checkpoints/a.safetensors"
    path.write_bytes(b"x" + DATA[1:])
    verify([wanted], models)
    assert states(models, wanted) == ["wrong_hash"]
    assert [item.outcome for item in run(hub, models, wanted).files] == ["downloaded"] and path.read_bytes() == DATA
    assert states(models, wanted) == ["present"] == [item.state for item in verify([wanted], models)]


def test_a_damaged_file_that_was_mended_by_hand_is_believed_after_verify(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    run(hub, models, row(revision=None))
    path = models / "checkpoints/a.safetensors"
    for content, state in ((DATA[::-1], "wrong_hash"), (DATA, "present")):
        path.write_bytes(content)
        verify([row(revision=None)], models)
        assert states(models, row(revision=None)) == [state]


def test_a_row_that_names_a_new_hash_brings_the_new_file(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    run(hub, models, row(data=DATA))
    newer = noise(400_000, 5)
    hub.put("maker/model", "a.safetensors", newer)
    assert states(models, row(data=newer)) == ["wrong_hash"]
    assert run(hub, models, row(data=newer)).ok and (models / "checkpoints/a.safetensors").read_bytes() == newer


def test_progress_rises_to_the_total_and_comes_at_most_ten_times_a_second(hub: Hub, models: Path) -> None:
    hub.knobs.speed = 400_000
    hub.put("maker/model", "a.safetensors", DATA)
    seen: list[tuple[float, SyncProgress]] = []
    caller = threading.get_ident()

    def show(progress: SyncProgress) -> None:
        assert threading.get_ident() == caller
        seen.append((time.monotonic(), progress))

    assert run(hub, models, row(data=DATA), progress=show).ok
    took = seen[-1][0] - seen[0][0]
    assert 4 <= len(seen) <= took * 10 + 2
    amounts = [progress.bytes for _, progress in seen]
    assert amounts == sorted(amounts) and amounts[-1] == seen[-1][1].total == len(DATA)
    middle = [progress for _, progress in seen if 0.3 * len(DATA) < progress.bytes < 0.8 * len(DATA)]
    assert middle and all(0 < item.bytes_per_second < 4 * 400_000 for item in middle)  # less on a machine that stands still
    assert all((item.seconds_left or 99) < 4 * took for item in middle)
    assert {item.stage for _, progress in seen for item in progress.files} >= {"downloading", "done"}


def test_commit_is_called_after_files_came_and_only_then(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    there: list[bool] = []
    run(hub, models, row(data=DATA), commit=lambda: there.append((models / "checkpoints/a.safetensors").exists()))
    assert there == [True]
    run(hub, models, row(data=DATA), row("gone.bin"), commit=lambda: there.append(False))
    assert there == [True]


def test_a_caller_that_breaks_off_stops_the_downloads(hub: Hub, models: Path) -> None:
    hub.knobs.speed = 50_000
    hub.put("maker/model", "a.safetensors", DATA)

    def give_up(progress: SyncProgress) -> None:
        if progress.bytes > 40_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(hub, models, row(data=DATA), progress=give_up)
    assert hub.sent < len(DATA) and states(models, row(data=DATA)) == ["partial"]


def test_a_hub_cache_of_this_machine_saves_the_download(hub: Hub, models: Path, tmp_path: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    blob = tmp_path / "cache/models--maker--model/blobs" / SHA
    blob.parent.mkdir(parents=True)
    blob.write_bytes(DATA)
    report = run(hub, models, row(data=DATA), cache=tmp_path / "cache")
    assert [item.outcome for item in report.files] == ["copied"] and report.downloaded == hub.count("store") == 0
    assert (models / "checkpoints/a.safetensors").stat().st_ino == blob.stat().st_ino, "one copy on disk"


def test_a_damaged_hub_cache_is_not_believed(hub: Hub, models: Path, tmp_path: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    blob = tmp_path / "cache/models--maker--model/blobs" / SHA
    blob.parent.mkdir(parents=True)
    blob.write_bytes(DATA[::-1])
    assert [item.outcome for item in run(hub, models, row(data=DATA), cache=tmp_path / "cache").files] == ["downloaded"]


def test_the_rest_of_another_revision_is_not_continued(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 200_000, 1
    run(hub, models, row(data=DATA), tries=1)
    newer = noise(300_000, 9)
    hub.put("maker/model", "a.safetensors", newer)
    assert [item.outcome for item in run(hub, models, row(data=newer)).files] == ["downloaded"]
    assert leftovers(models) == [] and hub.seen.starts == [0, 0]


def test_a_folder_on_another_disk_is_fine(hub: Hub, models: Path) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no second filesystem here")
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        models.mkdir()
        (models / "checkpoints").symlink_to(elsewhere)
        hub.put("maker/model", "a.safetensors", DATA)
        assert run(hub, models, row(data=DATA)).ok and (elsewhere / "a.safetensors").read_bytes() == DATA
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


def test_every_row_of_the_table_has_a_place_of_its_own(models: Path) -> None:
    from ryla_gen.models.weights_table import all_weights

    found = status(all_weights(), models)
    assert len({item.path for item in found}) == len({item.label for item in all_weights()}) == len(found)
    assert all(item.state == "missing" and item.path.is_relative_to(models) for item in found)
