"""Character jobs on top of the client: base images, face swaps, character sheets, each one job of several pictures.

``base`` is what a job is, ``requests`` which workflow makes each picture, ``store`` where it lies between processes,
``running`` one job under way, ``results`` what it gives, ``service`` the runner, ``plain`` the same for plain code.
"""

from __future__ import annotations

from .base import ANGLES, Angle, Part, Picture, Plan, Progress
from .job import AsyncCharacterJob
from .results import CharacterResult
from .service import AsyncCharacters
from .sync import CharacterJob, Characters

__all__ = [
    "ANGLES",
    "Angle",
    "AsyncCharacterJob",
    "AsyncCharacters",
    "CharacterJob",
    "CharacterResult",
    "Characters",
    "Part",
    "Picture",
    "Plan",
    "Progress",
]
