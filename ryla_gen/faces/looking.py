"""Look for a face before PuLID runs: without one, its node only warns and then paints a stranger. Knows no ComfyUI."""

from __future__ import annotations

import importlib.util
import logging
from io import BytesIO
from pathlib import Path
from typing import Literal

from ..errors import FaceNotFoundError
from .insight import InsightFace

log = logging.getLogger("ryla_gen.remote")

Verdict = Literal["face", "no_face", "unknown"]


def look_for_face(picture: bytes, *, emulated: bool, models: Path) -> Verdict:
    """Detect whether a picture shows a face; ``unknown`` if this machine cannot tell.

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
        from ..emulator.style import is_flat

        return "no_face" if is_flat(pixels.astype(np.float32) / np.float32(255)) else "face"
    if importlib.util.find_spec("insightface") is None:
        return "unknown"
    return "face" if InsightFace(models).boxes(picture) else "no_face"


def require_face(picture: bytes, *, emulated: bool, models: Path, name: str = "reference_image") -> Verdict:
    """Look for a face as ``look_for_face`` does; if there is none, raise an error that names the input ``name``.

    Raises:
        FaceNotFoundError: the picture shows none.
    """
    verdict = look_for_face(picture, emulated=emulated, models=models)
    if verdict == "no_face":
        what = "the reference image" if name == "reference_image" else name
        raise FaceNotFoundError(f"No face was found in {what}.", "", {"input": name})
    return verdict
