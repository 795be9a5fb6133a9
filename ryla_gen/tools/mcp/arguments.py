"""Define what the tools beside the workflows take: one class each, with its schema and its checks. Does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import InvalidInputError

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}[0-9a-f-]{0,28}$")]
"""A job's id, or its first eight characters or more: never a handle, which may hold the address of a server."""
WorkflowName = Annotated[str, Field(min_length=1, max_length=80)]


class Arguments(BaseModel):
    """What one tool takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hint: ClassVar[str] = "See its input schema."
    """What to do about arguments that do not fit."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Check the arguments of a call.

        Raises:
            InvalidInputError: one does not fit, or there is no such.

        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
            raise InvalidInputError(f"The tool does not accept this: {'; '.join(wrong)[:500]}", cls.hint) from None


class OneWorkflow(Arguments):
    """A workflow and its fields."""

    workflow: WorkflowName
    """Name of the workflow: that of its tool, or one that the tool ``workflows`` lists."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Its fields, as its schema has them."""


class Lookup(Arguments):
    """Which workflow is asked about."""

    name: WorkflowName | None = None
    """Workflow whose fields are wanted; all are listed in a line each when absent."""


class OneJob(Arguments):
    """Which job."""

    hint: ClassVar[str] = "A job is named by its id, or the first eight characters of it: take it from the tool jobs."

    job: JobId
    """Id of the job, or its first eight characters."""


class JobsList(Arguments):
    """Which jobs are listed."""

    limit: int = Field(default=10, ge=1, le=50)
    """The newest so many."""
    state: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] | None = None
    """Only those in this state."""


class Since(Arguments):
    """From when on costs are summed up."""

    since: str | None = Field(default=None, max_length=40)
    """A date, or an age such as 7d or 4w; today (UTC) when absent."""


class Pictures(Arguments):
    """Which files of the output folder are listed."""

    limit: int = Field(default=8, ge=1, le=24)
    """The newest so many."""
    since: str | None = Field(default=None, max_length=40)
    """Only those made since this date, or age such as 24h or 7d."""
    thumbnails: bool = False
    """Whether each is shown, small."""
