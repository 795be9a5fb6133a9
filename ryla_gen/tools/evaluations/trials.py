"""Run a workflow once as an evaluation sees it, or many times, a few at a time. Judges nothing and prints nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...client import AsyncClient
from ...errors import RylaGenError
from ...results import Generation
from ...support.cancels import end_all
from ...workflows.base import Workflow
from .thumbnails import thumbnail

HOPELESS = frozenset(
    {"invalid_input", "backend_not_configured", "not_authorized", "not_deployed", "contract_mismatch", "budget_exceeded"}
)
"""Errors that say nothing of the workflow and that every further run would meet too: the evaluation ends with them."""
UNREACHED = "backend_unreachable"
"""As hopeless, when nothing was reached before; later it is a failure like others."""

Compare = Callable[[bytes], float]
"""Says how like the reference a picture's face is, −1 to 1."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run."""

    index: int
    """Counts from 0, in the order of sending."""
    ok: bool
    """Whether it succeeded."""
    seconds: float
    """As the caller saw it, from the request to the result."""
    seed: int | None = None
    prompt: str = ""
    job: str | None = None
    backend: str | None = None
    """Where it ran; None when it failed before that was known."""
    running: float | None = None
    """Seconds of the graph on the GPU."""
    cold_start: float = 0.0
    """Seconds the server needed to come up for it."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where these went, as far as known: part → seconds."""
    restored: bool = False
    """Whether its container was restored from a snapshot."""
    cost_usd: float = 0.0
    gpu: str | None = None
    files: int = 0
    """Pictures or videos made."""
    similarity: float | None = None
    """Of its face with the reference, −1 to 1; None when it was not measured."""
    code: str | None = None
    """Code of the error."""
    message: str | None = None
    """What the error says."""
    picture: bytes | None = None
    """A small JPEG of the first file, for the report."""

    @property
    def cold(self) -> bool:
        """Whether something had to be started or loaded for it: the first run, and those whose server had to come up."""
        return self.index == 0 or self.cold_start > 0

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, without its picture."""
        data = asdict(self)
        del data["picture"]
        return {**data, "cold": self.cold}


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """The options of the runs."""

    in_flight: int = 1
    """Maximum number of jobs in progress at once."""
    timeout: float | None = None
    """Seconds each graph may run, instead of its workflow's own limit."""
    tags: Sequence[str] = ()
    pictures: bool = False
    """Whether trials keep a small picture."""
    compare: Compare | None = None
    """Compares a result's picture with the reference, where the backend did not."""


async def trials(client: AsyncClient, workflows: Iterable[Workflow], how: TrialOptions) -> AsyncIterator[Trial]:
    """Run workflows and yield each one's trial as it ends. Leaving early cancels what runs.

    Raises:
        RylaGenError: one that every further run would meet too.
    """
    source, pending, reached = enumerate(workflows), set[asyncio.Task[Trial]](), asyncio.Event()
    try:
        while True:
            while len(pending) < how.in_flight and (item := next(source, None)) is not None:
                pending.add(asyncio.create_task(_trial(client, *item, how, reached)))
            if not pending:
                return
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for trial in sorted((task.result() for task in done), key=lambda found: found.index):
                if trial.code != UNREACHED:
                    reached.set()
                yield trial
    finally:
        await end_all(pending)


async def _trial(client: AsyncClient, index: int, workflow: Workflow, how: TrialOptions, reached: asyncio.Event) -> Trial:
    began = time.perf_counter()
    told = Trial(index, False, 0.0, getattr(workflow, "seed", None), str(getattr(workflow, "prompt", "")))
    try:
        generation = await client.run(workflow, timeout=how.timeout, tags=how.tags, measure_consistency=how.compare is not None)
    except RylaGenError as error:
        if error.code in HOPELESS or (error.code == UNREACHED and not reached.is_set()):
            raise
        return replace(told, seconds=time.perf_counter() - began, code=error.code, message=error.message)
    seconds = time.perf_counter() - began
    return await asyncio.to_thread(_finished, replace(told, ok=True, seconds=seconds), generation, how)


def _finished(told: Trial, generation: Generation, how: TrialOptions) -> Trial:
    """Complete a trial with what takes a moment, after the clock was stopped and outside the event loop."""
    first = generation.output
    similarity = generation.face_similarity
    try:
        if how.compare is not None and similarity is None:
            similarity = how.compare(first.data)
    except RylaGenError as error:
        if error.code != "face_not_found":
            raise
        told = replace(told, code=error.code, message=error.message)  # the picture is made but shows no face: no similarity
    return replace(
        told,
        seed=generation.seed,
        job=generation.job,
        backend=generation.backend,
        running=generation.timings.running,
        cold_start=generation.timings.cold_start,
        parts=generation.timings.cold.known() if generation.timings.cold is not None else {},
        restored=generation.timings.restored,
        cost_usd=generation.cost.total_usd,
        gpu=generation.cost.gpu,
        files=len(generation.outputs),
        similarity=similarity,
        picture=thumbnail(first) if how.pictures else None,
    )
