"""Kill a batch with -9 at random moments until it is done, and count what its server ran: every row once.

Outside of the tests, because it takes minutes::

    .venv/bin/python -m tests.spending.kill_runs --rows 600 --kills 40

"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ryla_gen.emulator.server import Emulator
from ryla_gen.history import History

COMMAND = [sys.executable, "-m", "ryla_gen_cli", "batch"]


def written(path: Path, rows: int) -> None:
    """Write a list of so many pictures."""
    row = {"workflow": "flux", "width": 256, "height": 256, "steps": 1}
    path.write_text("".join(json.dumps({**row, "prompt": f"fox {number}", "seed": number}) + "\n" for number in range(rows)))


def killed(command: list[str], environment: dict[str, str], memory: Path, wait: float) -> bool:
    """Start the batch, kill it so many seconds after it has begun to send, and tell whether it was faster."""
    before = memory.stat().st_size if memory.exists() else 0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (memory.stat().st_size if memory.exists() else 0) == before:
        time.sleep(0.005)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def main() -> int:
    """Kill and run again, then count; 0 when every row ran once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600, help="pictures in the list")
    parser.add_argument("--kills", type=int, default=40, help="times the batch is killed at most")
    parser.add_argument("--longest", type=float, default=3.0, help="seconds that a batch may run before it is killed")
    parser.add_argument("--seed", type=int, default=None, help="of the moments")
    asked = parser.parse_args()
    seed = random.randrange(2**32) if asked.seed is None else asked.seed
    chance, kills = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder, Emulator() as server:
        home, out, rows = Path(folder, "home"), Path(folder, "out"), Path(folder, "rows.jsonl")
        written(rows, asked.rows)
        command = [*COMMAND, str(rows), "-o", str(out), "--url", server.url, "--json"]
        environment = os.environ | {"RYLA_GEN_HOME": str(home)}
        while kills < asked.kills and not killed(command, environment, out / "batch.jsonl", chance.uniform(0, asked.longest)):
            kills += 1
            print(f"kill {kills}: the server has run {server.stats.prompts}", flush=True)
        last = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        data = json.loads(last.stdout.splitlines()[-1])["data"]
        history = History(home / "history.sqlite3")
        jobs = history.list(limit=None)
        history.close()
        succeeded = sum(job.state == "succeeded" for job in jobs)
        files = len(list(out.glob("*.png")))
        print(
            f"seed {seed}: {asked.rows} rows, {kills} kills, {server.stats.prompts} prompts at the server, "
            f"{len(jobs)} jobs ({succeeded} succeeded), {files} files, {data['failed']} failed"
        )
        return 0 if server.stats.prompts == asked.rows == files == data["succeeded"] + data["present"] else 1


if __name__ == "__main__":
    sys.exit(main())
