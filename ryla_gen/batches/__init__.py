"""Run many workflows into one folder, resumable: what is done is recorded beside the results and is not done again.

Must not know the file format of a list, and prints nothing: takes checked rows, returns one outcome for each.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from .. import media
from ..client import IN_FLIGHT, AsyncClient
from ..client.job_base import AsyncJob
from ..contract import new_job_id
from ..delivery.destinations import destination_of, read_bucket
from ..delivery.uploads import bring, require_uploads, waits
from ..errors import BudgetExceededError, JobNotFoundError, PlainData, RylaGenError, StorageFailedError, TooManyRequestsError
from ..events import FINAL_STATES
from ..history import Record
from ..results import Generation, Output
from ..support.cancels import end_all, noted
from .base import Entry, Outcome, Problem, Row, RowState, below, chosen_name, is_gone, left_open, numbered_path
from .checking import check_rows
from .manifest import MANIFEST, Manifest

__all__ = ["MANIFEST", "Batch", "Entry", "Manifest", "Outcome", "Problem", "Row", "RowState", "check_rows"]

HOPELESS = frozenset({"backend_not_configured", "backend_unreachable", "not_authorized", "not_deployed", "contract_mismatch"})
"""Errors that every further row would meet too: nothing more is sent after one."""


class Batch:
    """Runs rows, a few at a time.

    Args:
        client: what runs them.
        manifest: the folder's memory, held by the caller.
        in_flight: how many may be under way at once.
        overwrite: whether files that are not the batch's own may be replaced.
        timeout: seconds each graph may run, instead of its workflow's own limit.
        tags: words under which the jobs are found again.
        user: the user of the app for whom the jobs run.
        output_to: the bucket that the files go to instead of into the folder; what cannot be uploaded is saved there.
        webhook: https address that is told of the end of each job, instead of the one of the settings.

    Raises:
        InvalidInputError: ``output_to`` is no bucket.
    """

    def __init__(
        self,
        client: AsyncClient,
        manifest: Manifest,
        *,
        in_flight: int = IN_FLIGHT,
        overwrite: bool = False,
        timeout: float | None = None,
        tags: Sequence[str] = (),
        user: str | None = None,
        output_to: str | None = None,
        webhook: str | None = None,
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._in_flight = in_flight
        self._overwrite = overwrite
        self._timeout = timeout
        self._tags, self._user = tuple(tags), user
        self._output_to, self._webhook = read_bucket(output_to), webhook
        self._under_way, self._freed = 0, asyncio.Event()
        self.stopped: RylaGenError | None = None
        """Why nothing more was sent, when an error came that every further row would meet."""

    async def run(self, rows: Iterable[Row]) -> AsyncIterator[Outcome]:
        """Run the rows and yield each outcome as it comes. Leaving early cancels what runs and keeps what is done.

        Raises:
            StorageFailedError: results cannot be kept, so that going on would waste them; the row can be fetched by the next run.
        """
        source, pending = iter(rows), set[asyncio.Task[Outcome]]()
        try:
            while True:
                while self.stopped is None and len(pending) < self._in_flight and (row := next(source, None)) is not None:
                    pending.add(asyncio.create_task(self._one(row), name=f"ryla-gen batch line {row.line}"))
                if not pending:
                    return
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            await end_all(pending)

    def left_here(self, key: str) -> bool:
        """Whether a row is done, and its files lie in the folder although they should be in the bucket."""
        done = self._manifest.finished(key)
        return self._output_to is not None and done is not None and any(waits(_output(item)) for item in done["files"])

    async def _upload(self, row: Row, done: PlainData) -> Outcome:
        """Bring the files of a finished row from the folder to the bucket; they stay in the folder too."""
        assert self._output_to is not None
        require_uploads(self._output_to)
        folder = self._manifest.folder
        try:
            files = [_output(item, await asyncio.to_thread((folder / item["name"]).read_bytes)) for item in done["files"]]
        except OSError as error:
            raise StorageFailedError(f"A file of line {row.line} cannot be read: {error}.") from None
        outputs, notices = await bring(files, destination_of(self._output_to), done["job"])
        addresses = [*done.get("uploads", []), *(item.url for item in outputs if item.url is not None)]
        left = [item for item, output in zip(done["files"], outputs, strict=True) if output.url is None]
        kept = {name: value for name, value in done.items() if name not in ("key", "state", "at")}
        self._manifest.add(row.key, "done", **{**kept, "files": left, "uploads": addresses})
        return Outcome(row, "succeeded", done["job"], tuple(item["name"] for item in left), tuple(addresses), notices)

    async def _one(self, row: Row) -> Outcome:
        try:
            if (done := self._manifest.finished(row.key)) is not None:
                return await self._upload(row, done)
            generation = await self._generation(row)
        except RylaGenError as error:
            if error.code in HOPELESS:
                self.stopped = error
            self._free()
            self._manifest.add(row.key, "failed", line=row.line, error=error.to_data(), open=left_open(error))
            return Outcome(row, "failed", error=error)
        self._free()
        # Shielded: a result that is paid for is saved even if the batch is stopped now.
        return await asyncio.shield(self._keep(row, generation))

    async def _generation(self, row: Row) -> Generation:
        job = self._manifest.unfinished_job(row.key)
        if job is not None:
            # The process that sent it was killed or cut off, but where it ran it may have gone on: what is paid for is fetched.
            try:
                self._known_record(row, job)
                return await self._follow(row, job, self._client.jobs.get(job))
            except RylaGenError as error:
                if not is_gone(error):
                    raise
                if not isinstance(error, JobNotFoundError):
                    job = None  # the job ended; only one that never arrived is sent again under its own id
        if job is None or self._known_record(row, job).state in FINAL_STATES:
            job = new_job_id()
        # The id and what it is for are kept before anything is spent: however this run ends, the next one looks for it.
        self._manifest.add(row.key, "sent", job=job, line=row.line)
        return await self._send(row, job)

    async def _send(self, row: Row, job: str) -> Generation:
        """Run a row; where its user has too many jobs for now, or other rows hold the money for it, wait and try again."""
        while True:
            coming = self._client.submit(
                row.workflow,
                timeout=self._timeout,
                tags=self._tags,
                job=job,
                user=self._user,
                output_to=self._output_to,
                webhook=self._webhook,
            )
            wait: Awaitable[object]
            self._under_way += 1
            try:
                return await self._follow(row, job, coming)
            except TooManyRequestsError as error:
                if not error.details.get("limit"):  # a user who may run nothing would wait for ever
                    raise
                wait = asyncio.sleep(float(error.details["retry_after"]))
            except BudgetExceededError as error:
                if not (error.details.get("held_usd") and self._under_way > 1):
                    raise
                wait = self._freed.wait()  # a row that ends holds no more than it cost
            finally:
                self._under_way -= 1
            await wait

    def _free(self) -> None:
        """Let the rows that wait for money look again."""
        self._freed.set()
        self._freed = asyncio.Event()

    def _known_record(self, row: Row, job: str) -> Record:
        """Return the journal's record of a job; a lost one is written again, so that its backend is asked for the job."""
        history, name = self._client.history, self._client.settings.backend_names[0]
        if history.get(job) is None:
            hashed = self._client.settings.users_hash
            user = history.stored_user(self._user, hashed=hashed) if self._user is not None else None
            inputs = row.workflow.described()
            history.record(job, backend=name, workflow=row.workflow.name, inputs=inputs, tags=self._tags, user=user)
            history.update(job, output_to=self._output_to)
        found = history.get(job)
        if found is None:
            text = f"The journal {history.path} cannot be used, so the outcome of the job {job} is not known."
            raise StorageFailedError(text, "Check that the file can be read and written, then run the same command again.")
        return found

    async def _follow(self, row: Row, job: str, coming: Coroutine[Any, Any, AsyncJob]) -> Generation:
        try:
            found = await coming
            try:
                return await found.result()
            except asyncio.CancelledError:
                # Shielded: a second Ctrl-C must not leave the job running.
                await asyncio.shield(found.cancel())
                raise
        except asyncio.CancelledError as error:
            with noted(error):
                await asyncio.shield(self._client.jobs.stop_unfollowed(job))  # of an earlier run, not followed yet
            self._manifest.add(row.key, "canceled", job=job, line=row.line)
            raise

    async def _keep(self, row: Row, generation: Generation) -> Outcome:
        folder = self._manifest.folder
        held = [item for item in generation.outputs if item.url is None]
        paths = self._places(row, held)
        names = [below(path, folder) for path in paths]
        told = {"line": row.line, "job": generation.job}
        # Claimed before they are written: after a crash in between, the next run knows whose they are.
        self._manifest.add(row.key, "saving", **told, claims=names)
        for path, item in zip(paths, held, strict=True):
            await asyncio.to_thread(media.save_atomically, path, item.data, overwrite=True)
        files = [
            {"name": name, "bytes": len(item.data), "media_type": item.media_type} for name, item in zip(names, held, strict=True)
        ]
        addresses = [item.url for item in generation.outputs if item.url is not None]
        cost, seconds = generation.cost.total_usd, generation.timings.total
        # Written after the files: "done" promises that they are there with these sizes.
        made = {"seed": generation.seed, "cost_usd": cost, "seconds": seconds, "files": files, "uploads": addresses}
        self._manifest.add(row.key, "done", **told, **made)
        self._client.history.saved(generation.job, paths)
        return Outcome(
            row,
            "succeeded",
            generation.job,
            tuple(names),
            tuple(addresses),
            generation.warnings,
            seed=generation.seed,
            cost_usd=cost,
            seconds=seconds,
        )

    def _places(self, row: Row, outputs: Sequence[Output]) -> list[Path]:
        """Return the row's own file names; where one was taken meanwhile, names that only this row can have."""
        folder, count = self._manifest.folder, len(outputs)
        suffixes = [item.suffix for item in outputs]
        own = [numbered_path(folder / row.target, index, count, suffix) for index, suffix in enumerate(suffixes)]
        chosen = chosen_name(row.line, row.workflow, row.key)
        strange = [path for path in own if os.path.lexists(path) and not self._manifest.claims(row.key, below(path, folder))]
        if self._overwrite or not strange or row.target == chosen:
            return own
        return [numbered_path(folder / chosen, index, count, suffix) for index, suffix in enumerate(suffixes)]


def _output(item: PlainData, data: bytes = b"") -> Output:
    """Return a file of the manifest as the output that it was."""
    media_type = item.get("media_type") or mimetypes.guess_type(item["name"])[0] or "application/octet-stream"
    return Output("text" if media_type.startswith("text/") else "file", media_type, PurePosixPath(item["name"]).name, data)
