"""Journal a character job: pictures without a client's job, the end of the whole, costs. Must not decide or send anything."""

from __future__ import annotations

from ..client.job_base import state_of
from ..errors import RylaGenError
from ..events import now
from ..history import History, Record
from .base import CharacterPlan, Shot, files_of, state_of_parts
from .requests import picture_field
from .results import failure
from .store import JobFolder


def written_again(history: History, plan: CharacterPlan, part: Shot) -> Record | None:
    """Journal a picture that an earlier process may have sent, should the journal not know it, so that its backend is asked."""
    picture = plan.base_image and {name: plan.base_image[name] for name in ("sha256", "bytes")}
    inputs = {"prompt": part.prompt, "seed": part.seed, **plan.fields, **picture_field(plan.workflow, picture)}
    history.record(
        part.job, backend=plan.backend, workflow=plan.workflow, inputs=inputs, seed=part.seed, tags=plan.tags, parent=plan.id
    )
    return history.get(part.job)


def ended_unsent(history: History, plan: CharacterPlan, part: Shot, error: RylaGenError) -> None:
    """Write down the end of a picture that has no job to do it."""
    written_again(history, plan, part)
    part.state, part.error = state_of(error), error
    history.update(part.job, state=part.state, finished_at=now(), error=error.to_data())


def record_end(history: History, plan: CharacterPlan) -> None:
    """Write down the end of the whole."""
    made, state = files_of(plan.parts), state_of_parts(plan.parts)
    outputs = [{"name": item.path.name, "media_type": "image/png", "bytes": item.path.stat().st_size} for item in made]
    error = None if state == "succeeded" else failure(plan).to_data()
    history.update(plan.id, state=state, finished_at=now(), outputs=outputs, error=error)


def end_is_known(history: History, plan: CharacterPlan, folder: JobFolder) -> bool:
    """Whether an earlier process journaled the end of the whole, and composed its sheet."""
    record = history.get(plan.id)
    whole = folder.sheet.exists() or len(plan.parts) == 1 or not files_of(plan.parts)
    return record is not None and record.state == state_of_parts(plan.parts) and whole


def count_paid(history: History, part: Shot) -> int:
    """Count the jobs of a picture that a backend took."""
    records = [history.get(job) for job in part.jobs]
    return sum(record is not None and record.handle is not None for record in records)


def cost(history: History, job: str) -> float:
    """Sum what all pictures of a job cost, failed ones included; US dollars."""
    return sum(item.cost_usd or 0.0 for item in history.list(parent=job, limit=None))
