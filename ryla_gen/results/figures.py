"""Define what a job took and cost: timings by phase, the parts of a cold start, US dollars. Must not measure anything."""

from __future__ import annotations

from dataclasses import dataclass

COLD_PARTS = {
    "image": "image",
    "boot": "start of ComfyUI",
    "restore": "restore from the snapshot",
    "weights": "reading the weights",
    "load": "loading them to the GPU",
}
"""Parts of a cold start, and what a screen calls them."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Where a cold start went, in seconds; None where it is not known. Reading the weights overlaps with the rest."""

    image: float | None = None
    """Until the container's image was there; not seen from inside."""
    boot: float | None = None
    """The start of ComfyUI; 0 where a snapshot held it already."""
    restore: float | None = None
    """Choosing the GPU after a snapshot, and seeing that ComfyUI works."""
    weights: float | None = None
    """Reading the weights from the volume into memory."""
    load: float | None = None
    """Loading them into VRAM before the first request."""

    def known(self) -> dict[str, float]:
        """Return the seconds of each part that is known, by what the part is called on a screen."""
        return {words: seconds for name, words in COLD_PARTS.items() if (seconds := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Timings:
    """The time a job took, by phase, in seconds."""

    queued: float = 0.0
    """Waiting behind other work."""
    cold_start: float = 0.0
    """Until the server was up; 0 when it was warm."""
    running: float = 0.0
    """The graph on the GPU, loading of models included."""
    total: float = 0.0
    """From submitting to the last byte of the result."""
    cold: ColdStart | None = None
    """Where a cold start on Modal went; None when it was warm."""
    restored: bool = False
    """Whether the container of a cold start was restored from a snapshot."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a job, in US dollars."""

    total_usd: float = 0.0
    gpu_usd: float = 0.0
    cpu_usd: float = 0.0
    memory_usd: float = 0.0
    gpu: str | None = None
    """Kind of GPU; None when no GPU was paid for."""
    gpu_seconds: float = 0.0
    """Seconds the graph held the GPU."""
    prices_as_of: str | None = None
    """Day on which the prices were read."""
    region_factor: float = 1.0
    """What the prices were multiplied by, since a region was chosen; it is in all amounts above."""
