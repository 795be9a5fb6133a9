"""Configure what each Modal class runs on: GPUs, memory, windows, limits. Overridden at deploy time; must not know a job.

``ryla-gen deploy`` and plain ``modal deploy -m ryla_gen.remote.app`` read the same places: ``config.toml``
(``[modal.families.flux]``, and for all families at once ``modal.region`` and ``modal.preload``) and its variables
(``RYLA_GEN_MODAL_FAMILIES_FLUX_GPU=H100,L40S``). What was decided travels into the containers in one variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import InvalidInputError
from ..names import CLASS_OF_FAMILY
from ..settings import FamilySettings, Settings

TARGET_INPUTS = 1
"""Requests a container shall hold: its GPU runs one. Modal's autoscaler counts by it, and by ``max_inputs`` where it is not set."""
SHORT_INPUTS, LONG_INPUTS = 5, 2
"""Requests a container holds at most, where a graph takes seconds and where it takes minutes. The GPU runs one; uploads, checks and
downloads of the others overlap with it. Behind a long one, a second request waits for long enough."""
WEIGHTS_INPUTS = 5
"""Requests the container of the weights holds. No target: two containers would download the same file twice."""
WEIGHTS_CPU, WEIGHTS_MEMORY = 4.0, 4096
"""Physical cores and MiB of that container."""
LONGEST_TIMEOUT = 86_400
"""Seconds a Modal function may run at most."""
STARTUP = 300
"""Seconds in which a container must be up, beside what it loads then: pulling an image of some 10 GB comes first. Without it Modal
waits as long as the function may run, which is a day for the class that syncs weights."""
SCALEDOWN_WINDOW = 300
"""Seconds an idle container stays: a cold start costs about a minute, so a pause for thought should not cause one."""
FAMILY_VARIABLE = "RYLA_FAMILY"
"""Tells a container what its class was deployed with."""
ONLY_VARIABLE = "RYLA_DEPLOY_ONLY"
"""Tells a deploy which families' classes the app shall have; all where it is not set. Containers do not see it."""
PRELOAD_VARIABLE = "RYLA_PRELOAD"
"""Set inside a container, it decides there, whatever was deployed."""


@dataclass(frozen=True, slots=True)
class FamilyConfig:
    """One Modal class."""

    family: str
    limit: float
    """Seconds one graph may run at most, whatever its request asks for."""
    load: float
    """Seconds ComfyUI and the family's largest weights may take to come up."""
    stall: float
    """Seconds without progress, while something should run, after which ComfyUI counts as wedged. Loading a model is silent."""
    memory: int
    """MiB asked for; more may be used."""
    preload: str
    """Workflow whose weights are loaded at the start, when that is wanted."""
    max_inputs: int = SHORT_INPUTS
    """Requests a container holds at once, at most."""
    cpu: float = 4.0
    """Physical cores asked for: one drives the GPU, the others encode, decode and upload."""
    gpu: tuple[str, ...] = ("L40S",)
    """GPUs in order of preference."""
    min_containers: int = 0
    max_containers: int = 10
    """A bound against a runaway bill, not a target."""
    buffer_containers: int = 0
    """Idle containers more than the requests ask for, while there are requests; within ``max_containers``."""
    scaledown_window: int = SCALEDOWN_WINDOW
    region: tuple[str, ...] = ()
    """Where to run; empty is anywhere, which is the cheapest."""
    preloads: bool = False
    """Whether a new container runs one step of ``preload`` before it takes requests."""
    snapshot: str = "cpu"
    """What a new container starts from: ``cpu`` is its memory as it was once ComfyUI answered, with no GPU in sight; ``gpu`` is
    that and the GPU's memory, which Modal calls alpha; ``off`` is nothing."""

    @property
    def timeout(self) -> int:
        """Modal's function timeout: every request of a full container may use up its limit, after everything was loaded."""
        return min(LONGEST_TIMEOUT, int(self.max_inputs * self.limit + self.load))


FAMILIES = {
    item.family: item
    for item in (
        # Limits: the workflows' own (120 s an image) with room for large sizes and batches. Memory: two fp8 Flux checkpoints of
        # 17 GB, Qwen's models for images and edits (20 GB each), or Wan 14B with its text encoder, wait in RAM while others are in
        # VRAM. No snapshot where nodes need a GPU to register (SeedVR2's loaders), or where nodes of others run that were never
        # tried without one.
        FamilyConfig("z_image", limit=900, load=300, stall=240, memory=32_768, preload="z_image"),
        FamilyConfig("qwen", limit=1800, load=420, stall=300, memory=49_152, preload="qwen_image", max_inputs=LONG_INPUTS),
        FamilyConfig("flux", limit=900, load=300, stall=240, memory=40_960, preload="flux_dev"),
        FamilyConfig("flux2", limit=900, load=300, stall=240, memory=40_960, preload="flux2_klein"),
        FamilyConfig("sdxl", limit=900, load=240, stall=240, memory=32_768, preload="sdxl"),
        FamilyConfig("faces", limit=900, load=300, stall=240, memory=49_152, preload="flux_instantid"),
        FamilyConfig("video", limit=3600, load=420, stall=900, memory=49_152, preload="wan2", max_inputs=LONG_INPUTS),
        FamilyConfig(
            "upscale", limit=3600, load=300, stall=900, memory=32_768, preload="seedvr2", snapshot="off", max_inputs=LONG_INPUTS
        ),
        FamilyConfig(
            "custom", limit=3600, load=420, stall=900, memory=49_152, preload="flux", snapshot="off", max_inputs=LONG_INPUTS
        ),
    )
}
"""Every family as it is deployed when nothing says otherwise. Stall times are bounds, not measured."""

assert set(FAMILIES) == set(CLASS_OF_FAMILY), "names.py and this table name the same families"


def deployed_family(family: str, settings: Settings | None = None) -> FamilyConfig:
    """Return a family as this deploy registers it.

    Args:
        family: name of the family.
        settings: config.toml and its variables; read when absent.

    Raises:
        InvalidInputError: a setting does not fit.
    """
    settings = Settings.load() if settings is None else settings
    return configured(FAMILIES[family], settings.modal_families.get(family, FamilySettings()), settings)


def configured(usual: FamilyConfig, chosen: FamilySettings, settings: Settings) -> FamilyConfig:
    """Return a class as this deploy registers it.

    Args:
        usual: as it is when nothing says otherwise.
        chosen: what the settings say of it alone.
        settings: what they say of all.

    Raises:
        InvalidInputError: a setting does not fit.
    """
    family = usual.family
    given = {name: value for name, value in asdict(chosen).items() if value is not None}
    if usual.snapshot != "off" and settings.modal_snapshot is not None:
        given = {"snapshot": settings.modal_snapshot} | given
    config = replace(usual, **given, region=settings.modal_region or (), preloads=settings.modal_preload)
    if config.min_containers > config.max_containers:
        text = f"{family}: min_containers is {config.min_containers} and max_containers {config.max_containers}."
        hint = f"Raise max_containers: ryla-gen config set modal.families.{family}.max_containers {config.min_containers}"
        raise InvalidInputError(text, hint)
    return config


def deployed_families(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the families whose classes this deploy registers."""
    only = (os.environ if env is None else env).get(ONLY_VARIABLE, "")
    return tuple(family for family in CLASS_OF_FAMILY if not only or family in only.split(","))


def inside(family: str, env: Mapping[str, str] | None = None) -> FamilyConfig:
    """Return a family as the container that asks was deployed with."""
    return told_inside(FAMILIES[family], env)


def told_inside(usual: FamilyConfig, env: Mapping[str, str] | None = None) -> FamilyConfig:
    """Return a class as the container that asks was deployed with.

    Args:
        usual: as it is when nothing says otherwise.
        env: the container's environment; None is this process's.
    """
    env = os.environ if env is None else env
    told: dict[str, Any] = json.loads(env.get(FAMILY_VARIABLE) or "{}")
    typed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    preload = env.get(PRELOAD_VARIABLE, "").strip()
    config = replace(usual, **typed)
    return replace(config, preloads=preload not in ("0", "false", "no")) if preload else config


def container_environment(config: FamilyConfig, usual: FamilyConfig | None = None) -> dict[str, str]:
    """Return the variables that tell a container what it was deployed with: only what differs from what is usual."""
    known, own = asdict(usual or FAMILIES[config.family]), asdict(config)
    return {FAMILY_VARIABLE: json.dumps({name: value for name, value in own.items() if value != known[name]}, sort_keys=True)}


def concurrency(family: str) -> dict[str, int]:
    """Return the arguments of ``modal.concurrent`` for a family."""
    return inputs_of(FAMILIES[family])


def inputs_of(config: FamilyConfig) -> dict[str, int]:
    """Return the arguments of ``modal.concurrent`` for a class."""
    return {"max_inputs": config.max_inputs, "target_inputs": TARGET_INPUTS}


def class_options(config: FamilyConfig) -> dict[str, Any]:
    """Return the arguments of ``App.cls`` for a family."""
    return {
        "gpu": list(config.gpu) if len(config.gpu) > 1 else config.gpu[0],
        "cpu": config.cpu,
        "memory": config.memory,
        "min_containers": config.min_containers,
        "max_containers": config.max_containers,
        "buffer_containers": config.buffer_containers,
        "scaledown_window": config.scaledown_window,
        "timeout": config.timeout,
        "startup_timeout": int(config.load) + STARTUP,
        "region": list(config.region) or None,
        "enable_memory_snapshot": config.snapshot != "off",
        "experimental_options": {"enable_gpu_snapshot": True} if config.snapshot == "gpu" else None,
    }
