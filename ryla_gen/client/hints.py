"""Fit the hint of a failed job to the backend that ran it and to its workflow. Must not send anything, nor change what happened."""

from __future__ import annotations

from ..errors import RylaGenError
from ..workflows.base import Workflow

DAMAGED = "ryla-gen weights verify WORKFLOW --local COMFYUI/models"
"""What an engine says of a damaged file; it knows neither where it runs nor whose file it is."""
_AGAIN = "download it again"


def fit_hint(error: RylaGenError, backend: str, workflow: Workflow) -> None:
    """Replace the commands of a hint by those that help with this workflow, there where it ran."""
    if DAMAGED not in error.hint:
        return
    name = workflow.name.replace("_", "-")
    if backend == "runpod":
        command = "put it onto the endpoint's volume again (docs/runpod.md)"
    elif workflow.own_graph:
        command = _AGAIN
    elif backend == "modal":
        command = f"ryla-gen weights verify {name}"
    else:
        command = f"on the server's machine, ryla-gen weights verify {name} --local COMFYUI/models"
    error.hint = error.hint.replace(DAMAGED, command)
    error.args = (error.message, error.hint, error.details)  # what pickle keeps of it
