"""What the SDK adds to a bare ``.remote()`` of the same method, on a loopback control plane, in the same run, and where.

    python -m benchmarks.modal_overhead [TURNS] [JOBS]

Three ways call the deployed app's ``Flux.flux`` (1024², 4 steps; the containers run the emulator), in turn and each turn in another
order: a bare ``.remote()``, a bare ``.spawn()`` and ``.get()``, and the SDK. A spawned call can be found again by its id, and
Modal's client sends every reply of it that is over 8 KiB as a blob; what that costs is no part of what the SDK adds to it.
Then many trivial jobs go through ``map``, and how often each ran is counted. Needs the development extras.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, NamedTuple

import modal

from ryla_gen import Client, CustomWorkflow, Flux, Generation
from ryla_gen.backends.modal import backend, ticket
from ryla_gen.client import outcomes, submission
from ryla_gen.contract import new_job_id, request
from ryla_gen.history import History
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.suite.conftest import IN_CONTAINERS, deployed

WARM = 2
"""Turns that are not counted: the first ones load modules and open connections."""
EARLIER = 100
"""Runs in the journal before the first turn, as many as an estimate looks at: a journal in use has them."""
BOUNDARIES: dict[str, tuple[Any, str]] = {
    "estimate, reserve, journal": (submission, "admit"),
    "spawn, until Modal answers": (backend, "spawn_cancellable"),
    "read the reply": (ticket, "read_reply"),
    "journal the end": (outcomes.Outcomes, "settle"),
}
"""Parts of an SDK run that stand in its caller's way: what is measured, and where its function is."""
IN_CONTAINERS_TOO = frozenset({"ContainerHeartbeat", "FunctionGetDynamicConcurrency", "FunctionGetInputs"})
"""Calls that containers make on their own, at times of their own."""


class Taken(NamedTuple):
    """One call, in milliseconds."""

    there: float
    """From the call to the start of the input in its container."""
    inside: float
    """In the container, until Modal has the reply."""
    back: float
    """From then until the caller has the result."""
    whole: float
    cpu: float
    """Of this process: the caller, Modal's client and the loopback together."""


def resident() -> float:
    """Return this process's resident memory in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def fill(history: History) -> None:
    """Write earlier runs into the journal."""
    for seed in range(EARLIER):
        job = new_job_id()
        history.record(job, backend="modal", workflow="flux", inputs=Flux(prompt="a fox", seed=seed).described(), seed=seed)
        history.update(job, state="succeeded", gpu="L40S", gpu_seconds=0.5, cost_usd=0.0)


@contextmanager
def measured() -> Iterator[dict[str, list[float]]]:
    """Measure the parts of SDK runs meanwhile, in milliseconds."""
    found: dict[str, list[float]] = defaultdict(list)
    before = {name: getattr(owner, attribute) for name, (owner, attribute) in BOUNDARIES.items()}
    for name, (owner, attribute) in BOUNDARIES.items():
        setattr(owner, attribute, timed(before[name], found[name]))
    try:
        yield found
    finally:
        for name, (owner, attribute) in BOUNDARIES.items():
            setattr(owner, attribute, before[name])


def timed(call: Callable[..., Any], took: list[float]) -> Callable[..., Any]:
    """Return the same function, which also writes down how long each call of it took."""

    @wraps(call)
    async def waiting(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return await call(*args, **options)
        finally:
            took.append((time.perf_counter() - began) * 1000)

    @wraps(call)
    def at_once(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args, **options)
        finally:
            took.append((time.perf_counter() - began) * 1000)

    return waiting if iscoroutinefunction(call) else at_once


def timed_call(loopback: Loopback, call: Callable[[], object]) -> Taken:
    """Make one call; when its input started and ended is in Modal's own record of its output."""
    cpu, began = time.process_time(), time.time()
    call()
    ended, used = time.time(), time.process_time() - cpu
    output = loopback.calls[-1].outputs[-1]
    started, done = output.input_started_at, output.output_created_at
    return Taken(*(1000 * item for item in (started - began, done - started, ended - done, ended - began, used)))


def overhead(client: Client, loopback: Loopback, turns: int) -> None:
    """Call in all three ways in turn, and print medians."""
    method = modal.Cls.from_name("ryla-comfyui", "Flux")().flux

    def bare(seed: int) -> dict[str, Any]:
        return request(Flux(prompt="a fox", seed=seed), new_job_id())

    ways: dict[str, Callable[[int], object]] = {
        "remote": lambda seed: method.remote(bare(seed)),
        "spawn": lambda seed: method.spawn(bare(seed)).get(),
        "sdk": lambda seed: client.run(Flux(prompt="a fox", seed=seed)),
    }
    taken: dict[str, list[Taken]] = {way: [] for way in ways}
    asked: dict[str, Counter[str]] = {way: Counter() for way in ways}
    seeds = iter(range(10**6))
    with measured() as parts:
        for turn in range(WARM + turns):
            order = list(ways)[turn % 3 :] + list(ways)[: turn % 3]
            for way in order:
                before, seed = Counter(loopback.counts), next(seeds)
                took = timed_call(loopback, lambda way=way, seed=seed: ways[way](seed))  # type: ignore[misc]
                if turn >= WARM:
                    taken[way].append(took)
                    asked[way] += Counter(loopback.counts) - before
    print_ways(taken)
    print("of the SDK's: " + " · ".join(f"{name} {statistics.median(items[WARM:]):.1f} ms" for name, items in parts.items()))
    for way, counts in asked.items():
        print(
            f"calls of {way}: "
            + ", ".join(f"{rpc} {count / turns:.1f}" for rpc, count in sorted(counts.items()) if rpc not in IN_CONTAINERS_TOO)
        )


def print_ways(taken: dict[str, list[Taken]]) -> None:
    """Print a row of medians for each way, then what the SDK adds, turn by turn."""
    print("median ms   to the container   in it   back   whole   CPU here")
    for way, items in taken.items():
        there, inside, back, whole, cpu = (statistics.median(column) for column in zip(*items, strict=True))
        print(f"{way:<10} {there:>17.1f} {inside:>7.0f} {back:>6.1f} {whole:>7.0f} {cpu:>10.1f}")
    for way in ("remote", "spawn"):
        pairs = list(zip(taken[way], taken["sdk"], strict=True))
        outside = statistics.median(sdk.there + sdk.back - base.there - base.back for base, sdk in pairs)
        whole = statistics.median(item.whole for item in taken["sdk"]) - statistics.median(item.whole for item in taken[way])
        ratio = statistics.median(sdk.whole / base.whole for base, sdk in pairs)
        print(f"the SDK adds to {way}: {whole:.1f} ms · outside the container {outside:.1f} ms · ratio {ratio:.2f}")


def many(client: Client, loopback: Loopback, jobs: int) -> None:
    """Send many trivial jobs through map and count what came back and what was handed out."""

    def trivial(color: int) -> CustomWorkflow:
        inputs = {"width": 64, "height": 64, "batch_size": 1, "color": color}
        save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
        return CustomWorkflow(graph={"1": {"class_type": "EmptyImage", "inputs": inputs}, "2": save})

    list(client.map(map(trivial, range(20)), in_flight=5))
    before, began = resident(), time.perf_counter()
    results = [item for item in client.map(map(trivial, range(1000, 1000 + jobs)), in_flight=20) if isinstance(item, Generation)]
    took, after = time.perf_counter() - began, resident()
    colors = [item.graph["1"]["inputs"]["color"] for item in results]
    twice = sum(count > 1 for count in loopback.deliveries.values())
    lost = jobs - len(set(colors))
    print(f"map: {jobs} jobs in {took:.1f} s, lost {lost}, handed out twice {twice}, memory {before:.0f} → {after:.0f} MB")


def main(turns: int, jobs: int) -> None:
    """Deploy, then measure, with a journal of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RYLA_GEN_HOME"] = str(Path(folder) / "caller")
        python = minimal_environment(Path(folder) / "worker", *IN_CONTAINERS)
        began = time.perf_counter()
        with deployed(python, Path(folder)) as loopback:
            print(f"loopback and deploy: {time.perf_counter() - began:.1f} s, load {os.getloadavg()[0]:.1f}")
            with connected(loopback), Client("modal") as client:
                fill(client.history)
                overhead(client, loopback, turns)
                many(client, loopback, jobs)
            print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, int(sys.argv[2]) if len(sys.argv) > 2 else 500)
