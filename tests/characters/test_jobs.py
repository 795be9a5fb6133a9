"""Character jobs against a real server: what is made, kept, tried again, and taken up by another process after a kill."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen import AsyncClient, Client, Settings
from ryla_gen.characters import ANGLES, Angle, AsyncCharacters, Characters
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import (
    FaceNotFoundError,
    GenerationTimeoutError,
    GpuOutOfMemoryError,
    InvalidInputError,
    JobCanceledError,
    JobNotFoundError,
    RefusedError,
    StorageFailedError,
)
from ryla_gen.media.origin import EMULATED_EDIT, TOOL
from ryla_gen.media.provenance import read_mark
from ryla_gen.media.sheet import Tile, contact_sheet
from ryla_gen.media.strip import strip
from tests.cli.emulated import hold_after_the_first
from tests.cli.shell import environment
from tests.support.hooks import install, known_here

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1}
SECONDS = 240


def test_base_images_have_consecutive_seeds_that_are_recorded(client: Client, runner: Characters, server: Emulator) -> None:
    job = runner.submit_base_images("a woman with red hair", seed=2**64 - 2, count=3, fields=SMALL, tags=["mia"])
    result = job.result(SECONDS)
    assert [item.seed for item in result.pictures] == [2**64 - 2, 2**64 - 1, 0]
    assert {(image.width, image.height) for image in result.images} == {(256, 256)}
    assert len({item.data for item in result.pictures}) == 3
    children = client.jobs.list()
    parent = next(record for record in children if record.id == job.id)
    parts = [record for record in children if record.parent == job.id]
    assert sorted(record.seed or 0 for record in parts) == [0, 2**64 - 2, 2**64 - 1]
    assert {record.workflow for record in parts} == {"z_image"}
    assert (parent.workflow, parent.state, parent.tags, parent.cost_usd) == ("character_base", "succeeded", ["mia"], None)
    assert (job.state, job.progress.succeeded, job.done) == ("succeeded", 3, True)
    assert server.stats.prompts == 3


def test_the_same_seed_gives_the_same_pictures(runner: Characters) -> None:
    first, second = (runner.submit_base_images("a fox", seed=7, count=2, fields=SMALL).result(SECONDS) for _ in range(2))
    pixels = [[image.tobytes() for image in result.images] for result in (first, second)]
    assert pixels[0] == pixels[1]


def test_a_sheet_has_a_picture_for_each_angle_and_a_contact_sheet(runner: Characters, photo: Path, tmp_path: Path) -> None:
    own = Angle("winking", "Winking", "winking at the camera")
    job = runner.submit_character_sheet(photo, angles=["front", "Profile Left", own], prompt="red hair", seed=3, fields=SMALL)
    fractions = [now.fraction for now in job.updates()]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    result = job.result()
    assert [item.name for item in result.pictures] == ["front", "profile-left", "winking"]
    assert result.sheet is not None
    tiles = [Tile(label, item.data) for label, item in zip(("Front", "Profile left", "Winking"), result.pictures, strict=True)]
    note = f"emulated: not a measure of likeness · qwen_image_edit · seed 3 · 3 pictures · {job.id[:8]}"
    sheet = result.sheet.read_bytes()
    assert strip(sheet, "image/png") == contact_sheet(tiles, title="Character sheet", note=note)
    assert read_mark(sheet, "image/png") == (EMULATED_EDIT, f"{TOOL} (emulated)")
    saved = result.save(tmp_path / "out")
    assert [path.name for path in saved] == ["front.png", "profile-left.png", "winking.png", "sheet.png"]
    prompts = [part.prompt for part in job.parts]
    assert [ANGLES["front"].instruction in prompts[0], own.prompt in prompts[2]] == [True, True]
    assert all("red hair" in prompt for prompt in prompts)


def test_the_workflow_and_checkpoint_come_from_the_configuration(server: Emulator, photo: Path) -> None:
    settings = Settings.load(
        comfyui_url=server.url,
        characters_face_workflow="instantid",
        characters_sdxl_checkpoint="sd_xl_base_1.0.safetensors",
        characters_nsfw_checkpoint="flux1-dev-fp8.safetensors",
    )
    with Client(settings=settings) as client:
        runner = Characters(client)
        plain = runner.submit_face_swap(photo, "reading", seed=1, fields=SMALL)
        base = runner.submit_base_images("a fox", nsfw=True, count=1, fields=SMALL)
        for job in (plain, base):
            job.result(SECONDS)
        used = {record.workflow: record.inputs.get("checkpoint") for record in client.jobs.list() if record.parent}
        assert used == {"instantid": "sd_xl_base_1.0.safetensors", "flux_dev": "flux1-dev-fp8.safetensors"}
        with pytest.raises(InvalidInputError, match="characters.nsfw_sdxl_checkpoint is empty") as refused:
            runner.submit_face_swap(photo, "reading", nsfw=True)
        assert "ryla-gen config set characters.nsfw_sdxl_checkpoint" in refused.value.hint
        assert len(runner.list()) == 2, "what was refused left nothing behind"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda runner, photo: runner.submit_base_images("", count=2), "prompt"),
        (lambda runner, photo: runner.submit_base_images("a fox", count=0), "count must be 1 to 16"),
        (lambda runner, photo: runner.submit_base_images("a fox", seed=-1), "seed"),
        (lambda runner, photo: runner.submit_base_images("a fox", fields={"seed": 3}), "sets seed itself"),
        (lambda runner, photo: runner.submit_base_images("a fox", fields={"widht": 512}), "no field widht"),
        (lambda runner, photo: runner.submit_character_sheet(photo, angles=["frnt"]), "did you mean front"),
        (lambda runner, photo: runner.submit_character_sheet(photo, angles=["back", "back"]), "given twice"),
        (lambda runner, photo: runner.submit_character_sheet(photo, angles="front"), "must be a list"),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, angles=[Angle("../x", "x", "x")]),
            "is not a valid name for an angle",
        ),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, angles=[Angle("job", "x", "x")]),
            "is not a valid name for an angle",
        ),
        (lambda runner, photo: runner.submit_character_sheet(photo.with_name("no.png")), "base_image"),
        (lambda runner, photo: runner.resume("../../etc"), "no character job"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written_or_sent(
    runner: Characters, server: Emulator, photo: Path, call: Any, said: str
) -> None:
    with pytest.raises((InvalidInputError, JobNotFoundError), match=said):
        call(runner, photo)
    assert runner.list() == []
    assert server.stats.prompts == 0


def test_what_failed_is_made_again_alone_and_what_came_stays(runner: Characters, server: Emulator, photo: Path) -> None:
    server.knobs.out_of_memory_at = "VAEDecode"
    job = runner.submit_character_sheet(photo, angles=["front", "back"], seed=1, fields=SMALL)
    with pytest.raises(GpuOutOfMemoryError, match="2 of 2 pictures missing: front, back") as failed:
        job.result(SECONDS)
    assert f"ryla-gen character retry {job.id[:8]}" in failed.value.hint
    server.knobs.out_of_memory_at = None
    again = runner.retry(job.id, only=["back"])
    with pytest.raises(GpuOutOfMemoryError, match="1 of 2 pictures missing: front"):
        again.result(SECONDS)
    kept = again.pictures[0].path.stat()
    assert [item.name for item in again.pictures] == ["back"]
    whole = runner.retry(job.id).result(SECONDS)
    assert [item.name for item in whole.pictures] == ["front", "back"]
    assert whole.pictures[1].path.stat().st_mtime_ns == kept.st_mtime_ns
    assert server.stats.prompts == 4
    with pytest.raises(InvalidInputError, match="Missing pictures: none") as refused:
        runner.retry(job.id, only=["front"])
    assert "front cannot be retried" in refused.value.message


def test_status_mends_a_machines_fault_once_and_leaves_the_second_to_a_person(
    runner: Characters, server: Emulator, photo: Path
) -> None:
    server.knobs.out_of_memory_at = "VAEDecode"
    job = runner.submit_face_swap(photo, "reading", seed=1, fields=SMALL)
    prompts = []
    for ask in (lambda: job, lambda: runner.resume(job.id), lambda: runner.resume(job.id)):
        with pytest.raises(GpuOutOfMemoryError):
            ask().result(SECONDS)
        prompts.append(server.stats.prompts)
    assert prompts == [1, 2, 2]
    server.knobs.out_of_memory_at = None
    assert len(runner.retry(job.id).result(SECONDS).pictures) == 1


def test_a_fault_of_the_request_is_not_tried_again_unasked(server: Emulator, tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (256, 256), "#808080").save(flat)
    with Client(settings=Settings.load(comfyui_url=server.url, characters_face_workflow="instantid")) as client:
        runner = Characters(client)
        job = runner.submit_character_sheet(flat, angles=["front", "back"], fields=SMALL)
        with pytest.raises(FaceNotFoundError, match="2 of 2 pictures missing") as failed:
            job.result(SECONDS)
        assert "one person" in failed.value.hint
        assert runner.resume(job.id).state == "failed"
        assert server.stats.prompts == 2
        assert runner.list()[0].parts[0].error is not None


def test_a_job_that_is_cancelled_keeps_what_came_and_can_be_finished_later(
    runner: Characters, server: Emulator, photo: Path
) -> None:
    hold_after_the_first(server)  # whoever hears late of the first picture finds that the others have not come meanwhile
    job = runner.submit_character_sheet(photo, angles=["front", "back", "looking-up"], seed=1, fields=SMALL)
    for now in job.updates():
        if now.succeeded:
            job.cancel()
    assert job.state == "canceled"
    kept = len(job.pictures)
    assert 1 <= kept < 3
    with pytest.raises(JobCanceledError, match=f"{kept} of 3 pictures had finished"):
        job.result(SECONDS)
    sent = server.stats.prompts
    assert runner.resume(job.id).state == "canceled", "looking does not start it again"
    assert server.stats.prompts == sent
    server.knobs.hold_nodes = False
    assert len(runner.retry(job.id).result(SECONDS).pictures) == 3


def test_waiting_may_stop_without_stopping_the_job(runner: Characters, server: Emulator) -> None:
    server.knobs.hold_nodes = True
    job = runner.submit_base_images("a fox", count=1, fields=SMALL)
    with pytest.raises(GenerationTimeoutError, match="it continues"):
        job.result(0.01)
    server.knobs.hold_nodes = False
    assert len(job.result(SECONDS).pictures) == 1


CALLER = """
import sys
from ryla_gen import Client
from ryla_gen.characters import Characters
runner = Characters(Client(url={url!r}))
job = runner.submit_character_sheet({photo!r}, angles={angles!r}, seed=3, fields={fields!r})
print(job.id, flush=True)
for now in job.updates():
    print(now.succeeded, flush=True)
"""


def called(server: Emulator, photo: Path, angles: list[str]) -> subprocess.Popen[str]:
    script = CALLER.format(url=server.url, photo=str(photo), angles=angles, fields=SMALL)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment())


def made_of(server: Emulator, ids: list[str]) -> list[str]:
    """Which of these prompts the server has run, or has still to run."""
    with Client(url=server.url) as client:
        import asyncio

        from ryla_gen.comfy.client import ComfyClient

        async def places() -> list[str]:
            async with ComfyClient(client.settings.comfyui_url or "") as comfy:
                found = await comfy.locate(ids)
                return [job for job in ids if found[job].place != "absent"]

        return asyncio.run(places())


def plan_in(home: Path) -> dict[str, Any]:
    """The one job's plan, once it is written."""
    deadline = time.monotonic() + SECONDS
    while not (found := list(home.glob("characters/*/job.json"))):
        assert time.monotonic() < deadline
    return dict(json.loads(found[0].read_text()))


def test_a_caller_killed_between_two_pictures_loses_nothing_and_pays_nothing_twice(
    server: Emulator, photo: Path, clean_environment: Path
) -> None:
    server.knobs.delay_per_node = 0.05
    angles = ["front", "back", "profile-left", "looking-up"]
    process = called(server, photo, angles)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "1":
            break
    process.kill()
    process.communicate(timeout=SECONDS)
    plan = plan_in(clean_environment)
    with Client(url=server.url) as client:
        job = Characters(client).resume(plan["id"][:8])
        result = job.result(SECONDS)
        assert [item.name for item in result.pictures] == angles
        assert result.sheet is not None
        assert [len(part.jobs) for part in job.parts] == [1, 1, 1, 1]
        assert client.jobs.list(workflow="character_sheet")[0].state == "succeeded"
    assert server.stats.prompts == 4


def test_a_caller_killed_while_it_still_sends_loses_nothing_and_pays_nothing_twice(
    server: Emulator, photo: Path, clean_environment: Path
) -> None:
    angles = ["front", "back", "profile-left", "looking-up"]
    process = called(server, photo, angles)
    plan = plan_in(clean_environment)
    process.kill()
    process.communicate(timeout=SECONDS)
    with Client(url=server.url) as client:
        job = Characters(client).resume(plan["id"])
        assert [item.name for item in job.result(SECONDS).pictures] == angles
        ids = [made for part in job.parts for made in part.jobs]
    assert sorted(made_of(server, ids)) == sorted(part.job for part in job.parts)
    assert server.stats.prompts == 4


def test_a_journal_that_was_lost_costs_no_second_run(server: Emulator, photo: Path, clean_environment: Path) -> None:
    process = called(server, photo, ["front", "back"])
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "2":
            break
    process.kill()
    process.communicate(timeout=SECONDS)
    plan = plan_in(clean_environment)
    for path in clean_environment.glob("history*"):
        path.unlink()
    (clean_environment / "characters" / plan["id"] / "back.png").unlink()
    with Client(url=server.url) as client:
        result = Characters(client).resume(plan["id"]).result(SECONDS)
    assert [item.name for item in result.pictures] == ["front", "back"]
    assert server.stats.prompts == 2


def test_a_job_is_cancelled_by_another_process(runner: Characters, server: Emulator, photo: Path) -> None:
    server.knobs.delay_per_node = 30.0  # nothing ends by itself
    process = called(server, photo, ["front", "back"])
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    process.kill()
    process.communicate(timeout=SECONDS)
    assert runner.cancel(job_id).state == "canceled"
    deadline = time.monotonic() + 100
    while server.queue.remaining():  # the server has been told; its worker takes a moment to stop
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {part.state for part in runner.list()[0].parts} == {"canceled"}


def test_two_processes_that_take_up_one_job_send_each_picture_once(server: Emulator, photo: Path) -> None:
    server.knobs.out_of_memory_at = "VAEDecode"
    with Client(url=server.url) as client:
        job = Characters(client).submit_character_sheet(photo, angles=["front", "back"], seed=1, fields=SMALL)
        with pytest.raises(GpuOutOfMemoryError):
            job.result(SECONDS)
    server.knobs.out_of_memory_at = None
    command = [sys.executable, "-m", "ryla_gen_cli", "character", "resume", job.id, "--json", "--url", server.url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) for _ in range(2)]
    answers = [process.communicate(timeout=SECONDS)[0] for process in both]
    assert [json.loads(answer.splitlines()[-1])["data"]["state"] for answer in answers] == ["succeeded", "succeeded"]
    assert server.stats.prompts == 4


def test_a_reference_that_came_as_bytes_is_kept_nowhere_and_asked_for_again(
    runner: Characters, server: Emulator, face: bytes, clean_environment: Path
) -> None:
    server.knobs.out_of_memory_at = "VAEDecode"
    job = runner.submit_face_swap(face, "reading", seed=1, fields=SMALL)
    with pytest.raises(GpuOutOfMemoryError):
        job.result(SECONDS)
    server.knobs.out_of_memory_at = None
    for path in clean_environment.rglob("*"):
        assert not path.is_file() or face[64:512] not in path.read_bytes(), f"the photo is in {path}"
    with pytest.raises(InvalidInputError, match="never stored") as asked:
        runner.retry(job.id)
    assert "--base-image FILE" in asked.value.hint
    other = Image.new("RGB", (300, 300), "#336699")
    with pytest.raises(InvalidInputError, match="is not the picture"):
        runner.retry(job.id, base_image=other)
    assert len(runner.retry(job.id, base_image=face).result(SECONDS).pictures) == 1


def test_a_damaged_plan_says_so(runner: Characters, clean_environment: Path) -> None:
    job = runner.submit_base_images("a fox", count=1, fields=SMALL)
    job.result(SECONDS)
    path = clean_environment / "characters" / job.id / "job.json"
    sound = json.loads(path.read_text())
    (part,) = sound["parts"]
    wrong = [{**sound, "parts": [{**part, **change}]} for change in ({"jobs": []}, {"jobs": "x"}, {"name": "../x"}, {"seed": "1"})]
    wrong += [{**sound, **change} for change in ({"parts": []}, {"parts": 7}, {"fields": []}, {"tags": "x"}, {"version": []})]
    for text in ("{", "[" * 100_000, "[]", *map(json.dumps, wrong)):
        path.write_text(text)
        with pytest.raises(StorageFailedError, match="is damaged|is of version"):
            runner.resume(job.id)
    path.write_text(json.dumps(sound))
    assert runner.resume(job.id).state == "succeeded"


async def test_the_same_works_in_async_code_on_the_emulator() -> None:
    async with AsyncClient("emulator") as client:
        runner = AsyncCharacters(client)
        job = await runner.submit_base_images("a fox", seed=1, count=2, fields=SMALL)
        assert len((await job.result(SECONDS)).pictures) == 2
        lost = await runner.submit_base_images("a fox", seed=1, count=2, fields={**SMALL, "steps": 50})
    async with AsyncClient("emulator") as client:  # the emulator ended, and its jobs with it
        found = await AsyncCharacters(client).resume(lost.id)
        assert len((await found.result(SECONDS)).pictures) == 2


def test_a_refused_picture_is_one_failed_picture_and_is_not_made_again(
    client: Client, runner: Characters, server: Emulator, tmp_path: Path
) -> None:
    source = """
from ryla_gen.errors import RefusedError
def check(output, workflow):
    if workflow.seed == 8:
        raise RefusedError("Not that one.")
"""
    install(tmp_path / "site", "ryla_hook_of_characters", source)
    with known_here(tmp_path / "site"), pytest.raises(RefusedError) as caught:
        runner.submit_base_images("a woman with red hair", seed=7, count=3, fields=SMALL).result(SECONDS)
    assert (caught.value.details["failed"], caught.value.details["kept"]) == (["base-2"], 2)
    assert server.stats.prompts == 3


async def test_a_job_that_is_canceled_while_its_pictures_are_sent_leaves_none_of_them(server: Emulator) -> None:
    server.knobs.hold_nodes = True
    async with AsyncClient(url=server.url) as client:
        sending = asyncio.create_task(AsyncCharacters(client).submit_base_images("a fox", count=8, fields=SMALL))
        while server.queue.remaining() < 3:
            await asyncio.sleep(0.01)
        assert not sending.done()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        while server.queue.remaining():
            await asyncio.sleep(0.01)
        assert {record.state for record in client.history.list()} == {"canceled"}, "the job itself too"
