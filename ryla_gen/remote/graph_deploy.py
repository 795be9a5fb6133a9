"""Deploy a locked graph: check, ask, bring its models, fix their hashes in the lock, deploy its app, keep it. Must not print."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import NotAuthorizedError, PlainData, error_from_data
from ..locks.graph_lock import SUFFIX, GraphLock, LockedModel, lock_digest, lock_text
from ..locks.kept import accept, is_accepted, keep_lock, sources_of, write_whole
from ..locks.lock_reading import read_graph_lock
from ..locks.model_places import with_hashes
from ..locks.model_rows import place_of
from ..locks.volume_hints import not_on_volume
from ..models.civitai import is_civitai
from ..names import CIVITAI_SECRET, HUGGINGFACE_SECRET
from ..settings import Settings
from ..support.loop_thread import run_async
from ..workflows.locked import workflow_of
from ..workflows.registry import check_graph_name, locks_folder
from . import admin
from .deploy import DeployChanges, deploy_module, modal_failure, run_modal
from .deployed_tags import graph_tags
from .graph_config import deployed_graph
from .hook_requirements import lock_warnings

MODULE = "ryla_gen.remote.graph_app"
"""The module that Modal's own command deploys."""
MODELS_MODULE = "ryla_gen.remote.graph_models"
"""The module that Modal's own command runs before that."""
LOCK_VARIABLE = "RYLA_GRAPH_LOCK"
"""Tells that module which lock it is: the path of its file where it is deployed, the name of its file in a container."""
SECRETS_VARIABLE = "RYLA_TOKEN_SECRETS"
"""Tells the second one which secrets of the workspace have tokens."""
PROGRESS_MARK = "ryla-progress:"
"""In front of a line by which it tells how far it is."""


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
    """Bring the models of a lock onto the volume, then deploy its app. Only when all of it worked, the lock is kept.

    The models come first, so that an app is never live without them; what was live stays so until the end.

    Args:
        path: the lock's file; hashes that are fixed are written into it.
        reports: what is told and asked.
        changes: in what the deploy differs from the settings.

    Raises:
        LockOpenError: the lock has open questions.
        InvalidInputError: it is no lock that can be used, or a setting does not fit.
        NotAuthorizedError: there is no token for Modal, or none for a gated model.
        HashMismatchError: the lock was edited, or a model is not the one that was locked.
        ModelNotFoundError: a model that is published nowhere is not on the volume.
        NotDeployedError: the deploy failed.
        RylaGenError: a model could not be brought.
    """
    began, lock = time.monotonic(), read_graph_lock(path)
    variables = (changes or DeployChanges()).graph_variables(lock.name)
    settings = Settings.load({**os.environ, **variables})
    lock.require_closed()
    check_graph_name(lock.python_name)
    requirements = path.with_name(lock.image.python.file)
    for warning in lock_warnings(requirements, lock.image.python.version) if requirements.is_file() else ():
        reports.line(f"warning: {warning}")
    workflow_of(lock)  # refuses inputs whose names are taken
    deployed_graph(lock, settings)  # refuses settings that do not fit
    secrets = run_async(_check_access(lock, settings))
    text = path.read_text(encoding="utf-8")
    if not is_accepted(text, settings.home):
        reports.confirm(sources_of(lock))
        accept(text, settings.home)
    told = {**variables, LOCK_VARIABLE: str(path.resolve())}
    report = _bring_models(lock, told | {SECRETS_VARIABLE: ",".join(secrets)}, settings, reports)
    fixed = with_hashes(lock, report["hashes"])
    if fixed != lock:
        text = lock_text(fixed)
        write_whole(path, text)
        accept(text, settings.home)
    url = deploy_module(
        MODULE, graph_tags(lock.image.release, lock_digest(text))[1], told, replace(settings, modal_app=lock.app), reports.line
    )
    folder = locks_folder()
    keep_lock(text, path.with_name(lock.image.python.file).read_text(encoding="utf-8"), folder)
    new = tuple(item.label for item, before in zip(fixed.models, lock.models, strict=True) if item != before)
    return DeployedGraph(lock.app, fixed, folder / f"{lock.name}{SUFFIX}", new, report, time.monotonic() - began, url)


def _bring_models(lock: GraphLock, told: Mapping[str, str], settings: Settings, reports: DeployReports) -> PlainData:
    """Bring the models of a lock onto the volume; the report has the hash of each under ``hashes``.

    Raises:
        RylaGenError: a model could not be brought, or Modal cannot be asked.
    """
    if not any(item.needed for item in lock.models):
        return {"files": [], "hashes": {}}

    def line(text: str) -> None:
        if not text.startswith(PROGRESS_MARK):
            reports.line(text)
        elif reports.progress is not None:
            reports.progress(json.loads(text.removeprefix(PROGRESS_MARK)))

    with tempfile.TemporaryDirectory(prefix="ryla-gen-") as folder:
        reply = Path(folder) / "reply.json"
        where = ["--env", settings.modal_environment] if settings.modal_environment else []
        code, output = run_modal(["run", *where, "-m", MODELS_MODULE, "--reply", str(reply)], told, line)
        if code or not reply.is_file():
            raise modal_failure(output, "download of the models", lock.app)
        found: PlainData = json.loads(reply.read_text(encoding="utf-8"))
    if not found["ok"]:
        raise error_from_data(found["error"])
    report: PlainData = found["report"]
    return report


async def _check_access(lock: GraphLock, settings: Settings) -> list[str]:
    """Refuse what would fail after minutes: no token for Modal, or none for a gated model. Return the secrets with tokens.

    Raises:
        NotAuthorizedError: a token is missing.
        ModelNotFoundError: a file that is published nowhere is not on the volume.
        BackendError: Modal cannot be asked.
    """
    await admin.require_workspace(settings)
    needed = [item for item in lock.models if item.needed]
    await _check_volume([item for item in needed if not item.url], settings)
    there = await admin.token_secrets(settings) if needed else []
    gated = [item for item in needed if item.gated]
    at_civitai = [item for item in gated if is_civitai(item.url)]
    at_hub = [item for item in gated if item.url and "://" not in place_of(item.url)[0]]
    where = f" --env {settings.modal_environment}" if settings.modal_environment else ""
    if at_hub and HUGGINGFACE_SECRET not in there:
        pages = ", ".join(dict.fromkeys(f"https://huggingface.co/{place_of(item.url)[0]}" for item in at_hub))
        how = f"Accept the licence at {pages}, then: modal secret create {HUGGINGFACE_SECRET} HF_TOKEN=hf_…{where}"
        raise _no_secret(at_hub[0], HUGGINGFACE_SECRET, how)
    if at_civitai and CIVITAI_SECRET not in there:
        make = f"modal secret create {CIVITAI_SECRET} CIVITAI_TOKEN=…{where}"
        raise _no_secret(at_civitai[0], CIVITAI_SECRET, f"Make an API key at https://civitai.com/user/account, then: {make}")
    return there


async def _check_volume(unpublished: list[LockedModel], settings: Settings) -> None:
    """Refuse a lock with a file that no file of the volume can be, by its size; its hash is checked on the volume after that.

    Raises:
        ModelNotFoundError: there is one.
        BackendError: Modal cannot be asked.
    """
    sizes = set((await admin.volume_files(settings)).values()) if unpublished else set()
    for item in unpublished:
        if item.bytes not in sizes:
            raise not_on_volume(item, settings.modal_environment)


def _no_secret(model: LockedModel, secret: str, hint: str) -> NotAuthorizedError:
    text = f"{model.label} is gated, and there is no secret {secret!r} with a token on Modal."
    return NotAuthorizedError(text, hint, {"file": model.file, "folder": model.folder})
