"""Users of an app: who a job ran for, what each may take, and that several processes share one count."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux, Settings, load, telemetry
from ryla_gen.backends.rates import rate_of
from ryla_gen.characters import Characters
from ryla_gen.client.requests import check_batch
from ryla_gen.costs import budget
from ryla_gen.costs.admission import admit
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BudgetExceededError, InvalidInputError, RylaGenError, StorageFailedError, TooManyRequestsError
from ryla_gen.history import History, users
from ryla_gen.history.base import to_timestamp
from ryla_gen.history.users import KEY_FILE
from ryla_gen.telemetry.sinks import posthog_event
from ryla_gen_cli import app

pytestmark = pytest.mark.usefixtures("one_day")

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256, "seed": 7, "steps": 1}
ANA = "ana@example.org"


@pytest.fixture
def history(clean_environment: Path) -> Iterator[History]:
    with contextlib.closing(History(Settings.load().history_path)) as made:
        yield made


def enter(history: History, backend: str = "modal", user: str | None = ANA, job: str | None = None, **limits: Any) -> str:
    """Admit a job of a user, as a client does before it sends one."""
    found, asked = Settings.load(backend=backend, comfyui_url=limits.pop("url", None), **limits), Flux(**SMALL)
    name = job or str(uuid.uuid4())
    admit(history, found, asked, backend, rate_of(asked, backend, found), job=name, user=user)
    return name


def stored(home: Path) -> list[str | None]:
    with contextlib.closing(sqlite3.connect(home / "history.sqlite3")) as file:
        return [row[0] for row in file.execute("SELECT user FROM jobs ORDER BY created_at, rowid")]


def test_a_job_is_found_by_its_user_and_its_cost_is_summed(clean_environment: Path) -> None:
    with Client("emulator") as client:
        made = client.run(Flux(**SMALL), user=ANA)
        client.submit(Flux(**SMALL), user="ben").result()
        assert len(list(client.map([Flux(**SMALL)] * 2, user="ben"))) == 2
        client.run(Flux(**SMALL))
        assert [item.id for item in client.jobs.list(user=ANA)] == [made.job]
        assert len(client.jobs.list(user="ben")) == 3
        assert {row.key: row.jobs for row in client.costs("user")} == {ANA: 1, "ben": 3, "": 1}
    assert stored(clean_environment) == [ANA, "ben", "ben", "ben", None]


def test_neither_the_file_nor_the_server_is_told_the_user(server: Emulator, tmp_path: Path) -> None:
    with Client(url=server.url) as client:
        made = client.run(Flux(**SMALL), user=ANA)
        (path,) = made.save(tmp_path / "fox.png")
    assert ANA.encode() not in path.read_bytes()
    assert load(path) == made.workflow
    assert ANA not in json.dumps(server.queue.history())


@pytest.mark.parametrize("user", ["", " ", "a\nb", "a\x00b", "x" * 201, "\ud800", 7, b"ana"])
def test_what_cannot_be_a_user_is_refused_before_anything_is_sent(user: Any) -> None:
    with Client("emulator") as client:
        with pytest.raises(InvalidInputError, match="user's id"):
            client.run(Flux(**SMALL), user=user)
        assert client.jobs.list() == []


def test_the_journal_keeps_a_hash_when_asked_and_the_same_user_is_the_same(clean_environment: Path) -> None:
    with Client(settings=Settings.load(backend="emulator", users_hash=True)) as client:
        client.run(Flux(**SMALL), user=ANA)
        client.run(Flux(**SMALL), user=ANA)
        client.run(Flux(**SMALL), user="ben")
        assert len(client.jobs.list(user=ANA)) == 2
    first, second, other = stored(clean_environment)
    assert first == second != other
    assert str(first).startswith("hmac:")
    assert stat.S_IMODE((clean_environment / KEY_FILE).stat().st_mode) == 0o600
    held = b"".join(path.read_bytes() for path in clean_environment.glob("history.sqlite3*"))
    assert ANA.encode() not in held


def test_a_limit_holds_over_a_change_of_the_setting(history: History) -> None:
    enter(history, users_max_running=2)
    enter(history, users_max_running=2, users_hash=True)
    for hashed in (True, False):
        with pytest.raises(TooManyRequestsError):
            enter(history, users_max_running=2, users_hash=hashed)
    enter(history, user="ben", users_max_running=2)


def test_a_damaged_key_makes_no_second_user_of_one(history: History) -> None:
    enter(history, users_hash=True)
    (history.path.parent / KEY_FILE).write_bytes(b"short")
    with pytest.raises(StorageFailedError, match="5 bytes"):
        enter(history, users_hash=True)


def test_a_user_s_day_is_a_budget_of_its_own(history: History) -> None:
    job = enter(history, users_max_usd_per_day=0.02)
    with pytest.raises(BudgetExceededError) as caught:
        enter(history, users_max_usd_per_day=0.0001)
    assert caught.value.details["setting"] == "users.max_usd_per_day"
    assert ANA not in str(caught.value)
    held = history.get(job)
    assert held is not None
    assert held.reserved_usd == caught.value.details["held_usd"]
    history.update(job, state="succeeded", cost_usd=0.5)
    with pytest.raises(BudgetExceededError) as caught:
        enter(history, users_max_usd_per_day=0.02)
    assert caught.value.details["spent_usd"] == 0.5
    enter(history, user="ben", users_max_usd_per_day=0.02)
    enter(history, user=None, users_max_usd_per_day=0.02)
    assert len(history.list()) == 3


def test_what_is_left_of_the_user_s_day_bounds_how_long_a_job_may_run(history: History) -> None:
    found, asked = Settings.load(backend="modal", users_max_usd_per_day=0.004), Flux(**SMALL)
    rate = rate_of(asked, "modal", found)
    entered = admit(history, found, asked, "modal", rate, job="a", user=ANA)
    assert entered.timeout is not None
    assert entered.timeout * rate.most <= 0.004


def test_only_so_many_jobs_a_minute(history: History) -> None:
    jobs = [enter(history, users_max_jobs_per_minute=2) for _ in range(2)]
    with pytest.raises(TooManyRequestsError) as caught:
        enter(history, users_max_jobs_per_minute=2)
    error = caught.value
    assert (error.code, error.http_status, error.started) == ("too_many_requests", 429, "no")
    assert (error.details["setting"], error.details["limit"]) == ("users.max_jobs_per_minute", 2)
    assert 0 < error.details["retry_after"] <= 60
    enter(history, job=jobs[0], users_max_jobs_per_minute=2)  # moved to another backend: it counts once
    with contextlib.closing(sqlite3.connect(history.path)) as file, file:
        file.execute("UPDATE jobs SET created_at = ? WHERE id = ?", (to_timestamp("2m"), jobs[0]))
    enter(history, users_max_jobs_per_minute=2)


def test_what_is_free_is_limited_too_and_counts_until_it_ends(history: History) -> None:
    job = enter(history, "comfyui", url="http://127.0.0.1:1", users_max_running=1, users_max_usd_per_day=0.0)
    with pytest.raises(TooManyRequestsError) as caught:
        enter(history, "comfyui", url="http://127.0.0.1:1", users_max_running=1)
    assert caught.value.details["setting"] == "users.max_running"
    history.update(job, state="failed")
    enter(history, "comfyui", url="http://127.0.0.1:1", users_max_running=1)


def test_jobs_of_a_dead_process_do_not_block_their_user(history: History) -> None:
    job = enter(history, "emulator", users_max_running=1)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    mine = history.get(job)
    assert mine is not None
    history.update(job, process=str(mine.process).replace(str(os.getpid()), str(ended.pid), 1))
    other = enter(history, "emulator", users_max_running=1)  # the embedded emulator ended with its process
    with pytest.raises(TooManyRequestsError):
        enter(history, "modal", users_max_running=1)
    history.update(other, expires_at="2026-01-01T00:00:00.000Z")  # elsewhere a job may go on, until its time is over
    enter(history, "modal", users_max_running=1)


def test_without_a_journal_no_limited_user_s_job_runs(clean_environment: Path) -> None:
    (clean_environment / "history.sqlite3").mkdir(parents=True)
    with contextlib.closing(History(Settings.load().history_path)) as broken:
        with pytest.raises(StorageFailedError, match="this user"):
            enter(broken, users_max_running=1)
        enter(broken, user=None, users_max_running=1)


MANY = """
import json, os, sys
from ryla_gen import Client, Flux
from ryla_gen.errors import RylaGenError
from ryla_gen.history import journal_file, users
journal_file.BUSY_SECONDS = 240.0  # a busy machine may let one of them wait for longer than two seconds
users.MINUTE = 600.0  # a busy machine may need longer than one until all have asked
for number in range(12):
    if os.fork():
        continue
    said = "runs"
    with Client() as client:
        try:
            client.submit(Flux(prompt="a fox", width=256, height=256, steps=1, seed=1), user="ana")
        except RylaGenError as error:
            said = error.details.get("setting", error.code)
        os.write(1, (json.dumps(said) + "\\n").encode())
        os.read(0, 1)
        os._exit(0)
sys.stdin.read()
for number in range(12):
    os.wait()
"""


@pytest.mark.parametrize("limit", ["max_running", "max_jobs_per_minute"])
@pytest.mark.parametrize("hashed", ["true", "false"])
def test_of_twelve_processes_at_once_no_more_run_than_one_user_may(
    limit: str, hashed: str, server: Emulator, clean_environment: Path
) -> None:
    server.knobs.delay_per_node = 600.0  # nobody ends before all have asked
    env = {"COMFYUI_POD_URL": server.url, "PYTHONPATH": str(ROOT), "RYLA_GEN_USERS_HASH": hashed}
    env[f"RYLA_GEN_USERS_{limit.upper()}"] = "3"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", MANY], env={**os.environ, **env}, **pipes) as caller:
        assert caller.stdin is not None
        assert caller.stdout is not None
        said = [json.loads(caller.stdout.readline()) for _ in range(12)]
        caller.stdin.close()
        assert caller.wait(240) == 0
    assert sorted(said) == ["runs"] * 3 + [f"users.{limit}"] * 9
    assert len(set(stored(clean_environment))) == 1
    assert len(stored(clean_environment)) == 3


def test_a_batch_is_checked_against_its_user_s_day(history: History) -> None:
    found = Settings.load(backend="modal", users_max_usd_per_day=0.01)
    rows = [Flux(prompt=f"a fox {number}", seed=number) for number in range(20)]
    assert check_batch(history, found, rows) > 0.01
    with pytest.raises(BudgetExceededError) as caught:
        check_batch(history, found, rows, user=ANA)
    assert caught.value.details["setting"] == "users.max_usd_per_day"


def told(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> dict[str, Any]:
    assert app.run([*line, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_the_commands_take_a_user(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_USERS_HASH", "true")
    size = ("--width", "256", "--height", "256", "--backend", "emulator")
    job = told(capsys, "run", "flux", "a fox", *size, "--user", ANA, "-o", str(tmp_path / "a.png"))["data"]["job"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"workflow": "flux", "prompt": "a hare", "width": 256, "height": 256}) + "\n")
    told(capsys, "batch", str(rows), "-o", str(tmp_path / "out"), "--backend", "emulator", "--user", ANA)
    listed = told(capsys, "jobs", "list", "--user", ANA)["data"]["items"]
    assert len(listed) == 2
    assert listed[1]["id"] == job
    assert told(capsys, "jobs", "list", "--user", "ben")["data"]["items"] == []
    (row,) = told(capsys, "costs", "--by", "user")["data"]["items"]
    assert (row["key"], row["jobs"]) == (listed[0]["user"], 2)
    monkeypatch.setattr(users, "MINUTE", 600.0)  # a busy machine may have taken longer than one for all this
    monkeypatch.setenv("RYLA_GEN_USERS_MAX_JOBS_PER_MINUTE", "2")
    error = told(capsys, "run", "flux", "a fox", *size, "--user", ANA, code=1)["error"]
    assert (error["code"], error["http_status"]) == ("too_many_requests", 429)


def test_a_refused_job_may_be_tried_again(history: History) -> None:
    with pytest.raises(RylaGenError):
        enter(history, job="a", users_max_jobs_per_minute=0)
    assert history.get("a") is None
    enter(history, job="a", users_max_jobs_per_minute=1)


def test_events_tell_the_hash_of_a_user_only_when_asked(clean_environment: Path) -> None:
    told: list[telemetry.TelemetryEvent] = []
    telemetry.add(told.append)
    try:
        for asked in (False, True):
            with Client(settings=Settings.load(backend="emulator", users_telemetry=asked)) as client:
                client.run(Flux(**SMALL), user=ANA)
        telemetry.flush()
    finally:
        telemetry.remove(told.append)
    users = [event.user for event in told if isinstance(event, telemetry.Requested | telemetry.Completed)]
    assert users[:2] == [None, None]
    assert users[2] == users[3]
    assert str(users[2]).startswith("hmac:")
    assert stored(clean_environment) == [ANA, ANA]
    properties = [found[1] for event in told if (found := posthog_event(event)) is not None]
    assert ["user" in held for held in properties] == [False, False, True, True]


def test_a_hash_stands_for_itself(history: History) -> None:
    enter(history, users_hash=True)
    (record,) = history.list(user=ANA)
    assert record.user is not None
    enter(history, user=record.user, users_hash=True)
    assert {item.user for item in history.list()} == {record.user}
    assert len(history.list(user=record.user)) == 2


def test_the_pictures_of_a_character_run_for_the_user_of_the_whole(clean_environment: Path) -> None:
    with Client(settings=Settings.load(backend="emulator", users_hash=True, users_max_running=2)) as client:
        size = {"width": 256, "height": 256, "steps": 1}
        Characters(client).submit_base_images("a sailor", count=2, fields=size, user=ANA).result()
        assert len(client.jobs.list(user=ANA)) == 3
        assert [(row.jobs, row.succeeded) for row in client.costs("user")] == [(2, 2)]
    assert len(set(stored(clean_environment))) == 1
    plans = [path.read_text() for path in clean_environment.glob("characters/*/job.json")]
    assert len(plans) == 1
    assert ANA not in plans[0]


@pytest.mark.parametrize("limit", ["max_running", "max_jobs_per_minute"])
def test_a_batch_waits_until_its_user_may_go_on(
    limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(users, "MINUTE", 0.5)
    monkeypatch.setenv(f"RYLA_GEN_USERS_{limit.upper()}", "1")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"workflow": "flux", **SMALL, "seed": seed}) + "\n" for seed in range(3)))
    told(capsys, "batch", str(rows), "-o", str(tmp_path / "out"), "--backend", "emulator", "--user", ANA)
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_a_user_who_may_run_nothing_stops_a_batch_s_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_USERS_MAX_JOBS_PER_MINUTE", "0")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"workflow": "flux", **SMALL}) + "\n")
    found = told(capsys, "batch", str(rows), "-o", str(tmp_path / "out"), "--backend", "emulator", "--user", ANA, code=1)
    assert found["error"]["code"] == "too_many_requests"
