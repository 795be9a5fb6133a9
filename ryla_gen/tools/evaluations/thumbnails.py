"""Small pictures for a report: the first frame of whatever a run made. Writes no file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...results import Output

EDGE = 320
"""Pixels of the longer edge: sharp at the size in which the report shows them, and some 20 kB each."""
QUALITY = 82


def thumbnail(output: Output) -> bytes | None:
    """Return a small JPEG of a picture or of a video's first frame; None of anything else."""
    if output.kind not in ("image", "video"):
        return None
    return shrunk(_frame(output.data) if output.media_type.startswith("video/") else output.data)


def shrunk(picture: Image | bytes) -> bytes:
    """Return a small JPEG of a picture."""
    from PIL import Image

    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as opened:
            small = opened.convert("RGB")
    else:
        small = picture.convert("RGB")
    small.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _frame(video: bytes) -> Image:
    import av
    from PIL import Image

    with av.open(io.BytesIO(video), "r") as container:
        return Image.fromarray(next(container.decode(video=0)).to_ndarray(format="rgb24"))
