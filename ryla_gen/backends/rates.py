"""Return what a second of running costs on each backend, as it is configured. Must not connect to one."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from functools import cache

from ..contract import ANY_FAMILY, method_of
from ..costs.durations import COLD_START
from ..costs.idle import IdleCost, idle_between, idle_cost
from ..costs.prices import GPU_USD_PER_SECOND, PRICES_AS_OF, region_factors
from ..costs.work import NOTHING, Range, Rate
from ..errors import RylaGenError
from ..history import History
from ..names import CLASS_OF_FAMILY
from ..remote.config import FamilyConfig, deployed_family
from ..remote.costs import cost_of, gpu_count, gpu_name
from ..remote.graph_config import config_for
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import workflow_class
from . import create

PRICE_SETTINGS = {
    "comfyui": " (ryla-gen config set comfyui.hourly_usd 1.20)",
    "runpod": " (ryla-gen config set runpod.usd_per_second 0.0004)",
}
"""How to set the price of a backend that has no list of prices."""


def rate_of(workflow: Workflow, backend: str, settings: Settings) -> Rate:
    """Return what a second of a workflow costs on a backend.

    Raises:
        BackendNotConfiguredError: the backend is not set up.
        InvalidInputError: a setting of a Modal family does not fit.

    """
    if backend == "emulator":
        return Rate(NOTHING, 0.0, includes="The emulator costs nothing.")
    if backend == "modal":
        return _modal_rate(config_for(workflow, settings))
    if backend == "comfyui" and settings.comfyui_url:
        usd = settings.comfyui_hourly_usd / 3600
    else:
        usd = create(backend, settings).usd_per_second(workflow)
    if not usd:
        return Rate(NOTHING, 0.0, includes=f"No price is set for {backend}{PRICE_SETTINGS.get(backend, '')}.")
    load = settings.runpod_load_seconds if backend == "runpod" else 0.0
    return Rate(Range(usd, usd, usd), usd, load=load, includes=f"At the configured ${usd * 3600:.2f} an hour.")


def idle_costs(history: History, settings: Settings, since: str | datetime | None = None) -> list[IdleCost]:
    """Estimate what Modal's containers cost beside the jobs of this machine, from the gaps between these; the dearest class first.

    Args:
        history: the journal.
        settings: what the classes run on.
        since: only jobs submitted then or later.

    Raises:
        InvalidInputError: ``since`` is not a valid date or time, or a setting of a Modal family does not fit.

    """
    ran: defaultdict[tuple[str, FamilyConfig], list[tuple[float, float]]] = defaultdict(list)
    served = cache(lambda name: _class_of(name, settings))
    for workflow, began, ended in history.spans("modal", since):
        ran[served(workflow)].append((began, ended))
    found = []
    for (name, config), jobs in ran.items():
        rate = _modal_rate(config)
        idle = idle_between(jobs, rate.idle_window, time.time())
        found.append(idle_cost(name, idle, rate.cold_start.likely, rate.usd.likely))
    return sorted(found, key=lambda item: -item.usd)


def kept_usd_per_hour(config: FamilyConfig, containers: int) -> tuple[float, float]:
    """Return the US dollars an hour of containers that Modal keeps running: likely, and at most, on the dearest GPU of the list."""
    rate = _modal_rate(config)
    return rate.usd.likely * containers * 3600, rate.most * containers * 3600


def _class_of(name: str, settings: Settings) -> tuple[str, FamilyConfig]:
    """Return what a workflow's class is called and runs on; one that is not known here any more counts as a plug-in's."""
    try:
        workflow = workflow_class(name)
    except RylaGenError:
        return CLASS_OF_FAMILY[ANY_FAMILY], deployed_family(ANY_FAMILY, settings)
    called = workflow.lock.app if workflow.lock is not None else CLASS_OF_FAMILY[method_of(workflow)[0]]
    return called, config_for(workflow, settings)


def _modal_rate(config: FamilyConfig) -> Rate:
    second = [_usd_per_second(gpu, config) for gpu in config.gpu]
    low, likely, high = region_factors(config.region)
    where = f"in {', '.join(config.region)} at ×{low:g} to ×{high:g}" if config.region else "in any region, without a surcharge"
    includes = f"At Modal's prices of {PRICES_AS_OF}: GPU, {config.cpu:g} cores and {config.memory / 1024:g} GiB, {where}."
    usd = second[0] * likely
    start = f"the start of a container, when none is free: about {COLD_START[1]:g} s, ${usd * COLD_START[1]:.3f}"
    idle = f"an idle container stays up to {config.scaledown_window} s after its last job: up to "
    notes = [start, f"{idle}${usd * config.scaledown_window:.3f}, shared by all jobs before it"]
    if not config.region:
        notes.append("a region, if the app was deployed with one elsewhere: ×1.15 to ×2.5")
    if len(config.gpu) > 1:
        notes.append(f"another GPU of the list when {config.gpu[0]} is scarce: {', '.join(config.gpu[1:])}")
    return Rate(
        Range(second[0] * low, usd, second[0] * high),
        max(second) * high,
        gpu_name(None, config.gpu),
        Range(*COLD_START, max(config.load, COLD_START[1])),
        idle_window=config.scaledown_window,
        prices_as_of=PRICES_AS_OF,
        includes=includes,
        not_included=tuple(notes),
    )


def _usd_per_second(gpu: str, config: FamilyConfig) -> float:
    name = gpu_name(None, [gpu])
    if name not in GPU_USD_PER_SECOND:  # a GPU newer than the table: assume the highest price
        name = max(GPU_USD_PER_SECOND, key=lambda known: GPU_USD_PER_SECOND[known])
    return cost_of(1.0, name, count=gpu_count([gpu]), cpu=config.cpu, memory=config.memory).total_usd
