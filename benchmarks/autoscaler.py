"""How long requests wait, and what idle containers cost, before and after the autoscaler was given a target. Sends nothing.

    python -m benchmarks.autoscaler

A simulation in events, not in time: containers are started, filled and ended by the rule of the tests' control plane
(``tests/modal_loopback/autoscaler.py``), which is not Modal's own. A container runs one graph at a time, as its GPU does. It prints
the table of ``docs/performance.md``.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ryla_gen.costs.durations import COLD_START
from ryla_gen.remote.config import FAMILIES, SHORT_INPUTS, TARGET_INPUTS
from ryla_gen.remote.costs import cost_of
from tests.modal_loopback.autoscaler import Scaling

COLD = COLD_START[1]
"""Seconds from the order for a container to its first graph."""
TITLES = ("requests", "settings", "wait, median", "wait, longest", "containers", "idle seconds", "idle cost")


@dataclass(frozen=True)
class Workload:
    """Requests that arrive, and what they find."""

    text: str
    family: str
    arrivals: Sequence[float]
    seconds: float
    """How long each holds the GPU."""
    warm: int = 0
    """Idle containers that are there at the beginning."""


@dataclass(frozen=True)
class ScalingSetup:
    """One way to scale."""

    text: str
    scaling: Scaling
    window: float
    greedy: bool = False
    """Whether a container that is up takes ``max_inputs`` at once, although others are starting."""


@dataclass(frozen=True)
class SimulationOutcome:
    """What came out."""

    waits: Sequence[float]
    containers: int
    idle: float
    """Seconds of containers without a graph: they start, wait for a request, or wait for their end."""


@dataclass(eq=False)
class SimulatedContainer:
    """A container."""

    began: float
    up: bool = False
    held: deque[float] = field(default_factory=deque)
    """When the requests in it arrived, the one that runs first."""
    idle_since: float = 0.0
    ended: float | None = None


class Simulation:
    """Runs one load through one way to scale.

    Args:
        load: what arrives.
        setup: how it is scaled.
    """

    def __init__(self, load: Workload, setup: ScalingSetup) -> None:
        self._load = load
        self._setup = setup
        self._events: list[tuple[float, int, SimulatedContainer | None, str]] = []
        self._numbers = itertools.count()
        self._waiting: deque[float] = deque()
        self._containers: list[SimulatedContainer] = []
        self._waits: list[float] = []
        self._now = 0.0

    def run(self) -> SimulationOutcome:
        """Handle event after event until every container has ended."""
        for _ in range(self._load.warm):
            self._containers.append(SimulatedContainer(0.0, up=True))
            self._at(self._setup.window, "look")
        for arrival in self._load.arrivals:
            self._at(arrival, "arrive")
        while self._events:
            self._now, _, container, what = heapq.heappop(self._events)
            self._handle(what, container)
            if not self._events or self._events[0][0] > self._now:  # all that happens at one moment is seen together
                self._settle()
        paid = sum((container.ended or self._now) - container.began for container in self._containers)
        return SimulationOutcome(self._waits, len(self._containers), paid - self._load.seconds * len(self._load.arrivals))

    def _at(self, when: float, what: str, container: SimulatedContainer | None = None) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), container, what))

    def _handle(self, what: str, container: SimulatedContainer | None) -> None:
        if what == "arrive":
            self._waiting.append(self._now)
        elif what == "up" and container:
            container.up = True
            self._rest(container)
        elif what == "done" and container:
            container.held.popleft()
            if container.held:
                self._begin(container)
            else:
                self._rest(container)

    def _settle(self) -> None:
        """Start what is missing, hand out what waits, end what has been idle for long enough."""
        wanted = self._setup.scaling.containers(self._inputs)
        for _ in range(wanted - len(self._live)):
            container = SimulatedContainer(self._now)
            self._containers.append(container)
            self._at(self._now + COLD, "up", container)
        while self._waiting and (free := self._free()):
            free.held.append(self._waiting.popleft())
            if len(free.held) == 1:
                self._begin(free)
        for container in [container for container in self._live if container.up and not container.held]:
            if self._now - container.idle_since >= self._setup.window and len(self._live) > wanted:
                container.ended = self._now

    def _free(self) -> SimulatedContainer | None:
        """The container that takes the next request: the least busy one, or one after the other to the brim."""
        scaling = self._setup.scaling
        places = scaling.max_inputs if self._setup.greedy else scaling.places(self._inputs)
        free = [container for container in self._live if container.up and len(container.held) < places]
        return free[0] if free and self._setup.greedy else min(free, key=lambda container: len(container.held), default=None)

    def _begin(self, container: SimulatedContainer) -> None:
        self._waits.append(self._now - container.held[0])
        self._at(self._now + self._load.seconds, "done", container)

    def _rest(self, container: SimulatedContainer) -> None:
        container.idle_since = self._now
        self._at(self._now + self._setup.window, "look")

    @property
    def _live(self) -> list[SimulatedContainer]:
        return [container for container in self._containers if container.ended is None]

    @property
    def _inputs(self) -> int:
        return len(self._waiting) + sum(len(container.held) for container in self._live)


WORKLOADS = (
    Workload("5 × 30 s at once, one container warm", "flux", (0.0,) * 5, 30.0, warm=1),
    Workload("20 × 30 s at once, none warm", "flux", (0.0,) * 20, 30.0),
    Workload("5 videos of 10 minutes at once, none warm", "video", (0.0,) * 5, 600.0),
    Workload("10 × 30 s, one every 20 s, one container warm", "flux", tuple(20.0 * number for number in range(10)), 30.0, warm=1),
)


def setups(family: str) -> list[ScalingSetup]:
    """Return the ways to scale that are compared for a family."""
    config = FAMILIES[family]
    window = float(config.scaledown_window)
    before = Scaling(SHORT_INPUTS, config.max_containers)
    after = Scaling(config.max_inputs, config.max_containers, TARGET_INPUTS)
    return [
        ScalingSetup("before: at most 5, no target", before, window),
        ScalingSetup(f"now: at most {config.max_inputs}, target 1", after, window),
        ScalingSetup("now, if whoever is up fills first", after, window, greedy=True),
        ScalingSetup("now, window of 60 s", after, 60.0),
        ScalingSetup("now, one container in the buffer", replace(after, buffer_containers=1), window),
    ]


def rows() -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    lines: list[tuple[str, ...]] = []
    for load in WORKLOADS:
        config = FAMILIES[load.family]
        price = cost_of(1.0, config.gpu[0], cpu=config.cpu, memory=config.memory).total_usd
        for number, setup in enumerate(setups(load.family)):
            found = Simulation(load, setup).run()
            waits = (f"{statistics.median(found.waits):.0f} s", f"{max(found.waits):.0f} s")
            idle = (f"{found.idle:.0f}", f"${found.idle * price:.2f}")
            lines.append(("" if number else load.text, setup.text, *waits, str(found.containers), *idle))
    return lines


def table() -> str:
    """Return the table as Markdown."""
    head = [TITLES, ("---",) * len(TITLES)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*head, *rows()])


if __name__ == "__main__":
    print(table())
