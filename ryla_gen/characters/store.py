"""Store a character job between processes: a folder with its plan and the pictures that are there. Sends nothing.

``<home>/characters/<job id>/``: ``job.json``, one file per picture, ``sheet.png``. A reference picture is never kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from filelock import Timeout

from .. import media
from ..errors import InvalidInputError, JobNotFoundError, StorageFailedError
from ..names import CHARACTERS_FOLDER
from ..support.file_locks import file_lock
from .base import CharacterPlan, Shot

FOLDER = CHARACTERS_FOLDER
PLAN = "job.json"
LOCK = ".lock"
OWNER = ".owner"
"""Id of the process that holds the lock. In a file of its own because a process that waits for a lock empties the lock's file."""
SHEET = "sheet.png"
LOOK_SECONDS = 0.05
"""Between two looks whether another process has let go of a job."""
LONGEST_HOLD = 120.0
"""Seconds after which a process that does not let go counts as stuck: handing in sixteen pictures takes a few."""


class JobFolder:
    """The folder of one job.

    Args:
        home: RYLA_GEN_HOME.
        job: the job's uuid4.

    """

    def __init__(self, home: Path, job: str) -> None:
        self.path = home / FOLDER / job

    def make(self, plan: CharacterPlan) -> None:
        """Make the folder, for its owner alone, and write the plan.

        Raises:
            StorageFailedError: it cannot be written.

        """
        try:
            self.path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise StorageFailedError(f"{self.path} cannot be made: {error.strerror or error}.") from None
        self.write(plan)

    def write(self, plan: CharacterPlan) -> None:
        """Write the plan, whole or not at all.

        Raises:
            StorageFailedError: it cannot be written.

        """
        text = json.dumps(plan.to_data(), indent=1)
        media.save_atomically(self.path / PLAN, text.encode(), overwrite=True)

    def read(self) -> CharacterPlan:
        """Read the plan, and see which pictures are there.

        Raises:
            JobNotFoundError: there is no such job.
            StorageFailedError: it cannot be read.

        """
        file = self.path / PLAN
        try:
            plan = CharacterPlan.from_data(json.loads(file.read_text(encoding="utf-8")), file)
        except FileNotFoundError:
            raise JobNotFoundError(
                f"There is no character job {self.path.name}.", "See them all: ryla-gen character list"
            ) from None
        except (ValueError, RecursionError):
            raise StorageFailedError(f"{file} is damaged.", "Submit the job again, and remove that folder.") from None
        except OSError as error:
            raise StorageFailedError(f"{file} cannot be read: {error.strerror or error}.") from None
        for part in plan.parts:
            self.refresh(part)
        return plan

    def refresh(self, part: Shot) -> None:
        """Check whether a picture is on the disk, and add it to the plan."""
        found = sorted(self.path.glob(f"{part.name}.*"))
        if found:
            part.state, part.path, part.fraction, part.error = "succeeded", found[0], 1.0, None

    def keep(self, part: Shot, data: bytes, suffix: str) -> None:
        """Save a picture, whole or not at all.

        Raises:
            StorageFailedError: it cannot be written.

        """
        media.save_atomically(self.path / f"{part.name}{suffix}", data, overwrite=True)
        self.refresh(part)

    @property
    def sheet(self) -> Path:
        """The contact sheet's file, there or not."""
        return self.path / SHEET

    @asynccontextmanager
    async def lock(self, patience: float = LONGEST_HOLD) -> AsyncIterator[None]:
        """Keep other processes from sending the same pictures meanwhile. The system releases the lock when a process dies.

        Args:
            patience: seconds to wait for another process.

        Raises:
            StorageFailedError: another process does not let go.

        """
        # Not bound to a thread: the lock is taken and released on whichever thread the event loop runs.
        held = file_lock(self.path / LOCK, thread_local=False)
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                # Never waits inside: a blocking lock would stop the event loop, and all other jobs with it.
                held.acquire(timeout=0)
                break
            except Timeout:
                if asyncio.get_running_loop().time() > deadline:
                    raise self._busy(patience) from None
                await asyncio.sleep(LOOK_SECONDS)
        try:
            with suppress(OSError):  # only for people: no code reads it
                (self.path / OWNER).write_text(str(os.getpid()))
            yield
        finally:
            held.release()

    def _busy(self, patience: float) -> StorageFailedError:
        try:
            owner = f"process {int((self.path / OWNER).read_text())}"
        except (OSError, ValueError):
            owner = "another process"
        text = f"The job {self.path.name} is in use by {owner}, which has not released it for {patience:g} s."
        return StorageFailedError(text, "Wait until it has submitted its pictures, then try again; or end it if it hangs.")


def find(home: Path, job: str) -> JobFolder:
    """Find a job's folder by its id or the beginning of it.

    Raises:
        JobNotFoundError: there is none.
        InvalidInputError: several begin so.

    """
    sought = str(job).strip().lower()
    folders = [path for path in ids(home) if path.startswith(sought)] if sought else []
    if sought in folders:
        return JobFolder(home, sought)
    if len(folders) > 1:
        raise InvalidInputError(
            f"Several character jobs begin with {job!r}: {', '.join(folders[:3])}.", "Give more characters of the id."
        )
    if not folders:
        raise JobNotFoundError(f"There is no character job {job!r} on this machine.", "See them all: ryla-gen character list")
    return JobFolder(home, folders[0])


def ids(home: Path) -> list[str]:
    """List the ids of every job on this machine."""
    try:
        return sorted(path.name for path in (home / FOLDER).iterdir() if _is_id(path.name))
    except OSError:
        return []


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
