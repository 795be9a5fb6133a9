"""Measure how similar two faces are: pictures in, one number out. Must not download the models unless asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import media
from ..errors import InvalidInputError
from ..settings import home_folder
from ..support.loop_thread import run_async
from .base import Embedder, Several, choose_face, cosine
from .insight import InsightFace, rows

if TYPE_CHECKING:
    from ..models.downloads import SyncProgress

MODELS = "models"
"""Folder of the models below RYLA_GEN_HOME."""


def similarity(a: Any, b: Any, *, several: Several = "refuse", embedder: Embedder | None = None) -> float:
    """Measure how similar the faces in two pictures are: the cosine of their ArcFace embeddings, -1 to 1.

    Pictures of one person are mostly above 0.5, of two people mostly below 0.3; the number says nothing about quality.

    Args:
        a: one picture: path, URL, bytes, data URL or PIL image.
        b: the other one.
        several: take the ``largest`` face of a picture with several, or ``refuse`` such a picture.
        embedder: what finds and embeds faces; antelopev2 from ``RYLA_GEN_HOME/models`` when absent.

    Raises:
        FaceNotFoundError: a picture shows no face; ``details["input"]`` is ``a`` or ``b``.
        InvalidInputError: a picture cannot be read, or shows several faces.
        BackendNotConfiguredError: the extra ``faces`` is not installed.
        ModelNotFoundError: the models are not there; see :func:`install`.

    """
    if several not in ("refuse", "largest"):
        raise InvalidInputError(f"several must be refuse or largest, not {several!r}.", 'Leave it out, or write several="largest".')
    pictures = [run_async(media.read(source, "image", name=name)) for name, source in (("a", a), ("b", b))]
    return compare(pictures[0], pictures[1], several=several, embedder=embedder or InsightFace(home_folder() / MODELS))


def compare(a: bytes, b: bytes, *, embedder: Embedder, several: Several = "refuse", names: tuple[str, str] = ("a", "b")) -> float:
    """Compare two encoded pictures; see :func:`similarity`."""
    first, second = (choose_face(embedder.faces(data), name, several) for data, name in zip((a, b), names, strict=True))
    return cosine(first.embedding, second.embedding)


def install(
    models: Path | None = None, progress: Callable[[SyncProgress], None] | None = None, *, endpoint: str | None = None
) -> list[Path]:
    """Download the two face models, verified by size and sha256, and return their files. Sends no request for a file that is there.

    Args:
        models: folder to put ``insightface/models/antelopev2`` in; ``RYLA_GEN_HOME/models`` when absent.
        progress: called with how far it is.
        endpoint: address of the hub; by default HF_ENDPOINT, else huggingface.co.

    Raises:
        RylaGenError: a file cannot be had, or is not what it should be; nothing half-written stays under its name.

    """
    from ..models import downloads  # imports the hub's client, which the GPU images do not have

    report = downloads.sync(rows(), models or home_folder() / MODELS, endpoint=endpoint, progress=progress)
    report.raise_for_failures()
    return [item.path for item in report.files]
