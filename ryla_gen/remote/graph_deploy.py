"""Deploy a locked graph: check, ask, build its app, bring its models, fix their hashes in the lock, keep it. Must not print."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import NotAuthorizedError, PlainData
from ..locks.graph_lock import SUFFIX, GraphLock, lock_text
from ..locks.kept import accept, is_accepted, keep_lock, sources_of, write_whole
from ..locks.lock_reading import read_graph_lock
from ..locks.model_places import with_hashes
from ..locks.model_rows import place_of
from ..names import HUGGINGFACE_SECRET
from ..settings import Settings
from ..workflows.locked import workflow_of
from ..workflows.registry import check_graph_name, locks_folder
from . import admin
from .deploy import DeployChanges, deploy_module
from .deployed_tags import graph_tags
from .graph_config import deployed_graph

MODULE = "ryla_gen.remote.graph_app"
"""The module that Modal's own command deploys."""
LOCK_VARIABLE = "RYLA_GRAPH_LOCK"
"""Tells that module which lock it is: the path of its file where it is deployed, the name of its file in a container."""


@dataclass(frozen=True, slots=True)
class DeployedGraph:
    """A deploy of a locked graph that worked, with its models on the volume."""

    app: str
    lock: GraphLock
    path: Path
    """Where the lock is kept."""
    fixed: tuple[str, ...]
    """Models whose hash was fixed by this download, and written into the lock."""
    report: PlainData
    """What was done for each model."""
    seconds: float
    url: str | None
    """The app's page at Modal."""


@dataclass(frozen=True, slots=True)
class DeployReports:
    """What a deploy tells and asks while it runs."""

    confirm: Callable[[list[str]], None]
    """Called with the repositories and addresses of a lock that nobody agreed to yet; raises where the person says no."""
    line: Callable[[str], None]
    """Called with each line of Modal's own progress."""
    progress: Callable[[PlainData], None] | None = None
    """Called with the progress of the models."""


def deploy_lock(path: Path, reports: DeployReports, changes: DeployChanges | None = None) -> DeployedGraph:
    """Deploy the app of a lock, and bring its models onto the volume. Only when all of it worked, the lock is kept.

    Args:
        path: the lock's file; hashes that are fixed are written into it.
        reports: what is told and asked.
        changes: in what the deploy differs from the settings.

    Raises:
        LockOpenError: the lock has open questions.
        InvalidInputError: it is no lock that can be used, or a setting does not fit.
        NotAuthorizedError: there is no token for Modal, or none for a gated model.
        HashMismatchError: the lock was edited, or a model is not the one that was locked.
        NotDeployedError: the deploy failed.
        RylaGenError: a model could not be brought.
    """
    began, lock = time.monotonic(), read_graph_lock(path)
    variables = (changes or DeployChanges()).graph_variables(lock.name)
    settings = Settings.load({**os.environ, **variables})
    lock.require_closed()
    check_graph_name(lock.python_name)
    workflow_of(lock)  # refuses inputs whose names are taken
    deployed_graph(lock, settings)  # refuses settings that do not fit
    asyncio.run(_check_access(lock, settings))
    text = path.read_text(encoding="utf-8")
    if not is_accepted(text, settings.home):
        reports.confirm(sources_of(lock))
        accept(text, settings.home)
    told = {**variables, LOCK_VARIABLE: str(path.resolve())}
    url = deploy_module(MODULE, graph_tags(lock.image.release)[1], told, settings, reports.line)
    report = asyncio.run(sync_lock(lock, settings, reports.progress))
    fixed = with_hashes(lock, report["hashes"])
    if fixed != lock:
        text = lock_text(fixed)
        write_whole(path, text)
        accept(text, settings.home)
    folder = locks_folder()
    keep_lock(text, path.with_name(lock.image.python.file).read_text(encoding="utf-8"), folder)
    new = tuple(item.label for item, before in zip(fixed.models, lock.models, strict=True) if item != before)
    return DeployedGraph(lock.app, fixed, folder / f"{lock.name}{SUFFIX}", new, report, time.monotonic() - began, url)


async def sync_lock(lock: GraphLock, settings: Settings, progress: Callable[[PlainData], None] | None = None) -> PlainData:
    """Bring the models of a deployed lock onto the volume; the report has the hash of each under ``hashes``.

    Raises:
        RylaGenError: a model could not be brought, or the app cannot be asked.
    """
    return await admin.weights(replace(settings, modal_app=lock.app), "sync", [lock.python_name], progress=progress)


async def _check_access(lock: GraphLock, settings: Settings) -> None:
    """Refuse what would fail after minutes of building: no token for Modal, or none for a gated model of Hugging Face."""
    await admin.require_workspace(settings)
    gated = [item for item in lock.models if item.needed and item.gated and "://" not in place_of(item.url)[0]]
    if gated and not await admin.has_secret(settings):
        pages = ", ".join(dict.fromkeys(f"https://huggingface.co/{place_of(item.url)[0]}" for item in gated))
        text = f"{gated[0].label} is gated, and there is no secret {HUGGINGFACE_SECRET!r} with a token on Modal."
        hint = f"Accept the licence at {pages}, then: modal secret create {HUGGINGFACE_SECRET} HF_TOKEN=hf_…"
        raise NotAuthorizedError(text, hint, {"file": gated[0].file, "folder": gated[0].folder})
