"""Run insightface's detector and ArcFace recogniser on onnxruntime, from files that this package downloaded. Downloads nothing.

Only the two ONNX files are opened, by insightface's own model classes: its downloader is never reached.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendNotConfiguredError, ModelNotFoundError, StorageFailedError
from ..models.weights_table import Weights, all_weights
from .base import Face

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DETECTOR, RECOGNISER = "scrfd_10g_bnkps.onnx", "glintr100.onnx"
"""The two files of antelopev2 that are needed: SCRFD finds faces, ArcFace (ResNet-100 on Glint360K) tells whose they are."""
FOLDER = "insightface/models/antelopev2"
"""Where they lie below a models folder: where the node packs look too."""
DETECTION_SIZE = (640, 640)
"""Pixels the detector works at; the node packs use the same."""
CPU = ["CPUExecutionProvider"]
"""On the CPU: on Modal the GPU is ComfyUI's, and one look takes a fraction of a second."""
EXTRA = "pip install 'ryla-gen[faces]'"


class InsightFace:
    """Finds faces with antelopev2's detector, and computes their embeddings with its recogniser.

    Args:
        models: ComfyUI's models folder, or one of this package; holds ``insightface/models/antelopev2``.

    """

    def __init__(self, models: Path) -> None:
        self._folder = models / FOLDER

    def boxes(self, picture: bytes) -> list[tuple[float, float, float, float]]:
        """Find every face of an encoded picture; tells only where each is.

        Raises:
            BackendNotConfiguredError: the extra is not installed.
            ModelNotFoundError: the detector's file is not there.

        """
        found, _ = self._detect(_pixels(picture))
        return [_box(row) for row in found]

    def faces(self, picture: bytes) -> Sequence[Face]:
        """Find every face of an encoded picture, and compute whose it is.

        Raises:
            BackendNotConfiguredError: the extra is not installed.
            ModelNotFoundError: a model's file is not there.
            StorageFailedError: a model's file is damaged.

        """
        pixels = _pixels(picture)
        found, points = self._detect(pixels)
        if not len(found):
            return []
        from insightface.app.common import Face as Detected  # type: ignore[import-not-found, unused-ignore]

        recogniser = _model(self._folder / RECOGNISER)
        made = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it calls scikit-image by a deprecated name
            for row, marks in zip(found, points, strict=True):
                one = Detected(bbox=row[:4], kps=marks, det_score=row[4])
                made.append(Face(_box(row), recogniser.get(pixels, one)))
        return made

    def _detect(self, pixels: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
        return tuple(_model(self._folder / DETECTOR).detect(pixels, input_size=DETECTION_SIZE))


def rows() -> tuple[Weights, ...]:
    """Return the two files' rows in the table of weights."""
    wanted = {f"{FOLDER.removeprefix('insightface/')}/{name}" for name in (DETECTOR, RECOGNISER)}
    return tuple(row for row in all_weights() if row.folder == "insightface" and row.name in wanted)


@cache
def _model(path: Path) -> Any:
    """Load one ONNX file by insightface's class for it, once per process.

    Raises:
        BackendNotConfiguredError: the extra is not installed.
        ModelNotFoundError: the file is not there.
        StorageFailedError: the file is damaged.

    """
    for package in ("insightface", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise BackendNotConfiguredError(f"Measuring faces needs {package}, which is not installed.", f"Install it: {EXTRA}")
    if not path.is_file():
        details = {"file": path.name, "folder": "insightface", "path": str(path)}
        hint = "Download and verify it: ryla-gen character compare A.png B.png --install (in Python: ryla_gen.faces.install())"
        raise ModelNotFoundError(f"The face model {path.name} is not at {path}.", hint, details)
    from insightface.model_zoo import get_model  # type: ignore[import-not-found, unused-ignore]

    try:
        with contextlib.redirect_stdout(sys.stderr):  # it prints, and stdout may be for programs
            model = get_model(str(path), providers=CPU)
    except Exception as error:  # protobuf, onnx and onnxruntime share no base, and each refuses a broken file in its own way
        raise StorageFailedError(f"{path} is not a face model: {str(error)[:200]}.", "Remove it, and download it again.") from None
    if model is None:
        raise StorageFailedError(f"{path} is not a face model that insightface knows.", "Remove it, and download it again.")
    if hasattr(model, "detect"):
        model.prepare(-1, input_size=DETECTION_SIZE)
    return model


def _pixels(picture: bytes) -> npt.NDArray[np.uint8]:
    """Decode to pixels in OpenCV's order of colours, which insightface takes."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(picture)) as opened:
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"))[:, :, ::-1])


def _box(row: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in row[:4])
    return left, top, right, bottom
