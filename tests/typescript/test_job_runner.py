"""The job runner of a backend: ids that are strings, the statuses it expects, and pictures it can store, from any process."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen.characters.base import ANGLES
from tests.modal_loopback import Loopback
from tests.remote.conftest import ran_whole

from .conftest import Scenario, execute, good, size

TINY = {"width": 256, "height": 256, "steps": 1}
SLOW = {"width": 2048, "height": 2048, "steps": 100}
STATUSES = ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
STORED_IMAGE = re.compile(r"^data:([^;]+);base64,(.+)$")
"""How the first user's backend reads a picture before it stores it."""


def data_url(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def sizes(output: dict[str, Any]) -> list[tuple[int, int]]:
    found = [STORED_IMAGE.fullmatch(image) for image in output["images"]]
    assert all(match is not None and match[1] == "image/png" for match in found)
    return [size(base64.b64decode(match[2])) for match in found if match]


def submitted(node: Scenario, method: str, settings: dict[str, Any] | None = None, **given: Any) -> str:
    job_id = node("jobId", method=method, input={"nsfw": False, **given}, settings=settings or {"size": TINY})
    assert isinstance(job_id, str), job_id
    return job_id


@pytest.fixture
def storage(face: bytes) -> Iterator[str]:
    """A server that gives a picture to who has its signature."""

    class Pictures(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path == "/face.png?signature=right"
            self.send_response(200 if right else 403)
            self.end_headers()
            self.wfile.write(face if right else b"")

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/face.png"
        server.shutdown()


def test_base_images_are_followed_by_another_process_that_has_nothing_but_the_id(node: Scenario) -> None:
    job_id = submitted(node, "submitBaseImages", prompt="a red fox", seed=2**53 - 2, useZImage=True)
    answer = node("jobStatus", id=job_id)
    assert answer["seen"] == [status for status in STATUSES if status in answer["seen"]]
    assert answer["status"] == "COMPLETED"
    output = answer["output"]
    assert sizes(output) == [(256, 256)] * 3
    assert output["seeds"] == [str(2**53 - 2), str(2**53 - 1), str(2**53)]
    assert (output["workflow"], output["prompts"]) == ("z_image", ["a red fox"] * 3)
    assert output["costUsd"] > 0
    assert node("jobStatus", id=job_id)["output"] == output, "asked again, the same"


def test_a_face_swap_reads_the_picture_at_its_url(node: Scenario, storage: str) -> None:
    url = f"{storage}?signature=right"
    job_id = submitted(node, "submitFaceSwap", baseImageUrl=url, prompt="reading in a library", seed=7)
    output = node("jobStatus", id=job_id)["output"]
    assert (sizes(output), output["seeds"], output["workflow"]) == ([(256, 256)], ["7"], "flux_pulid")
    given = {"baseImageUrl": f"{storage}?signature=wrong", "prompt": "x", "nsfw": False}
    error = node("jobId", method="submitFaceSwap", input=given)["error"]
    assert (error["code"], error["message"]) == ("invalid_input", f"The picture at {storage} cannot be read: it answers 403.")


def test_a_sheet_has_a_picture_for_each_angle_by_name_or_in_words(node: Scenario, face: bytes) -> None:
    angles = ["front", "3/4 left", "Side Right", "seen from a balcony"]
    job_id = submitted(node, "submitCharacterSheet", baseImageUrl=data_url(face), angles=angles)
    output = node("jobStatus", id=job_id)["output"]
    asked = [ANGLES[name].instruction for name in ("front", "three-quarter-left", "profile-right")] + [angles[3]]
    assert [words in prompt for words, prompt in zip(asked, output["prompts"], strict=True)] == [True] * 4
    assert sizes(output) == [(256, 256)] * 4
    assert len(set(output["seeds"])) == 1
    assert output["workflow"] == "qwen_image_edit"


def test_a_job_that_cannot_be_made_is_failed_and_says_why(node: Scenario) -> None:
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "#808080").save(flat, "PNG")
    picture = data_url(flat.getvalue())
    swap = node("jobStatus", id=submitted(node, "submitFaceSwap", baseImageUrl=picture, prompt="x"))
    assert (swap["status"], "output" in swap) == ("FAILED", False)
    assert "face" in swap["error"]
    by_face = {"size": TINY, "sheetRecipe": "flux_pulid"}
    sheet = node("jobStatus", id=submitted(node, "submitCharacterSheet", by_face, baseImageUrl=picture, angles=["front", "back"]))
    assert sheet["error"] == f"2 of 2 pictures did not come: {swap['error']}"


def test_a_job_that_nobody_knows_is_failed_and_a_modal_that_cannot_be_asked_is_an_error(node: Scenario) -> None:
    job_id = submitted(node, "submitBaseImages", prompt="a red fox")
    unknown = node("jobStatus", id=re.sub(r"\..*", ".01JUNKNOWN", job_id))
    assert (unknown["status"], unknown["error"]) == ("FAILED", "Modal knows no call fc-01JUNKNOWN.")
    refused = node("jobStatus", {"MODAL_TOKEN_SECRET": "as-wrong"}, id=job_id)
    assert refused["error"]["code"] == "not_authorized"
    assert node("jobStatus", id=job_id)["status"] == "COMPLETED"


def test_a_running_job_is_in_progress_and_a_canceled_one_has_failed(node: Scenario) -> None:
    job_id = submitted(node, "submitBaseImages", {"size": SLOW, "baseImages": 1, "baseRecipe": "flux_dev"}, prompt="a red fox")
    answer = node("jobStatus", id=job_id, cancelAt="IN_PROGRESS")
    assert answer["seen"][-2:] == ["IN_PROGRESS", "FAILED"]
    assert "canceled" in answer["error"]


def test_a_submission_whose_answer_is_lost_is_paid_once(app: Loopback, node: Scenario) -> None:
    before, sent = ran_whole(app), len(app.calls)
    app.knobs.lose_answer_of["FunctionMap"] = 1
    job_id = submitted(node, "submitBaseImages", {"size": TINY, "baseImages": 2}, prompt="a red fox")
    assert node("jobStatus", id=job_id)["status"] == "COMPLETED"
    assert len(app.calls) - sent == 3, "one of two pictures was sent twice"
    assert len(ran_whole(app) - before) == 2


def test_a_nest_application_makes_pictures_and_another_one_finds_them(app: Loopback, compiled: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> list[str]:
        script = compiled / "src" / "examples" / "nestApp.js"
        variables = {**app.env, "MODAL_WORKSPACE": "loopback"}
        return good(execute("node", str(script), *arguments, cwd=tmp_path, **variables)).splitlines()

    job_id, *rest = run("portrait of a woman with red hair")
    assert rest == ["COMPLETED: 3 base images"]
    pictures = [(tmp_path / f"base-{number}.png").read_bytes() for number in (1, 2, 3)]
    assert [size(picture) for picture in pictures] == [(1024, 1024)] * 3
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert run("", job_id) == [job_id, *rest]
    assert [(tmp_path / f"base-{number}.png").read_bytes() for number in (1, 2, 3)] == pictures
