"""The outbox: what is to be told stands in the journal until it was, and one process at a time tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.delivery import outbox as delivery
from ryla_gen.delivery.outbox import LEASE, tell_due, tell_recorded
from ryla_gen.delivery.signatures import read_secrets
from ryla_gen.delivery.webhook_events import event_id, failure_event
from ryla_gen.delivery.webhooks import Webhook
from ryla_gen.errors import NodeFailedError
from ryla_gen.history import History
from ryla_gen.history.schema import MIGRATIONS
from ryla_gen.history.webhooks import Outbox
from ryla_gen.settings import Settings

from .receiver import Receiver, serving
from .test_webhooks import QUICK, SECRET

ROOT = Path(__file__).resolve().parents[2]
URL = "https://example.com/hook?token=TOKEN"
LATER = datetime.now(UTC) + timedelta(hours=2)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with contextlib.closing(History(tmp_path / "home" / "history.sqlite3")) as made:
        yield made


@pytest.fixture
def outbox(history: History) -> Outbox:
    return Outbox(history)


def event(job: str = "job-1") -> dict[str, Any]:
    return failure_event(NodeFailedError("x"), job=job, workflow="flux", backend="modal")


def rows(history: History) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(history.path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM webhooks ORDER BY job, url")]


def settings(**env: str) -> Settings:
    allowed = {"RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true", "RYLA_GEN_WEBHOOK_SECRET": SECRET}
    return Settings.load({"RYLA_GEN_HOME": "/nowhere", **allowed, **env})


# -- the journal -----------------------------------------------------------------------------------------------------------------


def test_an_event_is_due_once_and_again_when_nothing_came_of_it(outbox: Outbox) -> None:
    outbox.add("job-1", URL, event())
    [due] = outbox.take_due(5, 60.0)
    assert (due.job, due.url, due.event, due.tries) == ("job-1", URL, event() | {"timestamp": due.event["timestamp"]}, 1)
    assert "TOKEN" not in repr(due)
    assert outbox.take_due(5, 60.0) == []
    [again] = outbox.take_due(5, 60.0, at=datetime.now(UTC) + timedelta(seconds=61))
    assert again.tries == 2
    assert outbox.waiting() == 1


def test_what_was_told_or_given_up_is_never_due_again_and_its_event_is_gone(history: History, outbox: Outbox) -> None:
    for job in ("a", "b"):
        outbox.add(job, URL, event(job))
    outbox.told("a", URL)
    outbox.give_up("b", URL, "answered 410")
    for job in ("a", "b"):
        outbox.add(job, URL, event(job))  # the same end, seen by another process
        outbox.postpone(job, URL, 0.0, "late") if job == "a" else None
    assert outbox.take_due(5, 60.0, at=LATER) == []
    assert outbox.waiting() == 0
    first, second = rows(history)
    assert (first["event"], first["given_up_at"], first["reason"]) == (None, None, None)
    assert first["told_at"] is not None
    assert (second["event"], second["told_at"], second["reason"]) == (None, None, "answered 410")


def test_the_oldest_come_first_and_no_more_than_asked_for(outbox: Outbox) -> None:
    for number in range(5):
        outbox.add(f"job-{number}", URL, event(), due_in=-number)
    assert {due.job for due in outbox.take_due(2, 60.0)} == {"job-4", "job-3"}
    assert {due.job for due in outbox.take_due(9, 60.0)} == {"job-0", "job-1", "job-2"}


def test_what_this_process_tells_itself_is_due_for_others_only_later(outbox: Outbox) -> None:
    outbox.add("job-1", URL, event(), due_in=LEASE)
    assert outbox.take_due(5, 60.0) == []
    assert len(outbox.take_due(5, 60.0, at=LATER)) == 1
    outbox.add("job-2", URL, event())
    outbox.postpone("job-2", URL, 600.0, "answered 500")
    assert outbox.take_due(5, 60.0) == []


def test_a_webhook_is_registered_before_the_job_is_sent_and_its_first_end_stands(outbox: Outbox) -> None:
    outbox.register("job-1", URL, include_prompt=True)
    outbox.register("job-1", "https://example.com/other")
    outbox.register("job-1", URL)
    assert sorted(outbox.registered("job-1")) == [
        ("https://example.com/hook?token=TOKEN", True),
        ("https://example.com/other", False),
    ]
    assert outbox.take_due(5, 60.0, at=LATER) == [], "the job has not ended"
    first = event()
    outbox.add("job-1", URL, first)
    outbox.add("job-1", URL, {**event(), "type": "job.succeeded"})
    assert [url for url, _ in outbox.registered("job-1")] == ["https://example.com/other"]
    assert [due.event for due in outbox.take_due(5, 60.0)] == [first]


@pytest.mark.parametrize("held", ["", "{", "[]", '"x"', "nonsense", "{}x"])
async def test_a_damaged_event_is_given_up_and_holds_nothing_up(held: str, history: History, outbox: Outbox) -> None:
    outbox.add("job-1", URL, event())
    with contextlib.closing(sqlite3.connect(history.path)) as connection, connection:
        connection.execute("UPDATE webhooks SET event = ?", (held,))
    [done] = await tell_due(history, settings())
    assert (done.given_up, done.told.delivered) == (True, False)
    assert outbox.waiting() == 0


def test_the_journal_of_the_version_before_gets_the_table_and_keeps_its_jobs(history: History, outbox: Outbox) -> None:
    version = max(MIGRATIONS)
    history.path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(history.path)) as old, old:
        for before in range(version):
            old.executescript(MIGRATIONS[before])
        old.execute(f"PRAGMA user_version = {version}")
        old.execute(
            "INSERT INTO jobs (id, backend, workflow, inputs, state, created_at, tags) VALUES ('a','x','y','{}','queued','','')"
        )
    outbox.add("job-1", URL, event())
    assert [item.id for item in history.list()] == ["a"]
    assert len(outbox.take_due(5, 60.0)) == 1
    assert history.warnings == []


def test_the_token_is_readable_by_its_owner_only(history: History, outbox: Outbox) -> None:
    outbox.add("job-1", URL, event())
    assert {oct(file.stat().st_mode & 0o777) for file in history.path.parent.iterdir()} == {"0o600"}


TAKE = """
import json, sys
from pathlib import Path
from ryla_gen.history import History, journal_file
from ryla_gen.history.webhooks import Outbox
journal_file.BUSY_SECONDS = 240.0  # a busy machine may let one of them wait for longer than two seconds
outbox = Outbox(History(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
taken = []
while due := outbox.take_due(1, 600.0):
    taken += [item.job for item in due]
print(json.dumps(taken))
"""


def test_two_processes_never_take_the_same_event(history: History, outbox: Outbox) -> None:
    jobs = [str(uuid.uuid4()) for _ in range(60)]
    for job in jobs:
        outbox.add(job, URL, event(job))
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    line = [sys.executable, "-c", TAKE, str(history.path)]
    pair = [subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    first, second = (json.loads(process.communicate(timeout=240)[0]) for process in pair)
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(jobs), "each once"


# -- telling what it holds -------------------------------------------------------------------------------------------------------


async def test_an_event_is_written_down_told_and_marked(history: History, outbox: Outbox) -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        told = await tell_recorded(history, Webhook(url, read_secrets(SECRET), allow_private=True), event())
    assert told.delivered
    assert outbox.waiting() == 0
    assert rows(history)[0]["told_at"] is not None


async def test_a_process_that_dies_while_it_tells_leaves_the_event_to_the_next(history: History, outbox: Outbox) -> None:
    """Killed, not interrupted: nothing of it can tidy up."""
    receiver = Receiver(["hang", 204])
    script = (
        "import asyncio, json, sys\nfrom pathlib import Path\nfrom ryla_gen.delivery.outbox import tell_recorded\n"
        "from ryla_gen.delivery.webhooks import check_webhook\n"
        "from ryla_gen.history import History\nfrom ryla_gen.settings import Settings\n"
        "path, url, event = sys.argv[1:]\n"
        "asyncio.run(tell_recorded(History(Path(path)), check_webhook(url, Settings.load()), json.loads(event)))\n"
    )
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env |= {"RYLA_GEN_WEBHOOK_SECRET": SECRET, "RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true"}
    async with serving(receiver) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(history.path), url, json.dumps(event()), env=env
        )
        await receiver.arrived.wait()
        process.kill()
        await process.wait()
        assert outbox.take_due(5, 60.0) == [], "it may still be at it"
        assert outbox.waiting() == 1
        [due] = outbox.take_due(5, 0.0, at=datetime.now(UTC) + timedelta(seconds=LEASE + 1))
        assert due.event == json.loads(receiver.came[0][1])
        outbox.postpone(due.job, due.url, -1.0, "")
        [done] = await tell_due(history, settings())
    assert done.told.delivered
    assert [headers["webhook-id"] for headers, _ in receiver.came] == [event_id(event())] * 2
    assert outbox.waiting() == 0


async def test_what_was_not_taken_is_due_later_each_time_after_a_longer_pause(history: History, outbox: Outbox) -> None:
    receiver = Receiver([500])
    async with serving(receiver) as url:
        outbox.add("job-1", url, event())
        pauses = []
        for _ in range(9):
            before = datetime.now(UTC)
            [done] = await tell_due(history, settings())
            assert (done.job, done.given_up, done.told.tries) == ("job-1", False, 1)
            [row] = rows(history)
            took = datetime.now(UTC) - before
            pauses.append((datetime.fromisoformat(row["next_try"]) - before - took / 2, took / 2))
            assert row["reason"] == "answered 500"
            outbox.postpone("job-1", url, -1.0, "")
    for number, seconds in ((0, 60), (1, 120), (8, 3600)):
        pause, unsure = pauses[number]
        assert timedelta(seconds=0.7 * seconds) - unsure < pause <= timedelta(seconds=seconds) + unsure
    assert len(receiver.came) == 9


async def test_a_refusal_is_given_up_and_said(history: History, outbox: Outbox) -> None:
    async with serving(Receiver([410])) as url:
        outbox.add("job-1", url, event())
        [done] = await tell_due(history, settings())
    assert done.given_up
    assert rows(history)[0]["reason"] == "answered 410, it wants no more events"
    assert await tell_due(history, settings()) == []


async def test_an_event_is_given_up_after_three_days_or_a_hundred_tries(history: History, outbox: Outbox) -> None:
    async with serving(Receiver([503])) as url:
        outbox.add("old", url, event("old"), at=datetime.now(UTC) - delivery.GIVE_UP_AFTER)
        outbox.add("often", url, event("often"))
        outbox.add("young", url, event("young"))
        with contextlib.closing(sqlite3.connect(history.path)) as connection, connection:
            connection.execute("UPDATE webhooks SET tries = 99 WHERE job = 'often'")
        done = {item.job: item.given_up for item in await tell_due(history, settings())}
    assert done == {"old": True, "often": True, "young": False}


async def test_a_secret_that_is_missing_now_costs_no_event(history: History, outbox: Outbox) -> None:
    outbox.add("job-1", URL, event())
    [done] = await tell_due(history, settings(RYLA_GEN_WEBHOOK_SECRET=""))
    assert (done.given_up, done.told.tries) == (False, 0)
    assert "no secret" in str(done.told)
    assert "TOKEN" not in str(done.told)
    assert outbox.waiting() == 1


async def test_many_are_told_at_once_and_one_that_hangs_holds_up_none_of_the_others(history: History, outbox: Outbox) -> None:
    hanging, quick = Receiver(["hang"]), Receiver()
    async with serving(hanging) as stuck, serving(quick) as url:
        outbox.add("stuck", stuck, event("stuck"))
        for number in range(20):
            outbox.add(f"job-{number}", url, event(f"job-{number}"))
        done = await tell_due(history, settings(), seconds=10.0)
    assert {item.job for item in done if not item.told.delivered} == {"stuck"}
    assert len(quick.came) == 20
    assert len({headers["webhook-id"] for headers, _ in quick.came}) == 20


async def test_a_journal_that_cannot_be_used_costs_no_telling(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").mkdir()
    history, receiver = History(tmp_path / "history.sqlite3"), Receiver()
    async with serving(receiver) as url:
        told = await tell_recorded(history, Webhook(url, read_secrets(SECRET), allow_private=True), event(), **QUICK)
    assert told.delivered
    assert history.warnings
