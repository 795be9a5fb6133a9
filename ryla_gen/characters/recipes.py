"""Choose the recipe of a character job: the workflow that makes its pictures, and how it takes the base picture. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ..errors import InvalidInputError
from ..settings import Settings
from ..workflows.registry import workflow_class

BaseRecipe = Literal["z_image", "flux_dev"]
"""What makes base images: Z-Image Turbo (the default) or FLUX.1 dev."""
SheetRecipe = Literal["qwen_edit", "kontext", "flux_pulid", "instantid"]
"""What makes a sheet: an edit of the base picture by Qwen-Image-Edit (the default) or FLUX.1 Kontext, or a face model."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make the pictures of a job."""

    name: str
    workflow: str
    """Name of the workflow that makes each picture."""
    picture: str | None = None
    """Field that takes the base picture; None where there is none."""
    edits: bool = False
    """Whether it changes the whole base picture as told; a face model takes the face alone, and draws all else from the prompt."""

    @property
    def fields(self) -> frozenset[str]:
        """Names of the workflow's fields."""
        return frozenset(workflow_class(self.workflow).model_fields)


BASE_RECIPES: dict[str, Recipe] = {"z_image": Recipe("z_image", "z_image"), "flux_dev": Recipe("flux_dev", "flux_dev")}
"""Recipes of base images by name, the default first."""
SHEET_RECIPES: dict[str, Recipe] = {
    "qwen_edit": Recipe("qwen_edit", "qwen_image_edit", "images", edits=True),
    "kontext": Recipe("kontext", "flux_kontext", "image", edits=True),
    "flux_pulid": Recipe("flux_pulid", "flux_pulid", "reference_image"),
    "instantid": Recipe("instantid", "instantid", "reference_image"),
}
"""Recipes of character sheets by name, the default first. The face models among them also make face swaps."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a request decides which recipe is used where none is named."""

    nsfw: bool
    fields: frozenset[str]
    """Names of the workflow's further fields that were given."""


def choose_base(name: str | None, wanted: Wanted, settings: Settings) -> Recipe:
    """Choose the recipe of base images: the one that is named, else as :func:`_default` says.

    Raises:
        InvalidInputError: there is none of that name.

    """
    if name is not None:
        return _named(BASE_RECIPES, name, "base images")
    return _default(BASE_RECIPES, BASE_RECIPES["flux_dev"], wanted, settings)


def choose_sheet(name: str | None, wanted: Wanted, settings: Settings) -> Recipe:
    """Choose the recipe of a sheet: the one that is named, the face workflow that is set, else as :func:`_default` says.

    Raises:
        InvalidInputError: there is none of that name.

    """
    if name is not None:
        return _named(SHEET_RECIPES, name, "character sheets")
    face = face_recipe(settings)
    if settings.origin("characters.face_workflow") != "default":
        return face
    return _default(SHEET_RECIPES, face, wanted, settings)


def face_recipe(settings: Settings) -> Recipe:
    """Return the recipe of face swaps: the workflow that ``characters.face_workflow`` names."""
    return SHEET_RECIPES[settings.characters_face_workflow]


def recipe_of(workflow: str) -> Recipe:
    """Return the recipe that makes its pictures with a workflow: a stored plan names the workflow."""
    known = (*BASE_RECIPES.values(), *SHEET_RECIPES.values())
    return next((item for item in known if item.workflow == workflow), Recipe(workflow, workflow, "reference_image"))


def recipes_with(fields: Iterable[str], recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the names of the recipes that have all these fields."""
    return [name for name, item in recipes.items() if item.fields.issuperset(fields)]


def _named(recipes: Mapping[str, Recipe], name: str, what: str) -> Recipe:
    key = str(name).strip().lower().replace("-", "_")
    if key in recipes:
        return recipes[key]
    near = get_close_matches(key, recipes, n=1, cutoff=0.5)
    text = f"There is no recipe {name!r} for {what}{f'; did you mean {near[0]}?' if near else '.'}"
    raise InvalidInputError(text, f"Recipes for {what}: {', '.join(recipes)}.")


def _default(recipes: Mapping[str, Recipe], earlier: Recipe, wanted: Wanted, settings: Settings) -> Recipe:
    """Return the default, or the earlier recipe where only that one can do what is wanted.

    A request that was written before there was a choice may name what the default lacks: a checkpoint, or a field of the workflow
    that was the only one. It is made as it was.
    """
    default = next(iter(recipes.values()))
    if wanted.nsfw or settings.characters_checkpoint:
        return earlier
    return earlier if not wanted.fields <= default.fields and wanted.fields <= earlier.fields else default
