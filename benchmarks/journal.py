"""Times the commands that read the journal against a journal of many jobs: everyday ones stay under a second.

::

    .venv/bin/python benchmarks/journal.py --jobs 100000
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ryla_gen.history import History
from ryla_gen.history.base import instant, to_column

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--version",),
    ("jobs", "list"),
    ("jobs", "list", "--state", "failed"),
    ("jobs", "list", "--state", "running"),
    ("jobs", "list", "--workflow", "wan2"),
    ("jobs", "list", "--tag", "nowhere"),
    ("jobs", "list", "--limit", "100000"),
    ("jobs", "list", "--limit", "100000", "--json"),
    ("jobs", "show", "ID"),
    ("jobs", "show", "BEGINNING"),
    ("jobs", "funnel"),
    ("jobs", "funnel", "--since", "7d"),
    ("costs",),
    ("costs", "--by", "workflow"),
    ("costs", "--by", "character"),
    ("estimate", "flux-dev", "a fox"),
    ("gallery",),
)
WORKFLOWS = ("flux", "flux_dev", "flux_lora", "instantid", "wan2", "seedvr2")
STATES = ("succeeded",) * 90 + ("failed",) * 6 + ("canceled",) * 2 + ("expired",) + ("running",)
PROMPT = "a lighthouse at dusk, red roof, photographed on medium format film, soft light, long exposure, calm sea, gulls, "


def row(number: int, count: int, chance: random.Random) -> dict[str, Any]:
    """One job as the client writes it, five minutes after the one before it."""
    made = datetime.now(UTC) - timedelta(minutes=5 * (count - number))
    state, workflow = chance.choice(STATES), chance.choice(WORKFLOWS)
    job, seconds = str(uuid.UUID(int=chance.getrandbits(128), version=4)), chance.uniform(2, 40)
    at = [instant(made + timedelta(seconds=part)) for part in (0, 1, 1 + seconds)]
    done = state == "succeeded"
    return {
        "id": job,
        "handle": f"modal:fc-{number:026d}",
        "backend": chance.choice(("modal", "comfyui", "emulator")),
        "workflow": workflow,
        "inputs": {"prompt": f"{PROMPT * 3}{number}", "width": 1024, "height": 1024, "steps": 20, "lora_id": f"ada-{number % 40}"},
        "state": state,
        "error": {"code": "node_failed", "message": "KSampler raised", "hint": "", "details": {}} if state == "failed" else None,
        "seed": number,
        "created_at": at[0],
        "started_at": at[1],
        "finished_at": at[2] if state != "running" else None,
        "gpu": "L40S",
        "gpu_seconds": seconds if done else None,
        "cost_usd": seconds * 0.0005 if done else None,
        "outputs": [{"name": f"{workflow}-{number}-0.png", "media_type": "image/png", "bytes": 1_500_000}] if done else [],
        "tags": ["night", f"character:ada-{number % 40}"],
    }


def filled(home: Path, count: int) -> str:
    """Write a journal of many jobs, and return the id of one in the middle."""
    history = History(home / "history.sqlite3")
    history.list(limit=1)  # makes the file
    history.close()
    chance, middle = random.Random(7), ""
    with sqlite3.connect(home / "history.sqlite3") as connection:
        for number in range(count):
            values = {name: to_column(name, value) for name, value in row(number, count, chance).items()}
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(values.values()))
            middle = str(values["id"]) if number == count // 2 else middle
    connection.close()
    return middle


def main() -> None:
    """Build the journal, then time each command as a process of its own, and as the seconds above ``--version``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs in the journal")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a command is given up")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        began = time.perf_counter()
        job = filled(home, asked.jobs)
        size = (home / "history.sqlite3").stat().st_size / 1e6
        print(f"{asked.jobs} jobs, {size:.0f} MB, written in {time.perf_counter() - began:.1f} s")
        words = {"ID": job, "BEGINNING": job[:8]}
        for command in COMMANDS:
            line = [sys.executable, "-m", "ryla_gen_cli", *(words.get(word, word) for word in command)]
            began, cpu = time.perf_counter(), os.times()
            try:
                done = subprocess.run(
                    line, capture_output=True, cwd=folder, timeout=asked.limit, env=os.environ | {"RYLA_GEN_HOME": folder}
                )
                said = "" if done.returncode == 0 else f"  exit {done.returncode}: {done.stderr.decode()[-200:]}"
            except subprocess.TimeoutExpired:
                said = "  given up"
            after = os.times()
            spent = after.children_user + after.children_system - cpu.children_user - cpu.children_system
            print(f"{time.perf_counter() - began:8.2f} s  {spent:7.2f} s cpu  {' '.join(command)}{said}", flush=True)


if __name__ == "__main__":
    main()
