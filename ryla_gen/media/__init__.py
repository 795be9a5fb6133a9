"""Read pictures and videos from any reference; check, clean of metadata, re-encode and save them as bytes.

Pure functions over bytes and files; knows no workflow, no server and no result. PIL, av, numpy and aiohttp are
imported where they are used, so importing this is cheap.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidInputError
from .base import (
    IMAGE_LIMIT_BYTES,
    LIMIT_FRAMES,
    LIMIT_PIXELS,
    READ_TYPES,
    SUFFIXES,
    USUAL,
    VIDEO_LIMIT_BYTES,
    ImageInfo,
    MediaKind,
    References,
    VideoInfo,
    sniff_media_type,
)
from .files import check_target, describe, is_data_url, save_atomically
from .images import check_whole, clean_picture, has_transparency, is_black, on_black, probe_image, shows_through
from .output import add_png_text, convert_image, read_metadata
from .sources import read_source
from .video import probe_video

__all__ = [
    "IMAGE_LIMIT_BYTES",
    "LIMIT_FRAMES",
    "LIMIT_PIXELS",
    "READ_TYPES",
    "SUFFIXES",
    "USUAL",
    "VIDEO_LIMIT_BYTES",
    "ImageInfo",
    "MediaKind",
    "References",
    "VideoInfo",
    "add_png_text",
    "check_target",
    "check_whole",
    "convert_image",
    "describe",
    "has_transparency",
    "is_black",
    "is_data_url",
    "on_black",
    "probe_image",
    "probe_video",
    "read",
    "read_image",
    "read_metadata",
    "read_video",
    "save_atomically",
    "shows_through",
    "sniff_media_type",
]


async def read(source: Any, kind: MediaKind, *, name: str = "", trusted: bool = True, references: References = USUAL) -> bytes:
    """Read a picture or a video; an error names the field ``name`` that held it.

    Raises:
        InvalidInputError: as :func:`read_image` and :func:`read_video`.

    """
    try:
        return await (read_image if kind == "image" else read_video)(source, trusted=trusted, references=references)
    except InvalidInputError as error:
        if not name:
            raise
        raise InvalidInputError(f"{name}: {error.message}", error.hint, {**error.details, "field": name}) from None


async def read_image(
    source: Any,
    *,
    trusted: bool = True,
    references: References = USUAL,
    limit_bytes: int = IMAGE_LIMIT_BYTES,
    limit_pixels: int = LIMIT_PIXELS,
) -> bytes:
    """Read a picture from any reference, ready to send: PNG, JPEG or WebP, upright, sRGB, 8 bits, no metadata, one frame.

    Bytes that are so already come back unchanged (hashes are stable); metadata is cut out without touching pixels;
    what must be encoded again stays JPEG (quality 95) if it was, and becomes PNG otherwise. An animation gives its first
    frame. Alpha is kept. Decoding runs in a thread.

    Args:
        source: path, https:// URL, data: URL, bytes, PIL image, or file opened for binary reading.
        trusted: False on a server: only bytes and data URLs are read, no path or URL is opened.
        references: whether paths and addresses are read, and addresses of private networks.
        limit_bytes: most encoded bytes (32 MiB).
        limit_pixels: most pixels, checked before decoding (64 million).

    Raises:
        InvalidInputError: it cannot be read, is no picture, is broken or too large, or is not allowed here.

    """
    import asyncio

    data = await read_source(source, trusted=trusted, references=references, limit_bytes=limit_bytes, limit_pixels=limit_pixels)
    return await asyncio.to_thread(clean_picture, data, limit_pixels)


async def read_video(
    source: Any,
    *,
    trusted: bool = True,
    references: References = USUAL,
    limit_bytes: int = VIDEO_LIMIT_BYTES,
    limit_pixels: int = LIMIT_PIXELS,
    limit_frames: int = LIMIT_FRAMES,
) -> bytes:
    """Read a video from any reference and check it; its bytes come back unchanged.

    Args:
        source: path, https:// URL, data: URL, bytes, or file opened for binary reading.
        trusted: False on a server: only bytes and data URLs are read, no path or URL is opened.
        references: whether paths and addresses are read, and addresses of private networks.
        limit_bytes: most encoded bytes (256 MiB).
        limit_pixels: most pixels of a frame.
        limit_frames: most frames.

    Raises:
        InvalidInputError: it cannot be read, is no video, is broken or too large, or is not allowed here.

    """
    import asyncio

    data = await read_source(source, trusted=trusted, references=references, limit_bytes=limit_bytes, limit_pixels=limit_pixels)
    await asyncio.to_thread(probe_video, data, limit_pixels=limit_pixels, limit_frames=limit_frames)
    return data
