"""What the journal is told of a picture by no job, and what it knows of a picture's jobs. Decides and sends nothing."""

from __future__ import annotations

from ..client.job_base import state_of
from ..errors import RylaGenError
from ..events import now
from ..history import History, Record
from .base import Part, Plan


def written_again(history: History, plan: Plan, part: Part) -> Record | None:
    """Journal a picture that an earlier process may have sent, should the journal not know it, so that its backend is asked."""
    picture = plan.base_image and {"reference_image": {name: plan.base_image[name] for name in ("sha256", "bytes")}}
    inputs = {"prompt": part.prompt, "seed": part.seed, **plan.fields, **(picture or {})}
    history.record(
        part.job, backend=plan.backend, workflow=plan.workflow, inputs=inputs, seed=part.seed, tags=plan.tags, parent=plan.id
    )
    return history.get(part.job)


def ended_unsent(history: History, plan: Plan, part: Part, error: RylaGenError) -> None:
    """Write down the end of a picture that has no job to do it."""
    written_again(history, plan, part)
    part.state, part.error = state_of(error), error
    history.update(part.job, state=part.state, finished_at=now(), error=error.to_data())


def paid(history: History, part: Part) -> int:
    """How many jobs of a picture a backend took."""
    records = [history.get(job) for job in part.jobs]
    return sum(record is not None and record.handle is not None for record in records)


def cost(history: History, job: str) -> float:
    """What all pictures of a job cost, failed ones included; US dollars."""
    return sum(item.cost_usd or 0.0 for item in history.list(parent=job, limit=None))
