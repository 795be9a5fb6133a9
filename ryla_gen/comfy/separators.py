r"""Write the folders of weights with the slashes that the server uses. Must not change anything else of a graph.

A graph of a Windows machine names ``krea\lora.safetensors`` where another server lists ``krea/lora.safetensors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schema import Schemas, input_specs


def with_server_names(graph: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    """Return a graph whose file names have the slashes that the server lists, where it lists the name with the other ones only."""
    changed = dict(graph)
    for node_id, node in graph.items():
        schema = schemas.get(node["class_type"])
        names = {
            name: listed
            for name, value in node["inputs"].items()
            if isinstance(value, str)
            and ("/" in value or "\\" in value)
            and schema
            and (listed := _server_spelling(schema, name, value))
        }
        if names:
            changed[node_id] = {**node, "inputs": {**node["inputs"], **names}}
    return changed


def _server_spelling(schema: Mapping[str, Any], name: str, value: str) -> str | None:
    """Return the server's own spelling of a name; None where the name needs no change, or is not listed at all."""
    spec = input_specs(schema).get(name)
    options = spec.options or () if spec is not None else ()
    if value in options:
        return None
    same = (option for option in options if isinstance(option, str) and option.replace("\\", "/") == value.replace("\\", "/"))
    return next(same, None)
