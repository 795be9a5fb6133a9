"""What containers cost beside the graphs they ran: from gaps alone, and from the journal's."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ryla_gen import AsyncClient, Client, Settings
from ryla_gen.backends.rates import idle_costs
from ryla_gen.costs.durations import COLD_START
from ryla_gen.costs.idle import IdleTime, idle_between, idle_cost
from ryla_gen.errors import InvalidInputError
from ryla_gen.history import History
from ryla_gen.remote.config import FAMILIES
from ryla_gen.remote.costs import cost_of

WINDOW, LATER = 300.0, 1e9
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no fault."""
JOBS = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 900)).map(lambda job: (float(job[0]), float(sum(job)))), max_size=30)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], IdleTime(0, 0, 0.0)),
        ([(0, 30)], IdleTime(1, 1, 300.0)),
        ([(0, 30), (130, 160)], IdleTime(2, 1, 100.0 + 300.0)),
        ([(0, 30), (330, 360)], IdleTime(2, 1, 300.0 + 300.0)),
        ([(0, 30), (331, 360)], IdleTime(2, 2, 300.0 + 300.0)),
        ([(0, 30), (10, 40)], IdleTime(2, 2, 300.0 + 300.0)),
        ([(0, 30), (10, 40), (50, 80)], IdleTime(3, 2, 10.0 + 300.0 + 300.0)),
    ],
)
def test_a_gap_within_the_window_is_idle_time_and_a_longer_one_a_window_and_a_start(
    jobs: list[tuple[float, float]], expected: IdleTime
) -> None:
    assert idle_between(jobs, WINDOW, LATER) == expected


def test_a_window_that_is_not_over_yet_counts_until_now() -> None:
    assert idle_between([(0, 30)], WINDOW, 100.0) == IdleTime(1, 1, 70.0)
    assert idle_between([(0, 30)], WINDOW, 20.0) == IdleTime(1, 1, 0.0), "it runs still, by another clock"


@BUSY
@given(JOBS)
def test_the_order_of_the_jobs_says_nothing(jobs: list[tuple[float, float]]) -> None:
    assert idle_between(jobs[::-1], WINDOW, LATER) == idle_between(jobs[::2] + jobs[1::2], WINDOW, LATER)


@BUSY
@given(JOBS, st.integers(2, 3600))
def test_no_job_costs_more_than_a_start_and_a_window(jobs: list[tuple[float, float]], window: int) -> None:
    found = idle_between(jobs, window, LATER)
    assert found.jobs == len(jobs)
    assert bool(jobs) <= found.starts <= len(jobs)
    assert found.starts * window <= found.idle_seconds <= len(jobs) * window, "each container has one window at its end"


@BUSY
@given(JOBS)
def test_as_many_containers_are_up_as_jobs_run_at_once(jobs: list[tuple[float, float]]) -> None:
    most = max((sum(began <= at < ended for began, ended in jobs) for at, _ in jobs), default=0)
    assert idle_between(jobs, WINDOW, LATER).starts >= most
    assert idle_between(jobs, 1e6, LATER).starts == most, "with an endless window none starts twice"


@BUSY
@given(st.lists(st.integers(0, 2000), max_size=20), st.integers(2, 3600))
def test_one_after_the_other_is_the_sum_of_the_gaps(gaps: list[int], window: int) -> None:
    began, jobs = 0.0, [(0.0, 10.0)]
    for gap in gaps:
        began += 10.0 + gap
        jobs.append((began, began + 10.0))
    found = idle_between(jobs, window, LATER)
    assert found.starts == 1 + sum(gap > window for gap in gaps)
    assert found.idle_seconds == sum(min(gap, window) for gap in gaps) + window


@BUSY
@given(JOBS, st.integers(0, 10**6))
def test_another_clock_changes_nothing(jobs: list[tuple[float, float]], shift: int) -> None:
    moved = [(began + shift, ended + shift) for began, ended in jobs]
    assert idle_between(moved, WINDOW, LATER) == idle_between(jobs, WINDOW, LATER)


def test_both_are_priced_as_seconds_of_the_container() -> None:
    found = idle_cost("Flux", IdleTime(3, 2, 400.0), 60.0, 0.001)
    assert (found.cold_starts, found.cold_start_seconds, found.idle_seconds) == (2, 120.0, 400.0)
    assert found.usd == pytest.approx(0.52)


@pytest.fixture
def history(clean_environment: Path) -> Iterator[History]:
    with contextlib.closing(History(Settings.load().history_path)) as made:
        yield made


NOW = datetime.now(UTC)


def ran(history: History, workflow: str, ago: float, seconds: float | None, *, on: str = "modal", state: str = "succeeded") -> None:
    """A job whose graph began so many seconds ago; without seconds the journal has only its end."""
    job, began = str(uuid.uuid4()), NOW - timedelta(seconds=ago)
    history.record(job, backend=on, workflow=workflow, inputs={})
    ended = (began + timedelta(seconds=seconds or 20.0)).isoformat()
    history.update(job, state=state, gpu_seconds=seconds, started_at=began.isoformat(), finished_at=ended)


def test_the_journal_s_gaps_are_counted_class_by_class(history: History) -> None:
    ran(history, "flux", 7200.0, 30.0)
    ran(history, "flux_dev", 7070.0, None)  # 100 s later, in the same class; 20 s by its times
    ran(history, "wan2", 7100.0, 600.0)
    ran(history, "of_a_plug_in", 7100.0, 10.0, state="failed")
    ran(history, "flux", 7150.0, 30.0, on="comfyui")
    found = {item.name: item for item in idle_costs(history, Settings.load())}
    assert set(found) == {"Flux", "Video", "Custom"}
    flux = found["Flux"]
    assert (flux.jobs, flux.cold_starts, flux.cold_start_seconds) == (2, 1, COLD_START[1])
    assert flux.idle_seconds == pytest.approx(100 + 300, abs=0.01)
    config = FAMILIES["flux"]
    price = cost_of(1.0, "L40S", cpu=config.cpu, memory=config.memory).total_usd
    assert flux.usd == pytest.approx((COLD_START[1] + 400) * price, rel=1e-3)
    assert found["Video"].jobs == found["Custom"].jobs == 1


def test_window_region_and_gpu_are_those_of_the_settings(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(history, "flux", 7200.0, 30.0)
    [usual] = idle_costs(history, Settings.load())
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_SCALEDOWN_WINDOW", "30")
    monkeypatch.setenv("RYLA_DEPLOY_REGION", "eu")
    [found] = idle_costs(history, Settings.load())
    assert (usual.idle_seconds, found.idle_seconds) == (300.0, 30.0)
    assert found.usd / (60 + 30) == pytest.approx(1.25 * usual.usd / (60 + 300))


async def test_both_clients_tell_it_and_only_since_a_time(history: History) -> None:
    ran(history, "flux", 7200.0, 30.0)
    async with AsyncClient("emulator") as client:
        assert [item.name for item in client.idle_costs()] == ["Flux"]
        assert client.idle_costs(since=datetime.now(UTC) + timedelta(seconds=60)) == []
        with pytest.raises(InvalidInputError, match="yesterday"):
            client.idle_costs(since="yesterday")


def test_the_client_for_scripts_tells_the_same(history: History) -> None:
    ran(history, "wan2", 7200.0, 30.0)
    with Client("emulator") as client:
        assert [item.name for item in client.idle_costs(since="1d")] == ["Video"]


def test_a_job_that_never_ran_needed_no_container(history: History) -> None:
    history.record(str(uuid.uuid4()), backend="modal", workflow="flux", inputs={})
    assert idle_costs(history, Settings.load()) == []
