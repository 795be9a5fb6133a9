"""Propose a GPU for a graph by the size of its models."""

from __future__ import annotations

from collections.abc import Sequence

from ...costs.prices import GPU_USD_PER_SECOND, PRICES_AS_OF
from ...locks.graph_lock import LockedEstimate, LockedGpu, LockedModel
from ...support.numbers import format_bytes

GPU_GIB = {"L40S": 48, "A100-80GB": 80, "H200": 141}
"""GPUs that are proposed, the cheapest first, and the GiB of memory that Modal's page of GPUs gives for each."""
ASKED = "--gpu"
"""Source of a GPU that the caller named."""
COUNTS = tuple("12345678")
"""How many of one GPU a container may have at Modal."""
USUAL = "L40S"
"""What the built-in families run on."""
ROOM = 1.25
"""How much more than its largest file a graph needs while it samples: latents, attention, the parts of the others that are in use.
ComfyUI moves what does not fit into main memory, so that a graph above it is slower and does not fail."""


def propose_gpu(models: Sequence[LockedModel], chosen: str | None = None, unsettled: int = 0) -> tuple[LockedGpu, LockedEstimate]:
    """Propose a GPU, and say why.

    Args:
        models: what the graph loads; sizes may be unknown.
        chosen: the GPU that was asked for, which is taken.
        unsettled: how many files it loads beside them, of which nobody knows yet where they are.

    """
    gpu = _chosen(chosen) if chosen else _by_size([item for item in models if item.needed], unsettled)
    usd = GPU_USD_PER_SECOND[gpu.name.partition(":")[0]] * int(gpu.name.partition(":")[2] or 1)
    return gpu, LockedEstimate(round(usd, 6), PRICES_AS_OF, "Modal's price list")


def _chosen(name: str) -> LockedGpu:
    from ...errors import InvalidInputError

    kind, _, count = name.partition(":")
    if kind.upper() not in GPU_USD_PER_SECOND or (":" in name and count not in COUNTS):
        hint = f"GPUs: {', '.join(GPU_USD_PER_SECOND)}; several of one as L40S:2, at most {COUNTS[-1]}"
        raise InvalidInputError(f"Modal has no GPU {name!r}.", hint)
    return LockedGpu(kind.upper() + (f":{count}" if count else ""), "It was asked for.", ASKED)


def _by_size(models: Sequence[LockedModel], unsettled: int) -> LockedGpu:
    sizes = [item.bytes for item in models if item.bytes is not None]
    if not models and not unsettled:
        return LockedGpu(USUAL, "It loads no model; this is what the built-in families run on.", "models")
    if not sizes:
        return LockedGpu(USUAL, "The sizes of its models are not known; this is what the built-in families run on.", "models")
    largest = max(sizes)
    fits = next((name for name, gib in GPU_GIB.items() if largest * ROOM <= gib * 2**30), list(GPU_GIB)[-1])
    unknown = len(models) - len(sizes) + unsettled
    more = f" The sizes of {unknown} others are not known." if unknown else ""
    return LockedGpu(fits, f"Its largest file has {format_bytes(largest)}; {fits} has {GPU_GIB[fits]} GiB.{more}", "models")
