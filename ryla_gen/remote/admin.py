"""Manage the deployed app for its owner: classes, weights, warm containers, the probe of the queue. Runs no generation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar

import modal
import modal.exception

from .. import contract
from ..errors import BackendUnreachableError, InvalidInputError, NotAuthorizedError, NotDeployedError, PlainData, error_from_data
from ..events import CONTRACT
from ..locks.graph_lock import SUFFIX, lock_of_app
from ..names import CIVITAI_SECRET, CLASS_OF_FAMILY, EVENTS_QUEUE, HUGGINGFACE_SECRET, MODELS_VOLUME
from ..settings import Settings
from ..support.cancels import cancels, end
from .deployed_tags import versions_in
from .faults import log_hint
from .modal_apps import CLOSE_SECONDS
from .modal_errors import AMBIGUOUS, from_modal_error

T = TypeVar("T")
log = logging.getLogger("ryla_gen.modal")

WEIGHTS_CLASS = "Weights"
"""The CPU class that keeps the volume's files."""
ANSWER_SECONDS = 30.0
"""In which Modal must answer a question; its own client silently retries a first connection for a minute."""
POLL_SECONDS = 15.0
"""Longest single wait for a report; a dropped connection is noticed after it."""
ATTEMPTS = 5
"""Times in a row that Modal may fail to answer while a report is awaited: bringing weights takes many minutes."""
LISTEN_SECONDS = 86_400.0
"""How long to wait for the next progress event: as long as a Modal function may run."""
PROBE_SECONDS = 60
"""How long the probe of the queue may live, should it not be taken out."""

Action = Literal["sync", "verify", "status"]


async def workspace() -> str:
    """Return the name of the workspace that the token belongs to.

    Raises:
        NotAuthorizedError: there is no token, or Modal refuses it.
        BackendUnreachableError: Modal does not answer.
    """
    found = await ask(lambda: modal.Workspace.from_context().hydrate.aio(), "Asking Modal for the token's workspace")
    return str(found.name or "")


async def require_workspace(settings: Settings) -> str:
    """Return the name of the workspace that the token belongs to, after comparing it with the settings.

    Raises:
        NotAuthorizedError: ``MODAL_WORKSPACE`` names another one; also as for :func:`workspace`.
        BackendUnreachableError: Modal does not answer.
    """
    found, wanted = await workspace(), settings.modal_workspace
    if wanted and found != wanted:
        text = f"The Modal token belongs to the workspace {found!r}, but MODAL_WORKSPACE is {wanted!r}."
        raise NotAuthorizedError(text, f"Switch to the right token: modal profile activate {wanted}")
    return found


async def missing_classes(settings: Settings) -> list[str]:
    """Return the classes that this package calls, that the app was deployed with or should have been, and that it does not have.

    Raises:
        NotDeployedError: the app has none of them.
        BackendError: Modal cannot be asked.
    """
    try:
        standing = await deployed_versions(settings)
    except NotDeployedError:
        standing = {}
    # A deploy of some families alone says in the app's tags which; one by an older version says nothing, and had all.
    families = [family for family in CLASS_OF_FAMILY if family in standing] or CLASS_OF_FAMILY
    wanted = [*(CLASS_OF_FAMILY[family] for family in families), WEIGHTS_CLASS]
    missing = await absent_classes(settings, wanted)
    if len(missing) == len(wanted):
        where = f" in the environment {settings.modal_environment}" if settings.modal_environment else ""
        raise NotDeployedError(f"The app {settings.modal_app} is not deployed{where}.", f"Deploy it: {_deploy(settings)}")
    return missing


async def absent_classes(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return those of the classes that the app does not have: all of them, where there is no such app.

    Raises:
        BackendError: Modal cannot be asked.
    """
    absent = []
    for name in names:
        try:
            await _find_class(settings, name)
        except NotDeployedError:
            absent.append(name)
    return absent


async def deployed_versions(settings: Settings) -> dict[str, str]:
    """Return the ComfyUI that each family was deployed with, and as ``app`` this package's version then. Starts no container.

    Empty for an app that an older version deployed, which does not say.

    Raises:
        NotDeployedError: there is no such app.
        BackendError: Modal cannot be asked.
    """

    async def read() -> dict[str, str]:
        app = await modal.App.lookup.aio(settings.modal_app, environment_name=settings.modal_environment)
        return dict(await app.get_tags.aio())

    tags = await ask(read, f"Asking for the tags of the app {settings.modal_app}", settings)
    return versions_in(tags)


async def volume_files(settings: Settings) -> dict[str, int]:
    """Return every file on the volume of models with its bytes, by its path there. Starts no container, so it costs nothing.

    Raises:
        BackendError: Modal cannot be asked.
    """
    volume = modal.Volume.from_name(MODELS_VOLUME, environment_name=settings.modal_environment)

    async def listed() -> dict[str, int]:
        return {entry.path.strip("/"): entry.size for entry in await volume.listdir.aio("/", recursive=True)}

    try:
        return await ask(listed, f"Listing the volume {MODELS_VOLUME}", settings)
    except NotDeployedError:  # the first deploy makes the volume
        return {}


async def scale(settings: Settings, family: str, containers: int) -> None:
    """Set how many containers of a family stay up although nothing runs; the next deploy sets it back.

    Raises:
        InvalidInputError: there is no such family.
        BackendError: the app is not deployed, or Modal cannot be asked.
    """
    if family not in CLASS_OF_FAMILY:
        raise InvalidInputError(f"There is no family {family!r}.", f"Families: {', '.join(CLASS_OF_FAMILY)}")
    found: Any = (await _find_class(settings, CLASS_OF_FAMILY[family]))()
    with warnings.catch_warnings():
        # Modal 1.6.4 calls this outdated in favour of something that instances of a class do not have yet.
        warnings.filterwarnings("ignore", r".*update_autoscaler")
        what = f"Scaling {CLASS_OF_FAMILY[family]}"
        await ask(lambda: found.update_autoscaler.aio(min_containers=containers), what, settings)


async def probe_queue(settings: Settings) -> None:
    """Put an item into the queue of events and take it out again.

    Raises:
        BackendError: that does not work, so that jobs would run without telling their progress.
    """
    partition, item = f"doctor-{contract.new_job_id()}", {"type": "probe"}
    queue = modal.Queue.from_name(EVENTS_QUEUE, environment_name=settings.modal_environment, create_if_missing=True)

    async def there_and_back() -> Any:
        await queue.put.aio(item, partition=partition, partition_ttl=PROBE_SECONDS)
        return await queue.get.aio(partition=partition, timeout=ANSWER_SECONDS / 2)

    if await ask(there_and_back, "Using the queue of events", settings) != item:
        raise BackendUnreachableError("The event queue loses its items.", "See https://status.modal.com")


async def weights(
    settings: Settings,
    action: Action,
    workflows: Sequence[str],
    *,
    variants: bool = False,
    progress: Callable[[PlainData], None] | None = None,
) -> PlainData:
    """Run the app's download, check or list of the weights of some workflows; canceling this stops it.

    Args:
        settings: which app, and where.
        action: what to do.
        workflows: names of the workflows.
        variants: also what only some of their options need.
        progress: called with the contract's weights events, as they come.

    Returns:
        The report of ``downloads``, and the version of this package that the app was deployed from as ``app``.

    Raises:
        RylaGenError: the report is an error, or the app cannot be asked.
    """
    return await call_weights(settings, action, {"workflows": list(workflows), "variants": variants}, progress)


async def call_weights(
    settings: Settings, action: str, more: PlainData, progress: Callable[[PlainData], None] | None = None
) -> PlainData:
    """Call a method of the app's CPU class and wait for its report; canceling this stops it.

    Args:
        settings: which app, and where.
        action: the method.
        more: what the request has beside its job and the contract.
        progress: called with the contract's weights events, as they come.

    Raises:
        NotDeployedError: there is no such app, or it is of a version without this method.
        RylaGenError: the report is an error, or the app cannot be asked.
    """
    found = await _find_class(settings, WEIGHTS_CLASS)
    if action == "sync" and (names := await token_secrets(settings)):
        secrets = [modal.Secret.from_name(name, environment_name=settings.modal_environment) for name in names]
        found = found.with_options(secrets=secrets)  # the secrets reach this CPU class only, never a GPU container
    return await run_weights(found, settings, action, more, progress)


async def run_weights(
    found: Any, settings: Settings, action: str, more: PlainData, progress: Callable[[PlainData], None] | None = None
) -> PlainData:
    """Call a method of a class of files: as :func:`call_weights`, which finds the class of the deployed app.

    Raises:
        RylaGenError: the report is an error, or the class cannot be called.
    """
    job = contract.new_job_id()
    request = {"contract": CONTRACT, "job": job, **more}
    what = f"Calling {WEIGHTS_CLASS}.{action} of {settings.modal_app}"
    call = await ask(lambda: getattr(found(), action).spawn.aio(request), what, settings)
    told = asyncio.create_task(_pass_progress(settings, job, progress)) if progress is not None else None
    try:
        reply = await _wait_reply(call, settings)
    except asyncio.CancelledError:
        await asyncio.shield(ask(lambda: call.cancel.aio(), "Canceling", settings))
        raise
    finally:
        if told is not None:
            await end(told, CLOSE_SECONDS)
    contract.check_version(reply, theirs="app")
    if reply.get("ok") is not True:
        raise error_from_data(reply.get("error") or {})
    report: PlainData = reply["report"]
    return {**report, "app": reply.get("app")}


async def _wait_reply(call: Any, settings: Settings) -> PlainData:
    failures, before = 0, cancels()
    while True:
        if cancels() > before:  # what it was told while it asked
            raise asyncio.CancelledError
        try:
            reply: PlainData = await call.get.aio(timeout=POLL_SECONDS)
            return reply
        except (modal.exception.FunctionTimeoutError, modal.exception.OutputExpiredError) as error:
            raise from_modal_error(error, f"Calling {WEIGHTS_CLASS}", **_hints(settings)) from None
        except TimeoutError:
            failures = 0  # it answered that it is not done yet
        except AMBIGUOUS as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise from_modal_error(error, f"Calling {WEIGHTS_CLASS}", **_hints(settings)) from None
            await asyncio.sleep(failures)
        except Exception as error:  # Modal's, or the container's own, whatever class it has
            raise from_modal_error(error, f"Calling {WEIGHTS_CLASS}", **_hints(settings)) from None


async def _pass_progress(settings: Settings, job: str, progress: Callable[[PlainData], None]) -> None:
    """Pass the progress on; a fault here must not lose the report."""
    queue = modal.Queue.from_name(EVENTS_QUEUE, environment_name=settings.modal_environment, create_if_missing=True)
    try:
        async with contextlib.aclosing(queue.iterate.aio(partition=job, item_poll_timeout=LISTEN_SECONDS)) as items:
            async for item in items:
                if isinstance(item, dict) and item.get("type") == "weights":
                    progress(item)
    except (modal.exception.Error, OSError, TypeError, ValueError) as error:
        log.debug("no progress of %s: %s", job, error)


async def token_secrets(settings: Settings) -> list[str]:
    """Return the secrets with the tokens for Hugging Face and Civitai, as far as the owner of the workspace made them.

    Raises:
        BackendError: Modal cannot be asked.
    """
    names = (HUGGINGFACE_SECRET, CIVITAI_SECRET)
    there = await asyncio.gather(*(_has_secret(settings, name) for name in names))
    return [name for name, found in zip(names, there, strict=True) if found]


async def _has_secret(settings: Settings, name: str) -> bool:
    secret = modal.Secret.from_name(name, environment_name=settings.modal_environment)
    with contextlib.suppress(NotDeployedError):
        await ask(lambda: secret.hydrate.aio(), "Looking for the secret", settings)
        return True
    return False


async def describe_graph(settings: Settings) -> PlainData:
    """Ask the app of a locked graph what it is; its class without a GPU answers.

    Raises:
        NotDeployedError: it is not deployed.
        BackendError: Modal cannot be asked.
    """
    found = (await _find_class(settings, WEIGHTS_CLASS))()
    call = await ask(lambda: found.describe.spawn.aio({"contract": CONTRACT}), "Asking for the description", settings)
    return await _wait_reply(call, settings)


async def _find_class(settings: Settings, name: str) -> Any:
    found = modal.Cls.from_name(settings.modal_app, name, environment_name=settings.modal_environment)
    await ask(lambda: found.hydrate.aio(), f"Looking for {name} in the app {settings.modal_app}", settings)
    return found


async def ask(call: Callable[[], Awaitable[T]], what: str, settings: Settings | None = None) -> T:
    """Ask Modal something.

    Raises:
        BackendError: it does not answer in time, or refuses.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await call()
    except (modal.exception.Error, OSError) as error:  # the builtin TimeoutError is an OSError
        raise from_modal_error(error, what, **(_hints(settings) if settings is not None else {})) from None


def _hints(settings: Settings) -> dict[str, str]:
    """Return what an error of Modal's advises: the command that deploys the app, and the place of its log."""
    return {"deploy": _deploy(settings), "log": log_hint(settings.modal_app, settings.modal_environment)}


def _deploy(settings: Settings) -> str:
    lock, environment = lock_of_app(settings.modal_app), settings.modal_environment
    words = ["ryla-gen", "deploy", *([f"{lock}{SUFFIX}"] if lock else []), *(["--environment", environment] if environment else [])]
    return shlex.join(words)
