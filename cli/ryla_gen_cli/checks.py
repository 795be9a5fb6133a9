"""What is wrong with a graph, node by node, with the names that were probably meant. Prints nothing and runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from ryla_gen.comfy.schema import file_inputs, input_specs, is_link, validate
from ryla_gen.workflows.page_inputs import is_page_input
from ryla_gen.workflows.schemas import GRAPH_VERSION, node_schemas

Graph = Mapping[str, Mapping[str, Any]]
Schemas = Mapping[str, Mapping[str, Any]]

UNDECLARED = ("control_after_generate",)
"""Inputs that ComfyUI's own export writes although no schema has them."""
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


def schemas_of(url: str | None) -> Schemas:
    """Node schemas: a server's own, or the packaged ones.

    Raises:
        BackendError: the server did not answer.

    """
    return asyncio.run(_ask(url)) if url else node_schemas()


async def _ask(url: str) -> Schemas:
    from ryla_gen.comfy.access import connect
    from ryla_gen.settings import Settings

    client = connect(Settings.load(comfyui_url=url))
    try:
        return await client.object_info()
    finally:
        await client.close()


def check(graph: Graph, schemas: Schemas, *, offline: bool) -> list[Finding]:
    """Find everything that is wrong, unknown nodes first.

    Args:
        graph: the graph in API format, its form checked already.
        schemas: node classes that are known.
        offline: whether a server may know more classes, and which weights it has is not known.

    """
    unknown = [(node_id, node["class_type"]) for node_id, node in graph.items() if node["class_type"] not in schemas]
    findings = [_unknown(node_id, name, schemas, offline) for node_id, name in unknown]
    known = {
        node["class_type"]: _openly(schemas[node["class_type"]], offline)
        for node in graph.values()
        if node["class_type"] in schemas
    }
    verdict = validate(graph, {**known, **{name: _anything(graph, name) for _, name in unknown}})
    for node_id, found in verdict.node_errors.items():
        findings += [_finding(node_id, graph[node_id], error, known) for error in found["errors"]]
    if verdict.error and not verdict.node_errors:
        findings.append(Finding("error", "", "", "", f"{verdict.error['message']}. {verdict.error['details']}".strip()))
    return findings + list(_extras(graph, known))


def _unknown(node_id: str, name: str, schemas: Schemas, offline: bool) -> Finding:
    close = tuple(get_close_matches(name, list(schemas), n=3, cutoff=0.75 if offline else 0.6))
    if not offline:
        return Finding("error", node_id, name, "", "The server has no such node.", close)
    text = f"Not among the packaged node schemas (ComfyUI {GRAPH_VERSION}); ask a server that has it: --url URL."
    return Finding("unknown", node_id, name, "", text, close)


def _openly(schema: Mapping[str, Any], offline: bool) -> Mapping[str, Any]:
    """A schema that takes any weights file, when nobody knows which files there are."""
    free = set(file_inputs(schema)) if offline else set()
    if not free:
        return schema
    sections = {
        section: {name: ["STRING", {}] if name in free else entry for name, entry in (inputs or {}).items()}
        for section, inputs in schema["input"].items()
        if section in ("required", "optional")
    }
    return {**schema, "input": sections}


def _anything(graph: Graph, name: str) -> dict[str, Any]:
    """A schema for a class nobody knows: takes everything, gives everything, may be the end of the graph."""
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
    specs = input_specs(known[node["class_type"]]) if node["class_type"] in known else {}
    close: list[str] = []
    if error["type"] == "value_not_in_list" and name in specs:
        close = get_close_matches(str(node["inputs"][name]), [str(item) for item in specs[name].options or ()], n=3)
    elif error["type"] == "required_input_missing":
        close = get_close_matches(name, [given for given in node["inputs"] if given not in specs], n=1)
    details = f": {error['details']}" if error.get("details") and error["details"] != name else ""
    return Finding("error", node_id, node["class_type"], name, f"{error['message']}{details}.", tuple(close))


def _extras(graph: Graph, known: Schemas) -> Iterator[Finding]:
    """Inputs that a server would ignore without a word."""
    for node_id, node in graph.items():
        if node["class_type"] not in known:
            continue
        specs = input_specs(known[node["class_type"]])
        for name in node["inputs"]:
            if name not in specs and name not in UNDECLARED and "." not in name and not is_page_input(node["class_type"], name):
                close = tuple(get_close_matches(name, list(specs), n=2))
                yield Finding(
                    "warning", node_id, node["class_type"], name, "The node has no such input; a server ignores it.", close
                )
