"""What can happen, as frozen dataclasses. Holds numbers, names and ids: never a prompt's text, a picture, a token, a path."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from .error_types import FAULTS, Fault

LOGGER = "ryla_gen.events"
"""Name of the logger that gets everything, at the level INFO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened."""

    type: ClassVar[str] = "happening"
    backend: str
    """Where: modal, comfyui, runpod or emulator."""
    at: float = field(default_factory=time.time)
    """When, in Unix seconds."""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"type": self.type, **{item.name: getattr(self, item.name) for item in fields(self)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfJob(Happening):
    """Something that happened to one job."""

    job: str
    """The job's id."""
    workflow: str
    """Name of its workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested(OfJob):
    """A generation was asked for. A field that the workflow does not have is None."""

    type: ClassVar[str] = "requested"
    prompt_length: int | None = None
    """Characters of the prompt, never the prompt."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    steps: int | None = None
    cfg: float | None = None
    has_seed: bool = False
    """Whether the caller gave a seed."""
    instantid_strength: float | None = None
    controlnet_strength: float | None = None
    face_provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(OfJob):
    """A generation ended well."""

    type: ClassVar[str] = "completed"
    seconds: float
    """From the request to the last byte of its result."""
    lora_ids: tuple[str, ...] = ()
    """LoRAs in the order in which they were applied."""
    lora_strength: float | None = None
    """Strength of the first one."""
    cost_usd: float = 0.0
    """US dollars."""
    gpu: str | None = None
    """Kind of GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(OfJob):
    """A generation failed. Says the error's code; its own message may hold words of the prompt, and is left behind."""

    type: ClassVar[str] = "failed"
    code: str
    """Stable code of the error."""

    @property
    def fault(self) -> Fault:
        """What the code stands for."""
        return FAULTS.get(self.code, FAULTS["internal"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled(OfJob):
    """Somebody canceled a generation: neither an end nor a failure."""

    type: ClassVar[str] = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyMeasured(OfJob):
    """A face was compared with its reference."""

    type: ClassVar[str] = "consistency_measured"
    score: float
    """Cosine of the two faces' embeddings, −1 to 1."""
    seconds: float
    """How long the generation took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraLoaded(OfJob):
    """A container copied a LoRA to its own disk."""

    type: ClassVar[str] = "lora_loaded"
    lora_id: str
    size: int
    """Bytes."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDeployed(Happening):
    """The app was put onto Modal."""

    type: ClassVar[str] = "app_deployed"
    app: str
    """Its name."""
    models: tuple[str, ...] | None
    """Weights of the table that its volume has; None when nobody could tell."""
    seconds: float


Sink = Callable[[Happening], None]
"""Takes what happened. Runs on a thread of its own, in the context (``contextvars``) of whoever told."""
