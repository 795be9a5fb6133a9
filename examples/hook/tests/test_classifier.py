"""What the hook promises: bright pictures are refused, dark ones pass, and what it cannot look into does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ryla_gen import Client, CustomWorkflow, Output
from ryla_gen.errors import HookFailedError, RefusedError

import ryla_classifier

BLACK, WHITE = 0, 0xFFFFFF


def painted(colour: int, frames: int = 1, save: str = "SaveImage") -> CustomWorkflow:
    paint = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": frames, "color": colour}}
    if save == "SaveImage":
        last = {"class_type": save, "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
        return CustomWorkflow(graph={"1": paint, "2": last})
    video = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}}
    last = {"class_type": save, "inputs": {"video": ["2", 0], "filename_prefix": "x", "format": "auto", "codec": "auto"}}
    return CustomWorkflow(graph={"1": paint, "2": video, "3": last})


@pytest.mark.parametrize(("frames", "save"), [(1, "SaveImage"), (12, "SaveVideo")])
def test_bright_is_refused_and_dark_passes(frames: int, save: str) -> None:
    with Client(backend="emulator") as client:
        assert client.run(painted(BLACK, frames, save)).server["on_output"] == ["classifier"]
        with pytest.raises(RefusedError) as caught:
            client.run(painted(WHITE, frames, save))
    assert caught.value.code == "refused"
    assert caught.value.details["said"]["score"] > 0.9


def test_without_a_model_nothing_passes(model: Path) -> None:
    model.unlink()
    with Client(backend="emulator") as client, pytest.raises(HookFailedError, match="model.onnx"):
        client.run(painted(BLACK))


def test_sounds_and_texts_pass_and_other_files_do_not() -> None:
    workflow = painted(BLACK)
    ryla_classifier.check(Output("text", "text/plain", "x.txt", text="a caption"), workflow)
    with pytest.raises(RefusedError, match="look into"):
        ryla_classifier.check(Output("file", "application/octet-stream", "x.bin", b"1"), workflow)
