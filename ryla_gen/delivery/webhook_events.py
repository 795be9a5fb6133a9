"""Describe how a job ended, as the event that a webhook tells. Holds no picture, and no prompt unless asked for; sends nothing."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import RylaGenError
from ..events import CONTRACT, State, now, state_of_error
from ..support.numbers import is_number

if TYPE_CHECKING:
    from ..results import Generation, Output

TEST_EVENT = "webhook.test"
"""Type of an event that is about no job: it only tries out a receiver."""

PlainData = dict[str, Any]


def result_event(generation: Generation, *, include_prompt: bool = False, at: str | None = None) -> PlainData:
    """Describe a job that succeeded.

    Args:
        generation: its result.
        include_prompt: whether the prompt is told.
        at: when it ended, ISO 8601 UTC; None is now.

    """
    return _event(
        "succeeded",
        at,
        job=generation.job,
        workflow=generation.workflow.name,
        backend=generation.backend,
        seed=generation.seed,
        outputs=[_output(item) for item in generation.outputs],
        cost_usd=generation.cost.total_usd,
        seconds=generation.timings.total,
        error=None,
        prompt=getattr(generation.workflow, "prompt", None) if include_prompt else None,
    )


def failure_event(
    error: BaseException,
    *,
    job: str,
    workflow: str,
    backend: str,
    seed: int | None = None,
    cost_usd: float | None = None,
    seconds: float | None = None,
    prompt: str | None = None,
    include_prompt: bool = False,
    at: str | None = None,
) -> PlainData:
    """Describe a job that ended without a result: failed, canceled or expired.

    Args:
        error: why. An exception of another library counts as ``internal``; an interrupt as a cancellation.
        job: its id.
        workflow: name of its workflow.
        backend: where it was sent.
        seed: its seed, when it had one.
        cost_usd: what it cost, US dollars; None is not known.
        seconds: how long it took; None is not known.
        prompt: its prompt.
        include_prompt: whether the prompt is told, and the error's words, which may repeat it.
        at: when it ended, ISO 8601 UTC; None is now.

    """
    return _event(
        state_of_error(error),
        at,
        job=job,
        workflow=workflow,
        backend=backend,
        seed=seed,
        outputs=[],
        cost_usd=cost_usd,
        seconds=seconds,
        error=_error(error, include_words=include_prompt),
        prompt=prompt if include_prompt else None,
    )


def make_test_event() -> PlainData:
    """Make an event in the shape of every other, about a job that never was."""
    facts: PlainData = {"job": str(uuid.uuid4()), "workflow": "test", "backend": "test", "seed": 0, "outputs": []}
    event = _event("succeeded", None, **facts, cost_usd=0.0, seconds=0.0, error=None, prompt=None)
    return {**event, "type": TEST_EVENT}


def event_id(event: Mapping[str, Any]) -> str:
    """Return the id of an event: always the same for one job's end, so that a receiver notices repeats."""
    # A hash: a job's id may hold what a header cannot, and the signature separates its parts by full stops.
    told = f"{event['data']['job']}\n{event['data']['state']}"
    return f"msg_{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:32]}"


def write_event(event: Mapping[str, Any]) -> bytes:
    """Write an event as the body of its request: JSON in ASCII, the same bytes each time."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode("ascii")


def _event(state: State, at: str | None, *, prompt: str | None, **facts: Any) -> PlainData:
    data = {"contract": CONTRACT, "job": facts.pop("job"), "workflow": facts.pop("workflow"), "backend": facts.pop("backend")}
    data |= {"state": state, **facts}
    for name in ("cost_usd", "seconds"):  # a stranger's app may say anything, and JSON has no NaN
        if not (is_number(data[name]) and math.isfinite(data[name])):
            data[name] = None
    if prompt is not None:
        data["prompt"] = prompt
    return {"type": f"job.{state}", "timestamp": at or now(), "data": data}


def _output(item: Output) -> PlainData:
    data = {"kind": item.kind, "media_type": item.media_type, "name": item.name, "width": item.width, "height": item.height}
    held = hashlib.sha256(item.data).hexdigest() if item.sha256 is None else item.sha256
    data |= {"bytes": item.bytes_made, "sha256": held, "url": item.url}
    return {key: value for key, value in data.items() if value is not None}


def _error(error: BaseException, *, include_words: bool) -> PlainData:
    known = error if isinstance(error, RylaGenError) else None
    canceled = state_of_error(error) == "canceled"
    data: PlainData = {"code": known.code, "http_status": known.http_status} if known else _foreign(canceled=canceled)
    if include_words:
        data |= {"message": known.message, "hint": known.hint} if known else {"message": str(error), "hint": ""}
    return data


def _foreign(*, canceled: bool) -> PlainData:
    return {"code": "job_canceled", "http_status": 409} if canceled else {"code": "internal", "http_status": 500}
