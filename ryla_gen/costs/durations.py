"""How long workflows take where this machine has not measured it: published numbers with their sources. A table; runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

REFERENCE_GPU = "L40S"
"""GPU of the seconds below: what every family is deployed on when nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of one warm run on :data:`REFERENCE_GPU`, with the workflow's default size and steps."""

    low: float
    likely: float
    high: float
    source: str
    """Where the numbers come from; the end of a sentence."""
    known: bool = True
    """Whether anybody measured this very workflow on this class of GPU; otherwise it is a guess from its neighbours."""


_SEED = "RYLA's first system measured 29.7–37 s on L40S for 20 steps at 1024²; an L20 takes 26.4 s for 28 steps (ParaAttention)"
_SDXL = "SDXL takes 8–10 s for 50 steps on an A100 (Baseten); what the face model and its ControlNet add was not measured"
_WAN = "240 s for 81 frames and 50 steps at 480p on an RTX 4090 (Wan2.1's authors), in proportion"

DURATIONS = MappingProxyType(
    {
        ("flux", ""): Duration(2.1, 2.5, 2.9, "RYLA's first system measured 2.1–2.9 s on L40S for 4 steps at 1024²"),
        ("flux_dev", "quality"): Duration(18.0, 33.0, 37.0, _SEED),
        ("flux_dev", "balanced"): Duration(10.0, 18.0, 37.0, f"{_SEED}; EasyCache is reported to be 1.85 times as fast"),
        # Written for the 20 steps of the class's default, as every entry: the 8 steps of turbo then take two fifths of it.
        ("flux_dev", "turbo"): Duration(18.0, 33.0, 40.0, f"{_SEED}; turbo takes 8 of the 20 steps"),
        ("flux_lora", ""): Duration(18.0, 34.0, 45.0, f"{_SEED}; a LoRA adds its loading"),
        ("flux_pulid", ""): Duration(18.0, 40.0, 90.0, f"{_SEED}; what PuLID adds was not measured", known=False),
        ("instantid", ""): Duration(5.0, 12.0, 40.0, _SDXL, known=False),
        ("flux_instantid", ""): Duration(20.0, 45.0, 120.0, f"the sum of instantid and flux_dev: {_SDXL}", known=False),
        ("wan2", "1.3B"): Duration(30.0, 60.0, 150.0, _WAN),
        ("wan2", "14B"): Duration(120.0, 400.0, 1200.0, f"the 1.3B model's: {_WAN}, times the parameters", known=False),
        ("seedvr2", "image"): Duration(3.0, 15.0, 60.0, "no time has been published for this GPU", known=False),
        ("seedvr2", "video"): Duration(
            30.0, 300.0, 1800.0, "no time has been published, and the video is not inspected", known=False
        ),
    }
)
"""(workflow, variant) → seconds. Not one of them was measured with this package on a GPU: the first runs replace them."""

UNKNOWN = "nothing is known about this workflow, so the range is from a hundredth of its time limit to all of it"
"""What is said where the table has no entry either."""

TENSOR_TFLOPS = MappingProxyType(
    {
        "T4": 65.0,
        "L4": 121.0,
        "A10": 125.0,
        "A100-40GB": 312.0,
        "A100-80GB": 312.0,
        "L40S": 362.0,
        "H100": 989.0,
        "H200": 989.0,
        "B200": 2250.0,
    }
)
"""Dense 16-bit tensor TFLOPS of NVIDIA's data sheets: how much faster one GPU is than another, roughly."""

COLD_START = (10.0, 60.0)
"""Seconds, at best and usually, until a new container has run its first graph: Modal's articles give 10–15 s for ComfyUI alone,
its ComfyUI example "about 1m" for the first picture. At worst it is what the family's configuration allows."""
