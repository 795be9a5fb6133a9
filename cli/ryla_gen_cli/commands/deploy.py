"""Implement ``ryla-gen deploy``: deploy the GPU side to Modal, after showing what that is. Knows neither images nor classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
import typer.core

from ryla_gen.errors import NotDeployedError
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote import admin
from ryla_gen.remote.config import FamilyConfig
from ryla_gen.remote.deploy import deploy
from ryla_gen.remote.hook_requirements import family_warnings
from ryla_gen.settings import Settings
from ryla_gen.support.loop_thread import run_async
from ryla_gen.support.shell_words import path_word
from ryla_gen.workflows.registry import LOCK_SUFFIX, built_in_classes

from ..common import Json, Quiet, example, grouped, screen_of, setting_warnings
from ..machine_options import MachineOptions
from ..prompts import Yes, confirm
from ..screen import Screen, table, width
from . import containers, deploy_graph, deployments
from .containers import hourly

EXAMPLE = "ryla-gen deploy --gpu L40S,H100 --max-containers 4 --apply-to flux"


class DeployGroup(typer.core.TyperGroup):
    """The command that deploys, and its subcommands about what is deployed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the subcommand; refuse options in front of it, which are for a deploy and would change nothing."""
        if args[0].endswith(LOCK_SUFFIX):
            args = ["graph", *args]
        name = args[0]
        if name not in self.commands:
            if os.path.isfile(f"{name}{LOCK_SUFFIX}"):  # noqa: PTH113 - Path's own test raises for odd names
                ctx.fail(f"{name!r} is not a file. Its lock is beside it: ryla-gen deploy {path_word(f'{name}{LOCK_SUFFIX}')}")
            ctx.fail(f"There is no {name!r} here. Possible: {', '.join(self.commands)}, or options alone, which deploy.")
        shown = args[1] if name == "graph" and len(args) > 1 else name
        early = [item.opts[0] for item in self.params if _is_given(ctx, item.name)]
        if early:
            ctx.fail(f"{early[0]} stands before {shown} and would not count. Options of {shown} follow it: ryla-gen deploy {shown}")
        return super().resolve_command(ctx, args)


def _is_given(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


app = typer.Typer(
    cls=DeployGroup,
    epilog=example(EXAMPLE),
    subcommand_metavar="[COMMAND]",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
)
app.command("graph", epilog=example("ryla-gen deploy portrait.lock"))(deploy_graph.graph)
app.command("warm", epilog=example("ryla-gen deploy warm flux --containers 1"))(containers.warm)
app.command("cool", epilog=example("ryla-gen deploy cool flux"))(containers.cool)
app.command("history", epilog=example("ryla-gen deploy history"))(deployments.history)
app.command("rollback", epilog=example("ryla-gen deploy rollback --to 3"))(deployments.rollback)
app.command("delete", epilog=example("ryla-gen deploy delete"))(deployments.delete)

Preload = Annotated[
    bool | None,
    typer.Option(
        "--preload/--no-preload", help="Load the weights when a container starts, or with its first request.", show_default=False
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help=f"Deploy this family alone, of {', '.join(CLASS_OF_FAMILY)}; repeatable. Other classes are taken away.",
    ),
]
ApplyTo = Annotated[
    list[str] | None,
    typer.Option("--apply-to", metavar="NAME", help="Family that the options are for; repeatable. Default: all."),
]


@dataclass(frozen=True, slots=True)
class FamilyOptions:
    """The options that only the app of the families has."""

    only: Only = None
    apply_to: ApplyTo = None
    family: Annotated[list[str] | None, typer.Option("--family", hidden=True)] = None
    """Name of ``apply_to`` until 0.3."""
    preload: Preload = None

    def given(self) -> dict[str, Any]:
        """Return them as the deploy takes them."""
        families = tuple(self.apply_to or self.family or CLASS_OF_FAMILY)
        return {"families": families, "preload": self.preload, "only": tuple(self.only or ())}


@app.callback(epilog=example(EXAMPLE))
@grouped
def command(
    context: typer.Context,
    machine: MachineOptions,
    families: FamilyOptions,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Deploy the GPU side to Modal, with what the settings say. The first deploy builds images, which takes some minutes."""
    if context.invoked_subcommand is not None:
        return
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    plan = machine.changes(**families.given())
    settings, configs = plan.settings(), plan.configs()
    for text in (*setting_warnings(settings), *family_warnings([item.family for item in configs])):
        screen.note(f"warning: {text}")
    workspace = run_async(admin.require_workspace(settings))
    screen.note(_overview(configs))
    where = f"{workspace}{f', environment {settings.modal_environment}' if settings.modal_environment else ''}"
    lost = _taken_away(screen, settings, [item.family for item in configs])
    confirm(screen, f"Deploy {settings.modal_app} to the workspace {where}{_standing(configs)}{lost}?", yes=yes)
    done = deploy(plan, screen.note)
    families_told = {item.family: {"gpu": list(item.gpu), "min_containers": item.min_containers} for item in configs}
    screen.result(
        {"workspace": workspace, **asdict(done), "families": families_told}, f"{done.app} is deployed ({done.seconds:.0f} s)."
    )
    _next(screen, [item.family for item in configs])


def _overview(configs: list[FamilyConfig]) -> str:
    rows = [
        (
            CLASS_OF_FAMILY[item.family],
            ", ".join(item.gpu),
            f"{item.min_containers} to {item.max_containers}",
            item.buffer_containers or "",
            f"{item.scaledown_window} s",
            ", ".join(item.region) or "anywhere",
        )
        for item in configs
    ]
    return table(("class", "gpu", "containers", "spare", "idle", "region"), rows, width())


def _taken_away(screen: Screen, settings: Settings, families: Sequence[str]) -> str:
    """Say which deployed classes a deploy takes away, as the end of a question: empty where there are none."""
    left_out = [name for name in CLASS_OF_FAMILY if name not in families]
    if not left_out:
        return ""
    try:
        standing = run_async(admin.deployed_versions(settings))
    except NotDeployedError:
        return ""
    names = ", ".join(CLASS_OF_FAMILY[name] for name in left_out if name in standing or not standing)
    if names:
        screen.note(
            f"This takes away what is deployed of: {names}. A call of one of them will fail; a job that runs there may end."
        )
    return f", and take away {names}" if names else ""


def _standing(configs: list[FamilyConfig]) -> str:
    """Write the hourly cost of an idle deploy: empty, unless containers are kept running."""
    cost = sum(hourly(item, item.min_containers) for item in configs)
    return f" and keep containers for about ${cost:.2f} an hour" if cost else ""


def _next(screen: Screen, families: Sequence[str]) -> None:
    """Say what comes next, for the first workflow that the deployed families have; custom alone has none of its own."""
    from ..workflow_commands import sample_line

    cls = next((cls for cls in built_in_classes() if cls.family in families and not cls.own_graph), None)
    screen.note("Next:")
    if cls is not None:
        screen.note(f"  1. Download weights to the volume, once: ryla-gen weights sync {cls.name.replace('_', '-')}")
        screen.note("  2. Make Modal the default backend:       ryla-gen config set backend modal")
        screen.note(f"  3. Run it:                               {sample_line(cls)}")
    screen.note("  If something does not work:              ryla-gen doctor")
