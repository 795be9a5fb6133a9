"""The journal: written before anything is spent, shared by processes, and never in the way of a generation."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ryla_gen.errors import InternalError, InvalidInputError
from ryla_gen.events import now
from ryla_gen.history import History, Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new home" / "history.sqlite3"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    history = History(path)
    yield history
    history.close()


def add(history: History, workflow: str = "flux_dev", **more: object) -> str:
    job = str(uuid.uuid4())
    history.record(job, backend="emulator", workflow=workflow, inputs={"prompt": "a lighthouse"}, **more)  # type: ignore[arg-type]
    return job


def got(history: History, job: str) -> Record:
    record = history.get(job)
    assert record is not None
    return record


def columns_on_disk(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]


def test_a_job_comes_back_as_it_was_recorded_and_updated(history: History) -> None:
    job = str(uuid.uuid4())
    history.record(
        job, backend="modal", workflow="flux", inputs={"prompt": "灯台 🗼", "steps": 4, "loras": [{"id": "x"}]}, tags=("a", "b")
    )
    before = got(history, job)
    assert (before.state, before.handle, before.seed, before.tags, before.cost_usd) == ("queued", None, None, ["a", "b"], None)
    assert before.inputs == {"prompt": "灯台 🗼", "steps": 4, "loras": [{"id": "x"}]}
    history.update(job, handle="modal:fc-1", state="running", started_at=now())
    history.update(job, state="succeeded", finished_at=now(), seed=2**64 - 1, gpu="L40S", gpu_seconds=11.5, cost_usd=0.006)
    history.update(job, outputs=[{"name": "a.png", "bytes": 5}], error=None)
    after = got(history, job)
    assert (after.state, after.handle, after.seed, after.gpu) == ("succeeded", "modal:fc-1", 2**64 - 1, "L40S")
    assert (after.gpu_seconds, after.cost_usd, after.outputs) == (11.5, 0.006, [{"name": "a.png", "bytes": 5}])
    assert history.warnings == []


def test_the_table_is_the_one_of_the_contract_and_seeds_are_text(history: History, path: Path) -> None:
    job = add(history, seed=2**64 - 1)
    wanted = "id handle backend workflow inputs state error seed created_at started_at finished_at"
    wanted += " gpu gpu_seconds cost_usd outputs tags parent"
    later = "reserved_usd expires_at skipped saved server process output_to user"
    assert columns_on_disk(path) == [*wanted.split(), *later.split()]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT seed, typeof(seed) FROM jobs WHERE id = ?", (job,)).fetchone() == (
            "18446744073709551615",
            "text",
        )
        assert connection.execute("PRAGMA user_version").fetchone() == (4,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    History(path).close()
    assert not path.parent.exists()


def test_folder_and_files_are_readable_by_their_owner_only(history: History, path: Path) -> None:
    before = os.umask(0)
    try:
        add(history)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = list(path.parent.iterdir())
    assert len(files) == 3  # the database, its write-ahead log, its index
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_pictures_are_never_stored(history: History, path: Path) -> None:
    job = str(uuid.uuid4())
    url = "data:image/png;base64,SECRETFACE"
    inputs = {
        "reference_image": b"SECRETFACE" * 100,
        "images": {"a": bytearray(b"SECRETFACE")},
        "list": [memoryview(b"SECRETFACE"), url],
    }
    history.record(job, backend="modal", workflow="instantid", inputs=inputs)
    stored = got(history, job).inputs
    assert stored["reference_image"]["bytes"] == 1000
    assert len(stored["images"]["a"]["sha256"]) == 64
    history.close()
    assert b"SECRETFACE" not in path.read_bytes()


def test_values_that_json_or_sqlite_do_not_know_cost_no_job(history: History) -> None:
    job = str(uuid.uuid4())
    inputs = {"nan": float("nan"), "path": Path("a"), "lone": "\ud800", 7: (1, 2), "big": 2**200}
    history.record(job, backend="emulator", workflow="\ud800", inputs=inputs, seed=2**200)  # type: ignore[dict-item]
    assert got(history, job).inputs == {"nan": "nan", "path": "a", "lone": "\ud800", "7": [1, 2], "big": 2**200}
    assert history.warnings == []


def test_a_job_is_found_by_id_handle_and_a_beginning_that_no_other_has(history: History) -> None:
    for job in ("aaaa1111-0000", "aaaa2222-0000", "bbbb1111-0000"):
        history.record(job, backend="modal", workflow="flux", inputs={}, handle=f"modal:fc-{job[:5]}")
    assert got(history, "aaaa1111-0000").id == "aaaa1111-0000"
    assert got(history, "modal:fc-bbbb1").id == "bbbb1111-0000"
    assert got(history, " AAAA2 ").id == "aaaa2222-0000"
    with pytest.raises(InvalidInputError, match="aaaa1111-0000"):
        history.get("aaaa")
    for unknown in ("", "cccc", "%", "_aaa1111", "*"):
        assert history.get(unknown) is None


def test_jobs_are_listed_newest_first_and_by_what_is_asked(history: History) -> None:
    first, second = add(history, tags=["a", "b"]), add(history, workflow="wan2", tags=["b"])
    history.update(second, state="failed", error={"code": "internal"})
    third = add(history, parent=first)
    assert [item.id for item in history.list()] == [third, second, first]
    assert [item.id for item in history.list(limit=1)] == [third]
    assert len(history.list(limit=None)) == 3
    assert [item.id for item in history.list(workflow="wan2")] == [second]
    assert [item.id for item in history.list(state="failed")] == [second]
    assert [item.id for item in history.list(tags=["b"])] == [second, first]
    assert [item.id for item in history.list(tags=["a", "b"])] == [first]
    assert [item.id for item in history.list(parent=first)] == [third]
    history.saved(second, [Path("/tmp/hübsch/a.png")])
    history.saved(third, [Path("/tmp/other/a.png")])
    assert [item.id for item in history.list(saved_in=Path("/tmp/hübsch"))] == [second]
    assert history.list(backend="modal") == []
    assert history.list(since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(history.list(since="2020-01-01")) == 3
    with pytest.raises(InvalidInputError, match="not a valid date"):
        history.list(since="yesterday")


def test_the_money_spent_since_an_instant_is_summed(history: History) -> None:
    assert history.spent_usd("2020-01-01") == 0
    for cost in (0.25, 0.5):
        history.update(add(history), cost_usd=cost)
    add(history)
    assert history.spent_usd("2020-01-01") == 0.75
    assert history.spent_usd(datetime.now(UTC) + timedelta(seconds=1)) == 0


def test_a_late_event_does_not_set_an_ended_job_back(history: History) -> None:
    job = add(history)
    history.update(job, state="succeeded", cost_usd=1)
    history.update(job, state="running", gpu="L40S")
    assert (got(history, job).state, got(history, job).gpu) == ("succeeded", "L40S")


def test_a_column_that_is_not_there_or_is_fixed_is_our_own_fault(history: History) -> None:
    for name in ("colour", "id", "created_at"):
        with pytest.raises(InternalError, match=name):
            history.update(add(history), **{name: "x"})


def test_a_job_recorded_twice_stays_as_it_was(history: History) -> None:
    job = add(history)
    history.update(job, state="succeeded")
    history.record(job, backend="modal", workflow="other", inputs={})
    assert (got(history, job).state, got(history, job).workflow) == ("succeeded", "flux_dev")


def test_it_may_be_used_after_it_was_closed(history: History) -> None:
    job = add(history)
    history.close()
    history.update(job, state="succeeded")
    assert got(history, job).state == "succeeded"


def test_a_write_takes_little_longer_than_sqlite_s_own(history: History, path: Path) -> None:
    """Twice as long where it was measured: side by side, because a busy machine makes both longer."""
    job, times, plain = add(history), list[float](), list[float]()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA synchronous = NORMAL")
        for index in range(200):
            started = time.perf_counter()
            history.update(job, gpu_seconds=index)
            between = time.perf_counter()
            other.execute("UPDATE jobs SET gpu_seconds = ? WHERE id = ?", (index, job))
            times.append(between - started)
            plain.append(time.perf_counter() - between)
    assert sorted(times)[100] < 10 * sorted(plain)[100]


def test_many_threads_may_write_at_once(history: History) -> None:
    threads = [threading.Thread(target=lambda: [add(history) for _ in range(25)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.list(limit=None)) == 200
    assert history.warnings == []


WORKER = """
import sys, uuid
from pathlib import Path
from ryla_gen.history import History, journal_file
journal_file.BUSY_SECONDS = 240.0  # a busy machine may let one of them wait for longer than two seconds
history = History(Path(sys.argv[1]))
sys.stdin.readline()
for index in range(50):
    job = str(uuid.uuid4())
    history.record(job, backend="emulator", workflow="flux", inputs={"index": index})
    history.update(job, state="succeeded", cost_usd=0.5)
print(history.warnings)
"""


def test_four_processes_write_fifty_jobs_each_into_a_file_that_none_has_made_yet(history: History, path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(path)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=600)[0].strip() for worker in workers] == ["[]"] * 4
    assert len(history.list(limit=None, state="succeeded")) == 200
    assert history.spent_usd("2020-01-01") == 100


FORKING = """
import os, sys
from pathlib import Path
from ryla_gen.history import History

history = History(Path(sys.argv[1]))
history.record("a", backend="emulator", workflow="flux_dev", inputs={}, seed=1)
child = os.fork()
if child == 0:
    history.record("b", backend="emulator", workflow="child", inputs={}, seed=1)
    history.close()
    os._exit(0)
os.waitpid(child, 0)
history.record("c", backend="emulator", workflow="flux_dev", inputs={}, seed=1)
print(sorted(item.workflow for item in history.list()))
"""


def test_a_forked_child_opens_the_file_itself(path: Path) -> None:
    # In a process of its own: forking this one, with its threads, could stop the child for ever.
    done = subprocess.run([sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == "['child', 'flux_dev', 'flux_dev']"


# -- files that do not work -------------------------------------------------------------------------------------------


def spoilt(path: Path, history: History) -> bytes:
    """A journal with thousands of jobs, one of whose pages was overwritten."""
    for _ in range(300):
        add(history)
    history.close()
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = os.urandom(len(data) - 4096 - 8192)
    return bytes(data)


@pytest.mark.parametrize("kind", ["text", "random", "overwritten"])
def test_a_corrupt_file_is_set_aside_and_a_fresh_one_begun(kind: str, history: History, path: Path) -> None:
    path.parent.mkdir()
    bad = {"text": b"this is no database, but a text " * 200, "random": os.urandom(50_000)}.get(kind) or spoilt(path, history)
    path.write_bytes(bad)
    jobs = [add(history) for _ in range(3)]
    history.list(limit=None)
    jobs.append(add(history))
    assert {item.id for item in history.list(limit=None)} >= {jobs[-1]}
    aside = [file for file in path.parent.iterdir() if file.name.startswith("history.corrupt-")]
    assert [file.suffix for file in aside] == [".sqlite3"]
    assert aside[0].stat().st_size >= len(bad)
    assert len(history.warnings) == 1
    assert aside[0].name in history.warnings[0]
    if kind != "overwritten":
        assert {item.id for item in history.list(limit=None)} == set(jobs)


def test_two_users_of_a_corrupt_file_set_it_aside_once(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    one, two = History(path), History(path)
    jobs = {add(one), add(two), add(one)}
    assert {item.id for item in two.list()} == jobs
    assert len([file for file in path.parent.iterdir() if "corrupt" in file.name]) == 1
    one.close()
    two.close()


def test_a_locked_file_delays_once_and_its_jobs_are_written_later(
    history: History, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = add(history)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.perf_counter()
        second = add(history)
        assert time.perf_counter() - started < 60, "it does not wait until the other one is done"
        started = time.perf_counter()
        for _ in range(5):
            history.update(second, state="running")
        assert time.perf_counter() - started < 9, "each would have waited two seconds as the first did"
        assert [item.id for item in history.list()] == [first]
        assert len(history.warnings) == 1
        assert "locked" in history.warnings[0]
        assert len(caplog.records) == 1
        other.execute("ROLLBACK")
    history.update(first, state="succeeded")
    assert {item.id: item.state for item in history.list()} == {first: "succeeded", second: "running"}


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder on a disk that cannot be written: for root a real read-only mount, for others permissions."""
    disk = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    mounted = subprocess.run(disk, capture_output=True).returncode == 0
    if not mounted and os.geteuid() == 0:
        pytest.skip("root may write everywhere, and no disk can be mounted here")
    try:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            folder.chmod(0o500)
        yield
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o700)


@pytest.mark.parametrize("nested", [False, True])
def test_a_read_only_folder_costs_a_warning_and_no_generation(nested: bool, path: Path) -> None:
    path.parent.mkdir()
    with read_only(path.parent):
        history = History(path.parent / "deeper" / path.name if nested else path)
        job = add(history)
        history.update(job, state="succeeded")
        assert history.get(job) is None
        assert history.spent_usd("2020-01-01") == 0
        assert [text for text in history.warnings if "could not be written" in text] == history.warnings[:1]
        assert len(history.warnings) <= 2
        history.close()


def test_a_folder_in_place_of_the_file_costs_a_warning(history: History, path: Path) -> None:
    path.mkdir(parents=True)
    add(history)
    assert history.list() == []
    assert "could not be written" in history.warnings[0]


def test_a_file_of_a_newer_version_is_left_alone(history: History, path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (id TEXT, everything JSON)")
        connection.execute("PRAGMA user_version = 99")
    add(history)
    assert history.list() == []
    assert len(history.warnings) == 1
    assert "newer version" in history.warnings[0]
    history.close()
    assert columns_on_disk(path) == ["id", "everything"]


def test_a_damaged_cell_does_not_hide_the_job(history: History, path: Path) -> None:
    job = add(history)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE jobs SET inputs = '{broken', seed = 'x', outputs = ''")
    record = got(history, job)
    assert (record.inputs, record.seed, record.outputs) == ({}, None, [])


def test_a_record_is_plain_enough_for_json(history: History) -> None:
    record = got(history, add(history, seed=7, tags=["a"]))
    assert json.loads(json.dumps({name: getattr(record, name) for name in Record.__dataclass_fields__}))["seed"] == 7
