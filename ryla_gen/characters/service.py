"""Run character jobs in async code: submit, look, retry, cancel, list. Knows no workflow's graph and no command."""

from __future__ import annotations

import asyncio
import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..client import AsyncClient
from ..client.requests import check_batch, references_of
from ..contract import new_job_id
from ..errors import InvalidInputError, error_from_data
from ..events import now
from ..workflows.base import DRAWN_SEED_LIMIT
from . import requests
from .base import MOST_PICTURES, Angle, CharacterPlan, Kind, Shot, chosen_angles
from .job import AsyncCharacterJob
from .recipes import BaseRecipe, Recipe, SheetRecipe, Wanted, choose_base, choose_sheet, face_recipe
from .store import JobFolder, find, ids

if TYPE_CHECKING:
    from ..forgetting.base import Forgotten

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
    user: str | None = None

    @property
    def wanted(self) -> Wanted:
        """What of it decides the recipe, where none is named."""
        return Wanted(self.nsfw, frozenset(self.fields or ()))


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
        recipe: BaseRecipe | None = None,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        user: str | None = None,
    ) -> AsyncCharacterJob:
        """Make pictures of a new character, to choose one from.

        Args:
            prompt: what the character looks like.
            nsfw: use the checkpoint that ``characters.nsfw_checkpoint`` names; changes nothing else.
            seed: seed of the first picture, the others follow by one; drawn when absent.
            count: pictures, 1 to 16.
            recipe: ``z_image`` (Apache-2.0) or ``flux_dev`` (non-commercial). When absent ``z_image``, or ``flux_dev`` where
                ``nsfw``, the setting ``characters.checkpoint`` or one of ``fields`` asks for what it alone has.
            fields: further fields of the recipe's workflow, such as width and steps.
            tags: words under which the job is found again.
            user: the user of your app for whom it runs; each picture counts as one job of that user.

        Raises:
            InvalidInputError: a value or a field does not fit the recipe, or no checkpoint is configured for ``nsfw``.
            BudgetExceededError: a picture, or all of them, would cost more than may be spent; nothing was started.
            BackendError: the backend refused; nothing was started.

        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_PICTURES:
            raise InvalidInputError(f"count must be 1 to {MOST_PICTURES}, not {count!r}.", "Leave it out to make 4.")
        asked = _Asked("base", nsfw, seed, fields, tags, user)
        first = _first(seed)
        numbered = enumerate(requests.seeds(first, count), start=1)
        parts = [_part(f"base-{number}", f"{number} · seed {value}", prompt, value) for number, value in numbered]
        chosen = choose_base(recipe, asked.wanted, self._client.settings)
        return await self._submit(asked, chosen, first, parts)

    async def submit_face_swap(
        self,
        base_image: Any,
        prompt: str,
        nsfw: bool = False,
        seed: int | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        user: str | None = None,
    ) -> AsyncCharacterJob:
        """Make a new picture with the face of another, by the workflow that ``characters.face_workflow`` names.

        Args:
            base_image: the face: path, URL, bytes or PIL image. It is kept nowhere; see ``docs/characters.md``.
            prompt: the new picture.
            nsfw: use the checkpoint configured for it; changes nothing else.
            seed: seed of the picture; drawn when absent.
            fields: further fields of the face workflow.
            tags: words under which the job is found again.
            user: the user of your app for whom it runs; each picture counts as one job of that user.

        Raises:
            InvalidInputError: a value does not fit, or no checkpoint is configured for ``nsfw``.
            BudgetExceededError: it would cost more than may be spent; nothing was started.
            BackendError: the backend refused; nothing was started.

        """
        asked = _Asked("swap", nsfw, seed, fields, tags, user)
        first = _first(seed)
        recipe = face_recipe(self._client.settings)
        return await self._submit(asked, recipe, first, [_part("swap", "Face swap", prompt, first)], base_image)

    async def submit_character_sheet(
        self,
        base_image: Any,
        nsfw: bool = False,
        angles: Sequence[str | Angle] | None = None,
        *,
        recipe: SheetRecipe | None = None,
        prompt: str = "",
        seed: int | None = None,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        user: str | None = None,
    ) -> AsyncCharacterJob:
        """Make one picture per angle of the person in another, and a labelled contact sheet of all of them.

        Args:
            base_image: the person: path, URL, bytes or PIL image. It is kept nowhere; see ``docs/characters.md``.
            nsfw: use the checkpoint configured for it; changes nothing else.
            angles: names from ``ANGLES``, or your own ``Angle``; all of ``ANGLES`` when absent.
            recipe: ``qwen_edit`` (Apache-2.0) and ``kontext`` (non-commercial) turn the person of the base picture;
                ``flux_pulid`` and ``instantid`` (non-commercial) take the face alone, and the rest from ``prompt``. When absent
                ``qwen_edit``, or the face workflow where it is set, or where ``nsfw``, the setting ``characters.checkpoint`` or
                one of ``fields`` asks for what it alone has.
            prompt: hair, clothes and whatever else is the same in every picture.
            seed: seed of every picture, so that they differ by the angle alone; drawn when absent.
            fields: further fields of the recipe's workflow.
            tags: words under which the job is found again.
            user: the user of your app for whom it runs; each picture counts as one job of that user.

        Raises:
            InvalidInputError: a value or a field does not fit the recipe, or no checkpoint is configured for ``nsfw``.
            BudgetExceededError: a picture, or all of them, would cost more than may be spent; nothing was started.
            BackendError: the backend refused; nothing was started.

        """
        asked = _Asked("sheet", nsfw, seed, fields, tags, user)
        first = _first(seed)
        views = chosen_angles(angles)
        chosen = choose_sheet(recipe, asked.wanted, self._client.settings)
        parts = [_part(angle.name, angle.label, requests.sheet_prompt(chosen, angle, prompt), first) for angle in views]
        return await self._submit(asked, chosen, first, parts, base_image)

    async def get(self, job_id: str) -> AsyncCharacterJob:
        """Find a job of any process of this machine, and follow what of it is under way.

        Sends nothing, and spends nothing; another process may work on the job meanwhile. A picture whose backend cannot be asked
        is in its last known state, with the error beside it.

        Args:
            job_id: the job's id, or the beginning of it.

        Raises:
            JobNotFoundError: there is no such job.

        """
        folder = find(self._client.settings.home, job_id)
        job = AsyncCharacterJob(self._client, folder, folder.read())
        await job.attach()
        return job

    async def status(self, job_id: str, *, base_image: Any = None) -> AsyncCharacterJob:
        """Do what :meth:`resume` does, by its name until 0.4."""
        warnings.warn("Characters.status() is now resume() and ends with 0.4; get() only looks.", DeprecationWarning, stacklevel=2)
        return await self.resume(job_id, base_image=base_image)

    async def resume(self, job_id: str, *, base_image: Any = None) -> AsyncCharacterJob:
        """Take a job of any process of this machine up where it was left.

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
            base_image: as for :meth:`resume`.

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

    async def forget(
        self, name: str, *, folders: Iterable[str | PathLike[str]] = (), servers: bool = True, dry_run: bool = False
    ) -> Forgotten:
        """Erase a character: its jobs with their pictures, and the LoRA of that id wherever the configured backends store it.

        Its jobs are those with the tag ``character:NAME``, and those without such a tag that ran with the LoRA of that id. That
        there is none is no error.

        Args:
            name: of the character.
            folders: folders of results besides ``output_dir`` in which their files may be erased.
            servers: whether the servers on which they ran are asked to erase what they have.
            dry_run: only look what would be erased.

        Raises:
            InvalidInputError: one of the jobs has not ended.
            RylaGenError: a server does not answer, or something cannot be erased; run it again.

        """
        records = self._client.history.list(character=name, limit=None)
        jobs = self._client.jobs
        return await jobs.forget_records(records, lora=name, folders=folders, servers=servers, dry_run=dry_run)

    async def _submit(
        self, asked: _Asked, recipe: Recipe, seed: int, parts: Sequence[Shot], base_image: Any = None
    ) -> AsyncCharacterJob:
        settings = self._client.settings
        fields = requests.checked_fields(recipe, asked.fields)
        fields |= requests.checkpoint_fields(settings, recipe, nsfw=asked.nsfw)
        data, described = (
            (None, None) if asked.kind == "base" else await requests.read_base_image(base_image, references_of(settings))
        )
        backend = settings.backend_names[0]
        tags = list(dict.fromkeys(asked.tags))
        plan = CharacterPlan(
            new_job_id(), asked.kind, backend, recipe.workflow, asked.nsfw, seed, now(), fields, described, tags, list(parts)
        )
        # Errors of the request, and of the budget, are raised before anything is written or sent.
        history, user = self._client.history, asked.user
        check_batch(history, settings, [requests.request(plan, part, data) for part in parts], "pictures", user=user)
        stored = history.stored_user(user, hashed=settings.users_hash) if user is not None else None
        folder = JobFolder(settings.home, plan.id)
        folder.make(plan)
        picture = described and {"sha256": described["sha256"], "bytes": described["bytes"]}
        inputs = {"prompt": parts[0].prompt, "pictures": [part.name for part in parts], "base_image": picture, **fields}
        name = f"character_{asked.kind}"
        history.record(plan.id, backend=backend, workflow=name, inputs=inputs, seed=seed, tags=tags, user=stored)
        job = AsyncCharacterJob(self._client, folder, plan, data)
        try:
            await job.start()
        except asyncio.CancelledError:
            await asyncio.shield(job.cancel())  # some pictures are sent already, and the caller does not have the job
            raise
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
