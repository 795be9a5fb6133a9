"""List which workflows your own ComfyUI server can run, and what the others lack: ``ryla-gen doctor --workflows``. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ryla_gen.errors import InvalidInputError, ModelNotFoundError, WorkflowInvalidError
from ryla_gen.support.counting import count_text
from ryla_gen.workflows.registry import prepared_names, workflow_class

from ...screen import Screen, table, width, wrap

if TYPE_CHECKING:
    from ryla_gen.comfy.requirements import Missing
    from ryla_gen.settings import Settings


def check(screen: Screen, settings: Settings, workflows: Sequence[str], *, every: bool) -> None:
    """Show what the server has for each workflow.

    Args:
        screen: where to.
        settings: which server.
        workflows: those that have to work; when there are none, all are shown.
        every: whether all options count, not only the defaults.

    Raises:
        typer.Exit: a workflow that was named lacks something.
    """
    from ryla_gen.support.loop_thread import run_async

    named = tuple(workflows)
    found = run_async(_check_all(settings, named or prepared_names(), every=every))
    _show(screen, found, named)


async def _check_all(settings: Settings, names: tuple[str, ...], *, every: bool) -> list[Missing]:
    """Ask the server once, and compare every workflow with its answer."""
    from ryla_gen.comfy.connect import connect

    async with connect(settings) as client:
        schemas = await client.object_info()
    return [_missing_for(name, schemas, every=every) for name in names]


def _missing_for(name: str, schemas: dict[str, Any], *, every: bool) -> Missing:
    """Return what one workflow lacks, by its defaults or by all its options together."""
    from ryla_gen.comfy.requirements import missing_for
    from ryla_gen.remote.variants import default_of, variants
    from ryla_gen.workflows.preview import default_files

    cls = workflow_class(name)
    if cls.own_graph:
        raise InvalidInputError("Use another command to check your own graph.", "ryla-gen graph validate FILE.json --url URL")
    graph: dict[str, Any] = {}
    for number, request in enumerate(variants(cls) if every else (default_of(cls),)):
        graph |= {f"{number}.{node_id}": node for node_id, node in request.build().to_api().items()}
    return missing_for(name, graph, schemas, default_files=default_files(cls))


def _show(screen: Screen, found: list[Missing], named: tuple[str, ...]) -> None:
    """Write the table, and what is missing below it; a workflow that was named and lacks something is a failure.

    Raises:
        typer.Exit: a named workflow lacks something.

    """
    items = [{"workflow": item.workflow, "ready": not item, **item.to_data()} for item in found]
    rows = [(item.workflow.replace("_", "-"), "no" if item else "yes", _summary(item)) for item in found]
    screen.say(table(("workflow", "ready", "missing"), rows, width()))
    lacking = [item for item in found if item]
    for item in lacking:
        screen.say("\n".join(["", f"{item.workflow.replace('_', '-')}", wrap(item.message, width()), wrap(item.hint, width())]))
    if not lacking or not named:
        screen.result({"items": items})
        return
    kind = WorkflowInvalidError if any(item.nodes for item in lacking) else ModelNotFoundError
    text = (
        f"{len(lacking)} of {count_text(len(found), 'workflow')} cannot run there: {', '.join(item.workflow for item in lacking)}."
    )
    screen.fail(kind(text, lacking[0].hint), {"items": items})
    raise typer.Exit(1)


def _summary(item: Missing) -> str:
    parts = [count_text(len(item.nodes), "node class", "node classes")] if item.nodes else []
    size = f" ({item.bytes / 1e9:.1f} GB)" if item.bytes else ""
    parts += [count_text(len(item.files), "weights file") + size] if item.files else []
    return " and ".join(parts)
