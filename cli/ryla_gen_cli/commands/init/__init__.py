"""Implement ``ryla-gen init``: choose a backend, check it, write the configuration in one step, make a first picture.

Asks on a terminal; elsewhere the options must say everything. ``doctor.checks`` has the checks, ``settings`` does the writing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

from ryla_gen.errors import BackendNotConfiguredError, InvalidInputError, RylaGenError, ServerUnhealthyError
from ryla_gen.settings import Settings, set_values
from ryla_gen.settings.base import find_key
from ryla_gen.settings.reading import read_config
from ryla_gen.support.loop_thread import LoopThread

from ...common import Json, Url, example, screen_of, setting_warnings, single
from ...prompts import Yes, confirm
from ...screen import Screen, width, wrap
from ..doctor import _line as check_line
from ..doctor.checks import Check, run_checks

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
PROMPT = "a lighthouse at dusk, red roof"
FIRST = ("flux", "flux_dev")
"""Workflows that may make the first picture: the quickest that the backend has the weights for."""


@dataclass(frozen=True, slots=True)
class InitPlan:
    """The settings that will be written, and why."""

    backend: Backend
    values: Mapping[str, str]
    """Every setting of the choice, by key."""
    before: Mapping[str, Any]
    """The configuration as it is."""

    @property
    def changes(self) -> dict[str, str]:
        """Settings that are not so yet."""
        return {
            key: text
            for key, text in self.values.items()
            if _text(self.before.get(key)) != _text(find_key(key).from_text(text, ""))
        }

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
    check: Annotated[bool, typer.Option("--check/--no-check", help="Check that it works before saving.")] = True,
    picture: Annotated[
        bool | None, typer.Option("--picture/--no-picture", help="Make a first picture. Default: if something changed.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set up: choose where to run, check it, save it, and make a first picture. Run it again to change a choice."""
    screen = screen_of(context, as_json=as_json)
    asking = not (as_json or yes) and sys.stdin.isatty() and sys.stderr.isatty()
    settings = Settings.load()
    before = read_config(settings.config_path)
    _show_what_is_there(screen, settings, before)
    plan = _make_plan(screen, settings, before, _choice_of_options(backend, url, endpoint), asking=asking)
    checks = _run_checks(screen, plan) if check else []
    for key in plan.replaced:
        confirm(screen, f"Replace {key} = {_text(before[key])} with {plan.changes[key]}?", yes=yes)
    path = set_values(plan.changes) if plan.changes else settings.config_path
    for key, text in plan.changes.items():
        screen.say(f"{key} = {text}")
    screen.say(f"Saved to {path}." if plan.changes else f"Nothing to change in {path}.")
    _note_overrides(screen, plan)
    wanted = picture if picture is not None else bool(plan.changes) or not before
    made = _picture(screen, plan, checks, yes=yes, asking=asking) if wanted else None
    changes = [{"key": key, "before": before.get(key), "after": text} for key, text in plan.changes.items()]
    data = {"backend": plan.backend, "path": str(path), "changes": changes, "checks": [asdict(item) for item in checks]}
    screen.result({**data, "picture": made})
    screen.note(f'Next: ryla-gen run flux "{PROMPT}" -o lighthouse.png   ryla-gen workflows list   ryla-gen --install-completion')


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
        ServerUnhealthyError: it does not; nothing was written.

    """
    arguments = {find_key(key).argument: find_key(key).from_text(text, "command line") for key, text in plan.values.items()}
    settings = Settings.load(**arguments)
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
        raise ServerUnhealthyError(text, f"{bad[0].hint or 'Fix it and run this again.'}   (To save it anyway, add --no-check.)")
    return checks


def _note_overrides(screen: Screen, plan: InitPlan) -> None:
    settings = Settings.load()
    for key in plan.values:
        if (origin := settings.origin(key)).startswith("environment"):
            screen.note(f"warning: {origin.removeprefix('environment ')} is set and overrides {key} = {plan.values[key]}.")


def _picture(screen: Screen, plan: InitPlan, checks: list[Check], *, yes: bool, asking: bool) -> str | None:
    """Make the first picture and return its path; None when it was not to be, which is said. What was written stays."""
    states = {check.name: check.state for check in checks}
    fit = (
        name
        for name in FIRST
        if all(states.get(f"{word} of {name.replace('_', '-')}", "ok") == "ok" for word in ("nodes", "weights"))
    )
    name = next(fit, None)
    if name is None:
        screen.note("No first picture: the weights for it are not there yet; the lines above say how to download them.")
        return None
    if plan.backend in PAID and not yes:
        if not asking:
            screen.note("No first picture: it would cost a few cents. To make it: ryla-gen init --picture --yes")
            return None
        if not typer.confirm("Make a first picture? It costs a few cents.", err=True):
            return None
    return _make_picture(screen, plan, name)


def _make_picture(screen: Screen, plan: InitPlan, name: str) -> str | None:
    from ryla_gen.client import Client
    from ryla_gen.workflows.registry import workflow_class

    from ...generate import note_result, save_outputs
    from ...progress import following
    from ...run_options import RunOptions
    from ...terminal_images import show_images

    screen.say(f'Making "{PROMPT}" with {name.replace("_", "-")} …')
    workflow = workflow_class(name).from_plain({"prompt": PROMPT, "seed": 7})
    try:
        with Client(plan.backend) as client:
            with following(screen, name) as follower:
                generation = client.run(workflow, on_event=follower.event, tags=("first",))
            paths = save_outputs(screen, generation, RunOptions(), client.settings.output_dir)
            client.history.saved(generation.job, paths)
    except RylaGenError as error:
        error.message = f"{plan.backend} is set up, but the first picture failed: {error.message}"
        raise
    screen.say(str(paths[0]))
    show_images(screen, paths)
    note_result(screen, generation)
    return str(paths[0])


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
