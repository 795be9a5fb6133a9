"""List the versions of an app that Modal keeps, make an earlier one live again, stop the app. Builds and deploys nothing new."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import modal
from modal_proto import api_pb2 as pb

from ..errors import BackendError, InvalidInputError, NotDeployedError
from ..history import History
from ..history.base import Records
from ..locks.graph_lock import checked_lock_name, lock_of_app
from ..names import CLASS_OF_FAMILY, LOCK_APP_PREFIX, MODELS_VOLUME
from ..settings import Settings
from ..support.counting import count_text
from ..workflows.registry import LOCK_SUFFIX, locks_folder, workflow_names
from . import modal_apps
from .admin import ask
from .deployed_tags import LOCK_TAG, read_lock_tag, read_version_tag, replace_versions, versions_in

log = logging.getLogger("ryla_gen.modal")

OPEN_STATES = ("queued", "running")
SHORT_COMMIT = 7
"""Characters of a commit that a sentence shows, as git does."""

Kind = Literal["deploy", "rollback", "rollover", "promotion", "staged"]
KINDS: Mapping[int, Kind] = {
    pb.DEPLOYMENT_TYPE_ROLLBACK: "rollback",
    pb.DEPLOYMENT_TYPE_ROLLOVER: "rollover",
    pb.DEPLOYMENT_TYPE_PROMOTION: "promotion",
    pb.DEPLOYMENT_TYPE_STAGED: "staged",
}
"""Modal's kinds of deployment; others are an ordinary deploy."""


@dataclass(frozen=True, slots=True)
class AppVersion:
    """One version of an app: every deploy makes one, and every rollback."""

    version: int
    """Its number, which Modal counts from 1 for each app."""
    live: bool
    """Whether it answers calls now."""
    kind: Kind
    """How it came about."""
    restores: int | None
    """The version that a rollback made live again."""
    deployed_at: str
    """When; ISO 8601 UTC."""
    deployed_by: str
    """Who, as Modal names them."""
    modal: str
    """Version of Modal's package that deployed it."""
    commit: str | None
    """Git commit of the folder from which it was deployed."""
    dirty: bool
    """Whether that folder had changes that were not committed."""
    tag: str | None
    """The tag that it was deployed with."""
    ryla_gen: str | None
    """Version of this package that it was deployed from; None is unknown."""
    comfyui: tuple[str, ...]
    """Versions of ComfyUI in its images; empty is unknown."""
    lock: str | None
    """Beginning of the sha256 of its lock, where it is the app of one; None is unknown."""
    rollback_allowed: bool
    """Whether Modal offers a rollback to it."""

    def __str__(self) -> str:
        known = [f"ryla_gen {self.ryla_gen}"] if self.ryla_gen else []
        known += [f"ComfyUI {' and '.join(self.comfyui)}"] if self.comfyui else []
        known += [f"lock {self.lock}"] if self.lock else []
        known += [f"deployed {self.deployed_at[:16].replace('T', ' ')} UTC"] if self.deployed_at else []
        known += [f"by {self.deployed_by}"] if self.deployed_by else []
        known += [f"commit {self.commit[:SHORT_COMMIT]}"] if self.commit else []
        return f"version {self.version}" + (f" ({', '.join(known)})" if known else "")


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback does."""

    live: AppVersion
    """What is live until then."""
    target: AppVersion
    """What will be live again."""


@dataclass(frozen=True, slots=True)
class RunningApp:
    """What is there to be stopped, and what stays."""

    version: int | None
    """Number of the live version."""
    classes: tuple[str, ...]
    """Its classes; nothing can call them afterwards."""
    containers: int
    """Containers that run now."""
    volume_bytes: int | None
    """Size of the volume with the weights and the LoRAs, which stays; None where there is none, or it does not answer."""


def settings_for_app(settings: Settings, lock: str | None = None, environment: str | None = None) -> Settings:
    """Return settings that mean the app of a lock, or the app of the settings, in a Modal environment.

    Args:
        settings: what is configured.
        lock: name of a lock: ``portrait`` is the app ``ryla-portrait``.
        environment: Modal environment, where it is another than the configured one.

    Raises:
        InvalidInputError: no lock has such a name.
    """
    if environment:
        settings = replace(settings, modal_environment=environment)
    if lock is None:
        return settings
    try:
        return replace(settings, modal_app=f"{LOCK_APP_PREFIX}{checked_lock_name(lock)}")
    except InvalidInputError as error:
        hint = "Give a lock's name, such as portrait for portrait.lock; without a name it is the app of the settings."
        raise InvalidInputError(error.message, hint) from None


async def history(settings: Settings) -> list[AppVersion]:
    """Return every version of the app, the newest first.

    Raises:
        NotDeployedError: there is no such app, or it was stopped.
        BackendError: Modal cannot be asked.
    """
    return await _versions(settings, await _find(settings))


async def plan_rollback(settings: Settings, to: int | None = None) -> Rollback:
    """Return what a rollback would do.

    Args:
        settings: which app, and where.
        to: number of a version; None is the one before the live one, or before the version that it restored.

    Raises:
        InvalidInputError: there is no such version, or it is live.
        NotDeployedError: the app is not deployed, or has no earlier version.
        BackendError: Modal cannot be asked.
    """
    return _plan(settings, await history(settings), to)


async def roll_back(settings: Settings, to: int | None = None) -> AppVersion:
    """Make an earlier version of the app live again. Modal makes a new version of it; what runs in a container may finish.

    Args:
        settings: which app, and where.
        to: number of a version; see :func:`plan_rollback`.

    Returns:
        The new version.

    Raises:
        InvalidInputError: there is no such version, or it is live.
        NotDeployedError: the app is not deployed, has no earlier version, or Modal refuses.
        BackendError: Modal cannot be asked.
    """
    app_id = await _find(settings)
    target = _plan(settings, await _versions(settings, app_id), to).target
    what = f"Rolling {settings.modal_app} back to version {target.version}"
    try:
        await ask(lambda: modal_apps.roll_back(app_id, target.version), what, settings)
    except NotDeployedError as error:
        raise NotDeployedError(error.message, f"See its versions: {_command(settings, 'history')}") from None
    await _correct_tags(settings, app_id, target)
    return _live(settings, await _versions(settings, app_id))


async def describe(settings: Settings) -> RunningApp:
    """Return what stopping the app would take away, and what would stay.

    Raises:
        NotDeployedError: there is no such app, or it was stopped.
        BackendError: Modal cannot be asked.
    """
    app_id = await _find(settings)
    versions = await _versions(settings, app_id)
    classes = await ask(lambda: modal_apps.list_classes(app_id), "Asking for the classes", settings)
    containers = await ask(lambda: modal_apps.count_containers(app_id), "Asking for the containers", settings)
    live = next((item.version for item in versions if item.live), None)
    return RunningApp(live, classes, containers, await _volume_bytes(settings))


async def delete(settings: Settings) -> None:
    """Stop the app for good: its classes are gone, and its containers end at once with what they run. Volumes stay.

    Raises:
        NotDeployedError: there is no such app, or it was stopped.
        BackendError: Modal cannot be asked.
    """
    app_id = await _find(settings)
    await ask(lambda: modal_apps.stop_app(app_id), f"Stopping {settings.modal_app}", settings)


def open_jobs(journal: History, settings: Settings) -> Records:
    """List the jobs of this machine that Modal may still run in the app, the newest first.

    The journal does not name the app: those of a lock have its name, those of other workflows belong to the app of the settings.
    """
    lock = lock_of_app(settings.modal_app)
    locks = {path.stem.replace("-", "_") for path in locks_folder().glob(f"*{LOCK_SUFFIX}")}
    names = {lock.replace("-", "_")} if lock else set(workflow_names()) - locks
    found = [item for state in OPEN_STATES for item in journal.list(limit=None, backend="modal", state=state)]
    return sorted((item for item in found if item.workflow in names), key=lambda item: item.created_at, reverse=True)


async def _find(settings: Settings) -> str:
    """Return the id of the app."""
    name, environment = settings.modal_app, settings.modal_environment
    found = await ask(lambda: modal_apps.find_app(name, environment), f"Looking for the app {name}", settings)
    if found.app_id:
        return found.app_id
    where = f" in the environment {environment}" if environment else ""
    text = f"The app {name} is not deployed{where}."
    if found.previous_app_id:
        text = f"The app {name} is no longer deployed{where}: {_stop_text(found.lifecycle)}."
    hint = "See which apps there are: modal app list" if lock_of_app(settings.modal_app) else f"Deploy it: {_command(settings)}"
    raise NotDeployedError(text, hint)


def _stop_text(lifecycle: pb.AppLifecycle) -> str:
    at = f" on {_moment(lifecycle.stopped_at)[:16].replace('T', ' ')} UTC" if lifecycle.stopped_at else ""
    return f"it was stopped{at}" + (f" by {lifecycle.stopped_by}" if lifecycle.stopped_by else "")


async def _versions(settings: Settings, app_id: str) -> list[AppVersion]:
    what = f"Asking for the versions of {settings.modal_app}"
    found = await ask(lambda: modal_apps.list_versions(app_id), what, settings)
    tags = await ask(lambda: modal_apps.get_tags(app_id), what, settings)
    entries = sorted(found.app_deployment_histories, key=lambda entry: entry.version, reverse=True)
    newest = next((entry.version for entry in entries if _kind(entry) != "staged"), 0)
    live = found.production_app_version or newest
    return [_version(entry, live=entry.version == live, tags=tags) for entry in entries]


def _version(entry: pb.AppDeploymentHistory, *, live: bool, tags: Mapping[str, str]) -> AppVersion:
    kind = _kind(entry)
    package, comfyui = read_version_tag(entry.tag)
    if package is None and live and kind == "deploy":  # by Modal's own command, without a tag: the app's tags are of that deploy
        package, comfyui = _from_app_tags(tags)
    return AppVersion(
        version=entry.version,
        live=live,
        kind=kind,
        restores=entry.rollback_version or None,
        deployed_at=_moment(entry.deployed_at) if entry.deployed_at else "",
        deployed_by=entry.deployed_by,
        modal=entry.client_version,
        commit=entry.commit_info.commit_hash or None,
        dirty=entry.commit_info.dirty,
        tag=entry.tag or None,
        ryla_gen=package,
        comfyui=comfyui,
        lock=read_lock_tag(entry.tag) or (tags.get(LOCK_TAG) if live and kind == "deploy" else None),
        rollback_allowed=entry.rollback_allowed,
    )


def _kind(entry: pb.AppDeploymentHistory) -> Kind:
    return KINDS.get(entry.deployment_type, "rollback" if entry.rollback_version else "deploy")


def _from_app_tags(tags: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    known = versions_in(tags)
    return known.get("app"), tuple(sorted({known[family] for family in CLASS_OF_FAMILY if family in known}))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plan(settings: Settings, versions: list[AppVersion], to: int | None) -> Rollback:
    live, known = _live(settings, versions), {item.version: item for item in versions}
    present = _origin(live, known)
    if to is None:
        # What was live before is a step towards older versions each time, and never the version that was just left.
        wanted = next((item for item in versions if item.version < present and item.kind != "staged"), None)
        if wanted is None:
            later = f", or name a later one: {_command(settings, 'rollback')} --to VERSION" if len(versions) > 1 else ""
            text = f"{settings.modal_app} has no version before version {present}, which is live."
            raise NotDeployedError(text, f"See its versions: {_command(settings, 'history')}{later}")
    else:
        wanted = known.get(to)
        if wanted is None:
            text = f"{settings.modal_app} has no version {to}; it has {count_text(len(versions), 'version')}."
            raise InvalidInputError(text, f"See them: {_command(settings, 'history')}")
    origin = _origin(wanted, known)
    if origin == present:
        again = f" as version {live.version}" if live.version != wanted.version else ""
        raise InvalidInputError(f"Version {wanted.version} is live already{again}.", f"See: {_command(settings, 'history')}")
    return Rollback(live, known.get(origin, wanted))


def _live(settings: Settings, versions: list[AppVersion]) -> AppVersion:
    found = next((item for item in versions if item.live), None)
    if found is None:
        text = f"Modal does not say which version of {settings.modal_app} is live."
        raise NotDeployedError(text, f"See its versions: {_command(settings, 'history')}")
    return found


def _origin(version: AppVersion, known: Mapping[int, AppVersion]) -> int:
    """Return the number of the deploy that a version repeats: its own, unless it is a rollback or only renewed the containers."""
    before = version.restores or (version.version - 1 if version.kind == "rollover" else version.version)
    return _origin(known[before], known) if before in known and before < version.version else before


async def _correct_tags(settings: Settings, app_id: str, target: AppVersion) -> None:
    """Let the app's tags tell of the version that is live now; that Modal restores them is not documented."""
    try:
        tags = await ask(lambda: modal_apps.get_tags(app_id), "Reading the tags", settings)
        classes = await ask(lambda: modal_apps.list_classes(app_id), "Asking for the classes", settings)
        right = replace_versions(tags, target.tag or "", classes)
        if right != tags:
            await ask(lambda: modal_apps.set_tags(app_id, right), "Writing the tags", settings)
    except BackendError as error:  # the rollback is done: what the tags say of it must not make it a failure
        log.warning("the tags of %s could not be corrected: %s", settings.modal_app, error)


async def _volume_bytes(settings: Settings) -> int | None:
    volume: Any = modal.Volume.from_name(MODELS_VOLUME, environment_name=settings.modal_environment)
    try:
        entries = await ask(lambda: volume.listdir.aio("/", recursive=True), "Listing the volume", settings)
    except BackendError as error:
        log.debug("the volume could not be listed: %s", error)
        return None
    return sum(int(entry.size) for entry in entries)


def _command(settings: Settings, verb: str = "") -> str:
    """Write a command about the app."""
    words = ["ryla-gen", "deploy", verb, (verb and lock_of_app(settings.modal_app)) or ""]
    words += ["--environment", settings.modal_environment] if settings.modal_environment else []
    return shlex.join(word for word in words if word)
