"""What a server saved, as outputs: what cannot be read is kept as a file, because it has been paid for."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from ryla_gen.errors import InvalidInputError, ServerUnhealthyError
from ryla_gen.results import Output, require_outputs
from ryla_gen.results.output_files import as_output, output_notices, text_output

from ..conftest import encoded, portrait


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


PICTURE = encoded(portrait((64, 64)))
PAGE = b"\n<!DOCTYPE html>\n<html><body>Please sign in</body></html>"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("wanted", ["png", "webp"])
def test_a_picture_that_was_cut_short_is_kept_as_a_file_with_a_warning(kind: str, share: float, wanted: str) -> None:
    whole = encoded(portrait((64, 64)), kind)
    data = whole[: int(len(whole) * share)]
    output = as_output(data, "a.png", "flux-7-0", wanted, {}, node="9")
    assert (output.kind, output.data, output.node) == ("file", data, "9")
    require_outputs((output,), "flux_dev")
    (notice,) = output_notices((output,))
    assert notice.code == "kept_as_file"
    assert "damaged or cut short" in notice.message
    assert output.name in notice.message


def test_a_picture_that_lacks_only_its_last_chunk_is_a_picture() -> None:
    assert as_output(PICTURE[:-12], "a.png", "flux-7-0", "png", {}).kind == "image"


def test_a_picture_with_a_wrong_bit_is_no_picture_and_its_bytes_stay() -> None:
    at = PICTURE.index(b"IDAT") + 40
    data = PICTURE[:at] + bytes([PICTURE[at] ^ 0xFF]) + PICTURE[at + 1 :]
    assert as_output(data, "a.png", "flux-7-0", "png", {}).data == data


def test_a_picture_that_cannot_be_decoded_is_a_typed_error() -> None:
    with pytest.raises(InvalidInputError, match="cannot be decoded"):
        Output("image", "image/png", "a.png", PICTURE[:80]).image()
    assert output_notices((Output("image", "image/png", "a.png", PICTURE[:80], 64, 64),)) == ()


@pytest.mark.parametrize(("data", "says"), [(b"", "an empty file"), (PAGE, "an HTML page")])
def test_what_came_in_the_place_of_a_result_is_no_result(data: bytes, says: str) -> None:
    output = as_output(data, "ComfyUI_00001_.png", "flux-7-0", "png", {})
    assert output.kind == "file"
    with pytest.raises(ServerUnhealthyError, match=f"{says} instead of flux-7-0.png"):
        require_outputs((output,), "flux_dev")


@pytest.mark.parametrize("data", [b"", PAGE])
def test_it_costs_no_other_output_its_place(data: bytes) -> None:
    outputs = as_output(PICTURE, "a.png", "flux-7-0", "png", {}), as_output(data, "b.png", "flux-7-1", "png", {})
    require_outputs(outputs, "flux_dev")
    (notice,) = output_notices(outputs)
    assert notice.code == "kept_as_file"
    assert "instead of flux-7-1.png" in notice.message


def test_a_page_that_a_node_wrote_is_a_result() -> None:
    output = as_output(PAGE, "report.html", "workflow-7-0", "png", {})
    require_outputs((output,), "workflow")
    assert (output.kind, output.media_type, output.name) == ("file", "text/html", "workflow-7-0.html")
    assert output_notices((output,)) == ()


SHAPE = b"v 0 0 0\n"
SOUNDS_AND_SHAPES = [
    ("a.mp3", b"ID3\x04\x00\x00\x00\x00\x00\x00", "audio", "audio/mpeg", ".mp3"),
    ("a.mp3", b"\xff\xfb\x90\x64" + bytes(60), "audio", "audio/mpeg", ".mp3"),
    ("a.flac", b"fLaC\x00\x00\x00\x22", "audio", "audio/flac", ".flac"),
    ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio", "audio/wav", ".wav"),
    ("a.ogg", b"OggS\x00\x02", "audio", "audio/ogg", ".ogg"),
    ("a.opus", b"OggS\x00\x02", "audio", "audio/ogg", ".opus"),
    ("a.m4a", b"\x00\x00\x00\x20ftypM4A \x00\x00", "audio", "audio/mp4", ".m4a"),
    ("a.aac", b"\xff\xf1\x50\x80" + bytes(60), "audio", "audio/aac", ".aac"),
    ("a.glb", b"glTF\x02\x00\x00\x00", "file", "model/gltf-binary", ".glb"),
    ("a.obj", SHAPE, "file", "model/obj", ".obj"),
    ("a.stl", b"solid x", "file", "model/stl", ".stl"),
    ("a.ply", b"ply\nformat ascii 1.0\n", "file", "model/ply", ".ply"),
    ("a.json", b'{"a": 1}', "file", "application/json", ".json"),
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "file", "image/svg+xml", ".svg"),
    ("a.bin", b"\xff\xfeh\x00i\x00", "file", "application/octet-stream", ".bin"),
    ("a.latent", b"abc", "file", "application/octet-stream", ".latent"),
    ("a", b"abc", "file", "application/octet-stream", ".bin"),
    ("a.mp3", b"abc", "file", "application/octet-stream", ".bin"),
]


@pytest.mark.parametrize(("filename", "data", "kind", "media_type", "suffix"), SOUNDS_AND_SHAPES)
def test_each_file_is_named_by_what_it_is_under_every_name(
    tmp_path: Path, filename: str, data: bytes, kind: str, media_type: str, suffix: str
) -> None:
    output = as_output(data, filename, "workflow-7-0", "png", {}, node="3")
    assert (output.kind, output.media_type, output.name) == (kind, media_type, f"workflow-7-0{suffix}")
    assert {notice.code for notice in output_notices((output,))} <= {"unmarked"}
    saved = output.save(tmp_path / "result.png")
    assert saved.suffix in (suffix, ".ogg")  # Opus lies in an Ogg file
    assert saved.read_bytes() == data


@pytest.mark.parametrize(("data", "suffix"), [(b"fLaC\x00", ".flac"), (b"glTF\x02", ".glb"), (b"ID3\x04", ".mp3")])
def test_a_sound_behind_a_pictures_name_gets_its_own_suffix(data: bytes, suffix: str) -> None:
    assert as_output(data, "a.png", "workflow-7-0", "png", {}).name == f"workflow-7-0{suffix}"


def test_a_text_is_an_output(tmp_path: Path) -> None:
    output = text_output("a fox <b>in</b> the snow \ud800", "workflow-7-0", node="12")
    assert (output.kind, output.name, output.node) == ("text", "workflow-7-0.txt", "12")
    assert output.text == "a fox <b>in</b> the snow ?"
    assert output.save(tmp_path / "caption.png").read_text(encoding="utf-8") == output.text
    assert "&lt;b&gt;" in output._repr_html_()
    require_outputs((text_output("", "workflow-7-1", node=None),), "workflow")


def test_a_text_file_is_a_text_unless_it_cannot_be_read() -> None:
    assert as_output("Füchse".encode(), "a.txt", "workflow-7-0", "png", {}).text == "Füchse"
    assert as_output(b"\xff\xff\xff", "a.txt", "workflow-7-0", "png", {}).kind == "file"
