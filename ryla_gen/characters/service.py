"""Run character jobs in async code: submit, look, retry, cancel, list. Knows no workflow's graph and no command."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..client import AsyncClient
from ..client.requests import references_of
from ..contract import new_job_id
from ..errors import InvalidInputError, error_from_data
from ..events import now
from ..workflows.base import DRAWN_SEED_LIMIT
from . import requests
from .base import MOST_PICTURES, Angle, CharacterPlan, Kind, Shot, chosen_angles
from .job import AsyncCharacterJob
from .store import JobFolder, find, ids

COUNT = 4
"""Base images when no number is given: enough to choose from."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The request fields that every kind of job shares."""

    kind: Kind
    nsfw: bool
    seed: int | None
    fields: Mapping[str, Any] | None
    tags: Iterable[str]


class AsyncCharacters:
    """Makes characters: base images, face swaps and character sheets, each one job of several pictures.

    Args:
        client: runs the single pictures; closing it lets go of every job.

    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def submit_base_images(
        self,
        prompt: str,
        nsfw: bool = False,
        seed: int | None = None,
        count: int = COUNT,
        *,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> AsyncCharacterJob:
        """Make pictures of a new character with FLUX.1 dev, to choose one from.

        Args:
            prompt: what the character looks like.
            nsfw: use the checkpoint that ``characters.nsfw_checkpoint`` names; changes nothing else.
            seed: seed of the first picture, the others follow by one; drawn when absent.
            count: pictures, 1 to 16.
            fields: further fields of ``flux_dev``, such as width and steps.
            tags: words under which the job is found again.

        Raises:
            InvalidInputError: a value does not fit, or no checkpoint is configured for ``nsfw``.
            BackendError: the backend refused; nothing was started.

        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_PICTURES:
            raise InvalidInputError(f"count must be 1 to {MOST_PICTURES}, not {count!r}.", "Leave it out to make 4.")
        asked = _Asked("base", nsfw, seed, fields, tags)
        first = _first(seed)
        numbered = enumerate(requests.seeds(first, count), start=1)
        parts = [_part(f"base-{number}", f"{number} · seed {value}", prompt, value) for number, value in numbered]
        return await self._submit(asked, requests.BASE_WORKFLOW, first, parts)

    async def submit_face_swap(
        self,
        base_image: Any,
        prompt: str,
        nsfw: bool = False,
        seed: int | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> AsyncCharacterJob:
        """Make a new picture with the face of another, by the workflow that ``characters.face_workflow`` names.

        Args:
            base_image: the face: path, URL, bytes or PIL image. It is kept nowhere; see ``docs/characters.md``.
            prompt: the new picture.
            nsfw: use the checkpoint configured for it; changes nothing else.
            seed: seed of the picture; drawn when absent.
            fields: further fields of the face workflow.
            tags: words under which the job is found again.

        Raises:
            InvalidInputError: a value does not fit, or no checkpoint is configured for ``nsfw``.
            BackendError: the backend refused; nothing was started.

        """
        asked = _Asked("swap", nsfw, seed, fields, tags)
        first = _first(seed)
        return await self._submit(asked, self._face_workflow, first, [_part("swap", "Face swap", prompt, first)], base_image)

    async def submit_character_sheet(
        self,
        base_image: Any,
        nsfw: bool = False,
        angles: Sequence[str | Angle] | None = None,
        *,
        prompt: str = "",
        seed: int | None = None,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> AsyncCharacterJob:
        """Make one picture per angle with the face of another, and a labelled contact sheet of all of them.

        Args:
            base_image: the face: path, URL, bytes or PIL image. It is kept nowhere; see ``docs/characters.md``.
            nsfw: use the checkpoint configured for it; changes nothing else.
            angles: names from ``ANGLES``, or your own ``Angle``; all of ``ANGLES`` when absent.
            prompt: hair, clothes and whatever else is the same in every picture.
            seed: seed of every picture, so that they differ by the angle alone; drawn when absent.
            fields: further fields of the face workflow.
            tags: words under which the job is found again.

        Raises:
            InvalidInputError: a value does not fit, or no checkpoint is configured for ``nsfw``.
            BackendError: the backend refused; nothing was started.

        """
        asked = _Asked("sheet", nsfw, seed, fields, tags)
        first = _first(seed)
        views = chosen_angles(angles)
        parts = [_part(angle.name, angle.label, requests.sheet_prompt(angle.prompt, prompt), first) for angle in views]
        return await self._submit(asked, self._face_workflow, first, parts, base_image)

    async def status(self, job_id: str, *, base_image: Any = None) -> AsyncCharacterJob:
        """Find a job of any process of this machine again, and take it up where it was left.

        What was never sent is sent now, what a machine's fault cost is tried once more, and what is ready is fetched.

        Args:
            job_id: the job's id, or the beginning of it.
            base_image: the reference picture, needed only when something must be sent and it first came as bytes.

        Raises:
            JobNotFoundError: there is no such job.
            InvalidInputError: the reference picture must be given again.
            BackendError: the backend cannot be asked.

        """
        return await self._open(job_id, again=True, source=base_image)

    async def retry(self, job_id: str, *, only: Sequence[str] | None = None, base_image: Any = None) -> AsyncCharacterJob:
        """Make the pictures that did not come once more, whatever the reason was; the others stay.

        Args:
            job_id: the job's id, or the beginning of it.
            only: names of the pictures; all that did not come when absent.
            base_image: as for :meth:`status`.

        Raises:
            InvalidInputError: a picture of that name is not part of the job, or is there already.

        """
        plan = find(self._client.settings.home, job_id).read()
        lacking = [part.name for part in plan.parts if part.state != "succeeded"]
        wrong = [name for name in only or () if name not in lacking]
        if wrong:
            text = f"{', '.join(wrong)} cannot be retried in the job {plan.id}."
            raise InvalidInputError(text, f"Missing pictures: {', '.join(lacking) or 'none'}.")
        return await self._open(plan.id, only=lacking if only is None else only, source=base_image)

    async def cancel(self, job_id: str) -> AsyncCharacterJob:
        """Stop a job of any process: what has not ended is canceled, what is there stays.

        Raises:
            JobNotFoundError: there is no such job.
            BackendError: the backend cannot be asked.

        """
        job = await self._open(job_id, send=False)
        await job.cancel()
        return job

    def list(self) -> list[CharacterPlan]:
        """List every job of this machine, the newest first, as far as its folder and the journal tell; asks no backend."""
        home = self._client.settings.home
        plans = [JobFolder(home, job).read() for job in ids(home)]
        for plan in plans:
            self._recall(plan)
        return sorted(plans, key=lambda plan: plan.created_at, reverse=True)

    def _recall(self, plan: CharacterPlan) -> None:
        """Update each picture from the journal."""
        for part in plan.parts:
            record = self._client.history.get(part.job)
            if part.state == "succeeded" or record is None:
                continue
            if record.state == "succeeded":  # the picture is made, but not fetched yet
                part.state = "running"
            else:
                part.state = record.state  # type: ignore[assignment]
                part.error = error_from_data(record.error) if record.error else None

    @property
    def _face_workflow(self) -> str:
        return self._client.settings.characters_face_workflow

    async def _submit(
        self, asked: _Asked, workflow: str, seed: int, parts: Sequence[Shot], base_image: Any = None
    ) -> AsyncCharacterJob:
        settings = self._client.settings
        fields = requests.checked_fields(workflow, asked.fields)
        fields |= requests.checkpoint_fields(settings, workflow, nsfw=asked.nsfw)
        data, described = (
            (None, None) if asked.kind == "base" else await requests.read_base_image(base_image, references_of(settings))
        )
        backend = settings.backend_names[0]
        tags = list(dict.fromkeys(asked.tags))
        plan = CharacterPlan(
            new_job_id(), asked.kind, backend, workflow, asked.nsfw, seed, now(), fields, described, tags, list(parts)
        )
        for part in parts:  # errors of the request are raised before anything is written or sent
            requests.request(plan, part, data)
        folder = JobFolder(settings.home, plan.id)
        folder.make(plan)
        picture = described and {"sha256": described["sha256"], "bytes": described["bytes"]}
        inputs = {"prompt": parts[0].prompt, "pictures": [part.name for part in parts], "base_image": picture, **fields}
        name = f"character_{asked.kind}"
        self._client.history.record(plan.id, backend=backend, workflow=name, inputs=inputs, seed=seed, tags=tags)
        job = AsyncCharacterJob(self._client, folder, plan, data)
        await job.start()
        return job

    async def _open(
        self, job_id: str, *, send: bool = True, again: bool = False, only: Sequence[str] | None = None, source: Any = None
    ) -> AsyncCharacterJob:
        folder = find(self._client.settings.home, job_id)
        plan = folder.read()
        job = AsyncCharacterJob(self._client, folder, plan)
        await job.start(send=send, resumed=True, again=again, only=only, source=source)
        return job


def _first(seed: int | None) -> int:
    """Return the seed a job begins with.

    Raises:
        InvalidInputError: it is no seed.

    """
    if seed is None:
        return secrets.randbelow(DRAWN_SEED_LIMIT)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < requests.LARGEST_SEED:
        raise InvalidInputError(
            f"seed must be a whole number from 0 to 2**64 - 1, not {seed!r}.", "Leave it out to use a random one."
        )
    return seed


def _part(name: str, label: str, prompt: str, seed: int) -> Shot:
    return Shot(name, label, prompt, seed, [new_job_id()])
