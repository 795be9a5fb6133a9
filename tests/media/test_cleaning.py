"""What is sent of a picture: upright, sRGB, 8 bits, one frame, no metadata, and otherwise the very same bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from ryla_gen import media
from ryla_gen.errors import InvalidInputError

from ..media_samples import FORMATS, decoded, encoded, oriented, picture, pixels


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
async def test_clean_bytes_pass_unchanged(kind: str, mode: str) -> None:
    if kind == "JPEG" and mode.endswith("A"):
        mode = mode[:-1]
    data = encoded(picture(mode=mode), kind)
    assert await media.read_image(data) == data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_metadata_is_cut_out_and_pixels_stay_exact(kind: str) -> None:
    info = PngInfo()
    info.add_text("prompt", "SecretCamera")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, object] = {"exif": b"Exif\0\0" + oriented(1), "icc_profile": srgb, "xmp": b"<x>SecretCamera</x>"}
    options |= {"PNG": {"pnginfo": info}, "JPEG": {"comment": b"SecretCamera"}, "WEBP": {"lossless": True}}[kind]
    data = encoded(picture(), kind, **options) + b"SecretCamera after the end"
    clean = await media.read_image(data)
    assert b"SecretCamera" in data
    assert b"SecretCamera" not in clean
    assert not {"exif", "xmp", "icc_profile", "comment", "prompt"} & set(decoded(clean).info)
    assert (pixels(clean) == pixels(data)).all()
    assert await media.read_image(clean) == clean


async def test_a_progressive_jpeg_with_restarts_is_cleaned_exactly() -> None:
    noise = Image.effect_noise((160, 120), 90).convert("RGB")
    data = encoded(noise, "JPEG", progressive=True, restart_marker_rows=1, exif=b"Exif\0\0" + oriented(1))
    clean = await media.read_image(data)
    assert len(clean) < len(data)
    assert (pixels(clean) == pixels(data)).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
async def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    how_it_was_stored = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    stored = picture(80, 48).transpose(Image.Transpose[how_it_was_stored[orientation]])
    options = {"TIFF": {"exif": oriented(orientation)}}.get(kind, {"exif": b"Exif\0\0" + oriented(orientation)})
    options |= {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    clean = decoded(await media.read_image(encoded(stored, kind, **options))).convert("RGB")
    assert clean.size == (80, 48)
    assert not clean.getexif()
    difference = np.abs(np.asarray(clean, dtype=int) - np.asarray(picture(80, 48), dtype=int))
    assert difference.mean() < 2


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_is_read_and_keeps_its_looks(kind: str) -> None:
    clean = await media.read_image(encoded(picture(), kind))
    assert media.sniff_media_type(clean) in ("image/png", "image/jpeg", "image/webp")
    corners = decoded(clean).convert("RGB")
    for place, colour in (((5, 5), (255, 0, 0)), ((60, 5), (0, 128, 0)), ((5, 44), (0, 0, 255)), ((60, 44), (255, 255, 255))):
        assert np.abs(np.subtract(corners.getpixel(place), colour)).max() <= 3


async def test_deep_and_odd_pixels_become_eight_bit_ones() -> None:
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    wanted = np.linspace(0, 255, 64 * 48).reshape(48, 64)
    for data in (
        encoded(Image.fromarray(ramp.astype(np.uint16)), "PNG"),
        encoded(Image.fromarray(ramp.astype(np.uint16)), "TIFF"),
        encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(wanted.astype(np.float32)), "TIFF"),
    ):
        clean = decoded(await media.read_image(data))
        assert clean.mode == "L"
        assert np.abs(np.asarray(clean) - wanted).max() <= 1.01


async def test_cmyk_palette_and_bilevel_pictures_become_rgb_or_grey() -> None:
    for image, kind, mode in (
        (picture(mode="CMYK"), "JPEG", "RGB"),
        (picture(mode="CMYK"), "TIFF", "RGB"),
        (picture().quantize(8), "PNG", "RGB"),
        (picture(mode="1"), "PNG", "L"),
    ):
        clean = decoded(await media.read_image(encoded(image, kind)))
        assert clean.mode == mode
        assert np.abs(np.asarray(clean.convert("RGB"), int) - np.asarray(image.convert("RGB"), int)).mean() < 4


async def test_a_sixteen_bit_colour_png_becomes_an_eight_bit_one() -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 4 for _ in range(3))
    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    clean = await media.read_image(b"\x89PNG\r\n\x1a\n" + body)
    assert clean[24] == 8
    assert decoded(clean).getpixel((0, 0)) == (255, 128, 0)


async def test_transparency_is_kept_however_it_was_stored() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    paletted = Image.new("P", (8, 8))
    paletted.putpalette([255, 0, 0] * 256)
    for data in (
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True, exact=True),
        encoded(paletted, "PNG", transparency=0),
        encoded(paletted, "GIF", transparency=0),
        encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG", transparency=(255, 0, 0)),
    ):
        clean = decoded(await media.read_image(data))
        assert clean.mode == "RGBA"
        assert clean.getpixel((3, 3))[3] == 0


async def test_a_cleaned_picture_is_known_to_be_transparent_or_not() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (2000, 2000, 4), np.uint8)
    noise[..., 3] = 255
    for last, found in ((254, True), (255, False)):
        noise[-1, -1, 3] = last
        data = encoded(Image.fromarray(noise), "TIFF")
        assert media.has_transparency(await media.read_image(data)) is found
    assert [media.has_transparency(encoded(Image.new("LA", (8, 8), (90, alpha)), "PNG")) for alpha in (255, 0)] == [False, True]


async def test_colours_of_another_profile_are_brought_to_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded(picture(), "PNG", icc_profile=lab)  # a profile that does not fit the pixels: ignored, not an error
    assert (pixels(await media.read_image(data)) == np.asarray(picture())).all()
    swapped = swapped_profile()
    clean = decoded(await media.read_image(encoded(picture(), "PNG", icc_profile=swapped)))
    assert clean.info.get("icc_profile") is None
    assert clean.getpixel((5, 5))[2] > 200 > 60 > clean.getpixel((5, 5))[0]


def swapped_profile() -> bytes:
    """Return sRGB with the red and blue primaries exchanged and another name: pixels that say red look blue."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack_from(">I", data, 128)[0]):
        place = 132 + index * 12
        name = bytes(data[place : place + 4])
        if name in (b"rXYZ", b"bXYZ"):
            data[place : place + 4] = b"bXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_an_animation_gives_its_first_frame(kind: str) -> None:
    data = encoded(picture(), kind, save_all=True, append_images=[Image.new("RGB", (64, 48), "black")], duration=100)
    assert media.probe_image(data).frames == 2
    clean = await media.read_image(data)
    assert not media.probe_image(clean).animated
    assert np.abs(np.asarray(decoded(clean).convert("RGB"), int) - np.asarray(picture(), int)).mean() < 3


def test_a_picture_that_is_cut_off_is_refused_when_its_transparency_is_asked_for() -> None:
    whole = encoded(Image.new("RGBA", (300, 300), (1, 2, 3, 40)), "PNG")
    assert media.has_transparency(whole)
    with pytest.raises(InvalidInputError, match="cut short"):
        media.has_transparency(whole[: len(whole) // 2])
