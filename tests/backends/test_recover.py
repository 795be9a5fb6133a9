"""A job that another machine handed in, as its server describes it."""

from __future__ import annotations

import json
import urllib.request
import uuid

import pytest

from ryla_gen import Client, Flux
from ryla_gen.emulator.server import Emulator


@pytest.mark.parametrize("seed", ["NaN", "Infinity", "true", '"7"', "null"])
def test_a_note_whose_seed_is_no_number_still_gives_the_job(seed: str) -> None:
    request = Flux(prompt="a fox", width=256, height=256, steps=1, seed=7)
    described = json.dumps({**request.described(), "seed": None})
    job = str(uuid.uuid4())
    note = f'{{"workflow": "flux", "inputs": {described}, "seed": {seed}}}'
    body = {"prompt": request.build().to_api(), "prompt_id": job, "extra_data": {"extra_pnginfo": {"ryla": note}}}
    with Emulator() as server, Client(url=server.start()) as client:
        asked = urllib.request.Request(f"{server.url}/prompt", json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(asked).close()
        assert client.jobs.get(f"comfyui:{job}").result().image.size == (256, 256)
