"""Character jobs on top of the client: base images, face swaps, character sheets, each one job of several pictures.

``base`` is what a job is, ``recipes`` which workflow makes its pictures, ``requests`` the request of each, ``store`` where it lies
between processes, ``job`` one job under way, ``retry`` when a picture is made again, ``results`` what it gives, ``service`` the
runner, ``sync`` the same without await. Must not know a backend.
"""

from __future__ import annotations

from .base import ANGLES, Angle, CharacterPlan, CharacterProgress, Shot, ShotFile
from .job import AsyncCharacterJob
from .recipes import BASE_RECIPES, SHEET_RECIPES, BaseRecipe, SheetRecipe
from .results import CharacterResult
from .service import AsyncCharacters
from .sync import CharacterJob, Characters

# The names that version 0.1 gave these four: code that was written with them keeps working.
Plan, Part, Picture, Progress = CharacterPlan, Shot, ShotFile, CharacterProgress

__all__ = [
    "ANGLES",
    "BASE_RECIPES",
    "SHEET_RECIPES",
    "Angle",
    "AsyncCharacterJob",
    "AsyncCharacters",
    "BaseRecipe",
    "CharacterJob",
    "CharacterPlan",
    "CharacterProgress",
    "CharacterResult",
    "Characters",
    "Part",
    "Picture",
    "Plan",
    "Progress",
    "SheetRecipe",
    "Shot",
    "ShotFile",
]
