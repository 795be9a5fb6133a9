"""Check a call, rebuild a request from the journal, estimate it where it would run, type its errors. Must not send it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..backends.rates import rate_of
from ..costs import admission
from ..costs.estimates import Estimate
from ..costs.estimates import estimate as estimate_at
from ..errors import InternalError, InvalidInputError, JobNotFoundError
from ..history import History, Record
from ..media import References
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import plugin_behind, workflow_class


def check_call(workflow: object, timeout: object, tags: object) -> None:
    """Refuse a call whose arguments cannot be meant as given, before anything happens.

    Raises:
        InvalidInputError: it is not a workflow, the timeout is not a positive number, or the tags are a single text.
    """
    if not isinstance(workflow, Workflow):
        what = workflow.__name__ if isinstance(workflow, type) else type(workflow).__name__
        raise InvalidInputError(f"{what} is not a workflow.", 'Give one with its fields: FluxDev(prompt="a fox")')
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9):
        raise InvalidInputError(
            f"timeout must be a positive number of seconds, not {timeout!r}.", "Leave it out for the workflow's own limit."
        )
    if isinstance(tags, str):
        raise InvalidInputError(f"tags must be a list, not the text {tags!r}.", f"Write tags=[{tags!r}].")


def references_of(settings: Settings) -> References:
    """Return which references to pictures and videos a caller's settings allow."""
    return References("bytes" if settings.references == "bytes" else "any", settings.allow_private_addresses)


def workflow_of(record: Record) -> Workflow:
    """Rebuild the request of a journaled job; its pictures, which the journal does not keep, are empty.

    Raises:
        InvalidInputError: the journal was written by a version with other fields.

    """
    return rebuilt(record.workflow, record.inputs)


def rebuilt(name: str, inputs: Mapping[str, Any]) -> Workflow:
    """Rebuild a request from its description, in which a picture is a hash and a size; its pictures are empty.

    Args:
        name: of its workflow.
        inputs: its fields, as ``Workflow.described`` gives them.

    Raises:
        InvalidInputError: there is no such workflow here, or it has other fields.

    """
    cls = workflow_class(name)
    blank = {
        field: ({} if isinstance(inputs.get(field), dict) and "sha256" not in inputs[field] else b"")
        for field in cls.media_fields()
    }
    given = {key: value for key, value in inputs.items() if value is not None}
    return cls.from_plain({**given, **{field: value for field, value in blank.items() if field in given}}, trusted=True)


def estimate(workflow: Workflow, settings: Settings, history: History, backend: str | None = None) -> Estimate:
    """Estimate a request.

    Args:
        workflow: the request; its pictures need not be read.
        settings: where it would run, and on what.
        history: the journal.
        backend: instead of the first of the settings.

    Raises:
        BackendNotConfiguredError: the backend is not set up.

    """
    name = backend or settings.backend_names[0]
    return estimate_at(workflow, name, rate_of(workflow, name, settings), history)


def check_batch(history: History, settings: Settings, workflows: Iterable[Workflow]) -> float:
    """Refuse a list of workflows as a whole, before the first one is sent.

    Returns:
        What all of them will likely cost, in US dollars.

    Raises:
        BudgetExceededError: a row would cost more than one call may, or all of them more than is left of the day.

    """
    backend = settings.backend_names[0]
    return admission.check_batch(history, settings, workflows, lambda workflow: rate_of(workflow, backend, settings))


def estimate_again(record: Record, settings: Settings, history: History) -> Estimate | None:
    """Estimate a job that another process submitted, whose estimate ended with that process; None where running is free.

    Raises:
        BackendNotConfiguredError: its backend is not set up here.
        InvalidInputError: the journal was written by a version with other fields.

    """
    workflow = workflow_of(record)
    return estimate(workflow, settings, history, record.backend) if rate_of(workflow, record.backend, settings).most else None


def to_typed_error(error: BaseException, job: str) -> BaseException:
    """Return the typed error that an error of a job stands for; an interrupt, and one that is typed, stay as they are.

    Raise it from its cause: the traceback is then that of the place where it happened.
    """
    from ..comfy.connection import as_typed  # HTTP, which counting costs does not need

    if not isinstance(error, Exception):
        return error
    found = as_typed(error, f"The job {job} failed")
    plugin = plugin_behind(error) if isinstance(found, InternalError) and found is not error else None
    if plugin is None:
        return found
    hint = "Fix or uninstall that package; RYLA_GEN_DEBUG=1 shows where it happened."
    return InternalError(f"{found.message} (in {plugin}, a plug-in)", hint, found.details)


def not_reached(record: Record) -> JobNotFoundError:
    """Return the error that no backend has a job, with where to look instead."""
    text = f"The job {record.id} never reached its backend (state: {record.state})."
    if record.workflow.startswith("character_"):
        text = f"The job {record.id} consists of several pictures, each with its own job."
        return JobNotFoundError(text, f"See or resume it: ryla-gen character status {record.id[:8]}", {"job": record.id})
    return JobNotFoundError(text)
