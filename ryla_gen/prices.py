"""What a second of each machine costs, with the day it was read. A table; no arithmetic about jobs."""

from __future__ import annotations

from types import MappingProxyType

PRICES_AS_OF = "2026-09-01"
"""When the prices below were read from Modal's price list."""

GPU_USD_PER_SECOND = MappingProxyType(
    {
        "T4": 0.000164,
        "L4": 0.000222,
        "A10": 0.000306,
        "L40S": 0.000542,
        "A100-40GB": 0.000583,
        "A100-80GB": 0.000694,
        "H100": 0.001097,
        "H200": 0.001261,
        "B200": 0.001736,
    }
)
"""US dollars per second of one GPU."""

CPU_USD_PER_CORE_SECOND = 0.0000131
"""US dollars per second of one physical core."""

MEMORY_USD_PER_GIB_SECOND = 0.00000222
"""US dollars per second of one GiB of memory."""
