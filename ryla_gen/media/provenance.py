"""Write where a file comes from into its bytes, and read it: XMP in PNG, JPEG, WebP, GIF, MP4, MOV, AVI, MP3 and WAV.

Pure byte work: pixels, frames, samples and every other part of the file stay as they are. A file that is broken, or of another
kind, comes back unchanged. Sources: XMP specification part 3, WebP container specification, ISO/IEC 14496-12, PNG specification,
ID3v2.3.0 and ID3v2.4.0.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from .strip import png_chunks, webp_chunks
from .xmp import packet, read_packet

MOST_PARTS = 100_000
"""Chunks, segments or boxes of a file that is looked at: real ones have thousands; millions of empty ones would fill the memory."""
Part = TypeVar("Part")
Merge = Callable[[bytes | None], bytes | None]
"""Takes the packet that a file has, and returns the one that it gets; None where it must stay as it is."""
_PNG_NAME = b"XML:com.adobe.xmp"
_JPEG_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_LIMIT = 65_533 - len(_JPEG_NAME)
"""Most bytes of a packet in one segment of a JPEG."""
_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
"""Names the box of XMP in MP4 (XMP specification part 3, table 9); ExifTool reads it in MOV too."""
_GIF_NAME = b"\x21\xff\x0bXMP DataXMP"
_GIF_TRAILER = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\0"
"""Leads a reader of GIF, which takes the packet's letters for lengths of blocks, to the block's end (XMP specification part 3)."""


def marked(data: bytes, media_type: str, source_type: str, tool: str) -> bytes:
    """Return a file with its digital source type in XMP; the same bytes where that cannot be done without touching more.

    Args:
        data: the encoded file.
        media_type: of the file, such as image/png.
        source_type: address of the term in IPTC's vocabulary.
        tool: the program that made the file.
    """
    write = _WRITERS.get(media_type)

    def merge(old: bytes | None) -> bytes | None:
        said = packet(source_type, tool, old)
        return None if said == old else said  # a file that says it already is not written again

    try:
        new = write(data, merge) if write else None
    except (ValueError, IndexError, struct.error, zlib.error):  # a broken file: it stays as it came
        return data
    return data if new is None else new


def read_mark(data: bytes, media_type: str) -> tuple[str | None, str | None]:
    """Return the digital source type and the program that a file's XMP names; None for what it does not say. Never raises."""
    found: list[bytes | None] = []
    write = _WRITERS.get(media_type)
    try:
        if write:
            write(data, found.append)  # it returns None: nothing is written
    except (ValueError, IndexError, struct.error, zlib.error):
        return None, None
    return read_packet(found[0]) if found else (None, None)


def _listed(parts: Iterable[Part]) -> list[Part]:
    found = list(islice(parts, MOST_PARTS + 1))
    if len(found) > MOST_PARTS:
        raise ValueError("a file of too many parts")
    return found


# -- PNG ---------------------------------------------------------------------------------------------------------------


def _png(data: bytes, merge: Merge) -> bytes | None:
    chunks = _listed(png_chunks(data)) if data.startswith(b"\x89PNG") else []
    old = next(((at, end) for kind, at, end in chunks if kind == b"iTXt" and _is_xmp(data, at)), None)
    new = merge(_png_packet(data[old[0] + 8 : old[1] - 4]) if old else None)
    place = old or next(((at, at) for kind, at, _ in chunks if kind == b"IDAT"), None)
    if new is None or place is None or chunks[-1][0] != b"IEND":
        return None
    if not all(_fits_checksum(data, at, end) for _, at, end in chunks):
        return None
    body = b"iTXt" + _PNG_NAME + b"\0\0\0\0\0" + new
    return _replaced(data, *place, struct.pack(">I", len(body) - 4), body, _checksum(body))


def _replaced(data: bytes, start: int, stop: int, *new: bytes) -> bytes:
    """Return the bytes with others in the place of some; a large file is copied once only."""
    view = memoryview(data)
    return b"".join((view[:start], *new, view[stop:]))


def _is_xmp(data: bytes, at: int) -> bool:
    return data.startswith(_PNG_NAME + b"\0", at + 8)


def _checksum(body: bytes | memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(body))


def _fits_checksum(data: bytes, at: int, end: int) -> bool:
    return _checksum(memoryview(data)[at + 4 : end - 4]) == data[end - 4 : end]


def _png_packet(body: bytes) -> bytes:
    flags = body[len(_PNG_NAME) + 1 :]
    text = flags[2:].split(b"\0", 2)[-1]
    return zlib.decompressobj().decompress(text, 1 << 23) if flags[0] else text


# -- JPEG --------------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes, merge: Merge) -> bytes | None:
    segments = _listed(_jpeg_segments(data))
    named = ((at, end) for marker, at, end in segments if marker == 0xE1 and data.startswith(_JPEG_NAME, at + 4))
    old = next(named, None)
    new = merge(data[old[0] + 4 + len(_JPEG_NAME) : old[1]] if old else None)
    if new is None or len(new) > _JPEG_LIMIT or not segments or b"\xff\xd9" not in data[segments[-1][2] :]:
        return None
    # After JFIF and EXIF, which their readers expect first.
    leading = [end for marker, at, end in segments if marker == 0xE0 or data.startswith(b"Exif\0", at + 4)]
    start, stop = old or (max(leading, default=2), max(leading, default=2))
    size = struct.pack(">H", 2 + len(_JPEG_NAME) + len(new))
    return _replaced(data, start, stop, b"\xff\xe1", size, _JPEG_NAME, new)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, beginning and end of each application segment in front of the picture."""
    place = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + size
        if not 0xC0 <= marker <= 0xFE or size < 2 or end > len(data):
            return
        yield marker, place, end
        if marker == 0xDA:
            return
        place = end


# -- WebP --------------------------------------------------------------------------------------------------------------


def _webp(data: bytes, merge: Merge) -> bytes | None:
    chunks = [(kind, memoryview(data)[start:end]) for kind, start, end in _listed(webp_chunks(data))]
    size = 12 + sum(len(chunk) for _, chunk in chunks)
    if not chunks or not size == len(data) == 8 + int.from_bytes(data[4:8], "little"):
        return None
    old = next((chunk[8 : 8 + int.from_bytes(chunk[4:8], "little")] for kind, chunk in chunks if kind == b"XMP "), None)
    new = merge(None if old is None else bytes(old))
    if new is None:
        return None
    kept = [chunk for kind, chunk in chunks if kind not in (b"XMP ", b"VP8X")]
    extended = bytearray(next((chunk for kind, chunk in chunks if kind == b"VP8X"), None) or _extended(*chunks[0]))
    extended[8] |= 0x04  # it has XMP
    parts: tuple[bytes | bytearray | memoryview, ...] = (
        extended,
        *kept,
        b"XMP ",
        struct.pack("<I", len(new)),
        new,
        b"\0" * (len(new) & 1),
    )
    return b"".join((b"RIFF", struct.pack("<I", sum(map(len, parts)) + 4), b"WEBP", *parts))


def _extended(kind: bytes, chunk: memoryview) -> bytes:
    """Return the header of the extended format for a picture of the simple one: its size, and whether it has alpha."""
    if kind == b"VP8L" and chunk[8] == 0x2F:
        bits = int.from_bytes(chunk[9:13], "little")
        width, height, flags = bits & 0x3FFF, bits >> 14 & 0x3FFF, 0x10 * (bits >> 28 & 1)
    elif kind == b"VP8 " and bytes(chunk[11:14]) == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(chunk[at : at + 2], "little") % 0x4000 - 1 for at in (14, 16))
        flags = 0
    else:
        raise ValueError("a picture whose size is not known")
    return b"VP8X" + struct.pack("<II", 10, flags) + width.to_bytes(3, "little") + height.to_bytes(3, "little")


# -- GIF ---------------------------------------------------------------------------------------------------------------


def _gif(data: bytes, merge: Merge) -> bytes | None:
    blocks = _listed(_gif_blocks(data))
    if not blocks or data[blocks[-1][0]] != 0x3B:
        return None
    old = next((block for block in blocks if data.startswith(_GIF_NAME, block[0])), None)
    new = merge(_gif_packet(data[old[0] + len(_GIF_NAME) : old[1]]) if old else None)
    if new is None or b"\0" in new:  # a zero would end the block
        return None
    start, stop = old or (blocks[-1][0], blocks[-1][0])
    return b"".join((b"GIF89a", data[6:start], _GIF_NAME, new, _GIF_TRAILER, data[stop:]))


def _gif_packet(body: bytes) -> bytes:
    return body.removesuffix(_GIF_TRAILER)


def _gif_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each block behind the header begins and ends: extensions, frames, and the byte that ends the file."""
    place = 13 + _gif_colours(data[10])
    while data[place] != 0x3B:
        start = place
        if data[place] not in (0x21, 0x2C):
            raise ValueError("no block of GIF")
        place += 2 if data[place] == 0x21 else 11 + _gif_colours(data[place + 9])
        while data[place]:
            place += 1 + data[place]
        place += 1
        yield start, place
    yield place, place + 1


def _gif_colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# -- MP4 and MOV -------------------------------------------------------------------------------------------------------


def _mp4(data: bytes, merge: Merge) -> bytes | None:
    boxes = _listed(_boxes(data))
    if not boxes or boxes[-1][2] != len(data) or not any(kind == b"moov" for kind, _, _ in boxes):
        return None
    old = next((box for box in boxes if box[0] == b"uuid" and data[box[1] + 8 : box[1] + 24] == _UUID), None)
    new = merge(data[old[1] + 24 : old[2]] if old else None)
    if new is None:
        return None
    # At the end, so that nothing moves that the file's tables point to; but the index of fragments ("mfra") must stay last.
    last = next((start for kind, start, _ in boxes if kind == b"mfra"), len(data))
    box = struct.pack(">I", 24 + len(new)) + b"uuid" + _UUID + new
    if old is None or old[2] == last:
        return _replaced(data, last if old is None else old[1], last, box)
    return _replaced(data, old[1] + 4, last, b"free", data[old[1] + 8 : last], box)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, beginning and end of each box of a file; stop at one that reaches to the end without saying its size."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, place + 8)
        if size < 8 or place + size > len(data):
            return
        yield kind, place, place + size
        place += size


# -- WAV and AVI -------------------------------------------------------------------------------------------------------


def _riff(data: bytes, merge: Merge) -> bytes | None:
    chunks = _listed(webp_chunks(data))
    if not chunks or not chunks[-1][2] == len(data) == 8 + int.from_bytes(data[4:8], "little"):
        return None
    old = next(((start, end) for kind, start, end in chunks if kind == b"_PMX"), None)
    new = merge(data[old[0] + 8 : old[0] + 8 + int.from_bytes(data[old[0] + 4 : old[0] + 8], "little")] if old else None)
    if new is None:
        return None
    # At the end, so that nothing moves that an index points to; an old packet in front of other parts is left empty.
    start, end = old or (len(data), len(data))
    view = memoryview(data)
    rest = (b"JUNK", view[start + 4 : start + 8], bytes(end - start - 8), view[end:]) if end < len(data) else ()
    body = (view[8:start], *rest)
    gap = b"\0" * (sum(map(len, body)) & 1)
    parts = (*body, gap, b"_PMX", struct.pack("<I", len(new)), new, b"\0" * (len(new) & 1))
    return b"".join((b"RIFF", struct.pack("<I", sum(map(len, parts))), *parts))


# -- MP3 ---------------------------------------------------------------------------------------------------------------


def _mp3(data: bytes, merge: Merge) -> bytes | None:
    version, tag, sound = _id3(data)
    frames = _listed(_id3_frames(tag, version))
    if data[sound : sound + 1] != b"\xff" or data[sound + 1] < 0xE0:  # no frame of sound begins there
        return None
    old = next((body for kind, body, _ in frames if kind == b"PRIV" and body.startswith(b"XMP\0")), None)
    new = merge(None if old is None else old[4:])
    if new is None:
        return None
    kept = b"".join(whole for _, body, whole in frames if body is not old)
    body = b"XMP\0" + new
    frame = b"PRIV" + (_syncsafe(len(body)) if version == 4 else struct.pack(">I", len(body))) + b"\0\0" + body
    return _replaced(data, 0, sound, b"ID3", bytes([version, 0, 0]), _syncsafe(len(kept) + len(frame)), kept, frame)


def _id3(data: bytes) -> tuple[int, bytes, int]:
    """Return the version of a file's tag, its frames with their padding, and where the sound begins."""
    if not data.startswith(b"ID3"):
        return 3, b"", 0
    end = 10 + _plain(data[6:10])
    if data[3] not in (3, 4) or data[5] or end > len(data):  # no flag is known here: what stands behind one would be lost
        raise ValueError("a tag that cannot be added to")
    return data[3], data[10:end], end


def _id3_frames(tag: bytes, version: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield each frame of a tag: its name, its body, and all of it."""
    place = 0
    while place < len(tag) and tag[place]:  # behind the last one are zeros
        size = _plain(tag[place + 4 : place + 8]) if version == 4 else int.from_bytes(tag[place + 4 : place + 8], "big")
        end = place + 10 + size
        if not re.fullmatch(rb"[A-Z0-9]{4}", tag[place : place + 4]) or end > len(tag):
            raise ValueError("no frame of ID3")
        yield tag[place : place + 4], tag[place + 10 : end], tag[place:end]
        place = end
    if any(tag[place:]):
        raise ValueError("no padding of ID3")


def _syncsafe(number: int) -> bytes:
    """Return a number in four bytes of seven bits, among which no reader finds the beginning of a frame of sound."""
    if number >= 1 << 28:
        raise ValueError("a tag that is too large")
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _plain(syncsafe: bytes) -> int:
    if len(syncsafe) < 4 or max(syncsafe) > 0x7F:
        raise ValueError("no size of ID3")
    return sum(byte << shift for byte, shift in zip(syncsafe, (21, 14, 7, 0), strict=True))


_WRITERS: dict[str, Callable[[bytes, Merge], bytes | None]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/gif": _gif,
    "video/mp4": _mp4,
    "video/quicktime": _mp4,
    "audio/mp4": _mp4,
    "audio/mpeg": _mp3,
    "audio/wav": _riff,
    "video/x-msvideo": _riff,
}
MARKED_TYPES = frozenset(_WRITERS)
"""Kinds of files that get a mark."""
