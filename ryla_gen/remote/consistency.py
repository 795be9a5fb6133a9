"""Measure, in the container, how similar a result's face is to its reference. Must never lose a picture over it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..contract import NOT_MEASURED
from ..errors import RylaGenError
from ..faces import Embedder, InsightFace, compare
from ..results import Generation
from ..workflows.base import Notice

"""Code of the warning of a result whose consistency was asked for and is not known."""


def with_similarity(generation: Generation, *, emulated: bool, models: Path, embedder: Embedder | None = None) -> Generation:
    """Return the generation with ``face_similarity``, or with a warning that says why there is none.

    Args:
        generation: what was made, its request among it.
        emulated: whether the emulator stands in for ComfyUI: its painted faces are not those of a person.
        models: folder with ``insightface/models/antelopev2``.
        embedder: what finds and embeds faces; antelopev2 when absent.

    """
    reference = getattr(generation.workflow, "reference_image", None)
    if not isinstance(reference, bytes):
        return _without_similarity(generation, f"{generation.workflow.name} has no reference picture to compare with.")
    if emulated:
        return _without_similarity(generation, "The emulator paints faces that no model can compare.")
    if embedder is None and importlib.util.find_spec("insightface") is None:
        return _without_similarity(generation, "insightface is not installed where it ran.")
    found, reasons = list[float](), list[str]()
    for value in _each(generation, reference, embedder or InsightFace(models)):
        if isinstance(value, float):
            found.append(value)
        else:
            reasons.append(value)
    if reasons:
        generation = _without_similarity(generation, " ".join(reasons))
    return replace(generation, face_similarity=sum(found) / len(found)) if found else generation


def _each(generation: Generation, reference: bytes, embedder: Embedder) -> Iterator[float | str]:
    """Measure each picture's similarity, or say why it has none; the largest face counts where there are several."""
    for item in generation.outputs:
        if item.kind == "image":
            names = ("the reference image", item.name)
            try:
                yield compare(reference, item.data, embedder=embedder, several="largest", names=names)
            except RylaGenError as error:
                yield error.message
            except Exception as error:  # what onnxruntime and insightface raise has no common base
                yield f"Comparing {item.name} failed: {type(error).__name__}: {error}"


def _without_similarity(generation: Generation, why: str) -> Generation:
    notice = Notice(NOT_MEASURED, f"The similarity of the face was not measured. {why}")
    return replace(generation, warnings=(*generation.warnings, notice))
