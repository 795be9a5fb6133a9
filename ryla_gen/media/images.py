"""Read a picture's header, and make the bytes that are sent: upright, sRGB, 8 bits, one frame, without metadata.

Sizes are checked before any pixel is decoded, and nothing of PIL's global state is touched: plugins are opened
directly, by the kind that the first bytes show. Knows no references.
"""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError
from .base import IMAGE_FORMATS, LIMIT_PIXELS, ImageInfo, check_pixels, sniff_media_type
from .strip import strip

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

JPEG_QUALITY = 95
"""For pictures that must be encoded again, without colour subsampling: losses stay below what a model sees."""
PNG_LEVEL = 4
"""zlib level of PNGs that we write: 143 ms at 1024² against 90 (level 1) and 455 (level 6)."""
_NAMES = {"image/webp": "WebP", "video/webm": "WebM", "video/quicktime": "MOV", "video/x-matroska": "MKV"}
WEBP_HEADER = 30
"""Bytes of a WebP in which its size stands."""


def _plugin(media_type: str) -> Any:
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    return {
        "image/png": PngImagePlugin.PngImageFile,
        "image/jpeg": JpegImagePlugin.JpegImageFile,
        "image/webp": WebPImagePlugin.WebPImageFile,
        "image/gif": GifImagePlugin.GifImageFile,
        "image/bmp": BmpImagePlugin.BmpImageFile,
        "image/tiff": TiffImagePlugin.TiffImageFile,
    }.get(media_type)


def open_picture(data: bytes, limit_pixels: int = LIMIT_PIXELS) -> ImageFile:
    """Open encoded bytes without decoding their pixels.

    Raises:
        InvalidInputError: they are no picture of a kind that is read, broken, or claim more pixels than the limit.

    """
    media_type = sniff_media_type(data)
    plugin = _plugin(media_type or "")
    if plugin is None:
        raise _not_a_picture(data, media_type)
    if media_type == "image/webp":  # its plugin takes memory for the whole canvas when it opens
        check_pixels(*webp_size(data), limit_pixels)
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        picture: ImageFile = plugin(io.BytesIO(data))
    except (DecompressionBombError, DecompressionBombWarning) as error:
        raise InvalidInputError(f"The picture is too large: {error}", "Scale it down first.") from None
    except Exception as error:  # a hostile header makes a decoder raise anything
        raise broken_file(media_type or "", error) from None
    check_pixels(*picture.size, limit_pixels)
    return picture


def webp_size(data: bytes) -> tuple[int, int]:
    """Read the canvas size of a WebP from its first chunk (RFC 9649).

    Raises:
        InvalidInputError: the file ends before it, or begins with another chunk.

    """
    kind, body = data[12:16], data[20:WEBP_HEADER]
    if len(data) >= WEBP_HEADER:
        if kind == b"VP8X":
            return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
        if kind == b"VP8 ":
            return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
        if kind == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise broken_file("image/webp", "its header is not complete")


def broken_file(media_type: str, reason: object) -> InvalidInputError:
    """Make the error for a file of a known kind that cannot be decoded."""
    name = _NAMES.get(media_type) or media_type.partition("/")[2].upper()
    return InvalidInputError(
        f"The {name} file is damaged or cut short: {str(reason).strip() or type(reason).__name__}.",
        "Open it in a viewer to check it, then save or download it again.",
        {"media_type": media_type},
    )


def _not_a_picture(data: bytes, media_type: str | None) -> InvalidInputError:
    if media_type and media_type.startswith("video/"):
        return InvalidInputError(f"This is a video ({media_type}), not a picture.", f"Supported formats: {IMAGE_FORMATS}.")
    if media_type:
        hint = f"Save it as PNG or JPEG. Supported formats: {IMAGE_FORMATS}."
        return InvalidInputError(f"Pictures of type {media_type} are not supported.", hint, {"media_type": media_type})
    looks = "text" if _is_text(data[:512]) else "of an unknown kind"
    return InvalidInputError(f"This is not a picture: the data is {looks}.", f"Supported formats: {IMAGE_FORMATS}.")


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the cut may go through a letter
    except UnicodeDecodeError:
        return False
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def probe_image(data: bytes) -> ImageInfo:
    """Read a picture's format and size from its header, without decoding pixels.

    Raises:
        InvalidInputError: it is not a picture of a kind that is read, or its header is broken.

    """
    with open_picture(data) as picture:
        try:
            frames = int(getattr(picture, "n_frames", 1))
        except Exception as error:  # counting walks through the file, and may find it broken
            raise broken_file(sniff_media_type(data) or "", error) from None
        return ImageInfo(sniff_media_type(data) or "", picture.width, picture.height, frames > 1, frames)


def check_whole(data: bytes) -> None:
    """Check that a picture can be decoded to its end: by a PNG's checksums, which is quick, or by decoding it.

    Raises:
        InvalidInputError: it is not a picture of a kind that is read, is broken or cut short, or has too many pixels.

    """
    media_type = sniff_media_type(data) or ""
    if media_type == "image/png":
        with open_picture(data) as picture:
            try:
                picture.verify()
            except Exception:  # noqa: S110 - what lacks only its last chunk can still be decoded: that decides
                pass
            else:
                return
    with open_picture(data) as picture:
        try:
            picture.load()
        except Exception as error:  # decoders raise anything on a broken file
            raise broken_file(media_type, error) from None


def clean_picture(data: bytes, limit_pixels: int = LIMIT_PIXELS) -> bytes:
    """Return a picture ready to send: PNG, JPEG or WebP, upright, sRGB, 8 bits a channel, no metadata, one frame.

    Bytes that are so already come back unchanged, and metadata alone is cut out of the bytes, so that pixels stay exact
    and hashes stable. Whatever else must change is encoded again: JPEG as JPEG (quality 95), all others as PNG. Of an
    animation the first frame is taken. Alpha is kept.

    Raises:
        InvalidInputError: it is not a picture, is broken, or is too large.

    """
    media_type = sniff_media_type(data) or ""
    with open_picture(data, limit_pixels) as picture:
        try:
            picture.load()
            plain = strip(data, media_type) if _is_plain(picture, data) else None
            shown = picture if plain is not None else normalise(picture)
            cleaned = encode(shown, media_type) if plain is None else plain
            _note_transparency(cleaned, shown)
            return cleaned
        except Exception as error:  # decoders raise anything on a broken file
            raise broken_file(media_type, error) from None


def _is_plain(picture: ImageFile, data: bytes) -> bool:
    """Whether the stored pixels are already what we want to send."""
    sixteen_bits = picture.format == "PNG" and data[24] != 8
    return (
        picture.mode in ("L", "LA", "RGB", "RGBA")
        and not sixteen_bits
        and "transparency" not in picture.info
        and getattr(picture, "n_frames", 1) == 1
        and _orientation(picture) == 1
        and _foreign_profile(picture) is None
    )


def _orientation(picture: Image) -> int:
    try:
        turned = picture.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block says nothing about which side is up
        return 1
    return turned if turned in range(2, 9) else 1


def _foreign_profile(picture: Image) -> Any:
    """Return the embedded colour profile, if it is readable and not sRGB."""
    embedded = picture.info.get("icc_profile")
    if not embedded:
        return None
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        return None if "sRGB" in ImageCms.getProfileDescription(profile) else profile
    except (ImageCms.PyCMSError, OSError):  # not a profile; a viewer would ignore it too
        return None


def normalise(picture: Image) -> Image:
    """Return the first frame upright, in sRGB, as L, LA, RGB or RGBA with 8 bits a channel; the given one stays as it is."""
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(_orientation(picture))
    picture = _eight_bits(_in_srgb(picture))
    return picture if turn is None else picture.transpose(turn)


def _in_srgb(picture: Image) -> Image:
    profile = _foreign_profile(picture)
    if profile is None or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    from PIL import ImageCms

    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        turned = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, ValueError):  # the profile is for another colour mode than the pixels'
        return picture
    return turned if turned is not None else picture


def _eight_bits(picture: Image) -> Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _scaled_grey(picture)
    if "transparency" in picture.info or picture.mode in ("PA", "RGBa"):
        return picture.convert("RGBA")
    if picture.mode == "La":
        return picture.convert("LA")
    if picture.mode in ("L", "LA", "RGB", "RGBA"):
        return picture.copy()
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _scaled_grey(picture: Image) -> Image:
    """Scale 16-bit, 32-bit and floating-point grey to 8 bits by the range that its values use: 0–1, 0–255 or 0–65535."""
    import numpy
    from PIL import Image

    values = numpy.nan_to_num(numpy.asarray(picture, dtype=numpy.float32))
    top = float(values.max(initial=0.0))
    sixteen = picture.mode.startswith("I;16")
    scale = 255 / 65535 if sixteen or top > 255 else 255.0 if picture.mode == "F" and top <= 1 else 1.0
    return Image.fromarray(numpy.clip(values * scale + 0.5, 0, 255).astype(numpy.uint8))


def encode(picture: Image, media_type: str) -> bytes:
    """Encode pixels alone: JPEG when that was the input, else PNG."""
    for key in list(picture.info):  # PIL would write the EXIF, profiles and comments that it finds here
        del picture.info[key]
    file = io.BytesIO()
    if media_type == "image/jpeg" and picture.mode in ("L", "RGB"):
        picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


_transparent: dict[tuple[int, int], bool] = {}
"""Whether a picture shows through, by length and hash of its bytes: it is asked often, and every pixel would be decoded again."""
TRANSPARENT_LIMIT = 64
"""Most pictures of which that is kept, more than a request holds."""


def has_transparency(data: bytes) -> bool:
    """Whether any pixel of a picture is not wholly opaque. Known without decoding one that came from :func:`clean_picture`.

    Raises:
        InvalidInputError: it is no picture that is read.

    """
    found = _transparent.get((len(data), hash(data)))
    if found is not None:
        return found
    picture = open_picture(data)
    try:
        return _note_transparency(data, picture)
    except Exception as error:  # cut off, or hostile: its header could be read
        raise broken_file(sniff_media_type(data) or "", error) from None


def _note_transparency(data: bytes, picture: Image) -> bool:
    """Keep and return whether a picture shows through; ``data`` are its bytes."""
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    found = "A" in picture.getbands() and any(picture.getchannel("A").histogram()[:255])
    for known in list(_transparent)[: max(0, len(_transparent) - TRANSPARENT_LIMIT + 1)]:
        _transparent.pop(known, None)  # another thread may have been here
    _transparent[len(data), hash(data)] = found
    return found


def shows_through(data: bytes, part: tuple[int, int, int, int]) -> bool:
    """Whether any pixel in a part of a picture (left, upper, right and lower edge) is not wholly opaque.

    Raises:
        InvalidInputError: it is no picture that is read.

    """
    return has_transparency(data) and any(open_picture(data).convert("RGBA").getchannel("A").crop(part).histogram()[:255])


def on_black(data: bytes) -> bytes:
    """Return a picture with black in the place of what is transparent; bytes without transparency come back unchanged.

    Raises:
        InvalidInputError: it is no picture that is read.

    """
    if not has_transparency(data):
        return data
    from PIL import Image

    picture = open_picture(data).convert("RGBA")
    return encode(Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture).convert("RGB"), "image/png")


def is_black(data: bytes, part: tuple[int, int, int, int] | None = None) -> bool:
    """Whether every pixel of a picture is black in its red channel, which ComfyUI reads masks from.

    Args:
        data: the encoded picture.
        part: left, upper, right and lower edge of the part that is looked at; None is all of it.

    Raises:
        InvalidInputError: it is no picture that is read.

    """
    red = open_picture(data).convert("RGB").getchannel("R")
    return not any((red if part is None else red.crop(part)).histogram()[1:])
