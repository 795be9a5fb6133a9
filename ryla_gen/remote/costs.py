"""Compute what a run cost: which GPU it was, and its seconds times the table of prices. Must not do anything else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..costs.prices import (
    CPU_USD_PER_CORE_SECOND,
    GPU_USD_PER_SECOND,
    MEMORY_USD_PER_GIB_SECOND,
    PRICES_AS_OF,
    region_factors,
)
from ..results import Cost

ALIASES = {"A10G": "A10", "A100": "A100-40GB"}
"""Other names of GPUs in the table; a plain A100 is billed as the smaller one."""
MIB_PER_GIB = 1024


def gpu_name(device: str | None, configured: Sequence[str]) -> str:
    """Return the GPU as the price table calls it.

    Args:
        device: what ComfyUI calls its device, such as ``cuda:0 NVIDIA H100 80GB HBM3 : cudaMallocAsync``; it decides when it
            names a GPU of the table.
        configured: what was asked for, best first; the first one counts when the device says nothing.
    """
    words = set(re.findall(r"[A-Z]+\d+[A-Z]*", device or ""))
    for name in sorted(GPU_USD_PER_SECOND, key=len, reverse=True):
        kind, _, size = name.partition("-")
        if kind in words and size in (device or ""):
            return name
    if "A10G" in words:
        return "A10"
    asked = configured[0].partition(":")[0].rstrip("!") if configured else ""
    return ALIASES.get(asked, asked)


def gpu_count(configured: Sequence[str]) -> int:
    """Return how many GPUs a container has: ``H100:2`` asks for two."""
    number = configured[0].partition(":")[2] if configured else ""
    return int(number) if number.isdigit() else 1


def cost_of(seconds: float, gpu: str, *, count: int = 1, cpu: float = 0.0, memory: int = 0, region: tuple[str, ...] = ()) -> Cost:
    """Return what a run cost: its seconds on the GPU, with the container's cores and memory for as long.

    Args:
        seconds: how long the graph held the GPU.
        gpu: its name in the price table; an unknown one costs nothing, and the cost then says so by ``gpu_usd`` 0.
        count: GPUs of the container.
        cpu: physical cores asked for.
        memory: MiB asked for.
        region: where the app was deployed to run; none is anywhere. Its likely factor multiplies every price.
    """
    _, factor, _ = region_factors(region)
    gpu_usd = factor * seconds * count * GPU_USD_PER_SECOND.get(gpu, 0.0)
    cpu_usd = factor * seconds * cpu * CPU_USD_PER_CORE_SECOND
    memory_usd = factor * seconds * memory / MIB_PER_GIB * MEMORY_USD_PER_GIB_SECOND
    return Cost(gpu_usd + cpu_usd + memory_usd, gpu_usd, cpu_usd, memory_usd, gpu or None, seconds, PRICES_AS_OF, factor)
