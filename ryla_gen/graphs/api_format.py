"""Read the API format of a graph: what tools wrap around it, its form, its seeds, its positive texts. Needs no server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from ..support.numbers import is_whole_number
from .graph import links
from .graph_file import too_deep

MAX_NODES = 2000
"""Nodes in one graph; the largest ones people share have a few hundred."""
TEXT_INPUTS = ("text", "clip_l", "t5xxl", "text_g", "text_l", "prompt")
"""Names under which the text encoders take their text."""
SEED_INPUTS = ("seed", "noise_seed")
EXPORT_HELP = (
    "In ComfyUI choose Workflow > Export (API); older versions: enable Dev mode Options in the settings, then Save (API Format)."
)
NOTE_CLASSES = frozenset({"Note", "MarkdownNote"})
"""Notes of ComfyUI's page, which some tools write into the API format."""
WRAPPED = ("input", "workflow", "prompt")
"""Keys under which tools keep a graph: ``{"prompt": …}`` for servers, ``{"input": {"workflow": …}}`` for worker-comfyui."""
WRAPPERS = 3
"""How many of them may lie around each other."""
CONVERT_HELP = f"Convert it: ryla-gen graph convert FILE.json -o graph_api.json. Or: {EXPORT_HELP}"


def graph_seed(api: Mapping[str, Any]) -> int:
    """Return the first seed that a graph names; 0 when it names none."""
    for node in api.values():
        for name in SEED_INPUTS:
            value = node["inputs"].get(name)
            if is_whole_number(value):
                return value
    return 0


def encodes_text(class_type: str) -> bool:
    """Whether a node class turns a text into conditioning: ``CLIPTextEncode``, ``TextEncodeQwenImageEdit`` and their kind."""
    return "TextEncode" in class_type


def positive_texts(api: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find (node id, input) of every text that a sampler or a guider takes as its positive prompt."""
    starts = [
        source
        for node in api.values()
        for name, source, _ in links(node["inputs"])
        if name == "positive" or (name in ("conditioning", "cond1") and node["class_type"].endswith("Guider"))
    ]
    seen: set[str] = set()
    while starts:
        node_id = starts.pop()
        node = api.get(node_id)
        if node is None or node_id in seen:
            continue
        seen.add(node_id)
        if encodes_text(node["class_type"]):
            yield from ((node_id, name) for name in TEXT_INPUTS if name in node["inputs"])
        elif "latent_image" not in node["inputs"]:  # a sampler starts a new picture, so stop there
            starts += [source for name, source, _ in links(node["inputs"]) if name != "negative"]


def unwrap(data: Mapping[str, Any]) -> dict[str, Any]:
    """Unwrap a graph from what tools put around it: the body of ``POST /prompt``, or of a request to worker-comfyui."""
    for _ in range(WRAPPERS):
        inner = next((data[key] for key in WRAPPED if isinstance(data.get(key), dict) and "class_type" not in data[key]), None)
        if inner is None or "class_type" in data or isinstance(data.get("nodes"), list):
            break
        data = inner
    return dict(data)


def checked_nodes(data: Mapping[Any, Any]) -> dict[str, Any]:
    """Check the form of a graph in the API format, and leave its notes out: they are for people, and no server knows them.

    Raises:
        PydanticCustomError: it has another form.

    """
    if not data:
        raise PydanticCustomError("not_a_graph", "The graph has no nodes")
    if too_deep(data):
        raise PydanticCustomError("not_a_graph", "The graph's values are nested too deeply")
    if len(data) > MAX_NODES:
        raise PydanticCustomError("not_a_graph", f"The graph has more than {MAX_NODES} nodes")
    nodes = {
        key: node for key, node in data.items() if not (isinstance(node, dict) and str(node.get("class_type")) in NOTE_CLASSES)
    }
    if not nodes:
        raise PydanticCustomError("not_a_graph", "The graph has no nodes but notes")
    for node_id, node in nodes.items():
        inputs = isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        if inputs and isinstance(node_id, str) and node.get("class_type") is None:
            raise PydanticCustomError("missing_pack", _without_braces(_without_class(node_id, node)))
        if not (inputs and isinstance(node_id, str) and isinstance(node.get("class_type"), str)):
            text = f"Node {node_id!r} has no class_type and inputs, so this is not the API format. {EXPORT_HELP}"
            raise PydanticCustomError("not_a_graph", _without_braces(text))
    return nodes


def _without_class(node_id: str, node: Mapping[str, Any]) -> str:
    """Describe a node that ComfyUI's page exported without knowing its class."""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    called = f" ({str(title)[:100]!r})" if title else ""
    return (
        f"Node {node_id}{called} has no class_type: the ComfyUI that exported this graph did not have the node's pack. "
        "Install that pack there and export again, or convert the drawing with a server that has it: "
        "ryla-gen graph convert FILE.json --url http://127.0.0.1:8188 -o graph_api.json"
    )


def _without_braces(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")
