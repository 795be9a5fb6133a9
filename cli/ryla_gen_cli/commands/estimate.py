"""Implement ``ryla-gen estimate``: predict time and cost; its options are those of ``run``. Sends nothing, reads no picture."""

from __future__ import annotations

from typing import Any

from ryla_gen.support.numbers import format_significant
from ryla_gen.workflows.base import Workflow

from ..common import Backend, Json, Url, screen_of, setting_warnings
from ..options import values
from ..screen import Screen, width, wrap
from ..workflow_commands import per_workflow


def estimate(cls: type[Workflow], given: dict[str, Any]) -> None:
    """Estimate one workflow."""
    screen = screen_of(given["context"], as_json=given["as_json"])
    if "prompt" in cls.model_fields and given.get("prompt_argument") is None and given.get("field_prompt") is None:
        given["prompt_argument"] = "any"  # a prompt's text does not change the cost
    say(screen, cls(**values(cls, given)), given)


def say(screen: Screen, workflow: Workflow, given: dict[str, Any]) -> None:
    """Print what a workflow would take and cost on each chosen backend.

    Raises:
        BackendNotConfiguredError: the first backend is not set up.

    """
    from contextlib import closing

    from ryla_gen.client.requests import estimate as estimated  # the journal and the Modal side's tables, which no help text needs
    from ryla_gen.history import History

    from ..run_options import settings_for

    settings = settings_for(given["backend"], given["url"])
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")
    with closing(History(settings.history_path)) as history:
        found = estimated(workflow, settings, history)
    screen.result(found.to_data(), page(found))


def page(found: Any) -> str:
    """Format an estimate for people."""
    room, usd = width(), found.usd
    took, cold = (
        [format_significant(part) for part in (item.likely, item.low, item.high)] for item in (found.seconds, found.cold_start)
    )
    free = usd.high == 0
    lines = [f"{found.workflow.replace('_', '-')} on {found.backend}{f' ({found.gpu})' if found.gpu else ''}"]
    lines.append(f"  cost   {'free of charge' if free else f'${usd.likely:.4f}   ({_money(usd)})'}")
    lines.append(f"  time   {took[0]} s   ({took[1]} to {took[2]} s)")
    if found.cold_start.high:
        cost = "" if free else f", {_money(found.cold_start_usd)}"
        lines.append(f"  cold   {cold[0]} s more when a container has to start ({cold[1]} to {cold[2]} s{cost})")
    lines += ["", wrap(f"Basis: {found.basis}", room)]
    lines += [wrap(f"Not included: {text}.", room) for text in found.not_included]
    return "\n".join(lines)


def _money(usd: Any) -> str:
    return f"${usd.low:.4f} to ${usd.high:.4f}"


def _common(*, backend: Backend = None, url: Url = None, as_json: Json = False) -> None:
    """Hold the options that every workflow has; only its signature is read."""


app = per_workflow(
    "estimate",
    estimate,
    _common,
    text="Estimate the time and cost of a workflow, and say what the estimate is based on. Nothing is sent.",
    options='flux-dev "a lighthouse at dusk" --steps 28 --backend modal',
)
