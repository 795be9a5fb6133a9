"""The autoscaler of the loopback: its rule as arithmetic, and the containers that it starts and fills."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import autoscaler
from tests.modal_loopback import Loopback
from tests.modal_loopback.autoscaler import Scaling
from tests.modal_loopback.client import connected

from .conftest import check, deploy, eventually

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no fault."""
SCALINGS = st.builds(
    Scaling,
    max_inputs=st.integers(2, 9),
    max_containers=st.integers(1, 12),
    target_inputs=st.integers(0, 2),
    min_containers=st.integers(0, 3),
    buffer_containers=st.integers(0, 3),
)


def test_without_a_target_five_inputs_fit_into_one_container_and_with_one_they_get_five() -> None:
    assert [Scaling(5, 10).containers(load) for load in (0, 1, 5, 6, 50, 500)] == [0, 1, 1, 2, 10, 10]
    assert [Scaling(5, 10, target_inputs=1).containers(load) for load in (0, 1, 5, 6, 50)] == [0, 1, 5, 6, 10]
    assert [Scaling(5, 10, target_inputs=1, buffer_containers=2).containers(load) for load in (0, 1, 9)] == [0, 3, 10]


def test_containers_take_more_than_the_target_only_where_no_further_one_may_start() -> None:
    assert [Scaling(5, 10, target_inputs=1).places(load) for load in (1, 10, 11, 20, 21, 500)] == [1, 1, 2, 2, 3, 5]
    assert Scaling(5, 10).places(1) == 5


@BUSY
@given(SCALINGS, st.integers(0, 200))
def test_no_container_is_started_or_filled_beyond_its_bounds(scaling: Scaling, load: int) -> None:
    containers, places = scaling.containers(load), scaling.places(load)
    assert min(scaling.min_containers, scaling.max_containers) <= containers <= scaling.max_containers
    assert scaling.target <= places <= scaling.max_inputs
    assert containers <= scaling.containers(load + 1)
    assert containers * places >= min(load, scaling.max_containers * scaling.max_inputs), "whatever fits has a place"


@pytest.fixture
def three(minimal_python: Path, trace: Path, clean_environment: Path) -> Iterator[Loopback]:
    """A loopback with three containers at most, with the sample app, and this process as its client."""
    with Loopback(python=minimal_python, container_env={"SAMPLE_TRACE": str(trace)}, max_containers=3) as loopback:
        deploy(loopback)
        loopback.knobs.autoscale = True
        with connected(loopback):
            yield loopback
        check(loopback)


def targeted(**options: Any) -> Any:
    """The sample's worker, with a target of one input."""
    cls = modal.Cls.from_name("sample", "Worker").with_concurrency(max_inputs=5, target_inputs=1)
    return (cls.with_options(**options) if options else cls)()


def test_each_input_has_a_container_of_its_own(three: Loopback) -> None:
    names = ["a", "b", "c"]
    assert list(targeted().wait.map(names, [0.2] * 3)) == names
    assert len(three.containers) == 3
    assert {container.peak for container in three.containers} <= {0, 1}


def test_more_inputs_than_containers_are_spread_over_them(three: Loopback) -> None:
    calls = [targeted().wait.spawn(str(number), 60.0) for number in range(6)]
    eventually(lambda: [container.peak for container in three.containers] == [2, 2, 2])
    for call in calls:
        call.cancel()


def test_without_a_target_one_container_is_filled_first(three: Loopback) -> None:
    calls = [modal.Cls.from_name("sample", "Worker")().wait.spawn(str(number), 60.0) for number in range(5)]
    eventually(lambda: [container.peak for container in three.containers] == [5])
    for call in calls:
        call.cancel()


def test_a_spare_container_stands_by_while_there_is_an_input(three: Loopback) -> None:
    call = targeted(buffer_containers=1).wait.spawn("a", 60.0)
    eventually(lambda: sorted((container.ready, container.peak) for container in three.containers) == [(True, 0), (True, 1)])
    call.cancel()


def test_a_cold_start_comes_before_the_process_and_ends_with_the_server(three: Loopback) -> None:
    three.knobs.cold_start = 600.0
    targeted().wait.spawn("a", 0.1)
    eventually(lambda: bool(three.containers))
    assert three.containers[0].process is None


def test_the_simulation_s_table_stands_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    assert autoscaler.table() in page.read_text(encoding="utf-8"), "write it again: python -m benchmarks.autoscaler"


@pytest.mark.parametrize("load", autoscaler.WORKLOADS, ids=lambda load: load.text)
def test_the_simulation_runs_every_request_and_a_target_makes_none_wait_longer(load: autoscaler.Workload) -> None:
    before, now, *_ = found = [autoscaler.Simulation(load, setup).run() for setup in autoscaler.setups(load.family)]
    assert {len(item.waits) for item in found} == {len(load.arrivals)}
    assert max(now.waits) < max(before.waits)
    assert all(item.idle > 0 for item in found)


@BUSY
@given(SCALINGS, st.lists(st.floats(0, 300), min_size=1, max_size=12), st.floats(1, 600), st.booleans())
def test_the_simulation_keeps_to_the_rule(scaling: Scaling, arrivals: list[float], seconds: float, greedy: bool) -> None:
    load = autoscaler.Workload("", "flux", tuple(arrivals), seconds)
    bounded = dataclasses.replace(scaling, min_containers=0)
    found = autoscaler.Simulation(load, autoscaler.ScalingSetup("", bounded, 60.0, greedy)).run()
    assert len(found.waits) == len(arrivals)
    assert min(found.waits) >= 0
    assert found.idle >= autoscaler.COLD - 1e-6, "one container at least was started"
