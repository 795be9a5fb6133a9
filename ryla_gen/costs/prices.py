"""List what a second of each machine costs, with the day it was read. Must not know a job."""

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

NARROW_REGIONS = frozenset({"ca", "sa", "me", "mx", "af"})
"""Regions that Modal prices higher than the others, by the beginning of their name."""
REGION_LEAST, REGION_USUAL, REGION_NARROW, REGION_MOST = 1.15, 1.25, 2.5, 1.75
"""Factors on every price when a region is chosen. Modal's guide to region selection says 1.25 for the US, EU, UK and Asia, and
2.5 for the rest; its price list of :data:`PRICES_AS_OF` says 1.15 to 1.75. Both count: see :func:`region_factors`."""


def region_factors(regions: tuple[str, ...]) -> tuple[float, float, float]:
    """Return the lowest, the likely and the highest factor on Modal's prices for the regions a family runs in.

    Args:
        regions: as deployed, such as ``("eu", "us-east")``; none is anywhere, without a surcharge. Of several, the
            cheapest one counts (Modal's guide).

    """
    if not regions:
        return 1.0, 1.0, 1.0
    narrow = all(name.lower().partition("-")[0] in NARROW_REGIONS for name in regions)
    likely = REGION_NARROW if narrow else REGION_USUAL
    return REGION_LEAST, likely, max(likely, REGION_MOST)
