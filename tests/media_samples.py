"""Pictures and videos for the tests of media, made on the spot; and files whose headers lie."""

from __future__ import annotations

import io
import struct
import zlib

import av
import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture whose four corners differ: red, green / blue, white."""
    made = Image.new("RGB", (width, height), "red")
    made.paste("green", (width // 2, 0, width, height // 2))
    made.paste("blue", (0, height // 2, width // 2, height))
    made.paste("white", (width // 2, height // 2, width, height))
    return made.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decoded(data))


def video(
    kind: str = "mp4", frames: int = 9, rate: int = 16, size: tuple[int, int] = (64, 48), tags: dict[str, str] | None = None
) -> bytes:
    file = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if kind in ("mp4", "mov") else {}
    codec = "libvpx" if kind == "webm" else "libx264"
    with av.open(file, "w", format={"mkv": "matroska"}.get(kind, kind), options=options) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), index * 20 % 255, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def bomb(kind: str, width: int = 60_000, height: int = 60_000) -> bytes:
    """A file whose header claims 3.6 gigapixels."""
    if kind == "PNG":
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        rest = b"".join(
            struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
            for body in (header, b"IDAT" + zlib.compress(b""), b"IEND")
        )
        return b"\x89PNG\r\n\x1a\n" + rest
    data = bytearray(encoded(picture(), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "WEBP":
        still = encoded(picture(mode="RGBA"), "WEBP", lossless=True)
        big = (16383).to_bytes(3, "little")
        data = bytearray(
            b"RIFF"
            + struct.pack("<I", 22 + len(still) - 12)
            + b"WEBPVP8X"
            + struct.pack("<I", 10)
            + b"\x10\0\0\0"
            + big
            + big
            + still[12:]
        )
    else:
        data = bytearray(encoded(Image.new("L", (1, 1)), "TIFF"))
        (at,) = struct.unpack_from("<I", data, 4)
        for entry in range(struct.unpack_from("<H", data, at)[0]):
            place = at + 2 + entry * 12
            if struct.unpack_from("<H", data, place)[0] in (256, 257):
                struct.pack_into("<HHII", data, place, struct.unpack_from("<H", data, place)[0], 4, 1, width)
    return bytes(data)


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "SecretCamera"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def sound(kind: str = "mp3", tags: dict[str, str] | None = None, **options: str) -> bytes:
    """A second of silence; mp3, flac, ogg (Opus) or wav."""
    codec = {"mp3": "libmp3lame", "flac": "flac", "ogg": "libopus", "wav": "pcm_s16le"}[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options=options) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format="s16", layout="mono")
        frame.rate = 48000
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=48000)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return file.getvalue()


def silent_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
