"""Define a face: its place in a picture, and the embedding that identifies it. Pure arithmetic; loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import FaceNotFoundError, InternalError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float32]

Several = Literal["refuse", "largest"]
"""What to do with a picture of several people."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in a picture."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels."""
    embedding: Vector
    """Numbers that are alike for pictures of one person; of any length but 0."""

    @property
    def area(self) -> float:
        """Pixels that the box covers."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)


class Embedder(Protocol):
    """Something that finds the faces in a picture and computes their embeddings."""

    def faces(self, picture: bytes) -> Sequence[Face]:
        """Find every face of an encoded picture."""
        ...


def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine of the angle between two embeddings, -1 to 1.

    Raises:
        InternalError: they have different lengths, or one is 0: no embedder gives such.

    """
    import numpy as np

    first, second = (np.asarray(item, dtype=np.float64).ravel() for item in (a, b))
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    if first.shape != second.shape or not np.isfinite(lengths) or lengths == 0:
        raise InternalError(f"Embeddings of {first.size} and {second.size} numbers cannot be compared.")
    return float(np.clip(first @ second / lengths, -1.0, 1.0))


def choose_face(faces: Sequence[Face], name: str, several: Several) -> Face:
    """Return the one face of a picture.

    Args:
        faces: those that were found.
        name: what the picture is called in errors.
        several: whether the largest of several is taken.

    Raises:
        FaceNotFoundError: there is none; ``details["input"]`` names the picture.
        InvalidInputError: there are several, and none was to be chosen.

    """
    if not faces:
        raise FaceNotFoundError(f"No face was found in {name}.", "", {"input": name})
    if len(faces) > 1 and several != "largest":
        text = f"{name} shows {len(faces)} faces."
        raise InvalidInputError(text, 'Use a picture of one person, or use the largest: several="largest".', {"input": name})
    return max(faces, key=lambda face: face.area)
