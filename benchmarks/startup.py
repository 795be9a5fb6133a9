"""How long the package and the command need to start, against bare Python in the same run.

    python benchmarks/startup.py [RUNS]

Prints medians of whole processes, the time above bare Python, and its ratio to ``import pydantic``, so that figures
from machines of different speed can be compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import pydantic": [sys.executable, "-c", "import pydantic"],
    "import modal": [sys.executable, "-c", "import modal"],
    "import ryla_gen": [sys.executable, "-c", "import ryla_gen"],
    "ryla_gen.FluxDev": [sys.executable, "-c", "import ryla_gen; ryla_gen.FluxDev"],
    "ryla_gen.Client": [sys.executable, "-c", "import ryla_gen; ryla_gen.Client"],
    "ryla-gen --version": [sys.executable, "-m", "ryla_gen_cli", "--version"],
    "ryla-gen --help": [sys.executable, "-m", "ryla_gen_cli", "--help"],
}


def seconds(command: list[str]) -> float:
    """Run one whole process and return its wall time."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(runs: int) -> None:
    """Interleave the commands, so that a slow moment of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if turn:  # the first turn fills the caches
                times[name].append(took)
    bare = statistics.median(times["python"])
    pydantic = statistics.median(times["import pydantic"]) - bare
    print(f"{'command':22}{'median ms':>10}{'above bare':>12}{'× pydantic':>12}")
    for name, values in times.items():
        above = statistics.median(values) - bare
        print(f"{name:22}{statistics.median(values) * 1000:10.0f}{above * 1000:12.0f}{above / pydantic:12.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
