"""Convert and draw graphs, list what can be set, write a workflow from one, for ``ryla-gen graph``. Must not run a graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ryla_gen import graphs, media
from ryla_gen.errors import InvalidInputError
from ryla_gen.graphs.graph_file import read_json
from ryla_gen.graphs.inputs import GraphInput, inputs_of
from ryla_gen.graphs.reading import read
from ryla_gen.locks.graph_lock import SUFFIX
from ryla_gen.locks.lock_reading import read_graph_lock, read_requirements
from ryla_gen.models.node_schemas import GRAPH_VERSION
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.shell_words import path_word
from ryla_gen.tools.scaffold import write_locked_package, write_package
from ryla_gen.workflows.preview import api_of

from ...common import ComfyUI, Json, Overwrite, Url, screen_of
from ...screen import Screen, shorten, table, width
from .checks import Nodes, Schemas, check, nodes_of

Source = Annotated[
    str, typer.Argument(metavar="FILE", help="A graph in either format, a saved picture, or a workflow's name.", show_default=False)
]
Target = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: stdout.")]
SchemaFile = Annotated[
    Path | None, typer.Option("--schemas", metavar="FILE.json", help="File with node schemas, saved from a server's /object_info.")
]
SUFFIXES = (".mmd", ".mermaid", ".md")
"""Suffixes of files that are taken for Mermaid text."""


def nodes_for(url: str | None, file: Path | None, comfyui: str | None = None) -> Nodes:
    """Return node classes: of a file, of --url, of the configured server, or the packaged ones.

    Raises:
        InvalidInputError: the file holds none.
        BackendError: the server did not answer.

    """
    if file is not None:
        return Nodes(schemas_in(file), comfyui or GRAPH_VERSION)
    settings = Settings.load(comfyui_url=url)
    configured = settings.comfyui_url if comfyui is None and settings.backend_names[0] == "comfyui" else None
    return nodes_of(url or configured, comfyui)


def schemas_in(file: Path) -> Schemas:
    """Read the node schemas of a file.

    Raises:
        InvalidInputError: it holds none.

    """
    found = read_json(file)
    wrong = next((name for name, item in found.items() if not _is_schema(item)), None) if isinstance(found, dict) else ""
    if wrong is None:
        return dict(found)
    text = f"{file} contains no node schemas{f': that of {wrong[:80]} has another form' if wrong else ''}."
    raise InvalidInputError(text, "Save a server's: curl http://127.0.0.1:8188/object_info -o schemas.json")


def _is_schema(item: Any) -> bool:
    """Whether it has the form of an entry of ``/object_info``, as far as we look into one."""
    inputs = item.get("input") if isinstance(item, dict) else None
    if not isinstance(inputs, dict) or not isinstance(item.get("output", []), list | None):
        return False
    sections = [inputs.get(name) or {} for name in ("required", "optional")]
    return all(
        isinstance(section, dict) and all(isinstance(entry, list) and entry for entry in section.values()) for section in sections
    )


def runnable(screen: Screen, file: Path, known: Schemas | Callable[[], Schemas]) -> dict[str, Any]:
    """Return the graph of a file, converted from ComfyUI's UI format if needed; print what the conversion decided.

    Raises:
        InvalidInputError: the file holds no graph, or one that only a server with its nodes, or ComfyUI's page, can convert.

    """
    try:
        item = read(file)
    except InvalidInputError as error:
        if str(file) in error.message:
            raise
        raise InvalidInputError(f"{file} is not a graph that can run: {error.message}", error.hint, error.details) from None
    if item.kind == "api":
        return item.data
    schemas = known() if callable(known) else known
    done = graphs.convert(item.data, schemas).runnable(schemas)
    for text in (f"{file} was in ComfyUI's UI format, and was converted.", *done.notes):
        screen.note(f"note: {text}")
    return done.graph


def convert(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="A graph in ComfyUI's UI format.", show_default=False)],
    output: Target = None,
    overwrite: Overwrite = False,
    url: Url = None,
    comfyui: ComfyUI = None,
    schemas: SchemaFile = None,
    as_json: Json = False,
) -> None:
    """Convert a graph that ComfyUI saved in its UI format into the API format, which servers run."""
    screen = screen_of(context, as_json=as_json)
    nodes = nodes_for(url, schemas, comfyui)
    item = read(source)
    done = (
        graphs.convert(item.data, nodes.schemas)
        if item.kind == "ui"
        else graphs.Converted(item.data, ("It was in the API format.",))
    )
    path = _write(output, json.dumps(done.graph, indent=2, ensure_ascii=False) + "\n", overwrite=overwrite)
    wrong = [item for item in check(done.graph, nodes) if item.level == "error"]
    for text in done.notes:
        screen.note(f"note: {text}")
    if wrong:
        text = f"A server would refuse {len(wrong)} of its values or links; see: ryla-gen graph validate FILE.json"
        screen.note(f"warning: {text}")
    data = {"path": str(path) if path else None, "nodes": len(done.graph), "notes": list(done.notes), "graph": done.graph}
    screen.result(
        data, f"{path}: {count_text(len(done.graph), 'node')}." if path else json.dumps(done.graph, indent=2, ensure_ascii=False)
    )


def draw(
    context: typer.Context,
    source: Source,
    output: Target = None,
    overwrite: Overwrite = False,
    url: Url = None,
    schemas: SchemaFile = None,
    as_json: Json = False,
) -> None:
    """Draw a graph as Mermaid text, which GitHub, many wikis and mermaid.live show as a picture."""
    screen = screen_of(context, as_json=as_json)
    if output is not None and output.suffix.lower() not in SUFFIXES:
        hint = "Use a name that ends in .mmd. For a picture file: npx @mermaid-js/mermaid-cli -i graph.mmd -o graph.svg"
        raise InvalidInputError(f"{output}: a graph is drawn as Mermaid text only.", hint)
    known = nodes_for(url, schemas).schemas
    graph = api_of(source, known)
    text = graphs.draw_mermaid(graph, known)
    path = _write(output, text, overwrite=overwrite)
    data = {"path": str(path) if path else None, "nodes": len(graph), "text": text}
    screen.result(data, str(path) if path else text.rstrip("\n"))


def inputs(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A graph in either format, a saved picture, a lock, or a workflow's name.", show_default=False
        ),
    ],
    url: Url = None,
    schemas: SchemaFile = None,
    as_json: Json = False,
) -> None:
    """List what can be set in a graph, with type, value and range; set it with: ryla-gen graph run FILE --set SLOT=VALUE."""
    screen = screen_of(context, as_json=as_json)
    lock = read_graph_lock(Path(source)) if source.endswith(SUFFIX) else None
    known = nodes_for(url, schemas, lock.image.release if lock is not None else None).schemas
    found = inputs_of(lock.graph if lock is not None else api_of(source, known), known)
    rows = [(item.key, item.title, item.type.lower(), shorten(str(item.value), 40), _range(item)) for item in found]
    items = [{"key": item.key, "slot": item.key, **asdict(item), "choices": list(item.choices)} for item in found]
    screen.result({"items": items}, table(("input", "node", "type", "value", "range"), rows, width()))


def scaffold(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new workflow, such as my-portrait; or a lock.", show_default=False)
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The graph, in either format; a lock has one.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to create. Default: NAME.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    url: Url = None,
    schemas: SchemaFile = None,
    as_json: Json = False,
) -> None:
    """Write a Python package with a typed workflow class made of a graph or of its lock, and its test."""
    screen = screen_of(context, as_json=as_json)
    if name.endswith(SUFFIX):
        lock = read_graph_lock(Path(name))
        made = write_locked_package(lock, read_requirements(Path(name), lock), output, force=force)
    elif source is None:
        raise InvalidInputError("Which graph?", f"Name its file: ryla-gen graph scaffold {name} FILE.json. Or a lock: NAME.lock")
    else:
        known = nodes_for(url, schemas).schemas
        item = read(source)
        graph = graphs.convert(item.data, known).graph if item.kind == "ui" else item.data
        made = write_package(name, graph, output, schemas=known, force=force)
    fields = [
        {"name": field.name, "inputs": list(field.keys), "slots": list(field.keys), "type": field.annotation}
        for field in made.fields
    ]
    data = {"path": str(made.folder), "files": [str(path) for path in made.files], "class": made.class_name, "fields": fields}
    lines = [str(path) for path in made.files]
    screen.result(data, "\n".join(lines))
    fields_text = ", ".join(field.name for field in made.fields) or "none"
    screen.note(f"Fields: {fields_text}. Next: pip install -e {path_word(made.folder)}")


def changes_of(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``NODE.INPUT=VALUE`` for ``CustomWorkflow.with_values``.

    Raises:
        InvalidInputError: a text has another form.

    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            raise InvalidInputError(f"--set {text!r} is not NODE.INPUT=VALUE.", "Write it as --set 3.seed=42.")
        values[key.strip()] = value
    return values


def _range(item: GraphInput) -> str:
    if item.choices:
        return shorten(", ".join(map(str, item.choices)), 60)
    if item.minimum is None and item.maximum is None:
        return ""
    return f"{'' if item.minimum is None else item.minimum} to {'' if item.maximum is None else item.maximum}".strip()


def _write(path: Path | None, text: str, *, overwrite: bool) -> Path | None:
    return None if path is None else media.save_atomically(path, text.encode("utf-8", "backslashreplace"), overwrite=overwrite)
