"""Emulate nodes that make, read and save sound. An audio model's song is a plain tune here, whose file says that it is emulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..sampling.run import Latent
from ..server.files import next_names
from ..sounds import Audio, notes_of, tone
from ..video import read_audio, write_audio
from .files import annotated_path, input_fingerprint
from .plain_values import empty_sound
from .video import metadata

FORMATS = {"mp3": "mp3", "opus": "opus", "flac": "flac"}


@node("LoadAudio", fingerprint=input_fingerprint)
def load_audio(context: Context, audio: str, **_: Any) -> NodeResult:
    """Load a sound of the input folder."""
    path = annotated_path(context.folders, audio)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {audio!r} in the input folder")
    sound = read_audio(path)
    if sound is None:
        raise ValueError(f"{audio} has no sound in it")
    return NodeResult((dict(sound),))


@node("EmptyAceStepLatentAudio")
@node("EmptyAceStep1.5LatentAudio")
@node("EmptyLatentAudio")
def empty_latent_audio(context: Context, seconds: float, batch_size: int = 1) -> NodeResult:
    """Return an empty sound latent of a length in seconds."""
    return NodeResult(({"samples": empty_sound(batch_size), "seconds": float(seconds)},))


@node("LTXVEmptyLatentAudio")
def ltxv_empty_latent_audio(
    context: Context, frames_number: int, frame_rate: float, batch_size: int = 1, audio_vae: Any = None
) -> NodeResult:
    """Return an empty sound latent as long as a video."""
    return NodeResult(({"samples": empty_sound(batch_size), "seconds": frames_number / max(float(frame_rate), 1.0)},))


@node("LTXVConcatAVLatent")
def ltxv_concat_av(context: Context, video_latent: Latent, audio_latent: Latent) -> NodeResult:
    """Join picture and sound in one latent: the picture is sampled, the sound is carried along."""
    return NodeResult(({**video_latent, "audio": audio_latent},))


@node("LTXVSeparateAVLatent")
def ltxv_separate_av(context: Context, av_latent: Latent) -> NodeResult:
    """Separate picture and sound; the sound now follows from the sampled picture."""
    video = {key: value for key, value in av_latent.items() if key != "audio"}
    audio = dict(av_latent.get("audio") or {"samples": empty_sound()})
    samples = np.asarray(av_latent["samples"], np.float32)
    if np.any(samples):
        audio["samples"] = np.resize(samples, np.shape(audio["samples"])).astype(np.float32)
    return NodeResult((video, audio))


@node("LTXVAudioVAEDecode")
@node("VAEDecodeAudio")
@node("VAEDecodeAudioTiled")
def vae_decode_audio(context: Context, samples: Latent, **_: Any) -> NodeResult:
    """Decode a latent to a short tune."""
    return NodeResult((tone(float(samples.get("seconds", 2.0)), notes_of(samples["samples"])),))


@node("EmptyAudio")
def empty_audio(context: Context, duration: float, sample_rate: int, channels: int) -> NodeResult:
    """Silence."""
    count = round(min(duration, 600.0) * sample_rate)
    return NodeResult(({"waveform": np.zeros((1, channels, count), np.float32), "sample_rate": sample_rate},))


@node("TrimAudioDuration")
def trim_audio(context: Context, audio: Audio, start_index: float, duration: float) -> NodeResult:
    """Cut a part of a sound; a negative start counts from its end."""
    wave, rate = np.asarray(audio["waveform"]), audio["sample_rate"]
    first = int(np.clip(start_index * rate + (wave.shape[-1] if start_index < 0 else 0), 0, max(0, wave.shape[-1] - 1)))
    return NodeResult(({**audio, "waveform": wave[..., first : first + max(1, round(duration * rate))]},))


def _save(context: Context, audio: Audio, prefix: str, suffix: str, root: Path, kind: str) -> NodeResult:
    """Write one file per sound of the batch."""
    folder, name, subfolder, number = next_names(root, prefix, 0, 0)
    saved = []
    for index, wave in enumerate(np.asarray(audio["waveform"])):
        file_name = f"{name.replace('%batch_num%', str(index))}_{number + index:05}_.{suffix}"
        write_audio(folder / file_name, wave, int(audio["sample_rate"]), metadata(context))
        saved.append({"filename": file_name, "subfolder": subfolder, "type": kind})
    return NodeResult((audio,), {"audio": saved})


@node("SaveAudio")
def save_audio(context: Context, audio: Audio, filename_prefix: str = "audio/ComfyUI", **_: Any) -> NodeResult:
    """Save sounds as FLAC files."""
    return _save(context, audio, filename_prefix, "flac", context.folders.output, "output")


@node("SaveAudioMP3")
def save_audio_mp3(context: Context, audio: Audio, filename_prefix: str = "audio/ComfyUI", **_: Any) -> NodeResult:
    """Save sounds as MP3 files."""
    return _save(context, audio, filename_prefix, "mp3", context.folders.output, "output")


@node("SaveAudioOpus")
def save_audio_opus(context: Context, audio: Audio, filename_prefix: str = "audio/ComfyUI", **_: Any) -> NodeResult:
    """Save sounds as Opus files."""
    return _save(context, audio, filename_prefix, "opus", context.folders.output, "output")


@node("SaveAudioAdvanced")
def save_audio_advanced(
    context: Context,
    audio: Audio,
    filename_prefix: str = "audio/ComfyUI",
    format: str | Mapping[str, Any] = "flac",  # noqa: A002  # ComfyUI's name
    **_: Any,
) -> NodeResult:
    """Save sounds as files in one of three formats."""
    chosen = format.get("format", "flac") if isinstance(format, Mapping) else format
    return _save(context, audio, filename_prefix, FORMATS.get(str(chosen), "flac"), context.folders.output, "output")


@node("PreviewAudio")
def preview_audio(context: Context, audio: Audio, **_: Any) -> NodeResult:
    """Save sounds as FLAC files in the temporary folder."""
    return _save(context, audio, f"ComfyUI_temp_audio_{context.node_id.replace(':', '_')}", "flac", context.folders.temp, "temp")
