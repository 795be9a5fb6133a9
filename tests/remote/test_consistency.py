"""Measuring how like its reference a face is, when the measuring itself goes wrong: the picture was made, and is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ryla_gen import Generation, InstantID
from ryla_gen.contract import NOT_MEASURED
from ryla_gen.faces import Face
from ryla_gen.remote.consistency import with_similarity
from ryla_gen.results import Output
from tests.conftest import encoded, portrait


class Broken:
    """An embedder that fails as onnxruntime and a half-installed insightface do."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def faces(self, picture: bytes) -> Sequence[Face]:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("CUDA failure 999"), ImportError("libcublas.so.12 is not there")])
def test_a_picture_is_never_lost_over_its_measuring(error: Exception) -> None:
    face = encoded(portrait())
    workflow = InstantID(prompt="reading", reference_image=face, seed=1)
    made = Generation(workflow, (Output("image", "image/png", "0.png", face),), 1, "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", "modal")
    kept = with_similarity(made, emulated=False, models=Path(), embedder=Broken(error))
    assert (kept.outputs, kept.face_similarity) == (made.outputs, None)
    [notice] = kept.warnings
    assert notice.code == NOT_MEASURED
    assert f"{type(error).__name__}: {error}" in notice.message
