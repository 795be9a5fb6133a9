"""A job on Modal that is left at any moment leaves nothing that goes on, or that Python would warn of on the user's screen."""

from __future__ import annotations

import os
import subprocess
import sys

LEFT = """
import asyncio, gc
from ryla_gen import FluxDev, Settings
from ryla_gen.backends.modal.backend import ModalBackend

async def leave(steps):
    ticket = await ModalBackend(Settings.load(backend="modal")).attach("modal:fc-01OLD", FluxDev(prompt="x"), job="job-1")
    for _ in range(steps):
        await asyncio.sleep(0)
    await ticket.let_go()
    left = asyncio.all_tasks() - {{asyncio.current_task()}}
    assert not left, left  # Modal's client may answer a cancel with an error: what tries again must not go on unheard

asyncio.run(leave(int({steps!r})))
gc.collect()
"""
"""The first thing that a process does with Modal's client, whose own event loop has not started then."""


def test_a_job_that_is_left_while_modals_client_starts_drops_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    for steps in range(1, 6):
        done = subprocess.run(
            [sys.executable, "-c", LEFT.format(steps=steps)], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), f"left after {steps} steps"
