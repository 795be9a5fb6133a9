"""What the SDK adds to a bare ``.remote()`` of the same method, on a loopback control plane, in the same run.

    python -m benchmarks.modal_overhead [PAIRS] [JOBS]

Both paths call the deployed app's ``Flux.flux`` (1024², 4 steps; the containers run the emulator), in turn. Then many trivial
jobs go through ``map``, and how often each ran is counted. Needs the development extras.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import modal

from ryla_gen import Client, CustomWorkflow, Flux, Generation
from ryla_gen.contract import new_job_id, request
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.suite.conftest import IN_CONTAINERS, deployed


def resident() -> float:
    """Return this process's resident memory in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def overhead(client: Client, pairs: int) -> None:
    """Time both paths in turn and print medians."""
    method = modal.Cls.from_name("ryla-comfyui", "Flux")().flux
    times: dict[str, list[float]] = {"bare": [], "sdk": []}
    for turn in range(pairs + 2):
        began = time.perf_counter()
        method.remote(request(Flux(prompt="a fox", seed=2 * turn), new_job_id()))
        bare = time.perf_counter() - began
        began = time.perf_counter()
        client.run(Flux(prompt="a fox", seed=2 * turn + 1))
        if turn >= 2:
            times["bare"].append(bare)
            times["sdk"].append(time.perf_counter() - began)
    low, high = statistics.median(times["bare"]), statistics.median(times["sdk"])
    adds, ratio = (high - low) * 1000, high / low
    print(f"bare .remote() {low * 1000:.0f} ms · SDK run {high * 1000:.0f} ms · adds {adds:.1f} ms · ratio {ratio:.2f}")


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


def main(pairs: int, jobs: int) -> None:
    """Deploy, then measure."""
    with tempfile.TemporaryDirectory() as folder:
        python = minimal_environment(Path(folder) / "worker", *IN_CONTAINERS)
        began = time.perf_counter()
        with deployed(python, Path(folder)) as loopback:
            print(f"loopback and deploy: {time.perf_counter() - began:.1f} s")
            with connected(loopback), Client("modal") as client:
                overhead(client, pairs)
                many(client, loopback, jobs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15, int(sys.argv[2]) if len(sys.argv) > 2 else 500)
