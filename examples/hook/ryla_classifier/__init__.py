"""A hook on outputs: an ONNX classifier of yours scores each picture, and some frames of each video, and refuses what is over a limit.

The model is the file ``model.onnx`` beside this one. It takes pictures as float32 of the shape (1, 3, 224, 224), RGB, 0 to 1, and gives
one number, 0 to 1, that says how certain it is that the picture may not be shown.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from ryla_gen import Output, Workflow
from ryla_gen.errors import RefusedError
from ryla_gen.media.frames import frames_of

MODEL = Path(__file__).parent / "model.onnx"
EDGE = 224
"""Pixels of the edges that the model takes."""
LIMIT = 0.5
"""Scores above it are refused."""
FRAMES = 8
"""Frames of a video that are looked at, from the first to the last."""


def check(output: Output, workflow: Workflow) -> None:
    """Let an output pass, or refuse it.

    Raises:
        RefusedError: the model refuses a picture of it, or it is a file that the model cannot look into.

    """
    for picture in pictures_in(output):
        found = score(picture)
        if found > LIMIT:
            raise RefusedError("The classifier says that it may not be shown.", details={"score": round(found, 3)})


def pictures_in(output: Output) -> list[Image]:
    """Return what the model has to look at; nothing for sounds and texts, which this example lets pass."""
    if output.kind == "image":
        return [output.image()]
    if output.kind == "video":
        return frames_of(output.data, FRAMES)
    if output.kind == "file":
        raise RefusedError("Nothing here can look into such a file.")
    return []


def score(picture: Image) -> float:
    """Ask the model about one picture."""
    pixels = np.asarray(picture.convert("RGB").resize((EDGE, EDGE)), np.float32) / 255
    session = _session()
    [found] = session.run(None, {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None]})
    return float(np.asarray(found).reshape(-1)[0])


@cache
def _session() -> Any:
    """Load the model, once per process."""
    import onnxruntime

    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
