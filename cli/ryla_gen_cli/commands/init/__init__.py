"""Implement ``ryla-gen init``: choose a backend, check it, write the configuration in one step, make a first picture.

Asks on a terminal; elsewhere the options must say everything. ``doctor.checks`` has the checks, ``settings`` does the writing,
``modal_steps`` what a new account on Modal needs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ryla_gen.errors import ERRORS, BackendNotConfiguredError, InvalidInputError, RylaGenError, ServerUnhealthyError
from ryla_gen.settings import Settings, set_values
from ryla_gen.settings.base import find_key
from ryla_gen.settings.reading import read_config
from ryla_gen.support.loop_thread import LoopThread

from ...common import Json, MaxUsd, Url, example, screen_of, setting_warnings, single
from ...prompts import Yes, confirm
from ...screen import Screen, width, wrap
from ..doctor import _line as check_line
from ..doctor.checks import Check, run_checks
from .guide import Consent, StepResult, walk
from .picture import FIRST, FIRST_OF_RUNPOD, PROMPT, make_picture

app = single()

Backend = Literal["emulator", "comfyui", "modal", "runpod"]
CHOICES: dict[Backend, str] = {
    "emulator": "on this machine, at once, without a GPU: pictures are painted, not made by a model",
    "comfyui": "your own ComfyUI server",
    "modal": "GPUs in your modal.com account, paid by the second",
    "runpod": "a serverless endpoint in your runpod.io account",
}
"""Backend → what it is, for the person who chooses."""
USUAL_URL = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless told otherwise."""
NEEDED = {
    "comfyui": ("comfyui.url", "Address of the server", USUAL_URL),
    "runpod": ("runpod.endpoint_id", "Id of the endpoint", ""),
}
"""Backend → the one setting without which it cannot be found, the question, and the usual answer."""
PAID = ("modal", "runpod")
RESUME = "ryla-gen init --backend modal"
"""The command that goes on with the steps on Modal, from wherever they are."""
STEPS = ("token", "deploy", "weights", "picture")
"""Names of the steps on Modal, in their order."""


@dataclass(frozen=True, slots=True)
class InitPlan:
    """The settings that will be written, and why."""

    backend: Backend
    values: Mapping[str, str]
    """Every setting of the choice, by key."""
    before: Mapping[str, Any]
    """The configuration as it is."""
    max_usd: float | None = None
    """US dollars that the first picture may cost."""

    @property
    def changes(self) -> dict[str, str]:
        """Settings that are not so yet."""
        return {
            key: text
            for key, text in self.values.items()
            if _text(self.before.get(key)) != _text(find_key(key).from_text(text, ""))
        }

    def settings(self) -> Settings:
        """Return the settings under this plan, whatever the environment says."""
        most = {} if self.max_usd is None else {"max_usd": self.max_usd}
        return Settings.load(
            **{find_key(key).argument: find_key(key).from_text(text, "command line") for key, text in self.values.items()}, **most
        )

    @property
    def replaced(self) -> list[str]:
        """Settings that have another value now."""
        return [key for key in self.changes if key in self.before]


@app.command("init", epilog=example("ryla-gen init --backend emulator --yes"))
def init(
    context: typer.Context,
    backend: Annotated[Backend | None, typer.Option("--backend", help="Where to run. Asked for if not given.")] = None,
    url: Url = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", metavar="ID", help="RunPod's serverless endpoint.")] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check that it works before saving. On Modal: go through the steps.")
    ] = True,
    picture: Annotated[
        bool | None, typer.Option("--picture/--no-picture", help="Make a first picture. Default: if something changed.")
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="STEP", help=f"Step on Modal that shall not run: {', '.join(STEPS)}; repeatable."),
    ] = None,
    max_usd: MaxUsd = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set up: choose where to run, check it, save it, and make a first picture. Run it again to change a choice.

    On Modal it goes through four steps: a token, the deploy of one family, its weights, a picture. Each one says what it takes
    and costs, and runs only if you agree, here or with --yes. Run it again to go on with what is not done yet.
    """
    screen = screen_of(context, as_json=as_json)
    asking = not (as_json or yes) and sys.stdin.isatty() and sys.stderr.isatty()
    settings = Settings.load()
    before = read_config(settings.config_path)
    _show_what_is_there(screen, settings, before)
    plan = _make_plan(screen, settings, before, _choice_of_options(backend, url, endpoint), asking=asking)
    plan = replace(plan, max_usd=max_usd)
    left_out = _steps_left_out(plan, skip or [], picture=picture)
    checks = _run_checks(screen, plan) if check and plan.backend != "modal" else []
    path = _save(screen, plan, settings, yes=yes)
    changes = [{"key": key, "before": before.get(key), "after": text} for key, text in plan.changes.items()]
    data = {"backend": plan.backend, "path": str(path), "changes": changes, "checks": [asdict(item) for item in checks]}
    if check and plan.backend == "modal":
        _go_through_steps(screen, plan, Consent(yes, asking, left_out), data, again=bool(picture))
        return
    wanted = picture if picture is not None else bool(plan.changes) or not before
    name = _first_that_fits(plan, checks)
    made = _picture(screen, plan, name, yes=yes, asking=asking) if wanted else None
    screen.result({**data, "picture": made})
    screen.note(f"Next: {_run_command(name or FIRST[0])}   ryla-gen workflows list   ryla-gen --install-completion")


def _save(screen: Screen, plan: InitPlan, settings: Settings, *, yes: bool) -> Path:
    """Write the configuration, after asking where a value would be replaced; return its file."""
    for key in plan.replaced:
        confirm(screen, f"Replace {key} = {_text(plan.before[key])} with {plan.changes[key]}?", yes=yes)
    path = set_values(plan.changes) if plan.changes else settings.config_path
    for key, text in plan.changes.items():
        screen.say(f"{key} = {text}")
    screen.say(f"Saved to {path}." if plan.changes else f"Nothing to change in {path}.")
    _note_overrides(screen, plan)
    return path


def _steps_left_out(plan: InitPlan, skip: list[str], *, picture: bool | None) -> frozenset[str]:
    """Return the steps that shall not run.

    Raises:
        InvalidInputError: there is no such step, or not on this backend.

    """
    if skip and plan.backend != "modal":
        raise InvalidInputError(f"--skip is for the steps on Modal, not for {plan.backend}.", "Leave it out.")
    if unknown := [name for name in skip if name not in STEPS]:
        raise InvalidInputError(f"There is no step {unknown[0]!r}.", f"Steps: {', '.join(STEPS)}")
    return frozenset([*skip, "picture"] if picture is False else skip)


def _go_through_steps(screen: Screen, plan: InitPlan, consent: Consent, data: dict[str, Any], *, again: bool) -> None:
    """Walk through the steps on Modal, and print what became of them and the one command that comes next.

    Raises:
        typer.Exit: a step failed.

    """
    from .modal_steps import PictureStep, modal_steps  # Modal's client, which the other backends do not need

    screen.resume = f"To go on from there: {RESUME}"
    steps = modal_steps(screen, plan.settings(), again=again)
    screen.note(wrap(f"There are {len(steps)} steps from here to a first picture. You can skip any step, or stop.", width(), ""))
    results = walk(screen, steps, consent)
    made = next(step for step in steps if isinstance(step, PictureStep))
    following = _next_command(results, made.workflow)
    data = {**data, "steps": [item.to_data() for item in results], "picture": made.path, "next": following}
    error = next((item.error for item in results if item.error is not None), None)
    if error is not None:
        screen.fail(error, data)
    else:
        screen.result(data)
    screen.note(f"Next: {following}")
    if error is not None:
        raise typer.Exit(1)


def _next_command(results: Sequence[StepResult], workflow: str) -> str:
    """Return the command that comes next: the same one, until a picture can be made."""
    ready = all(item.stands for item in results if item.step != "picture") and all(item.error is None for item in results)
    return _run_command(workflow) if ready else RESUME


def _run_command(workflow: str) -> str:
    """Return the command that makes another picture; without a file's name, which may be taken where it is run."""
    return f'ryla-gen run {workflow.replace("_", "-")} "{PROMPT}"'


def _choice_of_options(backend: Backend | None, url: str | None, endpoint: str | None) -> tuple[Backend | None, dict[str, str]]:
    """Return the choice that the command line makes: an address means the user's own server."""
    given = {key: text for key, text in (("comfyui.url", url), ("runpod.endpoint_id", endpoint)) if text is not None}
    meant: Backend | None = "comfyui" if url is not None else "runpod" if endpoint is not None else None
    if len(given) > 1 or (backend and meant and backend != meant):
        raise InvalidInputError(
            "--backend, --url and --endpoint name different places.",
            "Use one of them: --url is for comfyui, --endpoint for runpod.",
        )
    return backend or meant, given


def _show_what_is_there(screen: Screen, settings: Settings, before: Mapping[str, Any]) -> None:
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")
    if before:
        screen.note(f"{settings.config_path} exists. {settings.backend_reason}")


def _make_plan(
    screen: Screen, settings: Settings, before: Mapping[str, Any], named: tuple[Backend | None, dict[str, str]], *, asking: bool
) -> InitPlan:
    backend, given = named
    if backend is None:
        if not asking:
            hint = "Choose one: ryla-gen init --backend emulator --yes   (or --url URL, --backend modal, --endpoint ID)"
            raise InvalidInputError("This needs to know where to run, and there is no terminal to ask on.", hint)
        backend = _ask_backend(screen, settings)
    values: dict[str, str] = {"backend": backend, **given}
    if backend in NEEDED and not given:
        key, question, usual = NEEDED[backend]
        found = settings.value(key)
        if asking:
            values[key] = typer.prompt(question, default=found or usual or None, err=True)
        elif not found:
            option = "--url http://127.0.0.1:8188" if backend == "comfyui" else "--endpoint ID"
            raise BackendNotConfiguredError(f"{backend} needs {key}.", f"Give it: ryla-gen init --backend {backend} {option}")
    return InitPlan(backend, values, before)


def _ask_backend(screen: Screen, settings: Settings) -> Backend:
    names = list(CHOICES)
    screen.note("Where should pictures be made?")
    for number, name in enumerate(names, start=1):
        screen.note(wrap(f"{number}  {name}: {CHOICES[name]}", width()))
    now = settings.backend_names[0]
    usual = names.index(now) + 1 if now in names else 1

    def read(text: str) -> Backend:
        for number, name in enumerate(names, start=1):
            if text.strip().lower() in (str(number), name):
                return name
        raise typer.BadParameter(f"Answer 1 to {len(names)}, or a name.")

    found: Backend = typer.prompt("Number", default=str(usual), value_proc=read, err=True)
    return found


def _run_checks(screen: Screen, plan: InitPlan) -> list[Check]:
    """Check that the backend works before its settings are saved.

    Raises:
        RylaGenError: it does not; nothing was written.

    """
    settings = plan.settings()
    checks: list[Check] = []
    loop_thread = LoopThread()
    try:
        for check in loop_thread.iterate(lambda: run_checks(settings, (), generate=False)):
            checks.append(check)
            screen.say(check_line(check))
    finally:
        loop_thread.close()
    bad = [check for check in checks if check.state == "failed"]
    if bad:
        text = f"{plan.backend} does not work yet, so nothing was saved: {bad[0].name}: {bad[0].message}"
        raise ERRORS.get(bad[0].code, ServerUnhealthyError)(
            text, f"{bad[0].hint or 'Fix it and run this again.'}   (To save it anyway, add --no-check.)"
        )
    return checks


def _note_overrides(screen: Screen, plan: InitPlan) -> None:
    settings = Settings.load()
    for key in plan.values:
        if (origin := settings.origin(key)).startswith("environment"):
            screen.note(f"warning: {origin.removeprefix('environment ')} is set and overrides {key} = {plan.values[key]}.")


def _first_that_fits(plan: InitPlan, checks: list[Check]) -> str | None:
    """Return the workflow of the first picture; None where the backend has the weights for none of them."""
    states = {check.name: check.state for check in checks}
    fit = (
        name
        for name in (FIRST_OF_RUNPOD if plan.backend == "runpod" else FIRST)
        if all(states.get(f"{word} of {name.replace('_', '-')}", "ok") == "ok" for word in ("nodes", "weights"))
    )
    return next(fit, None)


def _picture(screen: Screen, plan: InitPlan, name: str | None, *, yes: bool, asking: bool) -> str | None:
    """Make the first picture and return its path; None when it was not to be, which is said. What was written stays."""
    if name is None:
        screen.note("No first picture: the weights for it are not there yet; the lines above say how to download them.")
        return None
    if plan.backend in PAID and not yes:
        if not asking:
            screen.note("No first picture: it would cost a few cents. To make it: ryla-gen init --picture --yes")
            return None
        if not typer.confirm("Make a first picture? It costs a few cents.", err=True):
            return None
    try:
        return make_picture(screen, plan.backend, name, plan.max_usd)
    except RylaGenError as error:
        error.message = f"{plan.backend} is set up, but the first picture failed: {error.message}"
        raise


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
