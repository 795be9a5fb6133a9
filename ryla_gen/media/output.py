"""Encode results in other formats, and write the workflow, seed and graph into the file and read them back.

PNG text is byte work that leaves the pixels alone; JPEG and WebP keep a JSON object in EXIF's UserComment, videos and
sounds in the tags of their container. Knows no workflow: metadata is text by name.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..errors import InternalError, InvalidInputError
from .base import sniff_media_type
from .strip import png_chunks

QUALITY = 95
"""Of JPEG (without colour subsampling) and WebP: losses below what an eye sees at full size."""
LIMIT_TEXT = 16 * 1024 * 1024
"""Most characters of metadata that are read from a file: graphs have some ten kilobytes; more is no graph."""
EXIF_LIMIT = 65_000
"""A JPEG holds EXIF in one segment of 65,533 bytes; the rest is for its other tags."""
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_ASCII = b"ASCII\x00\x00\x00"
"""Marks the characters of a UserComment (EXIF 2.32, 4.6.5); our JSON escapes everything beyond ASCII."""
_PACKED = b"zlib:"
_TAGGED = re.compile(r"(\w{1,40}):\s*(?=[{\[])")
"""ComfyUI's animated WebP: EXIF tags of the form ``prompt:{…}``."""


# -- PNG ---------------------------------------------------------------------------------------------------------------


def add_png_text(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Write texts into a PNG, in place of those of the same names; its pixels stay byte for byte.

    Raises:
        InternalError: the bytes are no whole PNG, or a name is not one that PNG allows (1 to 79 Latin-1 characters).

    """
    new = b"".join(_text_chunk(name, text) for name, text in texts.items())
    names = {name.encode("latin-1") for name in texts}
    parts, start, last, written = [], 0, b"", False
    for last, at, end in png_chunks(png):
        replaced = last in (b"tEXt", b"zTXt", b"iTXt") and png[at + 8 : end - 4].partition(b"\0")[0] in names
        if replaced or (last == b"IDAT" and not written):
            parts.append(png[start:at])
            start = end if replaced else at
            if not replaced:
                parts.append(new)
                written = True
    if last != b"IEND" or not written or not png.startswith(b"\x89PNG"):
        raise InternalError("Text cannot be written into these bytes: they are not a complete PNG.")
    return b"".join((*parts, png[start:]))


def _text_chunk(name: str, text: str) -> bytes:
    if not 1 <= len(name) <= 79 or not name.isprintable() or any(ord(letter) > 255 for letter in name):
        raise InternalError(f"{name!r} is not a valid name for a text in a PNG.")
    text = text.replace("\0", "\ufffd")  # a NUL would end the text
    key = name.encode("latin-1")
    try:
        return _chunk(b"tEXt", key + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:  # iTXt, not compressed: no language, no translated name
        return _chunk(b"iTXt", key + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_texts(data: bytes) -> Iterator[tuple[str, str]]:
    for kind, at, end in png_chunks(data):
        name, _, body = data[at + 8 : end - 4].partition(b"\0") if kind in (b"tEXt", b"zTXt", b"iTXt") else (b"", b"", b"")
        if kind == b"tEXt":
            yield name.decode("latin-1"), body.decode("latin-1")
        elif kind == b"zTXt":
            yield name.decode("latin-1"), _inflate(body[1:]).decode("latin-1")
        elif kind == b"iTXt" and len(body) > 2:
            text = body[2:].split(b"\0", 2)[-1]
            yield name.decode("latin-1"), (_inflate(text) if body[0] else text).decode("utf-8", "replace")


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, LIMIT_TEXT)


# -- JPEG and WebP -----------------------------------------------------------------------------------------------------


def convert_image(png: bytes, output_format: Literal["jpeg", "webp"], metadata: Mapping[str, str]) -> bytes:
    """Encode a picture as JPEG or WebP at quality 95, with metadata in EXIF's UserComment as a JSON object.

    JPEG has no alpha: transparent parts become white. Metadata too large for JPEG's 64 KB is packed with zlib; what is
    too large even so is left out, the largest texts first.

    Raises:
        InvalidInputError: the bytes are no whole picture, or the format is another one.

    """
    if output_format not in ("jpeg", "webp"):
        raise InvalidInputError(f"Pictures cannot be saved as {output_format!r}.", "Supported formats: png, jpeg, webp.")
    from .images import broken_file, normalise, open_picture

    with open_picture(png) as source:
        try:
            picture = normalise(source)
        except Exception as error:  # decoders raise anything on a broken file
            raise broken_file(sniff_media_type(png) or "", error) from None
    exif = _exif(picture, _comment(metadata, EXIF_LIMIT if output_format == "jpeg" else LIMIT_TEXT))
    picture.info.clear()
    file = io.BytesIO()
    if output_format == "webp":
        picture.save(file, "WEBP", quality=QUALITY, exif=exif)
    else:
        _flat(picture).save(file, "JPEG", quality=QUALITY, subsampling=0, exif=exif)
    return file.getvalue()


def _flat(picture: Any) -> Any:
    from PIL import Image

    if picture.mode not in ("RGBA", "LA"):
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def _exif(picture: Any, comment: bytes) -> bytes:
    from PIL import Image

    if not comment:
        return b""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + comment
    return exif.tobytes()


def _comment(metadata: Mapping[str, str], limit: int) -> bytes:
    left = dict(metadata)
    while left:
        comment = json.dumps(left, separators=(",", ":")).encode("ascii")
        if len(comment) > limit:
            comment = _PACKED + b64encode(zlib.compress(comment, 9))
        if len(comment) <= limit:
            return comment
        del left[max(left, key=lambda name: len(left[name]))]
    return b""


def _exif_texts(data: bytes) -> Iterator[tuple[str, str]]:
    from .images import open_picture

    with open_picture(data) as picture:
        exif = picture.getexif()
        for value in exif.values():
            tagged = _TAGGED.match(value) if isinstance(value, str) else None
            if tagged:
                yield tagged[1], value[tagged.end() :].rstrip("\0")
        comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if isinstance(comment, bytes) and comment.startswith(_ASCII):
        body = comment[len(_ASCII) :]
        yield from _texts(_inflate(b64decode(body[len(_PACKED) :])) if body.startswith(_PACKED) else body)


def _texts(body: bytes | str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a JSON object; nothing when the body is not one."""
    try:
        held = json.loads(body)
    except ValueError:
        return
    if isinstance(held, dict):
        yield from ((name, value) for name, value in held.items() if isinstance(value, str))


# -- reading -----------------------------------------------------------------------------------------------------------


def read_metadata(data: bytes) -> dict[str, str]:
    """Read the texts that a picture, video or sound carries, by name: those of ours, and those that ComfyUI writes.

    PNG text chunks; EXIF of JPEG and WebP; container tags of videos and sounds (names in lower case, and a JSON object in
    ``comment`` spread out). Of files that hold none, or are broken or foreign, the answer is empty: it never raises.
    """
    media_type = sniff_media_type(data) or ""
    found: dict[str, str] = {}
    size = 0
    try:
        for name, text in _all_texts(data, media_type):
            size += len(name) + len(text)
            if size > LIMIT_TEXT:
                break
            found[name] = text
    except Exception:  # noqa: S110 - whatever a foreign file breaks, what was read before stays, and nothing is owed
        pass
    return found


def _all_texts(data: bytes, media_type: str) -> Iterator[tuple[str, str]]:
    if media_type == "image/png":
        return _png_texts(data)
    if media_type in ("image/jpeg", "image/webp"):
        return _exif_texts(data)
    return _container_texts(data) if media_type.startswith(("video/", "audio/")) else iter(())


def _container_texts(data: bytes) -> Iterator[tuple[str, str]]:
    from .video import container_tags

    for name, text in container_tags(data).items():
        yield name.lower(), text
        if name.lower() == "comment":
            yield from _texts(text)
