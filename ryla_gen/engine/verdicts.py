"""Decide which verdicts about a graph are final. Must not ask a server."""

from __future__ import annotations

from typing import Any

from ..comfy import schema

WHOLE_VERDICTS = frozenset({"invalid_prompt", "missing_node_type", "prompt_no_outputs", "http_500"})
"""Errors of a graph as a whole."""
FINAL_VERDICTS = frozenset(
    {
        "required_input_missing",
        "bad_linked_input",
        "dependency_cycle",
        "exception_during_validation",
        "exception_during_inner_validation",
    }
)
"""What no server accepts. The rest (lists, bounds, types) a custom node may judge by rules of its own: the server decides."""


def final_faults(verdict: schema.Verdict) -> dict[str, Any]:
    """Return what no server accepts, written as ComfyUI refuses a graph; empty where the graph is worth sending."""
    whole = verdict.error or {}
    final = {
        node_id: {**entry, "errors": errors}
        for node_id, entry in verdict.node_errors.items()
        if (errors := [error for error in entry["errors"] if error["type"] in FINAL_VERDICTS])
    }
    return {"error": whole, "node_errors": final} if final or whole.get("type") in WHOLE_VERDICTS else {}
