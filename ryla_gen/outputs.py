"""What a ComfyUI server saved, as outputs: media types, sizes, re-encoding, and a look for blank pictures. Fetches nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

from . import media
from .errors import InvalidInputError
from .results import Output
from .workflows.base import Notice


def as_output(
    data: bytes, filename: str, name: str, output_format: str, texts: Mapping[str, str], *, node: str | None = None
) -> Output:
    """Describe one file of a result; a PNG becomes the format the request asked for, its texts kept in EXIF.

    What we cannot read (a kind that we do not know, more pixels than we open) is kept as a file: it has been paid for.

    Args:
        data: the file as the server sent it.
        filename: what the server calls it.
        name: what the output is called, without a suffix.
        output_format: png, jpeg or webp.
        texts: what a converted picture says of itself, by name.
        node: id of the node that made it.
    """
    media_type = media.sniff_media_type(data)
    moves = b"acTL" in data[: data.find(b"IDAT")]  # an animated PNG: another format would keep its first frame only
    if media_type == "image/png" and output_format in ("jpeg", "webp") and not moves:
        with contextlib.suppress(InvalidInputError):
            data = media.convert_image(data, cast(Any, output_format), texts)
            media_type = f"image/{output_format}"
    suffix = media.SUFFIXES.get(media_type or "") or (f".{filename.rpartition('.')[2]}" if "." in filename else ".bin")
    named = f"{name}{suffix}"
    with contextlib.suppress(InvalidInputError):
        if media_type is not None and media_type.startswith("image/"):
            info = media.probe_image(data)
            if not info.animated:
                return Output("image", media_type, named, data, info.width, info.height, node=node)
        if media_type is not None and media_type.startswith(("video/", "image/")):
            video = media.probe_video(data)
            return Output("video", media_type, named, data, video.width, video.height, video.frames, video.fps, node=node)
    return Output("file", media_type or "application/octet-stream", named, data, node=node)


def text_output(text: str, name: str, *, node: str | None) -> Output:
    """Describe a text that a node showed, such as a caption.

    Args:
        text: what it says.
        name: what the output is called, without a suffix.
        node: id of the node that made it.
    """
    whole = text.encode("utf-8", "replace").decode()  # a lone surrogate could not cross the contract
    return Output("text", "text/plain", f"{name}.txt", text=whole, node=node)


BLANK_BYTES_PER_PIXEL = 0.006
"""A one-coloured PNG is smaller than this; the emulator's flattest picture has ten times as much."""


def output_notices(outputs: tuple[Output, ...]) -> tuple[Notice, ...]:
    """Say when a picture is all black: a model that produced NaN ends "well" in ComfyUI."""
    for item in outputs:
        pixels = (item.width or 0) * (item.height or 0)
        if item.kind == "image" and pixels and len(item.data) < 4096 + BLANK_BYTES_PER_PIXEL * pixels:
            extrema = item.image().convert("RGB").getextrema()
            if all(high == 0 for _, high in cast(Any, extrema)):
                text = f"{item.name} is all black: the model probably produced NaN (try other weights, precision or steps)."
                return (Notice("black_image", text),)
    return ()
