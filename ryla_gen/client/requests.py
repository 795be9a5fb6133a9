"""Check a call, rebuild a request from the journal, estimate it where it would run, type its errors. Must not send it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..backends.rates import rate_of
from ..contract import Options
from ..costs import admission
from ..costs.estimates import Estimate
from ..costs.estimates import estimate as estimate_at
from ..delivery import OutputTo, read_destination
from ..delivery.webhooks import check_webhook
from ..errors import BackendUnreachableError, InternalError, InvalidInputError, JobNotFoundError, StorageFailedError
from ..history import History, Record
from ..history.users import check_user
from ..media import References
from ..settings import Settings
from ..settings.base import without_credentials
from ..workflows.base import Workflow
from ..workflows.registry import plugin_behind, workflow_class


def check_call(workflow: object, timeout: object, tags: object, user: object = None) -> None:
    """Refuse a call whose arguments cannot be meant as given, before anything happens.

    Raises:
        InvalidInputError: it is not a workflow, the timeout is not a positive number, or the tags are a single text; or that
            cannot be a user's id.
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
    if user is not None:
        check_user(user)


def options_of(
    settings: Settings,
    *,
    measure_consistency: bool = False,
    output_to: OutputTo | Sequence[str] = None,
    webhook: str | None = None,
) -> Options:
    """Check what a call wants besides its files, before anything is sent; what it does not say is taken from the settings.

    Raises:
        InvalidInputError: ``output_to`` is no place that files can be brought to, or the webhook cannot be told.
    """
    told = settings.webhook_url if webhook is None else webhook or None
    if told is not None:
        check_webhook(told, settings)
    prompt = told is not None and settings.webhook_include_prompt
    place = read_destination(output_to)
    return Options(measure_consistency=measure_consistency, output_to=place, webhook=told, webhook_prompt=prompt)


def user_for_events(history: History, settings: Settings, user: str | None) -> str | None:
    """Return the hash of a job's user for its events; None where the settings do not ask for it, or its key cannot be used."""
    if user is None or not settings.users_telemetry:
        return None
    try:
        return history.stored_user(user, hashed=True)
    except StorageFailedError:
        return None


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
    blank = {field: _blank(inputs.get(field)) for field in cls.media_fields()}
    given = {key: value for key, value in inputs.items() if value is not None}
    return cls.from_plain({**given, **{field: value for field, value in blank.items() if field in given}}, trusted=True)


def _blank(described: Any) -> Any:
    """Return empty pictures in the place of the described ones."""
    if isinstance(described, list | tuple):
        return tuple(b"" for _ in described)
    return {} if isinstance(described, dict) and "sha256" not in described else b""


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


def check_batch(
    history: History, settings: Settings, workflows: Iterable[Workflow], of: str = "rows", *, user: str | None = None
) -> float:
    """Refuse a list of workflows, called ``of`` in the message, as a whole, before the first one is sent.

    Returns:
        What all of them will likely cost, in US dollars.

    Raises:
        BudgetExceededError: a row would cost more than one call may, or all of them more than is left of the day.

    """
    backend = settings.backend_names[0]
    return admission.check_batch(history, settings, workflows, lambda workflow: rate_of(workflow, backend, settings), of, user=user)


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
        return JobNotFoundError(text, f"See it: ryla-gen character status {record.id[:8]}", {"job": record.id})
    return JobNotFoundError(text)


def held_elsewhere(record: Record) -> BackendUnreachableError:
    """Return the error that a job runs where this process cannot ask for it."""
    text = f"The job {record.id} runs on the emulator inside another process ({record.process}), which alone can reach it."
    return BackendUnreachableError(text, "Wait for that process, or stop it there.", {"job": record.id})


def place_text(backend: str, settings: Settings) -> str:
    """Write a backend and what of it is chosen by the settings, for people: never a token, a key, or the login of an address."""
    url = without_credentials(settings.comfyui_url or "").partition("?")[0]
    app = f"app={settings.modal_app}" + (f" environment={settings.modal_environment}" if settings.modal_environment else "")
    chosen = {"comfyui": url, "modal": app, "runpod": settings.runpod_endpoint_id or ""}.get(backend, "")
    return f"{backend} {chosen}".rstrip()
