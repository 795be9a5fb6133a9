"""Build the request of each picture of a character job, with its checkpoint, fields and prompt. Sends nothing."""

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
from .base import Angle, CharacterPlan, Shot, reference
from .recipes import BASE_RECIPES, SHEET_RECIPES, Recipe, recipe_of, recipes_with

LARGEST_SEED = 2**64
"""Seeds end below this."""
SHEET_PROMPT = "character reference photo, {angle}, {who}, same person, same hair and clothes, plain grey background, studio light"
"""What a face model is asked for each picture of a sheet; the face itself comes from the reference picture."""
EDIT_PROMPT = (
    "{instruction}. It is the same person: keep the face, the hair, the body and the clothes exactly as they are in the picture. "
    "{who}Plain grey background, studio light."
)
"""What a model that edits is told for each picture of a sheet."""
OWN_FIELDS = ("prompt", "seed", "reference_image", "checkpoint", "batch_size")
"""Fields that the job itself decides."""


def checkpoint_fields(settings: Settings, recipe: Recipe, *, nsfw: bool) -> dict[str, str]:
    """Choose the checkpoint: ``nsfw`` does nothing else.

    Raises:
        InvalidInputError: ``nsfw`` is asked for, and the recipe has no checkpoint, or the configuration names none for it.

    """
    workflow = recipe.workflow
    if "checkpoint" not in recipe.fields:
        if nsfw:
            text = f"nsfw=True chooses a checkpoint, and the recipe {recipe.name} has none to choose."
            raise InvalidInputError(text, "Leave the recipe out: then one with a checkpoint is used.")
        return {}
    family = "sdxl_" if _base_of_checkpoint(workflow) == "sdxl" else ""
    key = f"characters.nsfw_{family}checkpoint" if nsfw else f"characters.{family}checkpoint"
    named = settings.value(key)
    if nsfw and not named:
        text = f"nsfw=True needs a checkpoint for {workflow}, and the setting {key} is empty."
        raise InvalidInputError(text, f"Set it to a file on the server: ryla-gen config set {key} FILE.safetensors", {"key": key})
    return {"checkpoint": named} if named else {}


def _base_of_checkpoint(workflow: str) -> str | None:
    """Return the base model of a workflow's own checkpoint: only one of the same base can replace it."""
    field = workflow_class(workflow).model_fields["checkpoint"]
    return next((row.base for row in all_weights() if row.name == field.default), None)


def checked_fields(recipe: Recipe, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check a recipe's further fields, as a caller gave them.

    Raises:
        InvalidInputError: the job decides one itself, or the recipe's workflow has none of that name.

    """
    given = dict(fields or {})
    own = sorted(set(given) & {*OWN_FIELDS, recipe.picture})
    if own:
        raise InvalidInputError(f"A character job sets {', '.join(own)} itself.", "Leave it out of fields.")
    unknown = sorted(set(given) - recipe.fields)
    if unknown:
        others = recipes_with(given, BASE_RECIPES if recipe.name in BASE_RECIPES else SHEET_RECIPES)
        hint = f"Recipes that have it: {', '.join(others)}. " if others else ""
        text = f"The recipe {recipe.name} has no field {', '.join(unknown)}."
        raise InvalidInputError(text, f"{hint}See its fields: ryla-gen workflows show {recipe.workflow.replace('_', '-')}")
    return given


def request(plan: CharacterPlan, part: Shot, base_image: bytes | None) -> Workflow:
    """Build the request of one picture.

    Raises:
        InvalidInputError: a field does not fit.

    """
    given = {**plan.fields, "prompt": part.prompt, "seed": part.seed, **picture_field(plan.workflow, base_image)}
    return workflow_class(plan.workflow)(**given)


def picture_field(workflow: str, picture: Any) -> dict[str, Any]:
    """Return the field of a workflow that takes the base picture, with it; nothing where there is no picture."""
    name = recipe_of(workflow).picture
    if picture is None or name is None:
        return {}
    return {name: [picture] if name == "images" else picture}


def seeds(first: int, count: int) -> list[int]:
    """Return consecutive seeds; after the largest one comes 0."""
    return [(first + index) % LARGEST_SEED for index in range(count)]


def sheet_prompt(recipe: Recipe, angle: Angle, who: str) -> str:
    """Write the prompt for one picture of a sheet."""
    who = who.strip()
    if not recipe.edits:
        return SHEET_PROMPT.format(angle=angle.prompt, who=who).replace(", ,", ",")
    instruction = angle.instruction or f"Show the same person: {angle.prompt}"
    return EDIT_PROMPT.format(instruction=instruction.rstrip("."), who=f"{who.rstrip('.')}. " if who else "")


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
    again = f"Give the same picture again: ryla-gen character resume {plan.id[:8]} --base-image FILE (in Python: base_image=…)"
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
