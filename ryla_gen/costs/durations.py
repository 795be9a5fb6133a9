"""List how fast GPUs are beside each other, and how long a container takes to start. Each workflow has its own duration."""

from __future__ import annotations

from types import MappingProxyType

REFERENCE_GPU = "L40S"
"""GPU of every ``Duration``: what every family is deployed on when nothing says otherwise."""

UNKNOWN = "nothing is known about this workflow, so the range is from a hundredth of its time limit to all of it"
"""The basis of an estimate when the workflow has no duration either."""

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
