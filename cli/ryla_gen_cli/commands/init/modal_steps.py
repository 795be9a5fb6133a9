"""Define the steps from an empty Modal account to a first picture: token, deploy, weights, picture. Asks nothing.

Each one finds out from Modal what is there. That starts no container, so looking costs nothing.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from ryla_gen.client.requests import estimate
from ryla_gen.errors import NotAuthorizedError, NotDeployedError
from ryla_gen.history import History
from ryla_gen.models.weights_table import Weights
from ryla_gen.names import CLASS_OF_FAMILY, MODELS_VOLUME
from ryla_gen.remote import admin, config
from ryla_gen.remote.costs import cost_of
from ryla_gen.remote.deploy import DeployChanges, deploy
from ryla_gen.remote.hook_requirements import family_warnings
from ryla_gen.remote.token import VARIABLES, make_token
from ryla_gen.settings import Settings, home_folder
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async
from ryla_gen.support.numbers import format_bytes
from ryla_gen.version import __version__
from ryla_gen.workflows.registry import workflow_class

from ...licences import notice
from ...screen import Screen
from ..containers import hourly
from ..weights import rows_of, run_on_modal
from .guide import GuideStep, StepPlan
from .picture import FIRST, TAG, first_workflow, make_picture

FAMILIES = tuple(dict.fromkeys(workflow_class(name).family for name in FIRST))
"""Families of the first picture: a new account gets the first one, and an app that has another is left as it is."""
ASSUMED_SPEED = 100e6
"""Bytes a second of a download. An assumption to show the size by, which is said; nothing was measured on Modal."""


def modal_steps(screen: Screen, settings: Settings, *, again: bool = False) -> list[GuideStep]:
    """Return the steps in their order.

    Args:
        screen: where they show their progress.
        settings: with Modal as the backend.
        again: whether to make a first picture although there is one.

    """
    deploy = DeployStep(screen, settings)
    weights = WeightsStep(screen, settings, deploy)
    return [TokenStep(screen, settings), deploy, weights, PictureStep(screen, settings, weights, again=again)]


class ModalStep(GuideStep):
    """A step that Modal is asked about."""

    def __init__(self, screen: Screen, settings: Settings) -> None:
        self.screen = screen
        self.settings = settings


class TokenStep(ModalStep):
    """A token that lets this machine use the account."""

    name = "token"

    def __init__(self, screen: Screen, settings: Settings) -> None:
        super().__init__(screen, settings)
        self._reason = ""

    def find(self) -> str | None:
        """Ask Modal whose token this is; one that is refused can be replaced, unless variables set it."""
        try:
            return self._belongs_to(run_async(admin.workspace()))
        except NotAuthorizedError as error:
            if error.details.get("workspace") or any(os.environ.get(name) for name in VARIABLES):
                raise self._fixed_by_variables(error) from None
            self._reason = error.message
            return None

    def plan(self) -> StepPlan:
        """Say what ``modal token new`` does."""
        text = f"{self._reason} This step runs `modal token new`, which opens modal.com in your browser to log in or sign up."
        return StepPlan(text, "about a minute, or a few if you have no account yet.", "nothing.")

    def run(self) -> str:
        """Make a token."""
        make_token(self.screen.note)
        return self._belongs_to(run_async(admin.workspace()))

    def _belongs_to(self, workspace: str) -> str:
        wanted = self.settings.modal_workspace
        if wanted and wanted != workspace:
            text = f"The Modal token belongs to the workspace {workspace!r}, but MODAL_WORKSPACE is {wanted!r}."
            raise NotAuthorizedError(text, f"Switch to the right token: modal profile activate {wanted}", {"workspace": workspace})
        return f"The token belongs to the workspace {workspace}."

    def _fixed_by_variables(self, error: NotAuthorizedError) -> NotAuthorizedError:
        if error.details.get("workspace"):
            return error
        names = " and ".join(VARIABLES)
        hint = f"Correct {names}. Or unset them: this command then makes a token with you."
        return NotAuthorizedError(f"{error.message.rstrip('.')}. It comes from {names}.", hint, error.details)


class DeployStep(ModalStep):
    """The app with the class of one family; what else is deployed stays."""

    name = "deploy"
    needed_to_find = needed_to_run = ("token",)

    def __init__(self, screen: Screen, settings: Settings) -> None:
        super().__init__(screen, settings)
        self.families = FAMILIES[:1]
        """Families that are there, or will be."""

    def find(self) -> str | None:
        """Look for a class of the first picture in the app."""
        names = [CLASS_OF_FAMILY[family] for family in FAMILIES]
        absent = run_async(admin.absent_classes(self.settings, [*names, admin.WEIGHTS_CLASS]))
        found = tuple(family for family in FAMILIES if CLASS_OF_FAMILY[family] not in absent)
        if admin.WEIGHTS_CLASS in absent or not found:
            return None
        self.families = found
        version = run_async(admin.deployed_versions(self.settings)).get("app", "")
        there = f"The app {self.settings.modal_app} has the class {CLASS_OF_FAMILY[found[0]]}."
        if version in ("", __version__):
            return there
        return f"{there} It was deployed by version {version}, and this is {__version__}. To update it: ryla-gen deploy"

    def plan(self) -> StepPlan:
        """Say what is built, and what the deployed app costs while nothing runs."""
        changes = self._changes()
        names = [CLASS_OF_FAMILY[name] for name in changes.only]
        others = f" What is deployed of {', '.join(names[1:])} is deployed again, so that it stays." if len(names) > 1 else ""
        text = (
            f"Deploys the class {names[0]} as the app {self.settings.modal_app}, as `ryla-gen deploy --only {FAMILIES[0]}` does."
            f"{others} Modal builds an image with ComfyUI for it."
        )
        text = " ".join([text, *family_warnings(changes.only)])
        kept = sum(hourly(item, item.min_containers) for item in changes.configs())
        idle = (
            f"about ${kept:.2f} an hour for the containers that your settings keep running" if kept else "nothing while no job runs"
        )
        return StepPlan(
            text,
            "about 15 minutes the first time; less once the image is built.",
            f"an unknown amount while the image is built: our price table does not have it. After that, the app costs {idle}.",
        )

    def run(self) -> str:
        """Deploy."""
        done = deploy(self._changes(), self.screen.note)
        return f"The app {done.app} has the class {CLASS_OF_FAMILY[FAMILIES[0]]} ({done.seconds:.0f} s)."

    def _changes(self) -> DeployChanges:
        """Return a deploy of the family beside all that is deployed, so that nothing is taken away."""
        try:
            standing = run_async(admin.deployed_versions(self.settings))
        except NotDeployedError:
            return DeployChanges(only=FAMILIES[:1])
        # An app of an older version does not say what it has: it may be everything.
        others = [name for name in CLASS_OF_FAMILY if name != FAMILIES[0] and (name in standing or not standing)]
        return DeployChanges(only=(FAMILIES[0], *others))


class WeightsStep(ModalStep):
    """The model files of one workflow, on the volume."""

    name = "weights"
    needed_to_find = ("token",)
    needed_to_run = ("deploy",)

    def __init__(self, screen: Screen, settings: Settings, deployed: DeployStep) -> None:
        super().__init__(screen, settings)
        self._deployed = deployed
        self.workflow = FIRST[0]
        """The workflow whose files are there, or will be."""

    def find(self) -> str | None:
        """Look for the files on the volume, by name and size."""
        there = run_async(admin.volume_files(self.settings))
        served = [name for name in FIRST if workflow_class(name).family in self._deployed.families]
        self.workflow = served[0]
        for name in served:
            rows = rows_of((name,), every=False)
            if all(row.label in there and row.bytes in (None, there[row.label]) for row in rows):
                self.workflow = name
                return f"The volume {MODELS_VOLUME} has {self._files(rows)}."
        return None

    def plan(self) -> StepPlan:
        """Say what is downloaded, and what that takes at an assumed speed."""
        rows = rows_of((self.workflow,), every=False)
        seconds = sum(row.bytes or 0 for row in rows) / ASSUMED_SPEED
        usd = cost_of(seconds, "", cpu=config.WEIGHTS_CPU, memory=config.WEIGHTS_MEMORY).total_usd
        text = f"Downloads {self._files(rows)} from Hugging Face to the volume {MODELS_VOLUME} in your account, and verifies them."
        return StepPlan(
            text,
            f"about {max(1, round(seconds / 60))} min at 100 MB/s. The real speed is known only while it runs.",
            f"about ${max(usd, 0.01):.2f} at that speed, since it needs no GPU. The price of storage is not in our table.",
        )

    def run(self) -> str:
        """Download them."""
        rows = rows_of((self.workflow,), every=False)
        notice(self.screen, rows, home_folder(), again=False)
        run_on_modal(self.screen, "sync", [self.workflow], every=False, environment=None)
        return f"The volume {MODELS_VOLUME} has {self._files(rows)}."

    def _files(self, rows: dict[Weights, list[str]]) -> str:
        size = format_bytes(sum(row.bytes or 0 for row in rows))
        return f"the weights of {self.workflow.replace('_', '-')} ({count_text(len(rows), 'file')}, {size})"


class PictureStep(ModalStep):
    """A first picture, saved on this machine."""

    name = "picture"
    needed_to_run = ("deploy", "weights")

    def __init__(self, screen: Screen, settings: Settings, weights: WeightsStep, *, again: bool) -> None:
        super().__init__(screen, settings)
        self._weights = weights
        self._again = again
        self.path: str | None = None
        """Where the picture is."""

    @property
    def workflow(self) -> str:
        """The workflow that makes it."""
        return self._weights.workflow

    def find(self) -> str | None:
        """Look for a first picture that was made on Modal and is still where it was saved."""
        with closing(History(self.settings.history_path)) as history:
            made = [] if self._again else history.list(backend="modal", state="succeeded", tags=(TAG,))
        self.path = next((path for record in made for path in record.saved if Path(path).exists()), None)
        return None if self.path is None else f"It is saved as {self.path}."

    def plan(self) -> StepPlan:
        """Estimate it."""
        request = first_workflow(self.workflow)
        with closing(History(self.settings.history_path)) as history:
            found = estimate(request, self.settings, history, "modal")
        start, graph = found.cold_start.likely, found.seconds.likely
        usd = found.usd.likely + found.cold_start_usd.likely
        return StepPlan(
            f"Makes one picture with {self.workflow.replace('_', '-')} on {found.gpu}, and saves it on this machine.",
            f"about {start + graph:.0f} s: {start:.0f} s until a container has started, {graph:.0f} s for the picture.",
            f"about ${usd:.2f}, and up to ${found.idle_window_usd:.2f} more while the container waits {found.idle_window:.0f} s "
            f"for another request (Modal's prices of {found.prices_as_of}).",
        )

    def run(self) -> str:
        """Make it."""
        self.path = make_picture(self.screen, "modal", self.workflow, self.settings.max_usd)
        return f"It is saved as {self.path}."
