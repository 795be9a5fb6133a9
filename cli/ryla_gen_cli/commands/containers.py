"""Implement ``ryla-gen deploy warm`` and ``deploy cool``: set how many idle containers keep running on Modal. Deploys nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ryla_gen.errors import BudgetExceededError, InvalidInputError
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote import admin
from ryla_gen.remote.config import FamilyConfig, deployed_family
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async

from ..common import Environment, Json, screen_of
from ..prompts import Yes, confirm

Family = Annotated[str, typer.Argument(metavar="FAMILY", help=f"One of {', '.join(CLASS_OF_FAMILY)}.", show_default=False)]


def warm(
    context: typer.Context,
    family: Family,
    containers: Annotated[
        int, typer.Option("--containers", metavar="NUMBER", min=1, help="Number of containers to keep running.")
    ] = 1,
    environment: Environment = None,
    max_usd: Annotated[
        float | None,
        typer.Option(
            "--max-usd", metavar="USD", min=0.0, help="Refuse to keep what could cost more than this many US dollars an hour."
        ),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Keep containers of a family running, so that requests do not wait for one to start. You pay for them until deploy cool."""
    screen = screen_of(context, as_json=as_json)
    settings = _settings(family, environment)
    config = deployed_family(family, settings)
    if containers > config.max_containers:
        hint = f"Raise the limit first: ryla-gen deploy --apply-to {family} --max-containers {containers}"
        raise InvalidInputError(f"{CLASS_OF_FAMILY[family]} has at most {config.max_containers} containers.", hint)
    what = f"{count_text(containers, 'container')} of {CLASS_OF_FAMILY[family]}"
    cost = hourly(config, containers)
    _check_hourly(what, config, containers, max_usd)
    confirm(screen, f"Keep {what} running, for about ${cost:.2f} an hour ({config.gpu[0]})?", yes=yes)
    run_async(admin.scale(settings, family, containers))
    data = {"family": family, "containers": containers, "hourly_usd": cost}
    screen.result(data, f"Keeping {what} running, for about ${cost:.2f} an hour. Stop: ryla-gen deploy cool {family}")


def cool(context: typer.Context, family: Family, environment: Environment = None, yes: Yes = False, as_json: Json = False) -> None:
    """Let the idle containers of a family end. Running jobs finish first."""
    screen = screen_of(context, as_json=as_json)
    settings = _settings(family, environment)
    confirm(
        screen, f"Let the idle containers of {CLASS_OF_FAMILY[family]} end? The next request then waits for one to start.", yes=yes
    )
    run_async(admin.scale(settings, family, 0))
    screen.result({"family": family, "containers": 0}, f"The idle containers of {CLASS_OF_FAMILY[family]} are ending now.")


def hourly(config: FamilyConfig, containers: int) -> float:
    """Return the US dollars that a number of containers likely cost an hour: GPU, cores and memory."""
    from ryla_gen.backends.rates import kept_usd_per_hour  # the backends, which no help text needs

    return kept_usd_per_hour(config, containers)[0]


def _check_hourly(what: str, config: FamilyConfig, containers: int, limit: float | None) -> None:
    """Refuse containers that could cost more an hour than a limit: nothing stops them before somebody does.

    Raises:
        BudgetExceededError: they could.

    """
    from ryla_gen.backends.rates import kept_usd_per_hour

    likely, most = kept_usd_per_hour(config, containers)
    if limit is None or most <= limit:
        return
    range_ = f"about ${likely:.2f}" if most < likely + 0.005 else f"about ${likely:.2f}, and up to ${most:.2f},"
    raise BudgetExceededError(
        f"Keeping {what} running would cost {range_} an hour, but may cost at most ${limit:.2f}. Nothing was sent.",
        "Allow more: --max-usd USD, in US dollars an hour. Or keep fewer containers.",
        {"estimate_usd": likely, "most_usd": most, "limit_usd": limit, "setting": "max_usd"},
    )


def _settings(family: str, environment: str | None) -> Settings:
    if family not in CLASS_OF_FAMILY:
        raise InvalidInputError(f"There is no family {family!r}.", f"Families: {', '.join(CLASS_OF_FAMILY)}")
    settings = Settings.load()
    return replace(settings, modal_environment=environment) if environment else settings
