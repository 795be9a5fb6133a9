"""Run the checks of ``doctor``, backend by backend, each with its result and what to do. Prints nothing and fixes nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from ryla_gen.backends import BUILT
from ryla_gen.client import AsyncClient
from ryla_gen.comfy.connect import connect, no_server
from ryla_gen.comfy.health import examine_queue
from ryla_gen.comfy.requirements import Missing, missing_for
from ryla_gen.errors import RylaGenError
from ryla_gen.models.node_schemas import OLDEST_VERSION, release_key
from ryla_gen.remote.variants import default_of
from ryla_gen.results import Timings
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.numbers import format_significant
from ryla_gen.version import __version__
from ryla_gen.workflows.flux import Flux
from ryla_gen.workflows.registry import prepared_names, workflow_class

State = Literal["ok", "failed", "skipped"]

PICTURE = Flux(prompt="a red fox in the snow", width=256, height=256, steps=1, seed=1)
"""The smallest picture that says whether everything works."""
SHOWN = 3
"""Names listed before "and so many more"."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    state: State
    message: str
    hint: str = ""
    """What to do."""
    code: str = ""
    """Code of the error behind a failure, where there is one."""


def failed(name: str, error: RylaGenError) -> Check:
    """Return a check that ended with an error."""
    return Check(name, "failed", error.message, error.hint, error.code)


async def run_checks(settings: Settings, workflows: Sequence[str], *, generate: bool) -> AsyncGenerator[Check, None]:
    """Yield every check of the chosen backends, as they come; where there are several, each name begins with its backend's.

    Args:
        settings: where to look.
        workflows: those that have to work; when there are none, it is enough that some do.
        generate: whether a picture may be made where that costs something.
    """
    yield _home(settings)
    names = settings.backend_names
    origins = {**settings.origins, "backend": "argument"}  # each backend is named here, so that no client prints why it was chosen
    for name in names:
        chosen = replace(settings, backend_names=(name,), origins=origins)
        async with aclosing(_backend(chosen, name, workflows, generate=generate)) as checks:
            async for check in checks:
                yield check if len(names) == 1 else replace(check, name=f"{name}: {check.name}")


async def _backend(settings: Settings, name: str, workflows: Sequence[str], *, generate: bool) -> AsyncGenerator[Check, None]:
    if name == "modal":
        checks = _modal(settings, workflows)
    elif name == "comfyui":
        checks = _comfyui(settings, workflows)
    elif name == "runpod":
        checks = _runpod(settings)
    elif name == "emulator":
        checks, generate = _emulator(workflows), True
    else:
        yield Check("backend", "failed", f"{name} is not part of this version.", f"Use one of: {', '.join(BUILT)}")
        return
    broken = False
    async with aclosing(checks):
        async for check in checks:
            broken |= check.state == "failed"
            yield check
    yield await _picture(settings, generate=generate, broken=broken)


async def _emulator(workflows: Sequence[str]) -> AsyncGenerator[Check, None]:
    """Build each workflow's graph and compare it with the emulator's nodes and lists of weights; no server is started."""
    from ryla_gen.emulator.server import Emulator  # NumPy and all: only where it is needed

    server = Emulator()
    try:
        for check in _nodes(server.catalog.object_info(), workflows) if workflows else ():
            yield check
    finally:
        server.close()


def _home(settings: Settings) -> Check:
    """Journal and results need folders that can be written."""
    for folder in (settings.home, settings.output_dir):
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            hint = "Choose another folder: RYLA_GEN_HOME=DIR, or ryla-gen config set output_dir DIR"
            return Check("folders", "failed", f"{folder} cannot be written.", hint)
    return Check("folders", "ok", f"settings and journal in {settings.home}, results in {settings.output_dir}")


async def _picture(settings: Settings, *, generate: bool, broken: bool) -> Check:
    if broken:
        return Check("picture", "skipped", "something above failed")
    if not generate:
        return Check("picture", "skipped", "it would need a GPU", "To make one: ryla-gen doctor --generate")
    client = AsyncClient(settings=settings)
    try:
        made = await client.run(PICTURE, tags=("doctor",))
    except RylaGenError as error:
        return failed("picture", error)
    finally:
        await client.close()
    size = f"{made.outputs[0].width}×{made.outputs[0].height}"
    return Check("picture", "ok", f"{size} in {made.timings.total:.1f} s, ${made.cost.total_usd:.4f}{_cold_text(made.timings)}")


def _cold_text(timings: Timings) -> str:
    """Say where a cold start went, as the end of a sentence."""
    if not timings.cold_start:
        return ""
    parts = timings.cold.known() if timings.cold is not None else {}
    told = f" ({', '.join(f'{words} {seconds:.1f} s' for words, seconds in parts.items())})" if parts else ""
    return f"; cold start {timings.cold_start:.1f} s{told}"


# -- a ComfyUI server of one's own ---------------------------------------------------------------------


async def _comfyui(settings: Settings, workflows: Sequence[str]) -> AsyncGenerator[Check, None]:
    if not settings.comfyui_url:
        yield failed("server", no_server())
        return
    try:
        async with connect(settings) as client:
            stats = await client.system_stats()
            yield Check("server", "ok", f"{client.address} answers")
            yield _version(stats)
            health = await examine_queue(client)
            yield Check("queue", "ok" if health.moves else "failed", health.message, health.hint)
            for check in _nodes(await client.object_info(), workflows):
                yield check
    except RylaGenError as error:
        yield failed("server", error)


def _version(stats: dict[str, Any]) -> Check:
    found = str((stats.get("system") or {}).get("comfyui_version") or "unknown")
    devices = ", ".join(str(item.get("name", "")) for item in stats.get("devices") or () if isinstance(item, dict))
    text = f"ComfyUI {found}{f' on {devices}' if devices else ''}"
    if (release_key(found) or ()) < (release_key(OLDEST_VERSION) or ()):
        return Check("version", "failed", f"{text} is older than {OLDEST_VERSION}.", "Update ComfyUI on the server.")
    return Check("version", "ok", text)


def _nodes(known: dict[str, Any], workflows: Sequence[str]) -> list[Check]:
    """Check which workflows the server has the nodes for, and which of those lack weights."""
    lacking = [
        missing_for(name, default_of(workflow_class(name)).build().to_api(), known) for name in workflows or prepared_names()
    ]
    checks = [_nodes_of(missing, required=missing.workflow in workflows) for missing in lacking]
    if not workflows and all(check.state != "ok" for check in checks):
        hint = "Install or update ComfyUI on the server."
        checks.append(Check("workflows", "failed", "The server does not have the nodes of any workflow.", hint))
    return checks + [_weights_of(item, required=item.workflow in workflows) for item in lacking if item.files and not item.nodes]


def _nodes_of(missing: Missing, *, required: bool) -> Check:
    title = f"nodes of {missing.workflow.replace('_', '-')}"
    if not missing.nodes:
        return Check(title, "ok", "all there")
    packs = missing.packs
    hint = "; ".join(f"install {pack.name} at {pack.commit[:12]}: {pack.repo}" for pack in packs) or "Update ComfyUI on the server."
    return Check(title, "failed" if required else "skipped", f"missing: {_some(sorted(missing.nodes))}", hint)


def _weights_of(missing: Missing, *, required: bool) -> Check:
    title, text = f"weights of {missing.workflow.replace('_', '-')}", _some([item.text for item in missing.files])
    return Check(title, "failed" if required else "skipped", f"not there: {text}", missing.hint)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


# -- RunPod --------------------------------------------------------------------------------------------


async def _runpod(settings: Settings) -> AsyncGenerator[Check, None]:
    from ryla_gen.backends.runpod.backend import RunpodBackend
    from ryla_gen.backends.runpod.ticket import PRICE_HINT

    try:
        backend = RunpodBackend(settings)
        try:
            health = await backend.health()
        finally:
            await backend.close()
    except RylaGenError as error:
        yield failed("endpoint", error)
        return
    yield Check("endpoint", "ok", f"{settings.runpod_endpoint_id} answers and accepts the key")
    workers, jobs = (_counts(health.get(part)) for part in ("workers", "jobs"))
    yield Check("workers", "ok", workers or "it does not say")
    yield Check("queue", "ok", jobs or "it does not say")
    if settings.runpod_usd_per_second is None:
        yield Check("price", "skipped", "not known, so results show a cost of 0 and budgets cannot be enforced", PRICE_HINT)
    else:
        yield Check("price", "ok", f"${format_significant(settings.runpod_usd_per_second, 6)} a second")
    # What the worker's ComfyUI has can only be learnt by running something there.
    yield Check("weights", "skipped", "RunPod does not report the weights or the nodes of a worker", "See docs/runpod.md")


def _counts(found: object) -> str:
    return ", ".join(f"{value} {key}" for key, value in found.items()) if isinstance(found, dict) else ""


# -- Modal ---------------------------------------------------------------------------------------------


async def _modal(settings: Settings, workflows: Sequence[str]) -> AsyncGenerator[Check, None]:
    from ryla_gen.remote import admin  # Modal's client, which the other backends do not need

    try:
        yield _workspace(await admin.workspace(), settings)
    except RylaGenError as error:
        yield failed("token", error)
        return
    try:
        missing = await admin.missing_classes(settings)
    except RylaGenError as error:
        yield failed("app", error)
        return
    if missing:
        text = f"{settings.modal_app} lacks {', '.join(missing)}: it is older than this package."
        yield Check("app", "failed", text, "Deploy it again: ryla-gen deploy")
        return
    yield Check("app", "ok", f"{settings.modal_app} is deployed, with every class")
    try:
        await admin.probe_queue(settings)
        yield Check("queue", "ok", "job progress arrives")
    except RylaGenError as error:
        yield failed("queue", error)
    try:
        # One call of the CPU class: it costs a fraction of a cent, and its answer tells the contract and the weights.
        report = await admin.weights(settings, "status", workflows or prepared_names())
        yield Check("call", "ok", "the app answers and uses the contract of this package")
    except RylaGenError as error:
        yield failed("call", error)
        return
    yield _app_version(report.get("app"))
    for check in _stock({item["file"]: item["state"] for item in report["files"]}, workflows):
        yield check


def _app_version(deployed: object) -> Check:
    if deployed == __version__:
        return Check("version", "ok", f"the app is {deployed}, as this package")
    # Another version is no fault as long as both speak one contract, which the call has just shown.
    text = f"the app is {deployed or 'too old to report its version'}, this package is {__version__}"
    return Check("version", "skipped", text, "Deploy this version: ryla-gen deploy")


def _workspace(found: str, settings: Settings) -> Check:
    wanted = settings.modal_workspace
    if wanted and wanted != found:
        text = f"It belongs to the workspace {found!r}, but MODAL_WORKSPACE is {wanted!r}."
        return Check("token", "failed", text, f"Switch to the right token: modal profile activate {wanted}")
    return Check("token", "ok", f"belongs to the workspace {found}")


def _stock(states: dict[str, str], workflows: Sequence[str]) -> list[Check]:
    """Check which workflows have their weights on the volume."""
    checks = []
    for name in workflows or prepared_names():
        rows = default_of(workflow_class(name)).required_weights()
        missing = [label for row in rows if states.get(label := row.label) not in ("present", "unverified")]
        title = f"weights of {name.replace('_', '-')}"
        if not missing:
            checks.append(Check(title, "ok", f"{count_text(len(rows), 'file')} on the volume"))
            continue
        hint = f"Download them: ryla-gen weights sync {name.replace('_', '-')}"
        checks.append(Check(title, "failed" if name in workflows else "skipped", f"not there: {_some(missing)}", hint))
    if not workflows and all(check.state != "ok" for check in checks):
        checks.append(
            Check(
                "weights",
                "failed",
                "The volume does not have the weights of any workflow.",
                "Start with: ryla-gen weights sync z-image",
            )
        )
    return checks
