"""Make small pictures for a report: of a picture, or of a video's first frame. Writes no file."""

from __future__ import annotations

import io

from ...media.frames import frames_of
from ...results import Output

EDGE = 320
"""Pixels of the longer edge: sharp at the size in which the report shows them, and some 20 kB each."""
QUALITY = 82


def thumbnail(output: Output) -> bytes | None:
    """Return a small JPEG of a picture or of a video's first frame; None of anything else."""
    return small_jpeg(output.data) if output.kind in ("image", "video") else None


def small_jpeg(data: bytes) -> bytes:
    """Return a small JPEG of a picture or of a video's first frame."""
    (picture,) = frames_of(data, 1)
    picture.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
