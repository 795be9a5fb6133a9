"""Read what a server answers about itself and about a prompt that ended. Must not ask it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..comfy.messages import clean


def describe_server(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and GPU, as far as a server tells them in the usual shape."""
    system, devices = stats.get("system"), stats.get("devices")
    system = system if isinstance(system, dict) else {}
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    said = {"comfyui": system.get("comfyui_version"), "gpu": first.get("name")}
    found: dict[str, Any] = {key: clean(value, 200) if value is not None else None for key, value in said.items()}
    return {**found, "emulated": True} if "emulator" in system else found


def stored_graph(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the graph in a history entry, if it has the shape of one."""
    match (entry or {}).get("prompt"):
        case [_, _, dict(graph), *_] if all(
            isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in graph.values()
        ):
            return graph
    return None
