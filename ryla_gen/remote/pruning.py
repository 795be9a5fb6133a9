"""Free space on the volume of models: ask every app what it needs, list the rest, remove it. Starts no container with a GPU.

What is needed is asked of the apps themselves, by their classes without a GPU, and written down nowhere: so it is what is deployed
now, whoever deployed it or rolled it back, and with whatever command. An app of a locked graph that cannot say which models it
needs stops this. For an app of the families that cannot say, of an earlier version, every file stays that is not by content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from modal_proto import api_pb2 as pb

from .. import contract
from ..errors import BackendUnreachableError, NotAuthorizedError, NotDeployedError, PlainData, RylaGenError
from ..locks.lock_reading import parse_lock
from ..locks.model_prune import NeededFiles, Removal, UnneededFile, needed_by_lock, needed_from
from ..names import CLASS_OF_FAMILY, GRAPH_CLASS, LOCK_APP_PREFIX
from ..settings import Settings
from . import modal_apps
from .admin import WEIGHTS_CLASS, ask, call_weights, describe_graph
from .needed_weights import needed_by_kept_locks, needed_by_workflows
from .weights_marks import PRUNE, WeightsMarks

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[PlainData], None]
ASKED_AT_ONCE = 8
"""Apps that are asked at the same time; each may start a container without a GPU."""


@dataclass(frozen=True, slots=True)
class LiveApp:
    """An app of this package that is deployed, or that runs without being deployed."""

    name: str
    graph: bool
    """Whether it is of a locked graph; else of the families."""
    deployed: bool


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What can go, and how that is known."""

    files: tuple[UnneededFile, ...]
    """The largest first."""
    app: str
    """The app that removes them."""
    apps: tuple[str, ...]
    """The apps that said what they need."""
    silent: tuple[str, ...]
    """Apps of the families that could not say: so files stay that are not by content."""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(item.bytes for item in self.files)


@dataclass(frozen=True, slots=True)
class _Answers:
    needed: NeededFiles
    apps: tuple[str, ...]
    silent: tuple[str, ...]


async def plan_prune(settings: Settings) -> PrunePlan:
    """Return which files on the volume nothing needs. Changes nothing.

    Args:
        settings: which Modal environment.

    Raises:
        NotDeployedError: no app is there that could look, or one cannot say which models it needs.
        InvalidInputError: a lock on this machine cannot be read.
        RylaGenError: Modal cannot be asked.
    """
    answers = await _ask_apps(settings)
    request = {"needed": answers.needed.to_data()}
    for name in _in_order(settings, (*answers.apps, *answers.silent)):
        try:
            report = await call_weights(replace(settings, modal_app=name), "prune", request)
        except NotDeployedError:  # of an earlier version, or stopped a moment ago
            continue
        files = tuple(UnneededFile(**item) for item in report["files"])
        return PrunePlan(files, name, answers.apps, answers.silent)
    text = "No app is deployed that can look for files which nothing needs."
    raise NotDeployedError(text, "Deploy this version of the package: ryla-gen deploy")


async def prune(settings: Settings, plan: PrunePlan, progress: Progress | None = None) -> tuple[Removal, ...]:
    """Remove the files of a plan, except those that something needs meanwhile. After an interruption, plan and remove again.

    Args:
        settings: which Modal environment.
        plan: what :func:`plan_prune` returned.
        progress: called with the contract's weights events, as they come.

    Raises:
        NotDeployedError: an app cannot say which models it needs.
        StorageFailedError: it cannot be known now what is needed.
        RylaGenError: Modal cannot be asked.
    """
    where, hold = replace(settings, modal_app=plan.app), contract.new_job_id()
    await call_weights(where, "prune", {"hold": hold})
    try:
        # Asked again: an app that was deployed since the plan is asked now, and one that comes from now on waits with its download.
        answers = await _ask_apps(settings)
        needed = replace(answers.needed, complete=answers.needed.complete and not plan.silent)
        request = {"needed": needed.to_data(), "hold": hold, "remove": [item.file for item in plan.files]}
        report = await call_weights(where, "prune", request, progress)
    finally:
        marks = WeightsMarks(settings.modal_environment)
        await asyncio.shield(ask(lambda: marks.release(f"{PRUNE}{hold}"), "Ending the removal", settings))
    return tuple(Removal(**item) for item in report["files"])


async def live_apps(settings: Settings) -> list[LiveApp]:
    """List the apps of this package in an environment, whoever deployed them.

    Raises:
        BackendError: Modal cannot be asked.
    """
    listed = await ask(lambda: modal_apps.list_apps(settings.modal_environment), "Listing the apps", settings)
    found = await _for_each(listed, _live_app, settings)
    return sorted((app for app in found if app is not None), key=lambda app: app.name)


async def _live_app(item: modal_apps.ListedApp, settings: Settings) -> LiveApp | None:
    """Return an app of this package; None for one of somebody else."""
    name = item.name or item.description
    classes = set(await ask(lambda: modal_apps.list_classes(item.app_id), f"Asking for the classes of {name}", settings))
    known = classes & {GRAPH_CLASS, *CLASS_OF_FAMILY.values()}
    if not known or not (WEIGHTS_CLASS in classes or name.startswith(LOCK_APP_PREFIX)):
        return None
    return LiveApp(name, GRAPH_CLASS in classes, item.state == pb.APP_STATE_DEPLOYED)


async def _ask_apps(settings: Settings) -> _Answers:
    """Ask every app what it needs, and add what is known on this machine."""
    apps = await live_apps(settings)
    found = await _for_each(apps, _ask_app, settings)
    needed = needed_by_workflows() | needed_by_kept_locks()
    for one in found:
        needed |= one
    silent = tuple(app.name for app, one in zip(apps, found, strict=True) if not one.complete)
    return _Answers(needed, tuple(app.name for app in apps if app.name not in silent), silent)


async def _ask_app(app: LiveApp, settings: Settings) -> NeededFiles:
    there = replace(settings, modal_app=app.name)
    try:
        if not app.deployed:
            raise NotDeployedError(f"The app {app.name} runs without being deployed.", "")
        if app.graph:
            return needed_by_lock(parse_lock((await describe_graph(there))["describe"]["lock"], app.name))
        return needed_from((await call_weights(there, "needs", {}))["needs"])
    except (BackendUnreachableError, NotAuthorizedError):
        raise
    except (RylaGenError, LookupError, TypeError) as error:
        if not app.graph:
            return NeededFiles(complete=False)
        why = error.message if isinstance(error, RylaGenError) else "its description has another form"
        lock = app.name.removeprefix(LOCK_APP_PREFIX)
        hint = f"Deploy it again: ryla-gen deploy {lock}.lock. Or take it away: ryla-gen deploy delete {lock}"
        text = f"The app {app.name} does not say which models it needs, so nothing can be removed: {why}"
        raise NotDeployedError(text, hint) from None


async def _for_each(items: Iterable[T], call: Callable[[T, Settings], Awaitable[R]], settings: Settings) -> list[R]:
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(item: T) -> R:
        async with gate:
            return await call(item, settings)

    return list(await asyncio.gather(*(one(item) for item in items)))


def _in_order(settings: Settings, apps: Iterable[str]) -> list[str]:
    """Return the app of the settings first."""
    return sorted(apps, key=lambda name: name != settings.modal_app)
