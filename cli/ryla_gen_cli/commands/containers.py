"""Implement ``ryla-gen warm`` and ``ryla-gen cool``: set how many idle containers keep running on Modal. Deploys nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote import admin
from ryla_gen.remote.config import deployed_family
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text

from ..common import Environment, Json, example, screen_of, single
from ..prompts import Yes, confirm
from .deploy import hourly

warming, cooling = single(), single()

Family = Annotated[str, typer.Argument(metavar="FAMILY", help=f"One of {', '.join(CLASS_OF_FAMILY)}.", show_default=False)]


@warming.command("warm", epilog=example("ryla-gen warm flux --containers 1"))
def warm(
    context: typer.Context,
    family: Family,
    containers: Annotated[
        int, typer.Option("--containers", metavar="NUMBER", min=1, help="Number of containers to keep running.")
    ] = 1,
    environment: Environment = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Keep containers of a family running, so that requests do not wait for one to start. You pay for them until you run cool."""
    screen = screen_of(context, as_json=as_json)
    settings = _settings(family, environment)
    config = deployed_family(family, settings)
    if containers > config.max_containers:
        hint = f"Raise the limit first: ryla-gen deploy --apply-to {family} --max-containers {containers}"
        raise InvalidInputError(f"{CLASS_OF_FAMILY[family]} has at most {config.max_containers} containers.", hint)
    cost = hourly(config.gpu[0], containers)
    what = f"{count_text(containers, 'container')} of {CLASS_OF_FAMILY[family]}"
    confirm(screen, f"Keep {what} running, for about ${cost:.2f} an hour ({config.gpu[0]})?", yes=yes)
    asyncio.run(admin.scale(settings, family, containers))
    data = {"family": family, "containers": containers, "hourly_usd": cost}
    screen.result(data, f"Keeping {what} running, for about ${cost:.2f} an hour. Stop: ryla-gen cool {family}")


@cooling.command("cool", epilog=example("ryla-gen cool flux"))
def cool(context: typer.Context, family: Family, environment: Environment = None, yes: Yes = False, as_json: Json = False) -> None:
    """Let the idle containers of a family end. Running jobs finish first."""
    screen = screen_of(context, as_json=as_json)
    settings = _settings(family, environment)
    confirm(
        screen, f"Let the idle containers of {CLASS_OF_FAMILY[family]} end? The next request then waits for one to start.", yes=yes
    )
    asyncio.run(admin.scale(settings, family, 0))
    screen.result({"family": family, "containers": 0}, f"The idle containers of {CLASS_OF_FAMILY[family]} are ending now.")


def _settings(family: str, environment: str | None) -> Settings:
    if family not in CLASS_OF_FAMILY:
        raise InvalidInputError(f"There is no family {family!r}.", f"Families: {', '.join(CLASS_OF_FAMILY)}")
    settings = Settings.load()
    return replace(settings, modal_environment=environment) if environment else settings
