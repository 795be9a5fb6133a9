"""Looks for a face before PuLID runs: its node only warns and then paints a stranger. Knows no ComfyUI."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from .errors import FaceNotFoundError

log = logging.getLogger("ryla_gen.remote")

Verdict = Literal["face", "no_face", "unknown"]
DETECTION_SIZE = (640, 640)
"""Pixels the detector works at; the node packs use the same."""


def look_for_face(picture: bytes, *, emulated: bool, models: Path) -> Verdict:
    """Say whether a picture shows a face; ``unknown`` where nothing here can tell.

    Args:
        picture: encoded picture.
        emulated: whether the emulator stands in for ComfyUI; then its own rule holds.
        models: folder with ``insightface/models/antelopev2``.
    """
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(picture)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    if emulated:
        from .emulator.looks import is_flat

        return "no_face" if is_flat(pixels.astype(np.float32) / np.float32(255)) else "face"
    if importlib.util.find_spec("insightface") is None:
        return "unknown"
    # insightface takes OpenCV's order of colours.
    return "face" if _detector(models).get(np.ascontiguousarray(pixels[:, :, ::-1])) else "no_face"


def require_face(picture: bytes, *, emulated: bool, models: Path) -> Verdict:
    """As ``look_for_face``, but no face is an error.

    Raises:
        FaceNotFoundError: the picture shows none.
    """
    verdict = look_for_face(picture, emulated=emulated, models=models)
    if verdict == "no_face":
        raise FaceNotFoundError("No face was found in the reference image.", "", {"input": "reference_image"})
    return verdict


@cache
def _detector(models: Path) -> Any:
    from insightface.app import FaceAnalysis  # type: ignore[import-not-found, unused-ignore]

    # On the CPU: the GPU is ComfyUI's, and one look takes a fraction of a second.
    detector = FaceAnalysis(
        name="antelopev2",
        root=str(models / "insightface"),
        providers=["CPUExecutionProvider"],
        allowed_modules=["detection"],
    )
    detector.prepare(ctx_id=-1, det_size=DETECTION_SIZE)
    return detector
