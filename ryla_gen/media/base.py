"""What the parts of ``media`` share: what a picture or video is, its kinds by magic bytes, and the limits.

Pure; knows no path, no network and no decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InvalidInputError

MediaKind = Literal["image", "video"]
"""What a reference is expected to hold."""

IMAGE_LIMIT_BYTES = 32 * 1024 * 1024
"""Largest encoded picture that is read: a 64-megapixel JPEG of a phone has about 20 MB."""
VIDEO_LIMIT_BYTES = 256 * 1024 * 1024
"""Largest encoded video that is read: it travels in one message, and is held in memory."""
LIMIT_PIXELS = 64_000_000
"""Most pixels of one picture or frame. Below PIL's own 89-megapixel warning, above every camera in use."""
LIMIT_FRAMES = 10_000
"""Most frames of one video: over five minutes at 30 frames a second."""
IMAGE_FORMATS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
"""Formats that are read, for messages."""
VIDEO_FORMATS = "MP4, WebM, MOV, MKV, animated WebP"
"""Containers that are read, for messages."""
SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "video/x-matroska": ".mkv",
}
"""File suffix of each kind that we read or write."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of a picture says."""

    media_type: str
    """``image/png`` and so on."""
    width: int
    """Pixels, as stored: an EXIF rotation is not applied."""
    height: int
    """Pixels, as stored."""
    animated: bool
    """Whether it has more than one frame."""
    frames: int
    """Number of frames."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video holds, counted rather than believed."""

    container: str
    """``mp4``, ``webm``, ``mov``, ``mkv`` or ``webp``."""
    media_type: str
    """``video/mp4`` and so on."""
    frames: int
    """Number of frames."""
    fps: float
    """Frames a second, on average."""
    width: int
    """Pixels, as stored: a rotation mark of the container is not applied."""
    height: int
    """Pixels, as stored."""
    duration: float
    """Seconds."""


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x0a", "image/jxl"),
)
_BRANDS = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"qt  ": "video/quicktime",
}
"""Major brands of ISO base media files (mp4ra.org); every other brand is taken for MP4."""
_OLD_MOV = (b"moov", b"mdat", b"wide", b"free", b"skip")
"""First boxes of QuickTime files from before there was ``ftyp``."""


def sniff_media_type(data: bytes) -> str | None:
    """Tell what encoded bytes are by their first bytes, or None when they are no picture or video that we know of."""
    head = data[:64]
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[4:8] in _OLD_MOV and head[:1] == b"\x00":  # a size below 16 MB, not a text with the word "free"
        return "video/quicktime"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head else "video/x-matroska"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def check_pixels(width: int, height: int, limit: int) -> None:
    """Refuse a picture by the size that its header claims.

    Raises:
        InvalidInputError: it has no pixels, or more than ``limit``.

    """
    if width < 1 or height < 1:
        raise InvalidInputError(f"The picture has no pixels ({width}×{height}).", "Export it again from the program that made it.")
    if width * height > limit:
        raise InvalidInputError(
            f"The picture is too large: {width}×{height} is {width * height / 1e6:.1f} megapixels; the limit is {limit / 1e6:g}.",
            "Scale it down first; most models look at about one megapixel.",
            {"width": width, "height": height, "limit_pixels": limit},
        )


def megabytes(size: int) -> str:
    """Write a size for people."""
    return f"{size / 1024 / 1024:.1f} MiB" if size >= 100 * 1024 else f"{size} bytes"
