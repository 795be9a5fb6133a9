"""Run character jobs in synchronous code: drives the async runner on the client's private thread. Must not hold other logic."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..client import Client
from ..events import State
from ..support.loop_thread import LoopThread
from .base import Angle, CharacterPlan, CharacterProgress, Kind, Shot, ShotFile
from .job import AsyncCharacterJob
from .looking import look_at
from .recipes import BaseRecipe, SheetRecipe
from .results import CharacterResult
from .service import COUNT, AsyncCharacters

if TYPE_CHECKING:
    from ..forgetting.base import Forgotten


class CharacterJob:
    """One job of several pictures, for synchronous code. Get one from ``Characters``."""

    def __init__(self, job: AsyncCharacterJob, loop_thread: LoopThread, owner: object) -> None:
        self._job = job
        self._loop_thread = loop_thread
        self._owner = owner  # a client lives as long as one of its jobs is held

    def __repr__(self) -> str:
        return repr(self._job).replace("AsyncCharacterJob", "CharacterJob", 1)

    @property
    def id(self) -> str:
        """The job's id, a uuid4; valid in any process of this machine."""
        return self._job.id

    @property
    def kind(self) -> Kind:
        """``base``, ``swap`` or ``sheet``."""
        return self._job.kind

    @property
    def plan(self) -> CharacterPlan:
        """What it was asked for."""
        return self._job.plan

    @property
    def parts(self) -> tuple[Shot, ...]:
        """Every picture that was asked for, and where each is."""
        return self._job.parts

    @property
    def state(self) -> State:
        """Where the job is; ``failed`` when every picture has ended and one did not come."""
        return self._job.state

    @property
    def progress(self) -> CharacterProgress:
        """How far it is."""
        return self._job.progress

    @property
    def done(self) -> bool:
        """Whether nothing more happens by itself."""
        return self._job.done

    @property
    def pictures(self) -> list[ShotFile]:
        """Every picture that is there already, in order."""
        return self._job.pictures

    def updates(self) -> Iterator[CharacterProgress]:
        """Yield the progress, now and after every change, until the job has ended."""
        return self._loop_thread.iterate(self._job.updates)

    def handed_in(self) -> None:
        """Wait until every picture is with its backend, so that this process may end."""
        self._loop_thread.call(self._job.handed_in())

    def look(self) -> None:
        """Wait until nothing new has been heard for a moment, or the end; see :meth:`AsyncCharacterJob.look`."""
        self._loop_thread.call(look_at(self._job))

    def result(self, timeout: float | None = None) -> CharacterResult:
        """Wait for all pictures; see :meth:`AsyncCharacterJob.result`."""
        return self._loop_thread.call(self._job.result(timeout))

    def cancel(self) -> None:
        """Stop every picture that has not ended; existing ones are kept."""
        self._loop_thread.call(self._job.cancel())


class Characters:
    """Makes characters: base images, face swaps and character sheets, each one job of several pictures.

    Args:
        client: runs the single pictures; closing it lets go of every job.

    """

    def __init__(self, client: Client) -> None:
        self._owner = client
        self._loop_thread = client._loop_thread
        self._runner = AsyncCharacters(client._client)

    def submit_base_images(
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
    ) -> CharacterJob:
        """Make pictures of a new character; see :meth:`AsyncCharacters.submit_base_images`."""
        return self._send(
            lambda: self._runner.submit_base_images(prompt, nsfw, seed, count, recipe=recipe, fields=fields, tags=tags, user=user)
        )

    def submit_face_swap(
        self,
        base_image: Any,
        prompt: str,
        nsfw: bool = False,
        seed: int | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        user: str | None = None,
    ) -> CharacterJob:
        """Make a new picture with the face of another; see :meth:`AsyncCharacters.submit_face_swap`."""
        return self._send(
            lambda: self._runner.submit_face_swap(base_image, prompt, nsfw, seed, fields=fields, tags=tags, user=user)
        )

    def submit_character_sheet(
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
    ) -> CharacterJob:
        """Make one picture per angle, and a contact sheet; see :meth:`AsyncCharacters.submit_character_sheet`."""
        return self._send(
            lambda: self._runner.submit_character_sheet(
                base_image, nsfw, angles, recipe=recipe, prompt=prompt, seed=seed, fields=fields, tags=tags, user=user
            )
        )

    def get(self, job_id: str) -> CharacterJob:
        """Find a job of any process, and follow what of it is under way; see :meth:`AsyncCharacters.get`."""
        return self._wrap(self._loop_thread.call(self._runner.get(job_id)))

    def status(self, job_id: str, *, base_image: Any = None) -> CharacterJob:
        """Do what :meth:`resume` does, by its name until 0.4."""
        warnings.warn("Characters.status() is now resume() and ends with 0.4; get() only looks.", DeprecationWarning, stacklevel=2)
        return self.resume(job_id, base_image=base_image)

    def resume(self, job_id: str, *, base_image: Any = None) -> CharacterJob:
        """Take a job of any process up where it was left; see :meth:`AsyncCharacters.resume`."""
        return self._wrap(self._loop_thread.call(self._runner.resume(job_id, base_image=base_image)))

    def retry(self, job_id: str, *, only: Sequence[str] | None = None, base_image: Any = None) -> CharacterJob:
        """Make the pictures that did not come once more; see :meth:`AsyncCharacters.retry`."""
        return self._wrap(self._loop_thread.call(self._runner.retry(job_id, only=only, base_image=base_image)))

    def cancel(self, job_id: str) -> CharacterJob:
        """Stop a job of any process; see :meth:`AsyncCharacters.cancel`."""
        return self._wrap(self._loop_thread.call(self._runner.cancel(job_id)))

    def list(self) -> list[CharacterPlan]:
        """List every job of this machine, the newest first."""
        return self._runner.list()

    def forget(
        self, name: str, *, folders: Iterable[str | PathLike[str]] = (), servers: bool = True, dry_run: bool = False
    ) -> Forgotten:
        """Erase a character: its jobs, their pictures, its LoRA; see :meth:`AsyncCharacters.forget`."""
        return self._loop_thread.call(self._runner.forget(name, folders=folders, servers=servers, dry_run=dry_run))

    def _send(self, send: Callable[[], Awaitable[AsyncCharacterJob]]) -> CharacterJob:
        return self._wrap(self._owner._sent(send, AsyncCharacterJob.cancel))

    def _wrap(self, job: AsyncCharacterJob) -> CharacterJob:
        return CharacterJob(job, self._loop_thread, self._owner)
