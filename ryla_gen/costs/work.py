"""Define what an estimate is made of: ranges, and the price of a second. Must not read a journal or settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..support.numbers import format_significant

Source = Literal["measured", "scaled", "table", "unknown"]
"""Where the seconds come from: runs like this one, runs of other sizes, the table, or nowhere."""


@dataclass(frozen=True, slots=True)
class Range:
    """Three numbers: nine of ten runs should lie between the outer ones."""

    low: float
    likely: float
    high: float

    def times(self, other: Range) -> Range:
        """Multiply end by end."""
        return Range(self.low * other.low, self.likely * other.likely, self.high * other.high)

    def widen(self, down: float, up: float) -> Range:
        """Pull the ends apart by two factors; the middle stays."""
        return Range(self.low * down, self.likely, self.high * up)

    def by(self, factor: float) -> Range:
        """Multiply all three."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of a second, and what is known of the machine."""

    usd: Range
    """US dollars a second, on the GPU that is asked for first."""
    most: float
    """US dollars a second at most, whichever of the allowed GPUs and regions it becomes."""
    gpu: str | None = None
    cold_start: Range = NOTHING
    """Seconds until a new container is up and has its weights loaded."""
    idle_window: float = 0.0
    """Seconds that a container stays idle, and paid, after its last job."""
    load: float = 0.0
    """Seconds of loading that count towards a job's own time there, besides its time limit."""
    prices_as_of: str | None = None
    includes: str = ""
    """What the price holds; a sentence."""
    not_included: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will take and cost, before anything is spent."""

    workflow: str
    backend: str
    gpu: str | None
    """The GPU it is meant for; None when it is not known."""
    usd: Range
    """US dollars: GPU, and on Modal cores, memory and region, for as long as the graph runs."""
    seconds: Range
    """Seconds that the graph runs, loaded weights assumed."""
    cold_start: Range
    """Seconds more when a container has to start first; 0 where a server is always up."""
    cold_start_usd: Range
    """What those cost, beside :attr:`usd`."""
    basis: str
    """What it rests on, in a sentence or two."""
    source: Source
    runs: int
    """Runs of this machine's journal that it rests on."""
    prices_as_of: str | None
    """Day on which the prices were read; None when none is needed."""
    not_included: tuple[str, ...] = ()
    """What may be billed besides."""
    most_usd_per_second: float = 0.0
    """The dearest second that the configuration allows: the second choice of GPU, the highest regional factor."""
    idle_window: float = 0.0
    """Seconds that an idle container stays after its last job; 0 where a server is always up."""
    idle_window_usd: float = 0.0
    """What those will likely cost, beside :attr:`usd`; the jobs before share it."""

    def to_data(self) -> dict[str, Any]:
        """Return the estimate as plain data."""
        return {**asdict(self), "not_included": list(self.not_included)}

    def __str__(self) -> str:
        usd = self.usd
        likely, low, high = map(format_significant, (self.seconds.likely, self.seconds.low, self.seconds.high))
        cost = "free" if usd.high == 0 else f"${usd.likely:.4f} (${usd.low:.4f} to ${usd.high:.4f})"
        return f"{self.workflow} on {self.gpu or self.backend}: {cost}, {likely} s ({low} to {high})"
