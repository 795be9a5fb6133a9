"""Reads requests, results and errors into what is told of them: the one place that decides what leaves. Tells nobody itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from ..errors import RylaGenError
from ..events import FINAL_STATES
from ..workflows.abilities import lora_places
from ..workflows.choices import FaceProvider
from .base import Canceled, Completed, ConsistencyMeasured, Failed, Happening, LoraLoaded, Requested

if TYPE_CHECKING:
    from ..history import Record
    from ..results import Generation
    from ..workflows.base import Workflow

NUMBERS = ("width", "height", "steps", "cfg", "instantid_strength", "controlnet_strength")
"""Fields that are told when the workflow has them and they are numbers."""
PROVIDERS = frozenset(get_args(FaceProvider))
"""The words that ``face_provider`` may be."""


def requested(workflow: Workflow, *, job: str, backend: str, has_seed: bool) -> Requested:
    """Describe a request.

    Args:
        workflow: the request; of its texts only lengths are read.
        job: its id.
        backend: where it is sent.
        has_seed: whether the caller gave a seed.
    """
    held: dict[str, Any] = {name: getattr(workflow, name) for name in NUMBERS if name in type(workflow).model_fields}
    told: dict[str, Any] = {
        name: value for name, value in held.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    prompt, provider = getattr(workflow, "prompt", None), getattr(workflow, "face_provider", None)
    return Requested(
        backend=backend,
        job=job,
        workflow=workflow.name,
        has_seed=has_seed,
        prompt_length=len(prompt) if isinstance(prompt, str) else None,
        face_provider=provider if provider in PROVIDERS else None,
        **told,
    )


def settled(known: Record | None, generation: Generation | None, error: BaseException | None) -> Iterator[Happening]:
    """Describe how a job ended; nothing when its end was told before, by this process or another.

    Args:
        known: the job as the journal knew it before its end.
        generation: its result.
        error: why there is none.
    """
    if known is not None and known.state in FINAL_STATES:
        return
    if generation is not None:
        yield from succeeded(generation, backend=known.backend if known else generation.backend)
    elif known is not None and error is not None:
        yield failed(error, job=known.id, backend=known.backend, workflow=known.workflow)


def succeeded(generation: Generation, *, backend: str) -> Iterator[Happening]:
    """Describe a result: that it is there, the LoRAs loaded for it, and how like its face is, when that was measured."""
    job: dict[str, Any] = {"backend": backend, "job": generation.job, "workflow": generation.workflow.name}
    seconds = generation.timings.total
    for item in generation.server.get("loras") or ():
        if isinstance(item, Mapping):
            size, took = _number(item.get("bytes")), _number(item.get("seconds"))
            yield LoraLoaded(**job, lora_id=str(item.get("id")), size=int(size), seconds=took)
    loras = [(lora_id, generation.graph[node]["inputs"]) for node, _, lora_id in lora_places(generation.graph)]
    yield Completed(
        **job,
        seconds=seconds,
        lora_ids=tuple(lora_id for lora_id, _ in loras),
        lora_strength=_number(loras[0][1].get("strength_model")) if loras else None,
        cost_usd=generation.cost.total_usd,
        gpu=generation.cost.gpu,
    )
    if generation.face_similarity is not None:
        yield ConsistencyMeasured(**job, score=generation.face_similarity, seconds=seconds)


def failed(error: BaseException, *, job: str, backend: str, workflow: str) -> Happening:
    """Describe a failure by its code; an error that is not ours, such as the end of the caller's task, is a canceled job."""
    if not isinstance(error, RylaGenError):
        fault = isinstance(error, Exception)  # else CancelledError, KeyboardInterrupt, SystemExit: somebody wanted it so
        return Failed(backend=backend, job=job, workflow=workflow, code="internal") if fault else _canceled(job, backend, workflow)
    if error.code == "job_canceled":
        return _canceled(job, backend, workflow)
    return Failed(backend=backend, job=job, workflow=workflow, code=error.code)


def _canceled(job: str, backend: str, workflow: str) -> Canceled:
    return Canceled(backend=backend, job=job, workflow=workflow)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
