"""What each error code means to those who count: one of three types, and a fixed sentence. A table; reads no error's own words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, NamedTuple

ErrorType = Literal["timeout", "model_error", "workflow_error"]
"""The seed's three kinds of failure."""


class Fault(NamedTuple):
    """A kind of failure."""

    error_type: ErrorType
    message: str
    """Fixed words: what an error says itself may hold the prompt, a path or an address."""


FAULTS = MappingProxyType(
    {
        "generation_timeout": Fault("timeout", "ran longer than its limit"),
        "backend_unreachable": Fault("timeout", "the backend did not answer"),
        "model_not_found": Fault("model_error", "a weights file is missing on the server"),
        "lora_not_found": Fault("model_error", "no LoRA is stored under that id"),
        "lora_incompatible": Fault("model_error", "a LoRA for another base model"),
        "out_of_memory": Fault("model_error", "more video memory was needed than the GPU has"),
        "server_unhealthy": Fault("model_error", "ComfyUI died or hangs"),
        "preempted": Fault("model_error", "the container was taken away"),
        "not_emulated": Fault("workflow_error", "the emulator cannot run these nodes"),
        "invalid_input": Fault("workflow_error", "a field of the request does not fit"),
        "workflow_invalid": Fault("workflow_error", "the server refused the graph"),
        "node_failed": Fault("workflow_error", "a node of the graph raised"),
        "face_not_found": Fault("workflow_error", "no face in the reference image"),
        "contract_mismatch": Fault("workflow_error", "the two sides use different versions of the contract"),
        "already_claimed": Fault("workflow_error", "another call already runs this job"),
        "job_not_found": Fault("workflow_error", "no such job"),
        "job_expired": Fault("workflow_error", "the process or server that held it is gone"),
        "result_expired": Fault("workflow_error", "its result was thrown away"),
        "backend_not_configured": Fault("workflow_error", "where to run is not configured"),
        "not_authorized": Fault("workflow_error", "the credentials were refused"),
        "not_deployed": Fault("workflow_error", "the app is not deployed"),
        "budget_exceeded": Fault("workflow_error", "it would cost more than was allowed"),
        "output_exists": Fault("workflow_error", "a file of that name is there already"),
        "storage_failed": Fault("workflow_error", "a file could not be written or read"),
        "internal": Fault("workflow_error", "a fault of ryla_gen"),
        "job_canceled": Fault("workflow_error", "it was canceled"),
    }
)
"""Every code of ``ryla_gen.errors``. ``job_canceled`` is here for completeness: a canceled job is told as such, not as failed."""
