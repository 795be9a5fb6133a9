"""A character job on Modal: its caller killed halfway, taken up by this process, every picture run once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen import Client, InstantID, Settings
from ryla_gen.characters import Characters
from ryla_gen.errors import BackendUnreachableError
from tests.cli.shell import environment
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .test_modal_caller import runs_of

SECONDS = 200
ANGLES = ["front", "back", "profile-left"]
CALLER = """
from ryla_gen import Client
from ryla_gen.characters import Characters
runner = Characters(Client("modal"))
fields = {{"width": 256, "height": 256, "steps": 4}}
job = runner.submit_character_sheet({photo!r}, angles={angles!r}, seed=3, fields=fields)
print(job.id, flush=True)
for now in job.updates():
    print(now.succeeded, flush=True)
"""


@pytest.fixture
def modal(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    with connected(modal_app):
        yield modal_app


@pytest.mark.parametrize("moment", ["while it still sends", "when all is sent"])
def test_a_sheet_whose_caller_was_killed_is_finished_and_no_picture_runs_twice(
    modal: Loopback, face: bytes, tmp_path: Path, clean_environment: Path, moment: str
) -> None:
    photo = tmp_path / "face.png"
    photo.write_bytes(face)
    script = CALLER.format(photo=str(photo), angles=ANGLES)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    if moment == "when all is sent":
        process.stdout.readline()
    deadline = time.monotonic() + SECONDS
    while not (plans := list(clean_environment.glob("characters/*/job.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=SECONDS)
    with Client(settings=Settings.load(backend="modal")) as client:
        job = Characters(client).resume(plans[0].parent.name)
        result = job.result(SECONDS)
        assert [item.name for item in result.pictures] == ANGLES
        assert result.cost_usd > 0
        assert result.sheet is not None
        assert [runs_of(modal, part.job) for part in job.parts] == [1, 1, 1]
        assert [len(part.jobs) for part in job.parts] == [1, 1, 1]


def test_a_picture_whose_taking_was_never_confirmed_is_looked_for_and_runs_once(modal: Loopback, clean_environment: Path) -> None:
    with Client(settings=Settings.load(backend="modal")) as client:
        runner = Characters(client)
        modal.knobs.lose_answer_of["FunctionMap"] = 1000
        try:
            with pytest.raises(BackendUnreachableError):
                runner.submit_base_images("a fox", seed=7, count=1, fields={"width": 256, "height": 256, "steps": 1})
        finally:
            modal.knobs.reset()
        plan = runner.list()[0]
        deadline = time.monotonic() + SECONDS
        while not runs_of(modal, plan.parts[0].job):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        job = runner.resume(plan.id)
        assert len(job.result(SECONDS).pictures) == 1
        assert [len(part.jobs) for part in job.parts] == [1]
        assert runs_of(modal, job.parts[0].job) == 1


def test_consistency_that_nobody_can_measure_is_no_number_but_a_warning(client: Client, face: bytes) -> None:
    workflow = InstantID(prompt="a portrait", reference_image=face, width=256, height=256, steps=1, seed=1)
    measured = client.run(workflow, measure_consistency=True)
    assert measured.face_similarity is None
    assert [notice.code for notice in measured.warnings] == ["consistency_not_measured"]
    assert client.run(workflow).warnings == ()
