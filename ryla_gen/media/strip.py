"""Remove metadata from encoded pictures without touching their pixels: pure byte work on PNG, JPEG and WebP.

Keeps what a decoder needs. Knows no references and decodes nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"hIST"})
"""Chunks that hold pixels or say how to show them (PNG specification, section 11); no text, no time, no camera."""
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a length: TEM and the restarts."""
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""In entropy-coded data, FF00 is a byte FF and FFD0 to FFD7 are restarts; anything else ends the scan."""


def strip(data: bytes, media_type: str) -> bytes | None:
    """Return the picture without metadata, its pixels byte for byte; the same object when there was none.

    None means that this cannot be done on bytes: another format, or a structure that is not the usual one.
    """
    if media_type == "image/png":
        return _stripped_png(data)
    if media_type == "image/jpeg":
        return _stripped_jpeg(data)
    return _stripped_webp(data) if media_type == "image/webp" else None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk of a PNG: its kind, where it begins, and where it ends. Stops after IEND or where the file breaks off."""
    place = 8
    while place + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + size
        if end > len(data):
            return
        yield kind, place, end
        if kind == b"IEND":
            return
        place = end


def _stripped_png(data: bytes) -> bytes | None:
    kept, last = [data[:8]], b""
    for kind, start, end in png_chunks(data):
        last = kind
        if kind in PNG_KEPT:
            kept.append(data[start:end])
    return _same_or_new(data, kept) if last == b"IEND" else None


def _same_or_new(data: bytes, kept: list[bytes]) -> bytes:
    new = b"".join(kept)
    return data if new == data else new


def _stripped_jpeg(data: bytes) -> bytes | None:
    """Drop APP1 to APP13, APP15, comments, JFIF thumbnails, and whatever follows the end of the picture."""
    kept, place = [data[:2]], 2
    while place + 4 <= len(data) or data[place : place + 2] == b"\xff\xd9":
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xD9:
            kept.append(data[place : place + 2])
            return _same_or_new(data, kept)
        if marker == 0xFF or marker in _JPEG_BARE:
            place += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + size
        if marker == 0xDA:  # a scan: its data runs to the next real marker
            found = _NEXT_MARKER.search(data, end)
            if found is None:
                return None
            end = found.end() - 2
        if _jpeg_kept(marker, data, place):
            kept.append(data[place:end])
        place = end
    return None


def _jpeg_kept(marker: int, data: bytes, place: int) -> bool:
    if marker == 0xE0:  # JFIF without a thumbnail is 16 bytes long
        return data[place + 4 : place + 9] == b"JFIF\x00" and data[place + 2 : place + 4] == b"\x00\x10"
    if marker == 0xEE:  # Adobe's says how colours are coded
        return data[place + 4 : place + 9] == b"Adobe"
    return not (0xE1 <= marker <= 0xEF or marker == 0xFE)


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk of a WebP: its kind, where it begins, and where it ends with padding. Stops where the file breaks off."""
    place = 12
    stop = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while place + 8 <= stop:
        (size,) = struct.unpack_from("<I", data, place + 4)
        end = place + 8 + size + (size & 1)
        if end > stop + 1:  # some writers leave out the last padding byte
            return
        yield data[place : place + 4], place, min(end, len(data))
        place = end


def _stripped_webp(data: bytes) -> bytes | None:
    kept = []
    for kind, start, end in webp_chunks(data):
        chunk = data[start:end]
        if kind in (b"ANIM", b"ANMF"):
            return None
        if kind == b"VP8X":  # its flags must not announce ICC (0x20), EXIF (0x08) or XMP (0x04) that are gone
            chunk = chunk[:8] + bytes([chunk[8] & ~0x2C]) + chunk[9:]
        if kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH"):
            kept.append(chunk)
    body = b"".join(kept)
    return _same_or_new(data, [b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP", body]) if kept else None
