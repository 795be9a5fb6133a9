"""Probe a video with av, from memory (animated WebP with PIL). Decodes one frame, to see that it can be decoded.

The demuxer is chosen by the first bytes, never guessed by ffmpeg: some of its formats are playlists that open other
files and addresses. Knows no references.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError
from .base import LIMIT_FRAMES, LIMIT_PIXELS, VIDEO_FORMATS, VideoInfo, check_pixels, sniff_media_type
from .images import broken_file, open_picture
from .strip import webp_chunks

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_DEMUXERS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "matroska"}
_SOUND_DEMUXERS = {"audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "mp4"}
_TAGS_FIRST = ("audio/mpeg", "audio/flac", "audio/ogg")
_HEAD_BYTES = 17 * 1024 * 1024
"""Of a sound whose tags come first so much is read: the longest text that counts, and room for its container."""
_CONTAINERS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv"}
UNTIMED_FRAME = 0.1
"""Seconds that browsers show a WebP frame whose duration is 0."""
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def probe_video(data: bytes, *, limit_pixels: int = LIMIT_PIXELS, limit_frames: int = LIMIT_FRAMES) -> VideoInfo:
    """Read the facts of a video. Counts its frames and decodes the first.

    Args:
        data: an MP4, WebM, MOV, MKV or animated WebP file.
        limit_pixels: most pixels of a frame, checked before decoding.
        limit_frames: most frames.

    Raises:
        InvalidInputError: it is not a video, is broken or cut short, has no pictures in it, or is over a limit.

    """
    media_type = sniff_media_type(data) or ""
    if media_type == "image/webp":
        return _probe_webp(data, limit_pixels, limit_frames)
    if media_type not in _DEMUXERS:
        what = (
            f"This is {media_type}, not a video that can be read"
            if media_type
            else "This is not a video"
            if data
            else "The video is empty"
        )
        raise InvalidInputError(f"{what}.", f"Supported formats: {VIDEO_FORMATS}.", {"media_type": media_type})
    if _cut_short(data, media_type):
        raise broken_file(media_type, "the file is cut short")
    return _probe_av(data, media_type, limit_pixels, limit_frames)


def _check_frames(frames: int, limit: int) -> None:
    if frames > limit:
        hint = f"Cut it into parts of at most {limit} frames."
        raise InvalidInputError(f"The video has more than {limit} frames.", hint, {"limit_frames": limit})


def _cut_short(data: bytes, media_type: str) -> bool:
    """Whether the outermost part of the file claims more bytes than there are; ffmpeg would show what is left of it."""
    if media_type in ("video/mp4", "video/quicktime"):
        return _boxes_end(data) > len(data)
    place = 4 + _ebml_number(data, 4)[1]
    place += _ebml_number(data, 4)[0] or 0
    if data[place : place + 4] != _EBML_SEGMENT:
        return False
    size, length = _ebml_number(data, place + 4)
    return size is not None and place + 4 + length + size > len(data)


def _boxes_end(data: bytes) -> int:
    place = 0
    while place + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        if size == 1 and place + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, place + 8)
        if size == 0:  # to the end of the file
            return len(data)
        if size < 8:
            return place
        place += size
    return place


def _ebml_number(data: bytes, place: int) -> tuple[int | None, int]:
    """Read a variable-length size and its own length; None is the "unknown" of live streams (RFC 8794)."""
    first = data[place] if place < len(data) else 0
    length = 9 - first.bit_length()
    if length > 8:
        return None, 1
    value = int.from_bytes(data[place : place + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), length


def _probe_av(data: bytes, media_type: str, limit_pixels: int, limit_frames: int) -> VideoInfo:
    import av

    try:
        with av.open(io.BytesIO(data), mode="r", format=_DEMUXERS[media_type]) as container:
            return _read_stream(container, media_type, limit_pixels, limit_frames)
    except InvalidInputError:
        raise
    except Exception as error:  # demuxers and decoders raise anything on a hostile file
        raise broken_file(media_type, getattr(error, "strerror", None) or error) from None


def _read_stream(container: InputContainer, media_type: str, limit_pixels: int, limit_frames: int) -> VideoInfo:
    if not container.streams.video:
        raise InvalidInputError("The file has no video stream, only sound or subtitles.", f"Supported formats: {VIDEO_FORMATS}.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise InvalidInputError("The video uses an unknown codec.", "Save it as MP4 with H.264.")
    check_pixels(stream.width, stream.height, limit_pixels)
    _check_frames(stream.frames, limit_frames)
    shown = next(iter(container.decode(stream)), None)
    if shown is None:
        raise broken_file(media_type, "not one frame can be decoded")
    check_pixels(shown.width, shown.height, limit_pixels)
    frames, end = _count(container, stream, limit_frames)
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    duration = end or (frames / fps if fps else 0.0)
    fps = fps or (frames / duration if duration else 0.0)
    return VideoInfo(_CONTAINERS[media_type], media_type, frames, fps, shown.width, shown.height, duration)


def _count(container: InputContainer, stream: VideoStream, limit: int) -> tuple[int, float]:
    """Count the frames by their packets, and tell the end of the last one in seconds (0 when the file does not say)."""
    container.seek(0)
    frames, first, end = 0, None, 0
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            frames += 1
            _check_frames(frames, limit)
            if packet.pts is not None:
                first = packet.pts if first is None else min(first, packet.pts)
                end = max(end, packet.pts + (packet.duration or 0))
    base: Any = stream.time_base or 0
    return frames, float((end - (first or 0)) * base)


def _probe_webp(data: bytes, limit_pixels: int, limit_frames: int) -> VideoInfo:
    milliseconds = [int.from_bytes(data[at + 20 : at + 23], "little") for kind, at, _ in webp_chunks(data) if kind == b"ANMF"]
    _check_frames(len(milliseconds), limit_frames)
    with open_picture(data, limit_pixels) as picture:
        frames, (width, height) = int(getattr(picture, "n_frames", 1)), picture.size
        if not milliseconds:
            raise InvalidInputError("This WebP is a still picture, not a video.", f"Supported formats: {VIDEO_FORMATS}.")
        try:
            picture.load()
        except Exception as error:  # decoders raise anything on a broken file
            raise broken_file("image/webp", error) from None
    duration = sum(milliseconds) / 1000 or frames * UNTIMED_FRAME
    return VideoInfo("webp", "image/webp", frames, frames / duration, width, height, duration)


def container_tags(data: bytes) -> dict[str, str]:
    """Read the tags of a video's or a sound's container.

    Raises:
        InvalidInputError: it is neither, or is broken.

    """
    import av

    media_type = sniff_media_type(data) or ""
    demuxer = (_DEMUXERS | _SOUND_DEMUXERS).get(media_type)
    if demuxer is None:
        raise InvalidInputError("This is neither a video nor a sound with tags.", f"Supported formats: {VIDEO_FORMATS}.")
    if media_type in _DEMUXERS and _cut_short(data, media_type):  # ffmpeg may look for seconds for what is not there
        raise broken_file(media_type, "the file is cut short")
    if media_type in _TAGS_FIRST:  # behind them ffmpeg may look for seconds for a frame in a broken file
        data = data[:_HEAD_BYTES]
    try:
        with av.open(io.BytesIO(data), mode="r", format=demuxer, metadata_errors="replace") as container:
            ogg = container.streams[0].metadata if media_type == "audio/ogg" else {}  # Ogg has a sound's tags in its stream
            return {**ogg, **container.metadata}
    except Exception as error:  # ffmpeg may look for seconds for what is not there
        raise broken_file(media_type, error) from None
