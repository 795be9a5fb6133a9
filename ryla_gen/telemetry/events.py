"""Define telemetry's events, what each error code counts as, and how requests and results become events.

This module alone decides what may leave: numbers, names and ids; never a prompt's text, a picture, a token or a path. It sends
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

from ..errors import RylaGenError
from ..events import FINAL_STATES, state_of_error
from ..support.numbers import is_number, number_or
from ..workflows.abilities import lora_places
from ..workflows.choices import FaceProvider

if TYPE_CHECKING:
    from ..history import Record
    from ..results import Generation
    from ..workflows.base import Workflow

LOGGER = "ryla_gen.events"
"""Name of the logger that gets everything, at the level INFO."""
NUMBERS = ("width", "height", "steps", "cfg", "instantid_strength", "controlnet_strength")
"""Fields that a request's event holds when the workflow has them and they are numbers."""
PROVIDERS = frozenset(get_args(FaceProvider))
"""The words that ``face_provider`` may be."""

ErrorType = Literal["timeout", "model_error", "workflow_error"]
"""The seed's three kinds of failure."""


class Fault(NamedTuple):
    """A kind of failure."""

    error_type: ErrorType
    message: str
    """Fixed words: what an error says itself may hold the prompt, a path or an address."""


FAULTS = MappingProxyType(
    {
        "generation_timeout": Fault("timeout", "ran longer than its limit"),
        "backend_unreachable": Fault("timeout", "the backend did not answer"),
        "model_not_found": Fault("model_error", "a weights file is missing on the server"),
        "lora_not_found": Fault("model_error", "no LoRA is stored under that id"),
        "lora_incompatible": Fault("model_error", "a LoRA for another base model"),
        "out_of_memory": Fault("model_error", "more video memory was needed than the GPU has"),
        "server_unhealthy": Fault("model_error", "ComfyUI died or hangs"),
        "preempted": Fault("model_error", "the container was taken away"),
        "hash_mismatch": Fault("model_error", "a file is not the one that was locked"),
        "lock_open": Fault("workflow_error", "the lock has open questions"),
        "pack_unknown": Fault("workflow_error", "no node pack is known for a class"),
        "not_emulated": Fault("workflow_error", "the emulator cannot run these nodes"),
        "invalid_input": Fault("workflow_error", "a field of the request does not fit"),
        "workflow_invalid": Fault("workflow_error", "the server refused the graph"),
        "node_failed": Fault("workflow_error", "a node of the graph raised"),
        "face_not_found": Fault("workflow_error", "no face in the reference image"),
        "refused": Fault("workflow_error", "a hook refused an output"),
        "hook_failed": Fault("workflow_error", "a hook on outputs failed"),
        "contract_mismatch": Fault("workflow_error", "the two sides use different versions of the contract"),
        "already_claimed": Fault("workflow_error", "another call already runs this job"),
        "job_not_found": Fault("workflow_error", "no such job"),
        "job_expired": Fault("workflow_error", "the process or server that held it is gone"),
        "result_expired": Fault("workflow_error", "its result was thrown away"),
        "backend_not_configured": Fault("workflow_error", "where to run is not configured"),
        "not_authorized": Fault("workflow_error", "the credentials were refused"),
        "not_deployed": Fault("workflow_error", "the app is not deployed"),
        "budget_exceeded": Fault("workflow_error", "it would cost more than was allowed"),
        "too_many_requests": Fault("workflow_error", "the user has too many jobs for now"),
        "output_exists": Fault("workflow_error", "a file of that name is there already"),
        "storage_failed": Fault("workflow_error", "a file could not be written or read"),
        "internal": Fault("workflow_error", "a fault of ryla_gen"),
        "job_canceled": Fault("workflow_error", "it was canceled"),
    }
)
"""Every code of ``ryla_gen.errors``. ``job_canceled`` is here for completeness: a canceled job has an event of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryEvent:
    """Something that happened; frozen, and made for ``match``."""

    type: ClassVar[str] = "event"
    backend: str
    """Where: modal, comfyui, runpod or emulator."""
    at: float = field(default_factory=time.time)
    """When, in Unix seconds."""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"type": self.type, **{item.name: getattr(self, item.name) for item in fields(self)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent(TelemetryEvent):
    """Something that happened to one job."""

    job: str
    """The job's id."""
    workflow: str
    """Name of its workflow."""
    user: str | None = None
    """Hash of the user of the app for whom it ran; only where the setting ``users.telemetry`` is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested(JobEvent):
    """A generation was requested. A field that the workflow does not have is None."""

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
    seed: int | None = None
    """The seed that is sent, given or drawn."""
    output_kind: str | None = None
    """What the workflow makes: image, video, audio, text or file."""
    instantid_strength: float | None = None
    controlnet_strength: float | None = None
    face_provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(JobEvent):
    """A generation ended well."""

    type: ClassVar[str] = "completed"
    seconds: float
    """From the request to the last byte of its result."""
    queued: float | None = None
    """Seconds of it behind other work; None where that is not known."""
    lora_ids: tuple[str, ...] = ()
    """LoRAs in the order in which they were applied."""
    lora_strength: float | None = None
    """Strength of the first one."""
    cost_usd: float = 0.0
    """US dollars."""
    gpu: str | None = None
    """Kind of GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(JobEvent):
    """A generation failed. Holds the error's code only: its own message may repeat words of the prompt."""

    type: ClassVar[str] = "failed"
    code: str
    """Stable code of the error."""
    cost_usd: float = 0.0
    """US dollars that it cost all the same; 0 also where that is not known."""

    @property
    def fault(self) -> Fault:
        """What the code stands for."""
        return FAULTS.get(self.code, FAULTS["internal"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled(JobEvent):
    """A generation was canceled: neither a result nor a failure."""

    type: ClassVar[str] = "canceled"
    cost_usd: float = 0.0
    """US dollars that it cost until then; 0 also where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyMeasured(JobEvent):
    """A face was compared with its reference."""

    type: ClassVar[str] = "consistency_measured"
    score: float
    """Cosine of the two faces' embeddings, −1 to 1."""
    seconds: float
    """How long the generation took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraLoaded(JobEvent):
    """A container copied a LoRA to its own disk."""

    type: ClassVar[str] = "lora_loaded"
    lora_id: str
    size: int
    """Bytes."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDeployed(TelemetryEvent):
    """The app was deployed to Modal."""

    type: ClassVar[str] = "app_deployed"
    app: str
    """Its name."""
    models: tuple[str, ...] | None
    """Weights of the table that its volume has; None when the volume could not be listed."""
    seconds: float


Sink = Callable[[TelemetryEvent], None]
"""A function that takes events. Runs on a thread of its own, in the context (``contextvars``) of the code that emitted them."""


def describe_request(workflow: Workflow, *, job: str, backend: str, has_seed: bool, user: str | None = None) -> Requested:
    """Return the event of a request.

    Args:
        workflow: the request; of its texts only lengths are read.
        job: its id.
        backend: where it is sent.
        has_seed: whether the caller gave a seed.
        user: hash of the user of the app, where it is told.
    """
    held: dict[str, Any] = {name: getattr(workflow, name) for name in NUMBERS if name in type(workflow).model_fields}
    numbers: dict[str, Any] = {name: value for name, value in held.items() if is_number(value)}
    prompt, provider = getattr(workflow, "prompt", None), getattr(workflow, "face_provider", None)
    seed = getattr(workflow, "seed", None)
    return Requested(
        backend=backend,
        job=job,
        workflow=workflow.name,
        user=user,
        has_seed=has_seed,
        seed=seed if isinstance(seed, int) else None,
        output_kind=workflow.output_kind,
        prompt_length=len(prompt) if isinstance(prompt, str) else None,
        face_provider=provider if provider in PROVIDERS else None,
        **numbers,
    )


def describe_end(
    known: Record | None, generation: Generation | None, error: BaseException | None, *, cost_usd: float = 0.0
) -> Iterator[TelemetryEvent]:
    """Yield the events of a job's end; none when this process or another has recorded that end before.

    Args:
        known: the job as the journal knew it before its end.
        generation: its result.
        error: why there is none.
        cost_usd: US dollars that a job without a result cost.
    """
    if known is not None and known.state in FINAL_STATES:
        return
    if generation is not None:
        yield from describe_result(generation, backend=known.backend if known else generation.backend)
    elif known is not None and error is not None:
        yield describe_failure(error, job=known.id, backend=known.backend, workflow=known.workflow, cost_usd=cost_usd)


def describe_result(generation: Generation, *, backend: str) -> Iterator[TelemetryEvent]:
    """Yield the events of a result: the LoRAs loaded for it, the result, and the similarity of its face where it was measured."""
    job: dict[str, Any] = {"backend": backend, "job": generation.job, "workflow": generation.workflow.name}
    seconds = generation.timings.total
    for item in generation.server.get("loras") or ():
        if isinstance(item, Mapping):
            size, took = number_or(item.get("bytes"), 0.0), number_or(item.get("seconds"), 0.0)
            yield LoraLoaded(**job, lora_id=str(item.get("id")), size=int(size), seconds=took)
    loras = [(lora_id, generation.graph[node]["inputs"]) for node, _, lora_id in lora_places(generation.graph)]
    yield Completed(
        **job,
        seconds=seconds,
        queued=generation.timings.queued,
        lora_ids=tuple(lora_id for lora_id, _ in loras),
        lora_strength=number_or(loras[0][1].get("strength_model"), 0.0) if loras else None,
        cost_usd=generation.cost.total_usd,
        gpu=generation.cost.gpu,
    )
    if generation.face_similarity is not None:
        yield ConsistencyMeasured(**job, score=generation.face_similarity, seconds=seconds)


def describe_failure(error: BaseException, *, job: str, backend: str, workflow: str, cost_usd: float = 0.0) -> TelemetryEvent:
    """Return the event of a failure, by the error's code.

    ``CancelledError``, ``KeyboardInterrupt`` and ``SystemExit`` are no faults: the job was canceled. An exception of another
    library counts as ``internal``.
    """
    if state_of_error(error) == "canceled":
        return Canceled(backend=backend, job=job, workflow=workflow, cost_usd=cost_usd)
    code = error.code if isinstance(error, RylaGenError) else "internal"
    return Failed(backend=backend, job=job, workflow=workflow, code=code, cost_usd=cost_usd)
