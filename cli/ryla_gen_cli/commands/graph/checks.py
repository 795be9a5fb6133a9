"""Find what is wrong with a graph, node by node, with the names that were probably meant. Prints nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from ryla_gen.comfy.lint import ignored_inputs, unknown_choices
from ryla_gen.comfy.schema import UploadCheck, file_inputs, is_link, live_specs, rename_classes, validate
from ryla_gen.models.node_schemas import GRAPH_VERSION, known_version, node_schemas
from ryla_gen.support.loop_thread import run_async

Graph = Mapping[str, Mapping[str, Any]]
Schemas = Mapping[str, Mapping[str, Any]]

INPUT_WORDS = ("name", "input_name")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a graph."""

    level: Literal["error", "warning", "unknown"]
    """error: a server refuses it; warning: it runs, perhaps not as meant; unknown: cannot be told without a server."""
    node: str
    class_type: str
    input: str
    message: str
    closest: tuple[str, ...] = ()
    """Names that exist and are near to the wrong one."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The node classes that a graph is held against."""

    schemas: Schemas
    release: str = GRAPH_VERSION
    """Release of ComfyUI whose rules count."""
    told: bool = True
    """Whether a server told them, so that there are no others, and the files in their lists are those it has."""


def nodes_of(url: str | None, comfyui: str | None = None) -> Nodes:
    """Return node classes: a server's own, or the packaged ones.

    Args:
        url: the server's address.
        comfyui: the release whose classes are packaged, where no server is asked.

    Raises:
        BackendError: the server did not answer.
        InvalidInputError: no classes of that release are packaged.

    """
    if url:
        return run_async(_ask(url))
    release = known_version(comfyui or GRAPH_VERSION)
    return Nodes(node_schemas(release), release, told=False)


async def _ask(url: str) -> Nodes:
    from ryla_gen.comfy.connect import connect
    from ryla_gen.settings import Settings

    async with connect(Settings.load(comfyui_url=url)) as client:
        system = (await client.system_stats()).get("system")
        release = system.get("comfyui_version") if isinstance(system, dict) else None
        return Nodes(await client.object_info(), str(release or GRAPH_VERSION))


def check(graph: Graph, nodes: Nodes, upload: UploadCheck | None = None) -> list[Finding]:
    """Find everything that is wrong, unknown nodes first.

    Args:
        graph: the graph in API format, its form checked already.
        nodes: node classes that are known.
        upload: looks for uploaded files, where anybody can.

    """
    now = rename_classes(graph, nodes.schemas, version=nodes.release)
    unknown = [(node_id, node["class_type"]) for node_id, node in now.items() if node["class_type"] not in nodes.schemas]
    findings = [_unknown_finding(node_id, name, nodes) for node_id, name in unknown]
    findings += [_rename_finding(node_id, graph[node_id], node) for node_id, node in now.items() if node is not graph[node_id]]
    known = {
        node["class_type"]: _openly(nodes.schemas[node["class_type"]], free=not nodes.told)
        for node in now.values()
        if node["class_type"] in nodes.schemas
    }
    verdict = validate(now, {**known, **{name: _anything(now, name) for _, name in unknown}}, upload, version=nodes.release)
    for node_id, found in verdict.node_errors.items():
        findings += [_finding(node_id, now[node_id], error, known) for error in found["errors"]]
    if verdict.error and not verdict.node_errors:
        findings.append(Finding("error", "", "", "", f"{verdict.error['message']}. {verdict.error['details']}".strip()))
    return findings + list(_extras(now, known))


def _rename_finding(node_id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    text = f"This class is now called {new['class_type']}; the node is rewritten before it is sent."
    return Finding("warning", node_id, old["class_type"], "", text)


def _unknown_finding(node_id: str, name: str, nodes: Nodes) -> Finding:
    close = tuple(get_close_matches(name, list(nodes.schemas), n=3, cutoff=0.6 if nodes.told else 0.75))
    if nodes.told:
        return Finding("error", node_id, name, "", "The server has no such node.", close)
    text = f"Not among the packaged node schemas (ComfyUI {nodes.release}); ask a server that has it: --url URL."
    return Finding("unknown", node_id, name, "", text, close)


def _openly(schema: Mapping[str, Any], *, free: bool) -> Mapping[str, Any]:
    """Return a schema that takes any weights file, when it is not known which files there are."""
    files = set(file_inputs(schema)) if free else set()
    if not files:
        return schema
    sections = {
        section: {name: ["STRING", {}] if name in files else entry for name, entry in (inputs or {}).items()}
        for section, inputs in schema["input"].items()
        if section in ("required", "optional")
    }
    return {**schema, "input": sections}


def _anything(graph: Graph, name: str) -> dict[str, Any]:
    """Build a schema for an unknown class: takes everything, returns everything, may be the end of the graph."""
    used = [
        value[1]
        for node in graph.values()
        for value in node["inputs"].values()
        if is_link(value) and graph.get(value[0], {}).get("class_type") == name
    ]
    own = next(node["inputs"] for node in graph.values() if node["class_type"] == name)
    links = {key: ["*", {}] for key, value in own.items() if is_link(value)}
    return {"input": {"optional": links}, "output": ["*"] * (max(used, default=0) + 1), "output_node": True}


def _finding(node_id: str, node: Mapping[str, Any], error: Mapping[str, Any], known: Schemas) -> Finding:
    extra = error.get("extra_info") or {}
    name = str(extra.get("input_name") or (error["details"] if error["type"] == "required_input_missing" else ""))
    specs = live_specs(known[node["class_type"]], node["inputs"]) if node["class_type"] in known else {}
    close: list[str] = []
    if error["type"] == "value_not_in_list" and name in specs:
        close = get_close_matches(str(node["inputs"][name]), [str(item) for item in specs[name].options or ()], n=3)
    elif error["type"] == "required_input_missing":
        close = get_close_matches(name, [given for given in node["inputs"] if given not in specs], n=1)
    details = f": {error['details']}" if error.get("details") and error["details"] != name else ""
    return Finding("error", node_id, node["class_type"], name, f"{error['message']}{details}.", tuple(close))


def _extras(graph: Graph, known: Schemas) -> Iterator[Finding]:
    """Yield what a server would accept silently, and then ignore or fail at."""
    for node_id, node in graph.items():
        kind = node["class_type"]
        for name, close in ignored_inputs(node, known[kind]) if kind in known else ():
            yield Finding("warning", node_id, kind, name, "The node has no such input; a server ignores it.", tuple(close))
        for name, text in unknown_choices(known[kind], node["inputs"]) if kind in known else ():
            yield Finding("warning", node_id, kind, name, f"{text}.")
