"""Show files below a cell: a picture as itself, several as one sheet, a video as a player and a strip of its frames.

Pictures are published as pictures, not inside HTML: code hosts, which take HTML apart, show them too.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..errors import InvalidInputError
from ..media.frames import frames_of
from ..media.sheet import Tile
from .base import publish, shell
from .sheets import jpeg, rows

STRIP = 4
"""Frames of a strip: the first, two between, the last."""
STRIP_HEIGHT = 160
"""Pixels."""
AS_IT_IS = ("image/png", "image/jpeg")
"""What every reader of a notebook shows."""


class File(NamedTuple):
    """One file to show."""

    kind: str
    """image, video, audio, text or file."""
    media_type: str
    name: str
    label: str
    data: bytes
    text: str | None = None
    """What a text says."""


def show(files: Sequence[File], *, caption: str = "", notes: Sequence[str] = ()) -> None:
    """Show files below the running cell.

    Args:
        files: what to show, in order.
        caption: a line below.
        notes: warnings below that.

    Raises:
        NotImplementedError: this process is no Jupyter kernel; so IPython's terminal goes on to the plain text.

    """
    if shell() is None:
        raise NotImplementedError
    pictures = [file for file in files if file.kind == "image"]
    if len(pictures) == 1:
        _show_picture(pictures[0])
    elif pictures:
        publish({"image/jpeg": encode(jpeg(rows([Tile(file.label, file.data) for file in pictures]))), "text/plain": caption})
    for file in files:
        if file.kind == "video":
            _show_video(file)
        elif file.kind == "audio":
            publish({"text/html": sound(file.media_type, file.data, file.name), "text/plain": file.name})
        elif file.text is not None:
            publish({"text/html": words(file.text), "text/plain": file.text})
        elif file.kind != "image":
            publish({"text/plain": f"{file.name} ({len(file.data):,} bytes)"})
    show_lines([caption, *(f"⚠ {note}" for note in notes)])


def show_lines(lines: Sequence[str]) -> None:
    """Show lines in small letters below the running cell; nothing where all are empty."""
    if any(lines):
        html = "".join(f"<div><small>{escape(line)}</small></div>" for line in lines if line)
        publish({"text/html": html, "text/plain": "\n".join(lines)})


def player(media_type: str, data: bytes, name: str) -> str:
    """Return the HTML of a player that holds its video."""
    source = f"data:{media_type};base64,{encode(data)}"
    if media_type.startswith("image/"):  # an animated WebP plays by itself
        return f'<img style="max-width:100%" alt="{escape(name)}" src="{source}">'
    poster = f' poster="data:image/jpeg;base64,{encode(first)}"' if (first := _first(data)) else ""
    return f'<video controls loop muted playsinline style="max-width:100%"{poster} src="{source}"></video>'


def sound(media_type: str, data: bytes, name: str) -> str:
    """Return the HTML of a player that holds its sound."""
    return f'<audio controls title="{escape(name)}" src="data:{media_type};base64,{encode(data)}"></audio>'


def words(text: str) -> str:
    """Return the HTML of a text: as it stands, never as HTML of its own."""
    return f'<pre style="white-space:pre-wrap">{escape(text)}</pre>'


def _show_picture(file: File) -> None:
    from PIL import Image

    if file.media_type in AS_IT_IS:
        publish({file.media_type: encode(file.data), "text/plain": file.name})
        return
    with Image.open(io.BytesIO(file.data)) as opened:
        buffer = io.BytesIO()
        opened.convert("RGBA").save(buffer, "PNG", compress_level=4)
    publish({"image/png": encode(buffer.getvalue()), "text/plain": file.name})


def _show_video(file: File) -> None:
    publish({"text/html": player(file.media_type, file.data, file.name), "text/plain": f"{file.name} ({len(file.data):,} bytes)"})
    try:
        strip = _strip(file.data)
    except InvalidInputError:  # the player shows the error, where it can; a result that cannot be drawn is still a result
        return
    publish({"image/jpeg": encode(strip), "text/plain": f"frames of {file.name}"})


def _first(video: bytes) -> bytes | None:
    """Return the picture that a player shows before it plays, and where it cannot play."""
    try:
        return jpeg(frames_of(video, 1)[0])
    except InvalidInputError:
        return None


def _strip(video: bytes) -> bytes:
    from PIL import Image

    frames = frames_of(video, STRIP)
    for frame in frames:
        frame.thumbnail((STRIP_HEIGHT * 3, STRIP_HEIGHT))
    gap = 4
    drawn = Image.new("RGB", (sum(frame.width + gap for frame in frames) - gap, max(frame.height for frame in frames)), "white")
    left = 0
    for frame in frames:
        drawn.paste(frame, (left, 0))
        left += frame.width + gap
    return jpeg(drawn)


def encode(data: bytes) -> str:
    """Return bytes as a notebook holds them."""
    return b64encode(data).decode()
