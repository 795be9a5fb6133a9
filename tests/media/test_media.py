"""Pictures are read from every kind of reference, and what is none, is broken or hostile is refused with a reason."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ryla_gen import media
from ryla_gen.errors import InvalidInputError

from ..media_samples import FORMATS, bomb, decoded, encoded, oriented, picture, video

# -- reading: every kind of reference --------------------------------------------------------------------------------


async def test_every_kind_of_reference_gives_the_same_bytes(tmp_path: Path) -> None:
    data = encoded(picture())
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    with path.open("rb") as file:
        for source in (
            str(path),
            path,
            data,
            bytearray(data),
            memoryview(data),
            url,
            url.replace("data:", "DATA:"),
            io.BytesIO(data),
            file,
        ):
            assert await media.read_image(source) == data


async def test_a_pil_image_becomes_a_png_and_stays_as_it_was() -> None:
    source = decoded(encoded(picture(), exif=b"Exif\0\0" + oriented(6)))
    before = (source.size, dict(source.info))
    data = await media.read_image(source)
    assert media.sniff_media_type(data) == "image/png"
    assert decoded(data).size == (48, 64)
    assert (source.size, dict(source.info)) == before


async def test_a_file_is_read_from_where_it_stands_and_its_end_is_explained() -> None:
    file = io.BytesIO(b"skip" + encoded(picture()))
    file.seek(4)
    assert media.probe_image(await media.read_image(file)).width == 64
    with pytest.raises(InvalidInputError, match=r"seek\(0\)"):
        await media.read_image(file)


async def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.png").write_bytes(encoded(picture()))
    assert await media.read_image("~/p.png")


@pytest.mark.parametrize("kind", ["path", "Path", "https", "http", "file", "pil", "relative"])
async def test_nothing_but_bytes_and_data_urls_is_opened_for_an_untrusted_request(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(encoded(picture()))
    sources = {
        "path": str(path),
        "Path": path,
        "https": "https://example.com/p.png",
        "http": "http://127.0.0.1/p.png",
        "pil": picture(),
    }
    with pytest.raises(InvalidInputError, match="Only bytes and data URLs"):
        await media.read_image(sources.get(kind, io.BytesIO() if kind == "file" else "p.png"), trusted=False)


async def test_bytes_and_data_urls_are_read_for_an_untrusted_request() -> None:
    data = encoded(picture())
    assert await media.read_image(data, trusted=False) == data
    assert await media.read_image("data:image/png;base64," + base64.b64encode(data).decode(), trusted=False) == data


async def test_the_field_that_held_a_bad_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"^reference_image: There is no file") as caught:
        await media.read(tmp_path / "gone.png", "image", name="reference_image")
    assert caught.value.details["field"] == "reference_image"


BAD_REFERENCES = [
    ("", "is empty"),
    ("no/such/file.png", "no file"),
    ("/", "a folder"),
    (os.devnull, "not a regular file"),
    ("file:///etc/hostname", "file: addresses are not supported"),
    ("ftp://example.com/a.png", "ftp: addresses are not supported"),
    ("s3://bucket/a.png", "s3: addresses are not supported"),
    ("a\0b.png", "not a usable path"),
    ("x" * 5000, "base64"),
    ("y.z-" * 2000, "cannot be read"),
    ("~nobody-of-that-name/p.png", "not a usable path"),
    (b"", "empty"),
    (bytearray(), "empty"),
    (io.BytesIO(), "empty"),
    (io.StringIO("text"), "not bytes"),
    (None, "NoneType"),
    (17, "int"),
    (["a.png"], "list"),
    (b"hello, I am free text and no picture", "text"),
    (b"free of any picture: the text begins with the name of a box", "text"),
    (b"BMW is a car maker", "text"),
    (bytes(range(128, 256)), "unknown kind"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
    (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "image/avif"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
    ("data:image/png;base64", "without a comma"),
    ("data:text/plain;base64,aGVsbG8=", "not a picture"),
    ("data:image/png,%89PNG", "Only base64"),
    ("data:image/png;base64,!!!!", "base64 of a data URL is not valid"),
    ("data:image/png;base64,iVBORw0KGgo", "base64 of a data URL is not valid"),
    ("data:image/png;base64,", "empty"),
    ("https://", "does not name a host"),
    ("https://exa mple.com:port/", "not a valid URL"),
    ("http://example.com/a.png", "only https"),
]


@pytest.mark.parametrize(
    ("source", "reason"), BAD_REFERENCES, ids=[str(item[0])[:24] or type(item[0]).__name__ for item in BAD_REFERENCES]
)
async def test_what_is_no_picture_is_refused_with_a_reason_and_a_hint(source: object, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        await media.read_image(source)
    assert caught.value.hint
    assert len(caught.value.message) < 300


async def test_an_unsupported_format_is_told_which_ones_are_read() -> None:
    with pytest.raises(InvalidInputError) as caught:
        await media.read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert all(name in caught.value.hint for name in ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF"))


async def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        await media.read_image(tmp_path / "pipe")


async def test_a_closed_file_and_a_lazy_image_whose_file_is_gone_are_refused(tmp_path: Path) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        await media.read_image(closed)
    data = encoded(picture())
    lazy = Image.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(InvalidInputError, match="PIL image cannot be read"):
        await media.read_image(lazy)


async def test_more_bytes_than_the_limit_are_refused_before_they_are_held(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(20 * 1024**3)
    with pytest.raises(InvalidInputError, match="too large"):
        await media.read_image(path)
    for source in (bytes(2000), io.BytesIO(bytes(2000)), "data:image/png;base64," + base64.b64encode(bytes(2000)).decode()):
        with pytest.raises(InvalidInputError, match="too large"):
            await media.read_image(source, limit_bytes=1000)


# -- broken and hostile pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_decompression_bomb_is_refused_from_its_header(kind: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    started = time.perf_counter()
    with pytest.raises(InvalidInputError, match="too large"):
        await media.read_image(bomb(kind))
    assert time.perf_counter() - started < 20
    assert limit == Image.MAX_IMAGE_PIXELS


async def test_the_pixel_limit_is_exact_and_may_be_chosen() -> None:
    data = encoded(picture(64, 48))
    assert await media.read_image(data, limit_pixels=64 * 48)
    with pytest.raises(InvalidInputError, match="64×48"):
        await media.read_image(data, limit_pixels=64 * 48 - 1)
    with pytest.raises(InvalidInputError, match="64×48"):
        await media.read_image(picture(64, 48), limit_pixels=64 * 48 - 1)


@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", FORMATS)
async def test_a_picture_cut_anywhere_is_refused(kind: str) -> None:
    noise = Image.effect_noise((40, 30), 90).convert("RGB")
    data = encoded(noise, kind)
    for cut in {1, 9, 20, 40, 100, len(data) // 3, len(data) // 2, len(data) - 40}:
        with pytest.raises(InvalidInputError):
            await media.read_image(data[:cut])


@pytest.mark.filterwarnings("ignore")  # PIL warns about what it finds in spoilt files
@given(kind=st.sampled_from(FORMATS), place=st.floats(0, 1), junk=st.binary(min_size=1, max_size=12))
def test_a_spoilt_picture_is_read_or_refused_but_never_breaks(kind: str, place: float, junk: bytes) -> None:
    from ryla_gen.media.images import clean_picture

    data = SPOILT[kind]
    at = int(place * (len(data) - len(junk)))
    spoilt = data[:at] + junk + data[at + len(junk) :]
    with contextlib.suppress(InvalidInputError):
        assert media.probe_image(clean_picture(spoilt, 1_000_000)).width
    with contextlib.suppress(InvalidInputError):
        media.probe_image(spoilt)
    assert isinstance(media.read_metadata(spoilt), dict)


SPOILT = {
    kind: encoded(picture(20, 14), kind, **({"exif": b"Exif\0\0" + oriented(6)} if kind in ("PNG", "JPEG", "WEBP") else {}))
    for kind in FORMATS
}


async def test_a_broken_exif_block_does_not_spoil_the_picture() -> None:
    clean = await media.read_image(encoded(picture(), "JPEG", exif=b"Exif\0\0garbage that is no TIFF"))
    assert b"garbage" not in clean


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_is_probed_without_its_pixels(kind: str) -> None:
    info = media.probe_image(encoded(picture(), kind))
    assert (info.width, info.height, info.animated, info.frames) == (64, 48, False, 1)
    assert info.media_type == f"image/{kind.lower()}"


def test_kinds_are_told_by_their_first_bytes() -> None:
    for kind in FORMATS:
        assert media.sniff_media_type(encoded(picture(), kind)) == f"image/{kind.lower()}"
    for kind, name in (("mp4", "video/mp4"), ("mov", "video/quicktime"), ("webm", "video/webm"), ("mkv", "video/x-matroska")):
        assert media.sniff_media_type(video(kind)) == name
    assert media.sniff_media_type(b"") is None


def test_importing_media_loads_no_heavy_module() -> None:
    heavy = ("PIL", "av", "numpy", "aiohttp", "asyncio", "pydantic")
    script = f"import sys, ryla_gen.media; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
