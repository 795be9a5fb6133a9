"""Define a character job: its kind, its pictures, the angles of a sheet. Plain data; reads no file and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidInputError, StorageFailedError
from ..events import State

if TYPE_CHECKING:
    from ..errors import RylaGenError

Kind = Literal["base", "swap", "sheet"]
"""Base images, a face swap, or a character sheet."""

MOST_PICTURES = 16
"""Pictures of one job: what a batch of one workflow makes at most."""
VERSION = 1
"""Version of ``job.json``."""


@dataclass(frozen=True, slots=True)
class Angle:
    """One view of a character sheet."""

    name: str
    """Name of its file: lower case with hyphens."""
    label: str
    """What the contact sheet calls it."""
    prompt: str
    """What is asked of the model for this view."""
    instruction: str = ""
    """What a model that edits the base picture is told; ``prompt`` in its place when empty."""


ANGLES: dict[str, Angle] = {
    angle.name: angle
    for angle in (
        Angle(
            "front",
            "Front",
            "front view, facing the camera, looking straight ahead",
            "Turn the head and the body to face the camera, looking straight ahead",
        ),
        Angle(
            "three-quarter-left",
            "Three-quarter left",
            "three-quarter view, head turned halfway to the left",
            "Turn the head and the body halfway to the left of the picture: a three-quarter view",
        ),
        Angle(
            "three-quarter-right",
            "Three-quarter right",
            "three-quarter view, head turned halfway to the right",
            "Turn the head and the body halfway to the right of the picture: a three-quarter view",
        ),
        Angle(
            "profile-left",
            "Profile left",
            "side profile, facing left, seen from the side",
            "Turn the head and the body to the left of the picture: a side profile, seen from the side",
        ),
        Angle(
            "profile-right",
            "Profile right",
            "side profile, facing right, seen from the side",
            "Turn the head and the body to the right of the picture: a side profile, seen from the side",
        ),
        Angle(
            "back",
            "Back",
            "seen from behind, back of the head, facing away from the camera",
            "Turn the person around, seen from behind: the back of the head towards the camera, no face in view",
        ),
        Angle(
            "looking-up",
            "Looking up",
            "seen slightly from below, chin raised, looking up",
            "Move the camera slightly below the face: the chin is raised, the eyes look up",
        ),
        Angle(
            "looking-down",
            "Looking down",
            "seen slightly from above, chin lowered, looking down",
            "Move the camera slightly above the face: the chin is lowered, the eyes look down",
        ),
    )
}
"""The views a sheet has when nothing else is asked for, by name, in order."""


def chosen_angles(angles: Sequence[str | Angle] | None) -> tuple[Angle, ...]:
    """Find the views of a sheet; None is all of :data:`ANGLES`.

    Raises:
        InvalidInputError: a name is none of ours, one comes twice, there are none, or too many.

    """
    if isinstance(angles, str):
        raise InvalidInputError(f"angles must be a list, not the text {angles!r}.", f"Write angles=[{angles!r}].")
    found = tuple(ANGLES.values()) if angles is None else tuple(_angle(item) for item in angles)
    if not 1 <= len(found) <= MOST_PICTURES:
        raise InvalidInputError(
            f"A sheet has 1 to {MOST_PICTURES} angles, not {len(found)}.", "Leave out angles for the usual ones."
        )
    names = [angle.name for angle in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInputError(f"The angle {twice!r} was given twice.", "Name each angle once.")
    return found


def _angle(item: str | Angle) -> Angle:
    if isinstance(item, Angle):
        if not NAME.fullmatch(item.name) or item.name in RESERVED:
            raise InvalidInputError(
                f"{item.name!r} is not a valid name for an angle.", "Use lower-case letters, digits and hyphens."
            )
        return item
    name = str(item).strip().lower().replace("_", "-").replace(" ", "-")
    if name in ANGLES:
        return ANGLES[name]
    near = get_close_matches(name, ANGLES, n=1, cutoff=0.5)
    text = f"There is no angle {item!r}{f'; did you mean {near[0]}?' if near else '.'}"
    raise InvalidInputError(text, f"Angles: {', '.join(ANGLES)}; or describe your own with Angle(name, label, prompt).")


@dataclass(slots=True)
class Shot:
    """One picture of a job."""

    name: str
    """Name of its file, without the suffix."""
    label: str
    """What people call it."""
    prompt: str
    """What is asked of the model."""
    seed: int
    """Its seed."""
    jobs: list[str] = field(default_factory=list)
    """Ids of the jobs that were to make it, the newest last; all but the newest have failed."""
    state: State = "queued"
    """Where it is, as far as this process knows."""
    fraction: float = 0.0
    """Share of the work that is done, 0 to 1."""
    path: Path | None = None
    """Its file, once it is there."""
    error: RylaGenError | None = None
    """Why there is none."""

    @property
    def job(self) -> str:
        """Id of the job that makes it, or made it."""
        return self.jobs[-1]

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state not in ("queued", "running")


NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""What an angle may be called: it becomes the name of a file."""
RESERVED = frozenset({"job", "sheet"})
"""Names of a job's own files."""
STORED = ("name", "label", "prompt", "seed", "jobs")
"""Fields of a part that are written down: all others are found out again."""


@dataclass(slots=True)
class CharacterPlan:
    """The plan of one job, as ``job.json`` stores it."""

    id: str
    """Its uuid4."""
    kind: Kind
    backend: str
    """Where its pictures are sent."""
    workflow: str
    """Name of the workflow that makes each picture."""
    nsfw: bool
    seed: int
    """The seed that those of the pictures follow from."""
    created_at: str
    """ISO 8601 UTC."""
    fields: dict[str, Any]
    """Further fields of the workflow, the checkpoint among them."""
    base_image: dict[str, Any] | None
    """The reference picture's hash, size and, when it came from a file, that file's place; never its bytes."""
    tags: list[str]
    parts: list[Shot]

    def to_data(self) -> dict[str, Any]:
        """Write it as plain data."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "parts"}
        parts = [{name: getattr(part, name) for name in STORED} for part in self.parts]
        return {"version": VERSION, **data, "parts": parts}

    @classmethod
    def from_data(cls, data: Any, where: Path) -> CharacterPlan:
        """Read what :meth:`to_data` wrote.

        Raises:
            StorageFailedError: it is something else, or of a newer version.

        """
        try:
            if data["version"] != VERSION:
                raise StorageFailedError(
                    f"{where} is of version {data['version']}, not {VERSION}.", "Update: pip install -U ryla-gen"
                )
            known = {name: data[name] for name in cls.__slots__ if name != "parts"}
            plan = cls(**known, parts=[Shot(**{name: item[name] for name in STORED}) for item in data["parts"]])
        except (KeyError, TypeError, AttributeError):
            plan = None
        if plan is None or not _is_sound(plan):
            raise StorageFailedError(f"{where} is damaged.", "Submit the job again, and remove that folder.")
        return plan


def _is_sound(plan: CharacterPlan) -> bool:
    """Whether a plan that was read holds what a plan holds: another program, or a broken disk, may have written it."""
    texts = (plan.id, plan.kind, plan.backend, plan.workflow, plan.created_at)
    kept = (isinstance(plan.fields, dict), isinstance(plan.base_image, dict | None), isinstance(plan.tags, list))
    return all(isinstance(item, str) for item in texts) and all(kept) and bool(plan.parts) and all(map(_is_sound_part, plan.parts))


def _is_sound_part(part: Shot) -> bool:
    texts = (part.name, part.label, part.prompt, *(part.jobs if isinstance(part.jobs, list) else (None,)))
    whole = isinstance(part.seed, int) and bool(part.jobs)
    return whole and all(isinstance(item, str) for item in texts) and NAME.fullmatch(part.name) is not None


@dataclass(frozen=True, slots=True)
class CharacterProgress:
    """How far a job is."""

    fraction: float
    """Share of all the work that is done, 0 to 1."""
    succeeded: int
    """Pictures that are there."""
    failed: int
    """Pictures that will not come by themselves."""
    total: int
    """Pictures that were asked for."""


@dataclass(frozen=True, slots=True)
class ShotFile:
    """One picture of a job, on this machine's disk."""

    name: str
    label: str
    seed: int
    job: str
    """Id of the job that made it."""
    path: Path

    @property
    def data(self) -> bytes:
        """The encoded file.

        Raises:
            StorageFailedError: it cannot be read.

        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise StorageFailedError(f"Cannot read {self.path}: {error.strerror or error}.", "Was it removed?") from None


def files_of(parts: Sequence[Shot]) -> list[ShotFile]:
    """List the pictures that are there already, in order."""
    return [ShotFile(part.name, part.label, part.seed, part.job, part.path) for part in parts if part.path is not None]


def progress_of(parts: Sequence[Shot]) -> CharacterProgress:
    """Sum up how far the pictures are."""
    done = sum(part.state == "succeeded" for part in parts)
    failed = sum(part.ended and part.state != "succeeded" for part in parts)
    fraction = sum(1.0 if part.ended else part.fraction for part in parts) / max(1, len(parts))
    return CharacterProgress(fraction, done, failed, len(parts))


def state_of_parts(parts: Sequence[Shot]) -> State:
    """Return the state of the whole job: it has ended when every picture has, and succeeded only with all of them."""
    states = {part.state for part in parts}
    if all(part.ended for part in parts):
        for final in ("failed", "expired", "canceled"):
            if final in states:
                return final
        return "succeeded"
    begun = any(part.ended or part.state == "running" for part in parts)
    return "running" if begun else "queued"


def summary(job: str, kind: Kind, parts: Sequence[Shot], **more: Any) -> dict[str, Any]:
    """Describe a job as plain data, for ``--json``."""
    rows = [
        {
            "name": part.name,
            "label": part.label,
            "state": part.state,
            "fraction": round(part.fraction, 3),
            "seed": part.seed,
            "job": part.jobs[-1] if part.jobs else None,
            "attempts": len(part.jobs),
            "path": str(part.path) if part.path else None,
            "error": part.error.to_data() if part.error else None,
        }
        for part in parts
    ]
    return {"job": job, "kind": kind, "state": state_of_parts(parts), "progress": asdict(progress_of(parts)), "parts": rows, **more}


def reference(data: Mapping[str, Any] | None) -> str:
    """Describe which picture a job began with."""
    if data is None:
        return "no reference picture"
    return str(data.get("origin") or f"a picture of {data['bytes']} bytes, sha256 {str(data['sha256'])[:16]}…")
