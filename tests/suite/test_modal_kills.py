"""A batch on Modal that is killed with -9 while it sends: the next run sends the job's id again, and the graph runs once."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import COMMAND, SECONDS, envelope, environment, ryla
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .conftest import WORK_FOLDERS


@pytest.fixture
def modal(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared app, with all knobs as they were."""
    with connected(modal_app):
        yield modal_app
    modal_app.knobs.reset()


@pytest.mark.parametrize("moment", ["delay", "delay_answer"], ids=["being sent", "taken and not heard of"])
def test_a_killed_batch_on_modal_runs_its_row_once(moment: str, modal: Loopback, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out"
    file.write_text(json.dumps({"workflow": "flux", "prompt": moment, "width": 256, "height": 256, "steps": 1}) + "\n")
    line = ["batch", str(file), "-o", str(out), "--backend", "modal", "--json"]
    asked, taken = modal.counts["FunctionMap"], len(modal.calls)
    getattr(modal.knobs, moment)["FunctionMap"] = 3600.0
    process = subprocess.Popen([*COMMAND, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**modal.env))
    try:
        while modal.counts["FunctionMap"] == asked or (moment == "delay_answer" and len(modal.calls) == taken):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)
    (sent,) = [json.loads(entry) for entry in (out / "batch.jsonl").read_text().splitlines()]
    modal.knobs.reset()
    again = envelope(ryla(*line, **modal.env).stdout)
    data = again["data"]
    assert again["ok"], data["items"]
    assert (data["succeeded"], data["items"][0]["job"]) == (1, sent["job"])
    assert len(list(WORK_FOLDERS[modal.url].glob(f"*/output/ryla/{sent['job']}/*"))) == 1, "saved by one run"
