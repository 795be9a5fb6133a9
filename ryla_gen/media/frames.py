"""Extract a few evenly spread frames of a video as pictures. Must not know references or write a file."""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING, Any

from .base import sniff_media_type
from .images import broken_file, open_picture
from .video import _DEMUXERS

if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL.Image import Image


def frames_of(video: bytes, count: int) -> list[Image]:
    """Return up to ``count`` frames, from the first to the last, evenly spread; the only one of a still picture.

    Raises:
        InvalidInputError: it is not a video that can be read, or it is broken.

    """
    media_type = sniff_media_type(video) or ""
    if media_type.startswith("image/"):
        return _of_animation(video, count)
    if media_type not in _DEMUXERS:
        raise broken_file(media_type or "video", "it is not a video that can be read")
    try:
        found = _decode(video, media_type, count)
    except Exception as error:  # demuxers and decoders raise anything on a hostile file
        raise broken_file(media_type, getattr(error, "strerror", None) or error) from None
    if not found:
        raise broken_file(media_type, "it contains no frame")
    return found


def _decode(video: bytes, media_type: str, count: int) -> list[Image]:
    """Decode only the wanted frames: all frames of a long video would fill the memory."""
    from PIL import Image

    with _open(video, media_type) as container:
        total = container.streams.video[0].frames or sum(1 for _ in container.decode(video=0))
    wanted = set(_spread(total, count))
    with _open(video, media_type) as container:
        frames: Any = islice(enumerate(container.decode(video=0)), max(wanted, default=-1) + 1)  # stop after the last wanted frame
        return [Image.fromarray(frame.to_ndarray(format="rgb24")) for place, frame in frames if place in wanted]


def _open(video: bytes, media_type: str) -> InputContainer:
    import av

    return av.open(io.BytesIO(video), mode="r", format=_DEMUXERS[media_type])


def _of_animation(data: bytes, count: int) -> list[Image]:
    with open_picture(data) as opened:
        frames = []
        for place in _spread(getattr(opened, "n_frames", 1), count):
            opened.seek(place)
            frames.append(opened.convert("RGB"))
        return frames


def _spread(total: int, count: int) -> list[int]:
    """Choose ``count`` places among ``total``, the first and the last among them."""
    if count <= 1 or total <= 1:
        return [0][:total]
    return sorted({round(step * (total - 1) / (count - 1)) for step in range(count)})
