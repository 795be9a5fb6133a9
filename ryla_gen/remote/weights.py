"""Serve the CPU class: download the weights of named workflows onto the volume, verify, list and prune them. Must not need a GPU.

Requests and replies are plain data, like a generation's: ``{"workflows": ["flux_dev"], "variants": false, "job": "…"}`` in,
``{"contract": 2, "ok": true, "report": {…}}`` or the contract's error out. Progress goes to the queue partition of ``job``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Literal

import modal

from .. import contract
from ..errors import InvalidInputError, JobCanceledError, PlainData, RylaGenError, StorageFailedError
from ..events import CONTRACT, now
from ..locks.graph_lock import GraphLock
from ..locks.model_prune import NeededFiles, needed_by_lock
from ..locks.model_sync import check_models, sync_models
from ..models import downloads
from ..models.weights_table import Weights
from ..names import EVENTS_QUEUE, MODELS_VOLUME
from ..version import __version__
from ..workflows.registry import named_class
from .container_paths import Places
from .faults import typed_errors
from .needed_weights import needed_by_workflows
from .publish import Outbox, put_into
from .variants import default_of, variants
from .volume_prune import prune_volume
from .weights_marks import WeightsMarks

log = logging.getLogger("ryla_gen.remote")

Action = Literal["sync", "verify", "status", "needs", "prune"]
Show = Callable[[downloads.SyncProgress], None]


class Keeper:
    """The volume's weights, seen from one CPU container.

    Args:
        places: where the volumes are; read from the environment when absent.
    """

    def __init__(self, places: Places | None = None) -> None:
        self._places = places or Places.from_environment()
        self._volume = modal.Volume.from_name(MODELS_VOLUME, create_if_missing=True)
        self._events = modal.Queue.from_name(EVENTS_QUEUE, create_if_missing=True)
        self._marks = WeightsMarks()

    async def run(self, action: Action, request: PlainData) -> PlainData:
        """Serve one request: the one line behind every method of the class."""
        try:
            with typed_errors("The container failed"):
                reply = await self._reply(action, request)
        except RylaGenError as error:
            reply = contract.error_reply(error)
        return contract.readable_by(request, reply)

    async def _reply(self, action: Action, request: PlainData) -> PlainData:
        contract.check_version(request, theirs="caller")
        work = self._work(action, request)
        job = str(request.get("job") or contract.new_job_id())
        async with self._marked(action, job, request):
            if not await self._reload() and action == "prune":
                text = "The volume's newest state cannot be read while another request writes there. Nothing was removed."
                raise StorageFailedError(text, "Wait until running downloads have ended, and try again.")
            report = await self._with_progress(job, work)
        return {"contract": CONTRACT, "ok": True, "app": __version__, "report": contract.plain(report)}

    def _marked(self, action: Action, job: str, request: PlainData) -> AbstractAsyncContextManager[None]:
        """Return what shows a download to those who would remove files; it must be there before a look at the volume."""
        return self._marks.syncing(job, self._wanted(request)) if action == "sync" else nullcontext()

    def _wanted(self, request: PlainData) -> NeededFiles:
        """Return what a download needs."""
        return NeededFiles(frozenset(row.label for row in requested_files(request)))

    def _needs(self) -> NeededFiles:
        """Return what this app needs on the volume."""
        return needed_by_workflows()

    async def _reload(self) -> bool:
        """Reload the volume, to see what other containers committed meanwhile; return whether that worked."""
        try:
            reload: Any = self._volume.reload  # modal types it without its .aio
            await reload.aio()
        except Exception as error:  # Modal refuses while another request here writes; what it sees then is its own, and newest
            log.info("the volume was not reloaded: %s", error)
            return False
        return True

    def _work(self, action: Action, request: PlainData) -> Callable[[Show], PlainData]:
        """Return what a request asks for, to be called in a thread."""
        if action == "needs":
            return lambda _: {"ok": True, "needs": self._needs().to_data()}
        if action == "prune":
            models, commit = self._places.models, self._volume.commit
            return lambda show: prune_volume(request, models, self._needs(), self._marks, commit=commit, progress=show)
        return self._file_work(action, request)

    def _file_work(self, action: Action, request: PlainData) -> Callable[[Show], PlainData]:
        """Return what a request asks for that is about named files."""
        rows = requested_files(request)
        return lambda show: self._done(action, rows, show)

    def _done(self, action: Action, rows: tuple[Weights, ...], show: Show) -> PlainData:
        """Run the action; called in a thread."""
        models = self._places.models
        if action != "sync":
            found = downloads.verify(rows, models, show) if action == "verify" else downloads.status(rows, models)
            return {"ok": all(item.state == "present" for item in found), "files": [item.to_data() for item in found]}
        report = downloads.sync(rows, models, progress=show, **self._sources())
        report.raise_for_failures()
        return report.to_data()

    def _sources(self) -> dict[str, Any]:
        cache, token = self._places.hub_cache / "hub", os.environ.get("HF_TOKEN") or None
        web = downloads.Web(os.environ.get("CIVITAI_TOKEN") or None)
        return {"token": token, "cache": cache, "commit": self._volume.commit, "web": web}

    async def _with_progress(self, job: str, work: Callable[[Show], PlainData]) -> PlainData:
        loop, outbox, stopped = asyncio.get_running_loop(), Outbox(put_into(self._events, job)), threading.Event()
        numbers = iter(range(2**31))

        def item(progress: downloads.SyncProgress) -> PlainData:
            return {"contract": CONTRACT, "job": job, "seq": next(numbers), "at": now(), "type": "weights", **progress.to_data()}

        def show(progress: downloads.SyncProgress) -> None:
            if stopped.is_set():  # a thread cannot be canceled: it has to notice
                raise JobCanceledError(f"The request {job} was canceled.")
            loop.call_soon_threadsafe(outbox.add, lambda: item(progress), "progress")

        try:
            return await asyncio.to_thread(work, show)
        finally:
            stopped.set()
            await outbox.close()


class LockKeeper(Keeper):
    """The models of one lock on the volume, by content.

    Args:
        lock: the lock.
        places: where the volumes are; read from the environment when absent.
    """

    def __init__(self, lock: GraphLock, places: Places | None = None) -> None:
        super().__init__(places)
        self._lock = lock
        self._needed = [item for item in lock.models if item.needed]

    def _wanted(self, request: PlainData) -> NeededFiles:
        return needed_by_lock(self._lock)

    def _needs(self) -> NeededFiles:
        return super()._needs() | needed_by_lock(self._lock)

    def _file_work(self, action: Action, request: PlainData) -> Callable[[Show], PlainData]:
        models = self._places.models
        if action == "sync":
            return lambda show: sync_models(self._needed, models, progress=show, **self._sources())
        return lambda show: check_models(self._needed, models, show, hashed=action == "verify")


def requested_files(request: Mapping[str, Any]) -> tuple[Weights, ...]:
    """Return the files that a request is about.

    Raises:
        InvalidInputError: it names no workflow, or one that does not exist.
    """
    names = request.get("workflows")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidInputError("workflows must be a list of workflow names.", "See them all: ryla-gen workflows list")
    rows: dict[str, Weights] = {}
    for name in names:
        cls = named_class(name)
        chosen = variants(cls) if request.get("variants") else (default_of(cls),)
        rows |= {row.label: row for workflow in chosen for row in workflow.required_weights()}
    return tuple(rows.values())
