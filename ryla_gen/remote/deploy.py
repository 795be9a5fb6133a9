"""Deploy the app onto Modal: ``modal deploy -m ryla_gen.remote.app`` in a process of its own, configured by variables.

Must not print: lines of progress go to a callback. A process of its own, since the app reads its settings when it is imported.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .. import telemetry
from ..costs.prices import GPU_USD_PER_SECOND
from ..errors import BackendUnreachableError, InvalidInputError, NotAuthorizedError, NotDeployedError, RylaGenError
from ..models.weights_table import all_weights
from ..names import CLASS_OF_FAMILY, MODELS_VOLUME
from ..settings import Settings
from .build_logs import kept_build
from .config import ONLY_VARIABLE, FamilyConfig, deployed_family
from .deployed_tags import version_tag
from .modal_errors import TOKEN_HINT

log = logging.getLogger("ryla_gen.modal")

MODULE = "ryla_gen.remote.app"
"""The module that Modal's own command deploys."""
KEPT_LINES = 40
"""Last lines of the output that go into an error: a build's failure is at its end."""
END_SECONDS = 10.0
"""How long Modal's command may take to stop when it is interrupted."""


@dataclass(frozen=True, slots=True)
class DeployChanges:
    """The settings in which a deploy differs from ``config.toml``; None keeps the configured value."""

    families: tuple[str, ...] = tuple(CLASS_OF_FAMILY)
    """Families that the values below are for."""
    gpu: tuple[str, ...] | None = None
    """GPUs in order of preference."""
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    """Idle containers more than the requests ask for, while there are requests."""
    scaledown_window: int | None = None
    """Seconds that an idle container stays."""
    region: str | None = None
    """Region, or several with commas; of all families, as Modal places volumes and containers alike."""
    environment: str | None = None
    """Modal environment."""
    preload: bool | None = None
    """Whether containers load their weights before their first request."""
    only: tuple[str, ...] = ()
    """Families whose classes the app shall have, and no others; all where it is empty."""

    def variables(self) -> dict[str, str]:
        """Return the environment variables that configure the app.

        Raises:
            InvalidInputError: a family or a GPU does not exist.
        """
        for family in (*self.families, *self.only):
            if family not in CLASS_OF_FAMILY:
                raise InvalidInputError(f"There is no family {family!r}.", f"Families: {', '.join(CLASS_OF_FAMILY)}")
        return self._variables([f"FAMILIES_{family.upper()}" for family in self.families])

    def graph_variables(self, name: str) -> dict[str, str]:
        """Return the environment variables that configure the app of a lock.

        Raises:
            InvalidInputError: a GPU does not exist.
        """
        return self._variables([f"GRAPHS_{name.replace('-', '_').upper()}"])

    def _variables(self, classes: Sequence[str]) -> dict[str, str]:
        given = {
            "GPU": ",".join(self.gpu) if self.gpu else None,
            "MIN_CONTAINERS": self.min_containers,
            "MAX_CONTAINERS": self.max_containers,
            "BUFFER_CONTAINERS": self.buffer_containers,
            "SCALEDOWN_WINDOW": self.scaledown_window,
        }
        for gpu in self.gpu or ():
            if gpu.partition(":")[0].upper() not in GPU_USD_PER_SECOND:
                raise InvalidInputError(f"Modal has no GPU {gpu!r}.", f"GPUs: {', '.join(GPU_USD_PER_SECOND)}")
        told = {f"RYLA_GEN_MODAL_{cls}_{name}": str(value) for cls in classes for name, value in given.items() if value is not None}
        told |= {ONLY_VARIABLE: ",".join(self.only)} if self.only else {}
        told |= {"RYLA_GEN_MODAL_REGION": self.region} if self.region else {}
        told |= {"RYLA_GEN_MODAL_PRELOAD": str(self.preload).lower()} if self.preload is not None else {}
        return told | ({"RYLA_GEN_MODAL_ENVIRONMENT": self.environment} if self.environment else {})

    def settings(self, env: Mapping[str, str] | None = None) -> Settings:
        """Return the settings under this plan.

        Raises:
            InvalidInputError: a value does not fit.
        """
        return Settings.load({**(os.environ if env is None else env), **self.variables()})

    def configs(self, env: Mapping[str, str] | None = None) -> list[FamilyConfig]:
        """Return every class that will be deployed, as it will be.

        Raises:
            InvalidInputError: a value does not fit.
        """
        settings = self.settings(env)
        return [deployed_family(family, settings) for family in self.only or CLASS_OF_FAMILY]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deploy that worked."""

    app: str
    environment: str | None
    seconds: float
    url: str | None
    """Its page at Modal."""


def deploy(plan: DeployChanges, on_line: Callable[[str], None]) -> Deployment:
    """Deploy the app and wait until it is there; the first time builds images, which takes a quarter of an hour.

    Args:
        plan: what to deploy.
        on_line: called with each line of Modal's own progress.

    Raises:
        NotAuthorizedError: there is no token, or it was refused.
        BackendUnreachableError: Modal does not answer.
        NotDeployedError: it failed; ``details["output"]`` ends with the reason.
    """
    began, settings = time.monotonic(), plan.settings()
    url = deploy_module(MODULE, version_tag(plan.only or CLASS_OF_FAMILY), plan.variables(), settings, on_line)
    done = Deployment(settings.modal_app, settings.modal_environment, time.monotonic() - began, url)
    if telemetry.has_listeners(settings):
        deployed = telemetry.AppDeployed(backend="modal", app=done.app, models=_models(settings), seconds=done.seconds)
        telemetry.emit(deployed, settings)
    return done


def deploy_module(
    module: str, tag: str, variables: Mapping[str, str], settings: Settings, on_line: Callable[[str], None]
) -> str | None:
    """Deploy the app of a module with Modal's own command; return the address of its page, where it names one.

    Args:
        module: the module that defines the app.
        tag: what Modal's history of the app has for this version.
        variables: what configures it.
        settings: which app, and in which Modal environment.
        on_line: called with each line of Modal's own progress.

    Raises:
        NotAuthorizedError, BackendUnreachableError, NotDeployedError: as :func:`deploy`.
    """
    arguments = ["deploy", "-m", module, "--tag", tag]
    arguments += ["--env", settings.modal_environment] if settings.modal_environment else []
    with kept_build(settings, on_line) as take:
        code, output = run_modal(arguments, variables, take)
        if code:
            raise modal_failure(output, "deploy", settings.modal_app)
    url = re.findall(r"https://modal\.com/apps/\S+", output)
    return url[-1] if url else None


def run_modal(
    arguments: Sequence[str], variables: Mapping[str, str], on_line: Callable[[str], None], limit: float | None = None
) -> tuple[int, str]:
    """Run Modal's own command to its end, and return its exit code and the last lines of its output.

    Args:
        arguments: what to run, without the command's name.
        variables: environment variables, over those of this process.
        on_line: called with each line of its output.
        limit: seconds after which it is stopped.

    """
    command = [sys.executable, "-m", "modal", *arguments]
    environment = {**os.environ, **variables, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment) as process:  # noqa: S603 - our own words
        timer = threading.Timer(limit, process.terminate) if limit is not None else None
        try:
            if timer is not None:
                timer.start()
            assert process.stdout is not None
            for raw in process.stdout:
                kept.append(raw.decode("utf-8", "replace").rstrip())
                on_line(kept[-1])
            return process.wait(), "\n".join(kept)
        except BaseException:
            _end(process)
            raise
        finally:
            if timer is not None:
                timer.cancel()


def _models(settings: Settings) -> tuple[str, ...] | None:
    """List which weights of the table the volume has; None when it does not answer, which does not fail a deploy."""
    import modal

    try:
        volume = modal.Volume.from_name(MODELS_VOLUME, environment_name=settings.modal_environment)
        there = {entry.path.strip("/") for entry in volume.listdir("/", recursive=True)}
    except modal.exception.Error as error:
        log.debug("the volume could not be listed: %s", error)
        return None
    return tuple(sorted(row.name for row in all_weights() if row.label in there))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Modal's command: by an interrupt first, after which it stops at Modal what it had started."""
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        process.communicate(timeout=END_SECONDS)  # what it still says would fill the pipe
    except subprocess.TimeoutExpired:
        process.kill()


def last_words(output: str) -> str:
    """Return the last line of Modal's output that says something, without the frame around it."""
    return next((line.strip(" │╰╯─") for line in reversed(output.splitlines()) if line.strip(" │╰╯─╭╮")), "it gave no reason.")


def modal_failure(output: str, what: str, app: str) -> RylaGenError:
    """Translate Modal's output into an error; its exit code says nothing more than that it failed.

    Args:
        output: the last lines of it.
        what: what was being done: "deploy".
        app: the app that it was done for.
    """
    words, details = output.lower(), {"output": output}
    last = last_words(output)
    if "token" in words and any(sign in words for sign in ("missing", "authenticate", "invalid", "not valid", "unauthenticated")):
        return NotAuthorizedError(f"Modal refused the {what}: {last}", TOKEN_HINT, details)
    if any(sign in words for sign in ("could not connect", "connection refused", "deadline exceeded", "connecterror")):
        return BackendUnreachableError(f"Modal does not answer: {last}", "Check the network: https://status.modal.com", details)
    hint = f"The lines above say where; fix that and deploy again. To see all of them again: ryla-gen jobs logs {app}"
    return NotDeployedError(f"The {what} failed: {last}", hint, details)
