"""What a server saved, as outputs: what cannot be read is kept as a file, because it has been paid for."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from ryla_gen.outputs import as_output

from .conftest import encoded, portrait


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [portrait((64, 64), colour) for colour in ("#b04030", "#3040b0")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def enormous() -> bytes:
    """A valid PNG of 81 megapixels, one bit each."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(9000 * (1 + 9000 // 8)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.png", animated("PNG")), ("a.gif", animated("GIF")), ("a.tiff", animated("TIFF")), ("a.png", enormous()), ("a.bin", b"?")],
)
@pytest.mark.parametrize("wanted", ["png", "webp"])
def test_what_cannot_be_read_is_kept_whole(name: str, data: bytes, wanted: str) -> None:
    output = as_output(data, name, "flux-7-0", wanted, {})
    assert output.data == data
    assert output.kind in ("file", "video")


def test_a_picture_is_a_picture() -> None:
    output = as_output(encoded(portrait((64, 64))), "a.png", "flux-7-0", "webp", {})
    assert (output.kind, output.media_type, output.name, output.width) == ("image", "image/webp", "flux-7-0.webp", 64)
    assert Image.open(io.BytesIO(output.data)).format == "WEBP"
