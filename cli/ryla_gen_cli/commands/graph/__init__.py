"""Implement ``ryla-gen graph``: run or check a graph. ``checks`` finds what is wrong with one; ``tools`` has the other verbs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from ryla_gen.comfy.separators import with_server_names
from ryla_gen.errors import InvalidInputError, WorkflowInvalidError
from ryla_gen.graphs.inputs import pictures_of, with_values
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.workflows.base import Files
from ryla_gen.workflows.custom import CustomWorkflow

from ...common import (
    Backend,
    ComfyUI,
    Json,
    MaxUsd,
    Output,
    OutputTo,
    Overwrite,
    Quiet,
    Tag,
    Timeout,
    Url,
    User,
    Webhook,
    example,
    group,
    screen_of,
)
from ...generate import generate, with_format
from ...options import fields_of, prompt
from ...run_options import RunOptions, destination, settings_for
from ...screen import Screen, width, wrap
from ...terminal_images import Preview
from . import tools
from .acceptance import Asked, findings_at, nodes_at
from .checks import Finding, Nodes, Schemas, check, nodes_of
from .client import client
from .lock import check as check_lock
from .lock import export as export_lock
from .lock import lock

app = group(
    "Run, check, convert, draw, lock or change a ComfyUI graph of your own; make a workflow from it.",
    example("ryla-gen graph validate graph_api.json"),
)

Drawing = Annotated[
    Path, typer.Argument(metavar="FILE", help="The graph in either of ComfyUI's formats, or a saved picture.", show_default=False)
]

Image = Annotated[list[str] | None, typer.Option("--image", metavar="NAME=FILE", help="Picture for a LoadImage node.")]

app.command(epilog=example("ryla-gen graph convert my_graph.json -o my_graph_api.json"))(tools.convert)
app.command(epilog=example("ryla-gen graph draw my_graph.json -o my_graph.svg"))(tools.draw)
app.command(epilog=example("ryla-gen graph inputs my_graph_api.json"))(tools.inputs)
app.command(epilog=example("ryla-gen graph lock portrait.json"))(lock)
app.command("check", epilog=example("ryla-gen graph check portrait.lock --url http://127.0.0.1:8188"))(check_lock)
app.command("export", epilog=example("ryla-gen graph export portrait.lock -o comfy-build.yaml"))(export_lock)
app.command(epilog=example("ryla-gen graph client portrait.lock --python"))(client)
app.command(epilog=example("ryla-gen graph scaffold my-portrait my_graph_api.json"))(tools.scaffold)


@app.command(epilog=example('ryla-gen graph run graph_api.json --prompt "a fox" --image portrait.png=face.png -o fox.png'))
def run(
    context: typer.Context,
    file: Drawing,
    text: Annotated[
        str | None, typer.Option("--prompt", help="Text for the positive prompt; - reads it from standard input.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed for every sampler.")] = None,
    image: Image = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NODE.INPUT=VALUE", help="Another value, such as 3.seed=42 or KSampler.steps=30; repeatable."
        ),
    ] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", metavar="SECONDS", help="How long the graph may run. Default: 120.")
    ] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    output_to: OutputTo = None,
    webhook: Webhook = None,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    tag: Tag = None,
    max_usd: MaxUsd = None,
    user: User = None,
    preview: Preview = True,
    as_json: Json = False,
    comfyui: ComfyUI = None,
    quiet: Quiet = False,
) -> None:
    """Run a graph; prompt, seed and pictures replace the graph's own."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    given = {"prompt": prompt(None, text), "seed": seed, "limit": limit}
    fields = {name: value for name, value in given.items() if value is not None}
    if image:
        fields["images"] = fields_of(CustomWorkflow)["images"].read(image)
    fields = with_format(CustomWorkflow, fields, output)
    graph = tools.runnable(screen, file, lambda: tools.nodes_for(url, None, comfyui).schemas)
    if changes:  # before the graph is checked: a value that is refused may be the one that is replaced
        graph = with_values(graph, tools.changes_of(changes), nodes_of(url, comfyui).schemas if url or comfyui else None)
    workflow = CustomWorkflow.from_plain({"graph": graph, **fields}, trusted=True)
    how = RunOptions(
        output,
        overwrite,
        backend,
        url,
        timeout,
        tag or (),
        max_usd,
        preview,
        output_to=destination(output_to),
        webhook=webhook,
        comfyui=comfyui,
        user=user,
    )
    generate(screen, workflow, how)


@app.command(epilog=example("ryla-gen graph validate graph_api.json --url http://127.0.0.1:8188"))
def validate(
    context: typer.Context,
    file: Drawing,
    image: Image = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", metavar="NAME", help="Check against this backend, such as emulator or modal, without running anything."
        ),
    ] = None,
    url: Url = None,
    comfyui: ComfyUI = None,
    schemas: tools.SchemaFile = None,
    as_json: Json = False,
) -> None:
    """Check a graph against the nodes of ComfyUI and of the built-in workflows, or against the backend that would run it."""
    screen = screen_of(context, as_json=as_json)
    settings = settings_for(backend, url)
    place = settings.backend_names[0] if backend else None
    nodes = tools.nodes_for(None, schemas, comfyui) if schemas is not None else nodes_at(place, settings, url, comfyui)
    try:
        graph = _graph_of(screen, file, nodes.schemas)
    except WorkflowInvalidError as error:
        refused = [asdict(Finding("error", "", "", "", error.message))]
        screen.fail(error, {"valid": False, "errors": refused, "findings": refused, "pictures": []})
        raise typer.Exit(1) from None
    graph = with_server_names(graph, nodes.schemas)
    findings = list(_findings(graph, image, nodes, lambda asked: findings_at(place, asked, nodes, url), settings))
    pictures = [{"node": node, "name": name} for node, name in pictures_of(graph)]
    errors = [item for item in findings if item.level == "error"]
    data = {
        "valid": not errors,
        "errors": [asdict(item) for item in errors],
        "findings": [asdict(item) for item in findings],
        "pictures": pictures,
    }
    room = width()
    lines = [*map(_line, findings), *(_picture(node, name, graph) for node, name in pictures_of(graph))]
    screen.say("\n".join(wrap(line, room, "") for line in lines))
    if not errors:
        screen.result(data, f"{file}: valid, {count_text(len(graph), 'node')}.")
        return
    hint = "Each line names the node and its input." if not as_json else "data.errors names each node and its input."
    screen.fail(WorkflowInvalidError(f"{file} has {count_text(len(errors), 'error')}.", hint), data)
    raise typer.Exit(1)


def _graph_of(screen: Screen, file: Path, known: Schemas) -> dict[str, Any]:
    """Return the graph of a file as a server would get it.

    Raises:
        InvalidInputError: there is no such file.
        WorkflowInvalidError: it holds no graph that can run.

    """
    if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file() raises for a name that is too long
        what = f"{file} is a folder." if os.path.isdir(file) else f"There is no file {file}."  # noqa: PTH112 - as above
        raise InvalidInputError(what, "Give a JSON file, or a picture that ComfyUI saved.")
    try:
        return tools.runnable(screen, file, known)
    except InvalidInputError as error:
        raise WorkflowInvalidError(error.message, error.hint, error.details) from None


def _findings(
    graph: Mapping[str, Any], image: list[str] | None, nodes: Nodes, there: Callable[[Asked], Iterable[Finding]], settings: Settings
) -> Iterator[Finding]:
    """Yield what `graph run` refuses before it asks any server, and then what is found ``there``."""
    fields = {"images": fields_of(CustomWorkflow)["images"].read(image)} if image else {}
    try:
        workflow = CustomWorkflow.from_plain({"graph": dict(graph), **fields}, trusted=True)
    except InvalidInputError as error:
        yield Finding("error", "", "", "", error.message)
        yield from check(graph, nodes)
        return
    given = frozenset(Files.preview().of(f"images[{key}]") for key in workflow.images)
    yield from there(Asked(workflow, workflow.build().to_api(), given, settings))


def _picture(node: str, name: str, graph: Mapping[str, Any]) -> str:
    word = name if name and "=" not in name and sum(other == name for _, other in pictures_of(graph)) == 1 else node
    return f"picture: node {node} ({graph[node]['class_type']}) loads {name!r}; give your own to run it: --image {quote(word)}=FILE"


def _line(item: Finding) -> str:
    place = f"node {item.node} ({item.class_type}){f' input {item.input}' if item.input else ''}: " if item.node else ""
    close = f" Did you mean {', '.join(item.closest)}?" if item.closest else ""
    return f"{item.level}: {place}{item.message}{close}"
