"""Read and write frames and sound in mp4 and webm files. Knows no nodes and no folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from .latents import Array

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class VideoFrames:
    """ComfyUI's VIDEO: frames with a rate, and sound."""

    frames: Array
    """[N, H, W, 3] in 0..1."""
    fps: Fraction
    audio: Mapping[str, Any] | None = None
    """ComfyUI's AUDIO: ``waveform`` [1, channels, samples] and ``sample_rate``."""


def read(path: Path) -> VideoFrames:
    """Read all frames and the sound of a file."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path.name} has no video in it")
        rate = container.streams.video[0].average_rate or Fraction(1)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    stacked = np.empty((len(frames), *frames[0].shape), np.float32)
    for target, frame in zip(stacked, frames, strict=True):
        np.multiply(frame, np.float32(1 / 255), out=target)
    return VideoFrames(stacked, Fraction(rate), read_audio(path))


def read_audio(path: Path) -> Mapping[str, Any] | None:
    """Read the sound of a file; None for one without."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        parts = [part.to_ndarray() for frame in container.decode(stream) for part in resampler.resample(frame)]
        parts += [part.to_ndarray() for part in resampler.resample(None)]
        if not parts:
            return None
        return {"waveform": np.concatenate(parts, axis=1)[None], "sample_rate": int(stream.rate)}


CODECS = {
    # veryfast: 33 frames of 832×480 in about a third of a second; crf 18 is visually lossless.
    "h264": ("libx264", {"preset": "veryfast", "crf": "18", "threads": "2"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "b": "0"}),
    "av1": ("libsvtav1", {"preset": "10"}),
}


def write(
    path: Path,
    frames: Iterable[Pixels],
    size: tuple[int, int],
    fps: Fraction,
    codec: str,
    metadata: Mapping[str, str],
    audio: Mapping[str, Any] | None = None,
    crf: float | None = None,
) -> None:
    """Encode frames (width and height rounded down to even, which these codecs need) and sound."""
    encoder, options = CODECS[codec]
    with (
        _same_priority(),
        av.open(str(path), "w", options={"movflags": "use_metadata_tags"} if path.suffix == ".mp4" else {}) as container,
    ):
        container.metadata.update(metadata)
        stream: Any = container.add_stream(encoder, rate=fps)  # PyAV types it as any kind of stream
        stream.width, stream.height = size[0] // 2 * 2, size[1] // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.options = dict(options) if crf is None else {**options, "crf": str(round(crf))}
        context = stream.codec_context
        # Say which matrix the colours were made with (BT.709), or players guess by size.
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        sound = _add_sound(container, audio)
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[: stream.height, : stream.width, :3]), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")))
        container.mux(stream.encode())
        if sound is not None and audio is not None:
            for part in _sound_frames(audio):
                container.mux(sound.encode(part))
            container.mux(sound.encode())


SOUND_CODECS = {".mp3": "libmp3lame", ".opus": "libopus", ".flac": "flac"}
SOUND_RATES = {".opus": 48_000}
"""Formats that take certain rates only."""


def write_audio(path: Path, waveform: Array, rate: int, metadata: Mapping[str, str]) -> None:
    """Encode one sound [channels, samples]; its format follows from the name's suffix."""
    channels = np.ascontiguousarray(waveform[:2], np.float32)
    layout = "mono" if len(channels) == 1 else "stereo"
    wanted = SOUND_RATES.get(path.suffix, rate)
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream: Any = container.add_stream(SOUND_CODECS[path.suffix], rate=wanted, layout=layout)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=wanted)
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode())


@contextmanager
def _same_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does when the user is root: it makes the thread that calls it real-time (SCHED_FIFO, 99).

    Whatever that thread starts later inherits it, and then nothing else gets a processor any more.
    """
    if not hasattr(os, "sched_getscheduler"):  # not on Linux
        yield
        return
    before = {thread: (os.sched_getscheduler(thread), os.sched_getparam(thread)) for thread in (0, os.getpid())}
    try:
        yield
    finally:
        for thread, (policy, parameters) in before.items():
            if os.sched_getscheduler(thread) != policy:
                os.sched_setscheduler(thread, policy, parameters)


def _add_sound(container: Any, audio: Mapping[str, Any] | None) -> Any:
    if audio is None:
        return None
    layout = "mono" if audio["waveform"].shape[1] == 1 else "stereo"
    return container.add_stream("aac" if container.format.name == "mp4" else "libopus", rate=audio["sample_rate"], layout=layout)


def _sound_frames(audio: Mapping[str, Any]) -> Iterator[av.AudioFrame]:
    waveform = np.ascontiguousarray(audio["waveform"][0][:2], np.float32)
    frame = av.AudioFrame.from_ndarray(waveform, format="fltp", layout="mono" if len(waveform) == 1 else "stereo")
    frame.sample_rate, frame.pts = audio["sample_rate"], 0
    yield frame
