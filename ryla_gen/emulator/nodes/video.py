"""Emulate nodes that read, build and save videos and animations."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from PIL import Image

from ..base import Context, NodeResult, node
from ..latents import Array
from ..mark import to_pixels
from ..server.files import next_names
from ..video import VideoFrames, read, write
from .files import annotated_path, input_fingerprint

_WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}


@node("LoadVideo", fingerprint=input_fingerprint)
def load_video(context: Context, file: str, **_: Any) -> NodeResult:
    """Load a video of the input folder."""
    path = annotated_path(context.folders, file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {file!r} in the input folder")
    return NodeResult((read(path),))


@node("GetVideoComponents")
def get_video_components(context: Context, video: VideoFrames) -> NodeResult:
    """Return a video's frames, sound and rate."""
    return NodeResult((video.frames, video.audio, float(video.fps), 8))  # 0.3.71 lacks the last output, the bits of a colour


@node("Video Slice")
def video_slice(
    context: Context, video: VideoFrames, start_time: float, duration: float, strict_duration: bool = False
) -> NodeResult:
    """Cut a part of a video, in seconds; a duration of 0 keeps all that follows."""
    count = len(video.frames)
    first = min(max(0, round(start_time * video.fps) + (count if start_time < 0 else 0)), count - 1)
    frames = video.frames[first : first + max(1, round(duration * video.fps)) if duration > 0 else None]
    if video.audio is None:
        return NodeResult((VideoFrames(frames, video.fps),))
    rate = video.audio["sample_rate"]
    begin, end = (round(float(place / video.fps) * rate) for place in (first, first + len(frames)))
    return NodeResult((VideoFrames(frames, video.fps, {**video.audio, "waveform": video.audio["waveform"][..., begin:end]}),))


@node("CreateVideo")
def create_video(context: Context, images: Array, fps: float, audio: dict[str, Any] | None = None, **_: Any) -> NodeResult:
    """Make a video of frames with a rate, and sound."""
    return NodeResult((VideoFrames(images, Fraction(fps).limit_denominator(100_000), audio),))


def metadata(context: Context) -> dict[str, str]:
    """Build the metadata of a saved video or sound: the graph, what the caller added, and that it is emulated."""
    graph = json.dumps(context.prompt)
    extra = {key: json.dumps(value) for key, value in context.extra_pnginfo.items()}
    # ComfyUI's tag is "prompt"; "comment" is what players and file managers show.
    return {"prompt": graph, "comment": graph, **extra, "ryla:emulated": "true"}


def _report_file(passed: Any, name: str, subfolder: str, animated: bool) -> NodeResult:
    return NodeResult((passed,), {"images": [{"filename": name, "subfolder": subfolder, "type": "output"}], "animated": [animated]})


@node("SaveVideo")
def save_video(
    context: Context,
    video: VideoFrames,
    filename_prefix: str,
    format: str = "auto",  # noqa: A002  # ComfyUI's name
    codec: str = "auto",
    **_: Any,
) -> NodeResult:
    """Save an mp4 file in H.264."""
    height, width = video.frames.shape[1:3]
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, width, height)
    file_name = f"{name}_{number:05}_.mp4"
    frames = (to_pixels(frame) for frame in video.frames)
    write(folder / file_name, frames, (width, height), video.fps, "h264", metadata(context), video.audio)
    return _report_file(video, file_name, subfolder, True)


@node("SaveWEBM")
def save_webm(context: Context, images: Array, filename_prefix: str, codec: str, fps: float, crf: float, **_: Any) -> NodeResult:
    """Save a webm file in VP9 or AV1."""
    height, width = images.shape[1:3]
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, width, height)
    file_name = f"{name}_{number:05}_.webm"
    rate = Fraction(round(fps * 1000), 1000)
    write(folder / file_name, (to_pixels(i) for i in images), (width, height), rate, codec, metadata(context), crf=crf)
    return _report_file(images, file_name, subfolder, True)


@node("SaveAnimatedWEBP")
def save_animated_webp(
    context: Context, images: Array, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str, **_: Any
) -> NodeResult:
    """Save all pictures as the frames of one WebP."""
    height, width = images.shape[1:3]
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, width, height)
    file_name = f"{name}_{number:05}_.webp"
    frames = [Image.fromarray(to_pixels(image)) for image in images]
    exif = frames[0].getexif()
    exif[0x0110] = f"prompt:{json.dumps(context.prompt)}"
    for offset, (key, value) in enumerate([*context.extra_pnginfo.items(), ("ryla:emulated", "true")]):
        exif[0x010F - offset] = f"{key}:{value if isinstance(value, str) else json.dumps(value)}"
    frames[0].save(
        folder / file_name, save_all=True, duration=int(1000.0 / fps), append_images=frames[1:], exif=exif,
        lossless=lossless, quality=quality, method=_WEBP_METHODS[method],
    )  # fmt: skip
    return _report_file(images, file_name, subfolder, len(frames) != 1)
