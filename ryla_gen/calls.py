"""What a client looks at before and after a call: is it meant so, and which request was a journaled job. Runs nothing."""

from __future__ import annotations

from .errors import InvalidInputError
from .history import Record
from .workflows.base import Workflow
from .workflows.registry import workflow_class


def check_call(workflow: object, timeout: object, tags: object) -> None:
    """Refuse a call that cannot be meant so, before anything happens.

    Raises:
        InvalidInputError: it is no workflow, the timeout no positive number, or the tags a single text.
    """
    if not isinstance(workflow, Workflow):
        what = workflow.__name__ if isinstance(workflow, type) else type(workflow).__name__
        raise InvalidInputError(f"{what} is not a workflow.", 'Give one with its fields: FluxDev(prompt="a fox")')
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9):
        raise InvalidInputError(
            f"timeout must be a positive number of seconds, not {timeout!r}.", "Leave it out for the workflow's own limit."
        )
    if isinstance(tags, str):
        raise InvalidInputError(f"tags must be several words, not the text {tags!r}.", f"Write tags=[{tags!r}].")


def workflow_of(record: Record) -> Workflow:
    """Rebuild the request of a journaled job; its pictures, which the journal does not keep, are empty.

    Raises:
        InvalidInputError: the journal was written by a version with other fields.

    """
    cls = workflow_class(record.workflow)
    blank = {
        name: ({} if isinstance(record.inputs.get(name), dict) and "sha256" not in record.inputs[name] else b"")
        for name in cls.media_fields()
    }
    given = {key: value for key, value in record.inputs.items() if value is not None}
    return cls.from_plain({**given, **{name: value for name, value in blank.items() if name in given}}, trusted=True)
