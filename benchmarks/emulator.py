"""How long the default workflows take on the emulator, and whether many requests through one client leave anything behind.

python benchmarks/emulator.py [REQUESTS]
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from ryla_gen import Client, Flux, FluxDev, Wan2, Workflow


def resident() -> float:
    """Return the process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    """Return how many files and sockets the process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def speed() -> None:
    """Time the defaults, first call and second; the best of three speaks of the work, not of the machine's neighbours."""
    defaults: dict[str, Workflow] = {
        "flux_dev 1024² 20 steps": FluxDev(prompt="a lighthouse at dusk, red roof", seed=1),
        "flux 1024² 4 steps": Flux(prompt="a lighthouse at dusk, red roof", seed=1),
        "wan2 832×480×33 30 steps": Wan2(prompt="waves at dusk", seed=1),
    }
    with Client("emulator") as client:
        for name, workflow in defaults.items():
            took = []
            for turn in range(3):
                began = time.perf_counter()
                client.run(workflow.changed(seed=turn))
                took.append(time.perf_counter() - began)
            print(f"{name:26} first {took[0]:.2f} s · best of three {min(took):.2f} s")


def leaks(requests: int) -> None:
    """Run many small requests through one client and compare before and after."""
    with Client("emulator") as client:
        for seed in range(20):
            client.flux(prompt="a fox", width=256, height=256, seed=seed)
        gc.collect()
        before = (resident(), threading.active_count(), descriptors())
        for seed in range(requests):
            client.flux(prompt="a fox", width=256, height=256, seed=seed)
        gc.collect()
        after = (resident(), threading.active_count(), descriptors())
    changes = ", ".join(
        f"{what} {low:.0f} → {high:.0f}" for what, low, high in zip(("MB", "threads", "files"), before, after, strict=True)
    )
    left = list(Path(tempfile.gettempdir()).glob("ryla-emulator-*"))
    print(f"{requests} requests: {changes}")
    print(f"after close: threads {threading.active_count()}, files {descriptors()}, temporary folders {len(left)}")


if __name__ == "__main__":
    speed()
    leaks(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
