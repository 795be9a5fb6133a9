"""Define what the parts of ``media`` share: what a picture or video is, its kinds by magic bytes, and the limits.

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
    "video/x-msvideo": ".avi",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/jp2": ".jp2",
    "image/jxl": ".jxl",
    "image/svg+xml": ".svg",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "model/gltf-binary": ".glb",
    "model/gltf+json": ".gltf",
    "model/obj": ".obj",
    "model/ply": ".ply",
    "model/stl": ".stl",
    "application/json": ".json",
    "text/html": ".html",
    "text/plain": ".txt",
}
"""File suffix of each kind that we read, write, or keep as it came."""
READ_TYPES = frozenset(
    {f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff")}
    | {f"video/{kind}" for kind in ("mp4", "webm", "quicktime", "x-matroska")}
)
"""The kinds of pictures and videos that are read: a file of theirs that cannot be is broken."""


@dataclass(frozen=True, slots=True)
class References:
    """The kinds of references to pictures and videos that may be read."""

    kinds: Literal["any", "bytes"] = "any"
    """bytes: no paths and no addresses, for a server that hands on its users' texts."""
    private_addresses: bool = False
    """Whether addresses of this machine and of private networks are fetched."""


USUAL = References()
"""What a person's own program reads: everything but private addresses."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The facts in a picture's header."""

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
    """The facts of a video: frames are counted, not taken from its header."""

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
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"glTF", "model/gltf-binary"),
    (b"ply\n", "model/ply"),
    (b"ply\r", "model/ply"),
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
    b"M4A ": "audio/mp4",
}
"""Major brands of ISO base media files (mp4ra.org); every other brand is taken for MP4."""
_OLD_MOV = (b"moov", b"mdat", b"wide", b"free", b"skip")
"""First boxes of QuickTime files from before there was ``ftyp``."""


def sniff_media_type(data: bytes) -> str | None:
    """Return the media type that the first bytes show; None when they are no known picture, video, sound or 3D shape."""
    head = data[:64]
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[4:8] in _OLD_MOV and head[:1] == b"\x00":  # a size below 16 MB; excludes texts such as "was free"
        return "video/quicktime"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head else "video/x-matroska"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None) or _bare_sound(head)


def _bare_sound(head: bytes) -> str | None:
    """Recognise MP3 and AAC without a tag in front by a frame's header (ISO 11172-3, 2.4.1.3; ISO 13818-7, 6.2)."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and head[2] & 0x3C != 0x3C:
        return "audio/aac"
    layer_three = head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08
    return "audio/mpeg" if layer_three and head[2] & 0xF0 not in (0x00, 0xF0) and head[2] & 0x0C != 0x0C else None


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
