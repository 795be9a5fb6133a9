"""Define what a workflow class states besides its fields: work, duration, an example call. Must not import a workflow.

These are types that the classes are made of, and sums over fields as the journal keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..support.numbers import number_or

OutputKind = Literal["image", "video"]
"""What a workflow makes."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of one warm run on an NVIDIA L40S, with the size and steps that are the class's own defaults.

    A variant that sets others (fewer steps, a larger picture) has its numbers for those defaults all the same: an estimate
    multiplies them by its work over the defaults'.
    """

    low: float
    likely: float
    high: float
    source: str
    """Where the numbers come from; the end of a sentence."""
    known: bool = True
    """Whether this very workflow was measured on this class of GPU; otherwise it is a guess from its neighbours."""


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


@dataclass(frozen=True, slots=True)
class Example:
    """One small call, from which the pages, the help texts, the clients' examples and the tests are made."""

    fields: Mapping[str, Any]
    """Fields as plain values, the prompt first; a picture, a video or a graph is the name of a file."""
    output: str
    """File that the command writes."""
    before: str = ""
    """Words above the example on the workflow's page: what its files are."""
    after: str = ""
    """Words below it: what usually comes next."""


def sampling_work(inputs: Mapping[str, Any]) -> Work:
    """Measure a request that samples from a prompt by the fields whose names all workflows share."""
    variant = tuple(str(inputs[name]) for name in ("model", "speed") if inputs.get(name) is not None)
    passes = 1 if number(inputs, "cfg", 1.0) == 1.0 else 2  # at cfg 1 ComfyUI skips the negative branch
    frames = (number(inputs, "length", 1) - 1) // 4 + 1
    pixels = number(inputs, "width", 1024) * number(inputs, "height", 1024)
    return Work(variant, number(inputs, "steps", 1) * passes * frames * pixels * number(inputs, "batch_size", 1))


def graph_work(graph: Any) -> Work:
    """Measure a graph: its node classes tell graphs apart, its steps and its latent's pixels are the work."""
    nodes = [node for node in graph.values() if isinstance(node, Mapping)] if isinstance(graph, Mapping) else []
    kinds = tuple(sorted(str(node.get("class_type")) for node in nodes))
    fields: list[Mapping[str, Any]] = [node["inputs"] for node in nodes if isinstance(node.get("inputs"), Mapping)]
    steps = sum(number(item, "steps", 0) for item in fields) or 1.0
    pixels = max((number(item, "width", 0) * number(item, "height", 0) for item in fields), default=0.0) or 1.0
    return Work(kinds, steps * pixels)


def number(inputs: Mapping[str, Any], name: str, default: float) -> float:
    """Return a field's number; the default where the journal has something else, or nothing."""
    return number_or(inputs.get(name), default)
