"""The examples, run as their first lines say, against the app on a loopback."""

from __future__ import annotations

import json
from pathlib import Path

from tests.modal_loopback import Loopback

from .conftest import execute, good, size


def example(app: Loopback, compiled: Path, folder: Path, name: str, *arguments: str) -> list[str]:
    script = compiled / "src" / "examples" / f"{name}.js"
    return good(execute("node", str(script), *arguments, cwd=folder, **app.env)).splitlines()


def test_flux_dev_saves_the_picture(app: Loopback, compiled: Path, tmp_path: Path) -> None:
    lines = example(app, compiled, tmp_path, "fluxDev", "a red fox in the snow", "fox.png")
    assert size((tmp_path / "fox.png").read_bytes()) == (768, 768)
    assert any(line.startswith("fox.png: seed ") for line in lines)
    assert any(line.endswith(" %") for line in lines), "progress was shown"


def test_face_identity_takes_a_buffer(app: Loopback, compiled: Path, tmp_path: Path, face: bytes) -> None:
    (tmp_path / "face.png").write_bytes(face)
    lines = example(app, compiled, tmp_path, "faceIdentity", "face.png", "portrait.png")
    assert size((tmp_path / "portrait.png").read_bytes()) == (768, 768)
    assert lines[-1].startswith("portrait.png: seed ")


def test_submit_and_poll_and_the_result_again_from_another_process(app: Loopback, compiled: Path, tmp_path: Path) -> None:
    lines = example(app, compiled, tmp_path, "submitAndPoll")
    assert lines[-1] == f"succeeded: lighthouse.png, seed {2**40}"
    picture = (tmp_path / "lighthouse.png").read_bytes()
    assert size(picture) == (512, 512)
    _, job, call_id = lines[0].split()
    (tmp_path / "lighthouse.png").unlink()
    again = example(app, compiled, tmp_path, "submitAndPoll", job, call_id)
    assert again == [f"submitted {job} {call_id}", lines[-1]]
    assert (tmp_path / "lighthouse.png").read_bytes() == picture


def test_errors_are_ready_for_an_http_answer(app: Loopback, compiled: Path, tmp_path: Path) -> None:
    lines = example(app, compiled, tmp_path, "errors")
    answers = [(int(status), json.loads(body)) for status, body in (line.split(" ", 1) for line in lines)]
    assert [(status, body["code"]) for status, body in answers] == [
        (400, "invalid_input"),
        (404, "lora_not_found"),
        (400, "invalid_input"),
        (504, "generation_timeout"),
    ]
    assert all(body["message"] and body["hint"] for _, body in answers)
    assert "bigint" in answers[2][1]["hint"]


def test_a_character_sheet_is_saved_and_found_again_by_another_process(
    app: Loopback, compiled: Path, tmp_path: Path, face: bytes
) -> None:
    (tmp_path / "face.png").write_bytes(face)
    lines = example(app, compiled, tmp_path, "characterSheet", "face.png", "mia")
    assert lines[-1] == "succeeded: 3 of 3, 100 %"
    names = ["front", "profile-left", "back"]
    pictures = [(tmp_path / "mia" / f"{name}.png").read_bytes() for name in names]
    assert [size(picture) for picture in pictures] == [(512, 512)] * 3
    again = example(app, compiled, tmp_path, "characterSheet", "face.png", "again", "mia/job.json")
    assert again == lines[-1:]
    assert [(tmp_path / "again" / f"{name}.png").read_bytes() for name in names] == pictures


def test_base_images_and_a_face_swap(app: Loopback, compiled: Path, tmp_path: Path) -> None:
    lines = example(app, compiled, tmp_path, "baseImages", "portrait of a man with a beard")
    assert lines == ["2 base images and a face swap"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["base-1.png", "base-2.png", "swap.png"]
