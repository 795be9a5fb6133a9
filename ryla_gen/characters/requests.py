"""Choose which workflow makes each picture of a character job, and with which fields. Builds requests; sends nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import media
from ..errors import InvalidInputError
from ..models.weights_table import all_weights
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import workflow_class
from .base import CharacterPlan, Shot, reference

BASE_WORKFLOW = "flux_dev"
"""What makes base images."""
LARGEST_SEED = 2**64
"""Seeds end below this."""
SHEET_PROMPT = "character reference photo, {angle}, {who}, same person, same hair and clothes, plain grey background, studio light"
"""What each picture of a sheet asks for; the face itself comes from the reference picture."""
OWN_FIELDS = ("prompt", "seed", "reference_image", "checkpoint", "batch_size")
"""Fields that the job itself decides."""


def checkpoint_fields(settings: Settings, workflow: str, *, nsfw: bool) -> dict[str, str]:
    """Choose the checkpoint: ``nsfw`` does nothing else.

    Raises:
        InvalidInputError: ``nsfw`` is asked for, and the configuration names no checkpoint for it.

    """
    family = "sdxl_" if _base_of_checkpoint(workflow) == "sdxl" else ""
    key = f"characters.nsfw_{family}checkpoint" if nsfw else f"characters.{family}checkpoint"
    named = settings.value(key)
    if nsfw and not named:
        text = f"nsfw=True needs a checkpoint for {workflow}, and the setting {key} is empty."
        raise InvalidInputError(text, f"Set it to a file on the server: ryla-gen config set {key} FILE.safetensors", {"key": key})
    return {"checkpoint": named} if named else {}


def _base_of_checkpoint(workflow: str) -> str | None:
    """Return the base model of a workflow's own checkpoint: only one of the same base can replace it."""
    field = workflow_class(workflow).model_fields.get("checkpoint")
    return next((row.base for row in all_weights() if field is not None and row.name == field.default), None)


def checked_fields(workflow: str, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check a workflow's further fields, as a caller gave them.

    Raises:
        InvalidInputError: the job decides one itself, or the workflow has none of that name.

    """
    given = dict(fields or {})
    own = sorted(set(given) & set(OWN_FIELDS))
    if own:
        raise InvalidInputError(f"A character job sets {', '.join(own)} itself.", "Leave it out of fields.")
    unknown = sorted(set(given) - set(workflow_class(workflow).model_fields))
    if unknown:
        text = f"{workflow} has no field {', '.join(unknown)}."
        raise InvalidInputError(text, f"See its fields: ryla-gen workflows show {workflow.replace('_', '-')}")
    return given


def request(plan: CharacterPlan, part: Shot, base_image: bytes | None) -> Workflow:
    """Build the request of one picture.

    Raises:
        InvalidInputError: a field does not fit.

    """
    given = {**plan.fields, "prompt": part.prompt, "seed": part.seed}
    if base_image is not None:
        given["reference_image"] = base_image
    return workflow_class(plan.workflow)(**given)


def seeds(first: int, count: int) -> list[int]:
    """Return consecutive seeds; after the largest one comes 0."""
    return [(first + index) % LARGEST_SEED for index in range(count)]


def sheet_prompt(angle: str, who: str) -> str:
    """Write the prompt for one picture of a sheet."""
    return SHEET_PROMPT.format(angle=angle, who=who.strip()).replace(", ,", ",")


async def read_base_image(source: Any, references: media.References) -> tuple[bytes, dict[str, Any]]:
    """Read a reference picture, and describe it without its bytes.

    Raises:
        InvalidInputError: it is missing, or no picture.

    """
    data = await media.read(source, "image", name="base_image", references=references)
    return data, {**media.describe(data), "origin": _origin(source)}


async def read_again(plan: CharacterPlan, source: Any, references: media.References) -> bytes | None:
    """Read the reference picture of an earlier process, from where it was or as it is given again.

    Raises:
        InvalidInputError: it must be given again, or is another one.

    """
    described = plan.base_image
    if described is None:
        return None
    source = source if source is not None else described["origin"]
    again = f"Give the same picture again: ryla-gen character status {plan.id[:8]} --base-image FILE (in Python: base_image=…)"
    if source is None:
        text = f"The job {plan.id} still has pictures to make, but its reference picture came as bytes, which are never stored."
        raise InvalidInputError(text, again)
    try:
        data = await media.read(source, "image", name="base_image", references=references)
    except InvalidInputError as error:
        raise InvalidInputError(f"The reference picture of {plan.id} cannot be read again. {error.message}", again) from None
    if media.describe(data)["sha256"] != described["sha256"]:
        text = f"{reference({**described, 'origin': _origin(source)})} is not the picture that the job {plan.id} started with."
        raise InvalidInputError(text, again)
    return data


def _origin(source: Any) -> str | None:
    """Return where a picture can be read again; None for one that came as bytes."""
    if isinstance(source, os.PathLike) or (
        isinstance(source, str) and not source.lower().startswith(("data:", "http://", "https://"))
    ):
        return str(Path(os.fspath(source)).expanduser().absolute())
    return source if isinstance(source, str) and source.lower().startswith("http") else None
