"""What an estimate is made of: ranges, the price of a second, and how much work a request is. Reads no journal and no settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

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

    def widened(self, down: float, up: float) -> Range:
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
    """The GPU it is meant for; None when nobody knows."""
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

    def to_data(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return {**asdict(self), "not_included": list(self.not_included)}

    def __str__(self) -> str:
        usd, took = self.usd, self.seconds
        cost = "free" if usd.high == 0 else f"${usd.likely:.4f} (${usd.low:.4f} to ${usd.high:.4f})"
        return f"{self.workflow} on {self.gpu or self.backend}: {cost}, {took.likely:.0f} s ({took.low:.0f} to {took.high:.0f})"


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to do, as far as the fields of a request tell."""

    variant: tuple[str, ...]
    """Model and mode: runs of different variants are not compared."""
    amount: float
    """Steps × pixels × frames, in units that only compare runs of one variant."""

    def like(self, other: Work) -> bool:
        """Whether two requests are the same work, prompt and seed aside."""
        return self.variant == other.variant and abs(self.amount - other.amount) <= 0.01 * self.amount


DEFAULT_EDGE = 1080
"""Shortest edge of an enlarged picture when none is asked for (SeedVR2's default)."""


def work_of(workflow: str, inputs: Mapping[str, Any]) -> Work:
    """Measure a request by its fields, as the journal keeps them."""
    if workflow == "seedvr2":
        kind = "image" if inputs.get("image") is not None else "video"
        edge = _number(inputs, "resolution", DEFAULT_EDGE)
        return Work((kind, str(inputs.get("model"))), edge * edge)
    if workflow == "workflow":
        return _graph_work(inputs.get("graph"))
    variant = tuple(str(inputs[name]) for name in ("model", "speed") if inputs.get(name) is not None)
    steps = _number(inputs, "steps", 1) + _number(inputs, "instantid_steps", 0)
    passes = 1 if _number(inputs, "cfg", 1.0) == 1.0 else 2  # at cfg 1 ComfyUI skips the negative branch
    frames = (_number(inputs, "length", 1) - 1) // 4 + 1
    pixels = _number(inputs, "width", 1024) * _number(inputs, "height", 1024)
    return Work(variant, steps * passes * frames * pixels * _number(inputs, "batch_size", 1))


def _graph_work(graph: Any) -> Work:
    """A graph of one's own: its node classes tell graphs apart, its steps and its latent's pixels are the work."""
    nodes = [node for node in graph.values() if isinstance(node, Mapping)] if isinstance(graph, Mapping) else []
    kinds = tuple(sorted(str(node.get("class_type")) for node in nodes))
    fields: list[Mapping[str, Any]] = [node["inputs"] for node in nodes if isinstance(node.get("inputs"), Mapping)]
    steps = sum(_number(item, "steps", 0) for item in fields) or 1.0
    pixels = max((_number(item, "width", 0) * _number(item, "height", 0) for item in fields), default=0.0) or 1.0
    return Work(kinds, steps * pixels)


def _number(inputs: Mapping[str, Any], name: str, default: float) -> float:
    value = inputs.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
