"""Budgets: refused before anything is spent, stopped before more is spent, and shared by processes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux, FluxDev, Settings
from ryla_gen.backends.rates import rate_of
from ryla_gen.client.requests import check_batch, estimate
from ryla_gen.costs.admission import admit, unfinished_cost
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BudgetExceededError, ModelNotFoundError, NodeFailedError, RylaGenError, StorageFailedError
from ryla_gen.events import Started
from ryla_gen.history import History
from ryla_gen.history.schema import MIGRATIONS

pytestmark = pytest.mark.usefixtures("one_day")

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256, "seed": 7}


@pytest.fixture
def history(clean_environment: Path) -> Iterator[History]:
    with contextlib.closing(History(Settings.load().history_path)) as made:
        yield made


def settings(**more: Any) -> Settings:
    """A Modal backend at today's prices: about $0.0017 for a schnell picture of a megapixel."""
    return Settings.load(backend="modal", **more)


def enter(history: History, found: Settings, workflow: Flux | FluxDev | None = None, **more: Any) -> Any:
    asked, job = workflow or Flux(prompt="a fox", seed=1), more.pop("job", str(uuid.uuid4()))
    return admit(history, found, asked, "modal", rate_of(asked, "modal", found), job=job, **more)


def test_a_call_over_its_limit_is_refused_before_anything_is_sent(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    with Client(url=server.url, max_usd=0.01) as client:
        with pytest.raises(BudgetExceededError) as caught:
            client.flux(**SMALL)
        assert client.jobs.list() == []
    details = caught.value.details
    assert (details["limit_usd"], details["setting"]) == (0.01, "max_usd")
    assert details["estimate_usd"] > 0.01
    assert "--max-usd" in caught.value.hint
    assert "config set max_usd" in caught.value.hint
    assert server.stats.requests == 0


def test_what_is_free_is_never_refused() -> None:
    with Client("emulator", max_usd=0.0) as client:
        assert client.flux(**SMALL).cost.total_usd == 0
        assert client.jobs.list()[0].reserved_usd is None


def test_the_day_counts_what_jobs_cost_and_what_jobs_under_way_hold(history: History) -> None:
    first = enter(history, settings(max_usd_per_day=1.0), job="a")
    held = history.get("a")
    assert held is not None
    assert held.reserved_usd == pytest.approx(120 * first.estimate.most_usd_per_second)  # its time limit
    assert history.taken_usd("2020-01-01") == held.reserved_usd
    crowd = [enter(history, settings(max_usd_per_day=0.3)) for _ in range(8)]  # far more than 0.3 if each held its time limit
    assert all(item.timeout > 3 * item.estimate.seconds.likely for item in crowd)
    assert history.taken_usd("2020-01-01") <= 0.3
    for item in history.list():
        history.update(item.id, state="failed")
    history.update("a", state="succeeded", cost_usd=0.5)
    assert history.taken_usd("2020-01-01") == 0.5
    with pytest.raises(BudgetExceededError) as caught:
        enter(history, settings(max_usd_per_day=0.5))
    assert caught.value.details["spent_usd"] == 0.5
    assert caught.value.details["setting"] == "max_usd_per_day"
    assert len(history.list()) == 9


def test_the_rest_of_the_day_bounds_how_long_a_job_may_run(history: History) -> None:
    plain = enter(history, settings())
    assert plain.timeout is None
    likely, rate = plain.estimate.usd.likely, plain.estimate.most_usd_per_second
    for item in history.list():
        history.update(item.id, state="failed")
    bounded = enter(history, settings(max_usd_per_day=likely * 1.5))
    assert bounded.timeout == pytest.approx(likely * 1.5 / rate)
    assert enter(history, settings(max_usd=likely * 2), job="b").timeout == pytest.approx(likely * 2 / rate)


def test_the_dearest_gpu_of_the_list_bounds_the_time(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    one = enter(history, settings(max_usd=0.01))
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_GPU", "L40S,H100")
    two = enter(history, settings(max_usd=0.01))
    assert two.estimate.usd == one.estimate.usd
    assert two.timeout < one.timeout


def test_a_reservation_ends_by_itself_when_its_caller_died(history: History) -> None:
    enter(history, settings(max_usd_per_day=0.004), job="dead")
    with pytest.raises(BudgetExceededError, match="hold"):
        enter(history, settings(max_usd_per_day=0.004), workflow=FluxDev(prompt="a fox", seed=1))
    found = history.get("dead")
    assert found is not None
    assert found.expires_at is not None
    assert datetime.fromisoformat(found.expires_at) > datetime.now(UTC) + timedelta(seconds=120)
    history.update("dead", expires_at="2020-01-01T00:00:00.000Z")
    assert history.taken_usd("2020-01-01") == 0
    enter(history, settings(max_usd_per_day=0.004))


@pytest.mark.parametrize(("followed", "seconds"), [(True, 10), (False, 120)])
def test_a_job_holds_what_its_time_limit_may_cost_unless_nobody_stays_to_stop_it(
    history: History, followed: bool, seconds: float
) -> None:
    entered = enter(history, settings(), job="a", timeout=10, followed=followed)
    held = history.get("a")
    assert held is not None
    assert held.reserved_usd == pytest.approx(seconds * entered.estimate.most_usd_per_second)


def test_on_runpod_the_loading_that_it_bills_is_part_of_what_is_set_aside(history: History) -> None:
    found = Settings.load(
        {"RYLA_GEN_HOME": str(history.path.parent), "RUNPOD_API_KEY": "key", "RUNPOD_ENDPOINT_ID": "abc"},
        backend="runpod",
        runpod_usd_per_second=0.01,
        max_usd_per_day=100.0,
    )
    asked = Flux(prompt="a fox", seed=1)
    entered = admit(history, found, asked, "runpod", rate_of(asked, "runpod", found), job="a")
    held = history.get("a")
    assert held is not None
    assert entered.timeout == pytest.approx(120 + found.runpod_load_seconds)
    assert held.reserved_usd == pytest.approx(0.01 * entered.timeout)


def test_a_day_s_limit_needs_a_journal(clean_environment: Path) -> None:
    found = settings(max_usd_per_day=1.0)
    found.history_path.mkdir(parents=True)
    with contextlib.closing(History(found.history_path)) as history, pytest.raises(StorageFailedError, match="cannot be checked"):
        enter(history, found)
    with contextlib.closing(History(found.history_path)) as history:
        assert enter(history, settings(max_usd=1.0)).timeout == 120  # a limit of one call needs none


def test_a_failed_job_costs_what_it_ran(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    server.knobs.out_of_memory_at = "VAEDecode"
    with Client(url=server.url) as client:
        with pytest.raises(RylaGenError):
            client.flux(**SMALL)
        record = client.jobs.list()[0]
        assert record.started_at is not None
        assert record.cost_usd is not None
        assert record.gpu_seconds is not None
        assert record.cost_usd == pytest.approx(record.gpu_seconds)  # a dollar a second
        server.knobs.refuse_prompts = 400
        with pytest.raises(RylaGenError):
            client.flux(**SMALL)
        assert client.jobs.list()[0].cost_usd is None


TWENTY = """
import json, os, sys
from ryla_gen import Client, Flux
from ryla_gen.backends import comfyui
from ryla_gen.errors import BudgetExceededError
from ryla_gen.history import journal_file

journal_file.BUSY_SECONDS = 240.0  # a busy machine may let one of them wait for longer than two seconds
gate, opening = os.pipe()
for number in range(20):
    if os.fork() == 0:  # a process of its own, which need not load everything again
        os.close(opening)
        os.read(gate, 1)  # all of them go on at once, when the parent closes its end
        client = Client()
        try:
            client.submit(Flux(prompt="a red fox", width=256, height=256, steps=1, seed=number))
            said = {"said": "runs"}
        except BudgetExceededError as error:
            said = {"said": "refused", **error.details}
        os.write(1, (json.dumps(said) + "\\n").encode())
        sys.stdin.read()  # nobody ends before all have asked
        os._exit(0)
os.close(opening)
sys.stdin.read()
for number in range(20):
    os.wait()
"""


def test_of_twenty_processes_at_once_three_run_when_there_is_money_for_three(server: Emulator, clean_environment: Path) -> None:
    env = {"RYLA_GEN_HOME": str(clean_environment), "RYLA_GEN_COMFYUI_HOURLY_USD": "3600", "COMFYUI_POD_URL": server.url}
    found = Settings.load(env)
    known = Flux(prompt="a red fox", width=256, height=256, steps=1, seed=1)
    with contextlib.closing(History(found.history_path)) as history:
        for number in range(5):  # known to take 30 s each: what is reserved holds until all have asked
            history.record(str(number), backend="comfyui", workflow="flux", inputs=known.described(), seed=1)
            history.update(str(number), state="succeeded", gpu_seconds=30.0, cost_usd=0.0)
        likely = estimate(known, found, history).usd.likely
    assert likely == pytest.approx(30)
    each = 3 * likely  # what one holds when little is left
    env |= {"RYLA_GEN_MAX_USD_PER_DAY": str(each * 3), "PYTHONPATH": str(ROOT)}
    server.knobs.delay_per_node = 600.0  # nobody ends before all have asked
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TWENTY], env={**os.environ, **env}, **pipes) as caller:
        ending = threading.Timer(240, caller.kill)
        ending.start()
        assert caller.stdin is not None
        assert caller.stdout is not None
        said = [json.loads(caller.stdout.readline()) for _ in range(20)]
        caller.stdin.close()
        assert caller.wait(120) == 0
        ending.cancel()
    assert sorted(item["said"] for item in said) == ["refused"] * 17 + ["runs"] * 3
    refusals = [item for item in said if item["said"] == "refused"]
    assert {item["limit_usd"] for item in refusals} == {each * 3}
    assert {round(item["held_usd"] / each) for item in refusals} == {3}
    assert all(0 < item["estimate_usd"] < each for item in refusals)
    with contextlib.closing(History(clean_environment / "history.sqlite3")) as history:
        assert [item.reserved_usd for item in history.list(limit=None) if item.state != "succeeded"] == [pytest.approx(each)] * 3
        assert history.warnings == []


def test_a_batch_is_checked_as_a_whole(history: History) -> None:
    rows = [Flux(prompt=f"fox {number}", seed=number) for number in range(10)]
    each = check_batch(history, settings(), rows[:1])
    assert check_batch(history, settings(), rows) == pytest.approx(10 * each)
    assert check_batch(history, settings(max_usd_per_day=each * 11), rows) == pytest.approx(10 * each)
    with pytest.raises(BudgetExceededError, match="The 10 rows would cost about") as caught:
        check_batch(history, settings(max_usd_per_day=each * 9), rows)
    assert caught.value.details["estimate_usd"] == pytest.approx(10 * each)
    with pytest.raises(BudgetExceededError, match="one call may cost"):
        check_batch(history, settings(max_usd=each * 2), [*rows, FluxDev(prompt="a fox", seed=1)])
    assert history.list() == []


def test_the_command_refuses_with_its_own_exit_code_and_hint(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from ryla_gen_cli import app

    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    for verb in ("run", "submit"):
        assert app.run([verb, "flux", "a fox", "--url", server.url, "--max-usd", "0.01", "--json"]) == 1
    assert server.stats.requests == 0


def test_a_batch_s_rows_are_refused_together_on_the_command_line(
    server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ryla_gen_cli import app

    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "360")
    monkeypatch.setenv("RYLA_GEN_MAX_USD_PER_DAY", "0.6")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"workflow": "flux", "prompt": "a fox"}\n' * 5)
    line = ["batch", str(rows), "-o", str(tmp_path / "out"), "--url", server.url, "--json"]
    assert app.run(line) == 1
    assert json.loads(capsys.readouterr().out)["error"]["details"]["estimate_usd"] == pytest.approx(5 * 0.25)
    assert server.stats.requests == 0
    monkeypatch.setenv("RYLA_GEN_MAX_USD_PER_DAY", "2")
    assert app.run([*line, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["estimate_usd"] == pytest.approx(5 * 0.25)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_old_journal_is_brought_up_to_date_and_keeps_its_jobs(version: int, history: History) -> None:
    history.path.parent.mkdir(parents=True, exist_ok=True)
    columns = "id, backend, workflow, inputs, state, created_at, cost_usd, gpu_seconds, tags"
    with contextlib.closing(sqlite3.connect(history.path)) as old, old:
        for before in range(version):
            old.executescript(MIGRATIONS[before])
        old.execute(f"PRAGMA user_version = {version}")
        marks = ", ".join("?" * 9)
        values = ("old", "modal", "flux", '{"prompt": "x"}', "succeeded", "2026-01-01T10:00:00.000Z", 0.25, 10.0, "[]")
        old.execute(f"INSERT INTO jobs ({columns}) VALUES ({marks})", values)
    found = history.get("old")
    assert found is not None
    assert (found.cost_usd, found.reserved_usd, found.skipped, found.saved) == (0.25, None, [], [])
    assert (found.server, found.process) == (None, None)
    enter(history, settings(max_usd_per_day=1.0), job="new")
    assert [row.key for row in history.costs("workflow")] == ["flux"]
    assert history.warnings == []
    with contextlib.closing(sqlite3.connect(history.path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (4,)


def test_a_job_is_refused_at_its_likely_cost_and_not_at_its_highest(history: History) -> None:
    usd = enter(history, settings()).estimate.usd
    assert usd.low < usd.likely < usd.high
    enter(history, settings(max_usd=usd.likely))
    with pytest.raises(BudgetExceededError):
        enter(history, settings(max_usd=usd.likely * 0.99))


def test_saved_files_are_kept_in_the_journal(tmp_path: Path) -> None:
    with Client("emulator") as client:
        generation = client.flux(**SMALL)
        client.history.saved(generation.job, generation.save(tmp_path / "fox.png"))
        client.history.saved(generation.job, generation.save(f"{tmp_path}/again-{{index}}.png"))
        assert client.jobs.list()[0].saved == [str(tmp_path / "fox.png"), str(tmp_path / "again-0.png")]


def test_a_started_job_counts_with_its_reservation_until_it_ends(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "36")
    server.knobs.delay_per_node = 0.2
    with Client(url=server.url) as client:
        job = client.submit(Flux(**SMALL))
        next(event for event in job.events() if isinstance(event, Started))
        assert client.history.taken_usd("2020-01-01") > 0
        result = job.result()
        assert client.history.taken_usd("2020-01-01") == pytest.approx(result.cost.total_usd)
    assert not isinstance(result, ModelNotFoundError | NodeFailedError)


@pytest.mark.parametrize("said", [1.5, float("nan"), -1.0, "much", None])
def test_the_cost_in_an_error_of_another_version_is_read_with_care(said: object) -> None:
    """What is raised here would keep the end of the job, and its reservation, out of the journal."""
    assert unfinished_cost(None, None, RylaGenError("x", "", {"cost_usd": said})) == (
        {"gpu_seconds": 0.0, "cost_usd": 1.5} if said == 1.5 else {}
    )
