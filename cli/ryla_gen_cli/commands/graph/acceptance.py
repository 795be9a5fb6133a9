"""Find what a backend would refuse in a graph (``graph validate --backend``). Must not submit a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from ryla_gen import backends
from ryla_gen.client.requests import references_of
from ryla_gen.comfy.schema import UploadCheck, file_inputs, validate
from ryla_gen.errors import RylaGenError
from ryla_gen.locks.families import family_lock, node_packs
from ryla_gen.models.node_schemas import node_schemas
from ryla_gen.models.weights_table import all_weights
from ryla_gen.settings import Settings
from ryla_gen.support.loop_thread import run_async
from ryla_gen.workflows.custom import CustomWorkflow

from .checks import Finding, Nodes, check, nodes_of

ANYWHERE = "00000000-0000-4000-8000-000000000000"
"""Id of a request that is written and not sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A graph, and the options it would be run with."""

    workflow: CustomWorkflow
    graph: Mapping[str, Any]
    """As a server would get it, its pictures under the names that ``given`` lists."""
    given: frozenset[str]
    """Names of the pictures that the caller gives."""
    settings: Settings


def nodes_at(backend: str | None, settings: Settings, url: str | None, comfyui: str | None) -> Nodes:
    """Return the node classes that a backend has; the packaged ones where none is named.

    Raises:
        BackendError: the server did not answer, or none is set.
        InvalidInputError: no classes of that release are packaged.

    """
    if url or backend == "comfyui":
        if not (url or settings.comfyui_url):
            backends.create("comfyui", settings)  # raises an error that says how to set one
        return nodes_of(url or settings.comfyui_url)
    if backend == "modal":
        return _modal_nodes(comfyui or family_lock("custom").release)
    return nodes_of(None, comfyui or (settings.emulator_comfyui if backend == "emulator" else None))


def findings_at(backend: str | None, asked: Asked, nodes: Nodes, url: str | None) -> Iterator[Finding]:
    """Yield everything that a run there would refuse, and what it would do differently than intended."""
    yield from _errors_as_findings(lambda: run_async(asked.workflow.resolved(references_of(asked.settings))))
    if backend == "emulator":
        yield from _on_the_emulator(asked, nodes)
    elif url or backend == "comfyui":
        yield from check(asked.graph, nodes, _on_server(asked, url))
    elif backend == "modal":
        yield from _without_files(check(asked.graph, nodes, _given_alone(asked, "the container")), nodes)
        yield from _unknown_weights(asked.graph, nodes)
        yield from _errors_as_findings(lambda: _written_for_modal(asked))
    elif backend == "runpod":
        yield from check(asked.graph, nodes)
        yield from _pictures_elsewhere(asked, nodes)
        yield from _errors_as_findings(lambda: _written_for_runpod(asked))
    else:
        yield from check(asked.graph, nodes)


def _errors_as_findings(work: Callable[[], object]) -> Iterator[Finding]:
    try:
        work()
    except RylaGenError as error:
        yield Finding("error", "", "", "", f"{error.message} {error.hint}".strip())


def _given_alone(asked: Asked, where: str) -> UploadCheck:
    """Return a check of uploads for a place that has only the files that come with the request."""

    def missing(_class_type: str, _name: str, value: Any) -> str | None:
        return None if value in asked.given else f"{value} is not on {where}; give a picture: --image {quote(str(value))}=FILE"

    return missing


def _on_the_emulator(asked: Asked, nodes: Nodes) -> Iterator[Finding]:
    from ryla_gen.emulator.server import Emulator
    from ryla_gen.emulator.server.executor import covered_by_emulator

    server = Emulator(models_folder=asked.settings.home / "emulator" / "models", comfyui=nodes.release)
    try:
        schemas, _ = server.schemas_for(asked.graph)
    finally:
        server.close()
    upload = _given_alone(asked, "the emulator")
    found = check(asked.graph, Nodes({**nodes.schemas, **schemas}, nodes.release), upload)
    yield from found
    if any(item.level == "error" for item in found):
        return
    outputs = validate(asked.graph, schemas, upload, version=nodes.release).outputs
    for stop in covered_by_emulator(asked.graph, schemas, outputs).stops:
        yield Finding("error", stop.node_id, stop.class_type, "", f"The emulator cannot run this node: {stop.reason}.")


def _on_server(asked: Asked, url: str | None) -> UploadCheck:
    """Request the files of the server's input folder."""
    from ryla_gen.comfy.connect import connect
    from ryla_gen.errors import ResultExpiredError

    settings = asked.settings if url is None else Settings.load(comfyui_url=url)

    async def there(name: str) -> bool:
        kind = next((kind for kind in ("output", "temp") if name.endswith(f" [{kind}]")), "input")
        folder, _, file = name.removesuffix(f" [{kind}]").rpartition("/")
        async with connect(settings) as client:
            try:
                await client.view(file, folder, kind)
            except ResultExpiredError:
                return False
        return True

    def missing(_class_type: str, _name: str, value: Any) -> str | None:
        if value in asked.given or run_async(there(str(value))):
            return None
        return f"{value} is not on the server; give a picture: --image {quote(str(value))}=FILE"

    return missing


def _modal_nodes(release: str) -> Nodes:
    """Return the classes of the image that serves graphs: ComfyUI's own and those of its packs."""
    packs = {name for pack in family_lock("custom").packs for name in pack.nodes}
    schemas = node_schemas(release)
    others = {name for pack in node_packs() for name in pack.nodes} - packs
    return Nodes({name: schema for name, schema in schemas.items() if name not in others}, release, told=False)


def _without_files(found: list[Finding], nodes: Nodes) -> Iterator[Finding]:
    """Turn unknown classes into errors: all classes of an image that is built here are known."""
    for item in found:
        text = f"The image of the Modal app has ComfyUI {nodes.release}, which has no such node."
        yield Finding("error", item.node, item.class_type, "", text, item.closest) if item.level == "unknown" else item


def _unknown_weights(graph: Mapping[str, Any], nodes: Nodes) -> Iterator[Finding]:
    known = {row.name for row in all_weights()}
    for node_id, node in graph.items():
        kind = node["class_type"]
        for name in file_inputs(nodes.schemas[kind]) if kind in nodes.schemas else ():
            value = node["inputs"].get(name)
            if isinstance(value, str) and value not in known:
                text = f"Whether the volume has {value} cannot be checked from here."
                yield Finding("unknown", node_id, kind, name, text)


def _pictures_elsewhere(asked: Asked, nodes: Nodes) -> Iterator[Finding]:
    from ryla_gen.comfy.schema import upload_inputs

    for node_id, node in asked.graph.items():
        kind = node["class_type"]
        for name in upload_inputs(nodes.schemas[kind]) if kind in nodes.schemas else ():
            value = node["inputs"].get(name)
            if isinstance(value, str) and value not in asked.given:
                give = f"give a picture: --image {quote(value)}=FILE"
                text = f"Whether the endpoint's worker has {value} cannot be checked; {give}"
                yield Finding("unknown", node_id, kind, name, text)


def _written_for_modal(asked: Asked) -> None:
    """Write the request and read it as the worker does, which trusts nothing in it."""
    from ryla_gen.contract import read_request, request

    ready = run_async(asked.workflow.resolved(references_of(asked.settings))).seeded()
    read_request(request(ready, ANYWHERE), "workflow")


def _written_for_runpod(asked: Asked) -> None:
    from ryla_gen.backends.runpod.files import operation_for, prepare, request_body

    backends.create("runpod", asked.settings)
    ready = run_async(asked.workflow.resolved(references_of(asked.settings)))
    graph, files = prepare(ready, ANYWHERE)
    operation_for(len(request_body(graph, files, run_seconds=60.0, life_seconds=60.0)))
