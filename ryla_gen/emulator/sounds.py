"""Make sound as nodes pass it: plain tones in place of what an audio model would play. Knows no nodes and no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

RATE = 44_100
"""Samples a second of what is made here."""
NOTE_SECONDS = 0.5
LOUDNESS = 0.2
PENTATONIC = (0, 2, 4, 7, 9)
"""Half tones above the ground note: any of them sound well together."""
PLAIN_SECONDS = 2.0
MOST_SECONDS = 600.0
"""Longest sound made here; the nodes' own bounds reach to a quarter of an hour and more."""


Audio = dict[str, Any]
"""ComfyUI's AUDIO: ``waveform`` [batch, channels, samples] and ``sample_rate``."""


def seconds_of(audio: Mapping[str, Any]) -> float:
    """Return how long a sound plays."""
    return float(np.shape(audio["waveform"])[-1] / audio["sample_rate"])


def tone(seconds: float, notes: Any = ()) -> Audio:
    """Play half tones, half a second each and over again, as soft sine waves; without notes the ground note alone."""
    seconds = float(np.clip(seconds, 0.1, MOST_SECONDS))
    count = max(1, round(seconds * RATE))
    steps = np.asarray(notes if len(notes) else (0,), np.float64)
    time = np.arange(count) / RATE
    which = (time // NOTE_SECONDS).astype(int) % len(steps)
    within = time % NOTE_SECONDS
    pitch = 220.0 * 2.0 ** (steps / 12.0)
    envelope = np.minimum(within / 0.02, 1.0) * np.minimum((NOTE_SECONDS - within) / 0.08, 1.0)
    wave = (LOUDNESS * envelope * np.sin(2 * np.pi * pitch[which] * within)).astype(np.float32)
    return {"waveform": np.broadcast_to(wave, (1, 2, count)).copy(), "sample_rate": RATE}


def notes_of(samples: Any) -> tuple[int, ...]:
    """Compose a short tune from a latent: other seeds and prompts play other ones."""
    values = np.asarray(samples, np.float32)
    if not np.any(values):
        return ()
    flat = np.resize(values[0].ravel(), (8, max(1, values[0].size // 8)))
    ranks = np.floor(np.abs(flat.sum(1)) * 7.0).astype(int) % (2 * len(PENTATONIC))
    return tuple(int(PENTATONIC[r % len(PENTATONIC)] + 12 * (r // len(PENTATONIC))) for r in ranks)


def sound_of(source: Any) -> Audio:
    """Return the sound in a value: a sound's own, a video's, the tune of a latent; else a plain tone."""
    if isinstance(source, dict) and "waveform" in source:
        return source
    audio = getattr(source, "audio", None)
    if audio is not None:
        return dict(audio)
    if isinstance(source, dict) and "samples" in source:
        return tone(float(source.get("seconds", PLAIN_SECONDS)), notes_of(source["samples"]))
    return tone(PLAIN_SECONDS)
