"""Turn files that a ComfyUI server saved into outputs: media type, size, re-encoding, a check for black pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

from .. import media
from ..errors import InternalError, InvalidInputError
from ..media.origin import Mark
from ..media.provenance import MARKED_TYPES
from ..workflows.base import Notice
from . import Output, replacement_of


def as_output(
    data: bytes,
    filename: str,
    name: str,
    output_format: str,
    texts: Mapping[str, str],
    *,
    node: str | None = None,
    mark: Mark | None = None,
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
        mark: what the file says of its origin.
    """
    media_type = _media_type(data, filename)
    moves = b"acTL" in data[: data.find(b"IDAT")]  # an animated PNG: another format would keep its first frame only
    if media_type == "image/png" and output_format in ("jpeg", "webp") and not moves:
        with contextlib.suppress(InvalidInputError):
            data = media.convert_image(data, cast(Any, output_format), texts)
            media_type = f"image/{output_format}"
    data = data if mark is None else mark.write(data, media_type)
    named = f"{name}{_suffix(media_type, filename, data)}"
    with contextlib.suppress(InvalidInputError):
        if media_type.startswith("image/"):
            info = media.probe_image(data)
            if not info.animated:
                media.check_whole(data)
                return Output("image", media_type, named, data, info.width, info.height, node=node)
        if media_type.startswith(("video/", "image/")):
            video = media.probe_video(data)
            return Output("video", media_type, named, data, video.width, video.height, video.frames, video.fps, node=node)
    if media_type == "text/plain":
        with contextlib.suppress(UnicodeDecodeError):
            return Output("text", media_type, named, data, text=data.decode(), node=node)
    return Output("audio" if media_type.startswith("audio/") else "file", media_type, named, data, node=node)


def with_texts(data: bytes, output_format: str, texts: Mapping[str, str]) -> bytes:
    """Write into a PNG that stays one what it says of itself, for the PNG of somebody who did not; other files stay as they are."""
    if output_format == "png" and media.sniff_media_type(data) == "image/png":
        with contextlib.suppress(InternalError):  # a truncated PNG is kept as it came
            return media.add_png_text(data, texts)
    return data


UNKNOWN = "application/octet-stream"
_BY_SUFFIX = {suffix: kind for kind, suffix in media.SUFFIXES.items()} | {".htm": "text/html"}
_NO_MAGIC = frozenset({"application/json", "image/svg+xml", "text/html", "text/plain"}) | {
    f"model/{kind}" for kind in ("gltf+json", "obj", "ply", "stl")
}
"""Kinds whose first bytes do not tell them: the name does, or a text's beginning."""


def _media_type(data: bytes, filename: str) -> str:
    """Determine a file's type by its first bytes, and by its name only where the bytes do not tell."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if found := media.sniff_media_type(data):
        return found
    if head.startswith(b"<") and (b"<!doctype html" in head or b"<html" in head):
        return "text/html"
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head:
        return "image/svg+xml"
    claimed = _BY_SUFFIX.get(PurePath(filename).suffix.lower(), UNKNOWN)
    return claimed if claimed in _NO_MAGIC else UNKNOWN


def _suffix(media_type: str, filename: str, data: bytes) -> str:
    given = PurePath(filename).suffix.lower()
    right = media.SUFFIXES.get(media_type)
    if media_type == "text/html" and _BY_SUFFIX.get(given) != media_type:
        return f"{given}.html"  # such as x.png.html, which require_outputs refuses
    if right is not None:
        return ".opus" if (media_type, given) == ("audio/ogg", ".opus") else right
    claimed = _BY_SUFFIX.get(given)  # the type that the suffix claims
    return ".bin" if not given or (data and claimed is not None and claimed not in _NO_MAGIC) else given


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

NOTED_BYTES = 5120
"""What a picture says of itself may take so many bytes: its request, its graph, its origin."""


def output_notices(outputs: tuple[Output, ...]) -> tuple[Notice, ...]:
    """Return warnings about a result: a file of the wrong type, a kind that gets no mark, or a picture that is all black.

    A model that produced NaN ends "well" in ComfyUI.
    """
    kept = (Notice("kept_as_file", text) for item in outputs if (text := _why_kept(item)))
    return (*kept, *_unmarked_notice(outputs), *_black_notice(outputs))


def _unmarked_notice(outputs: tuple[Output, ...]) -> tuple[Notice, ...]:
    """Name the pictures, videos and sounds that say nothing of their origin, since nothing is written into files of their kind."""
    names = [item.name for item in outputs if item.kind in ("image", "video", "audio") and item.media_type not in MARKED_TYPES]
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    formats = "PNG, JPEG, WebP, GIF, MP4, MOV, MP3, WAV"
    return (Notice("unmarked", f"{names[0]}{more} cannot carry the mark that says what made it. Formats that can: {formats}."),)


def _why_kept(item: Output) -> str:
    if replaced := replacement_of(item):
        return f"The server answered with {replaced} instead of {item.name.removesuffix('.html')}; it was kept as received."
    if item.kind != "file" or item.media_type not in media.READ_TYPES:
        return ""
    try:
        (media.check_whole if item.media_type.startswith("image/") else media.probe_video)(item.data)
    except InvalidInputError as error:
        return f"{item.name} was kept as received: {error.message}"
    return ""


def _black_notice(outputs: tuple[Output, ...]) -> tuple[Notice, ...]:
    for item in outputs:
        pixels = (item.width or 0) * (item.height or 0)
        if item.kind == "image" and pixels and len(item.data) < NOTED_BYTES + BLANK_BYTES_PER_PIXEL * pixels:
            with contextlib.suppress(InvalidInputError):
                extrema = item.image().convert("RGB").getextrema()
                if all(high == 0 for _, high in cast(Any, extrema)):
                    text = f"{item.name} is all black: the model probably produced NaN (try other weights, precision or steps)."
                    return (Notice("black_image", text),)
    return ()
