"""Translate answers of RunPod and worker-comfyui into typed errors. Must not call anything: statuses and texts in, errors out.

worker-comfyui reports faults as text only. Its forms, as of version 5: a refused graph with ComfyUI's ``node_errors`` as bullets of
Python values, or with ComfyUI's whole answer after "Raw response:"; a failed node as "Node Type: …, Node ID: …, Message: …".
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...comfy.errors import node_error, refusal
from ...comfy.messages import ExecutionError, clean
from ...errors import (
    BackendUnreachableError,
    GenerationTimeoutError,
    InvalidInputError,
    JobCanceledError,
    ModelNotFoundError,
    NodeFailedError,
    NotAuthorizedError,
    NotDeployedError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowInvalidError,
)

KEY_HINT = "Set RUNPOD_API_KEY to a key of the account that owns the endpoint: https://www.console.runpod.io/user/settings"
LOST_HINT = "Look for it in the console (Requests) before you send it again; a lost job ends at its time limit."
LOG_HINT = "See the endpoint's log on https://www.console.runpod.io/serverless; docs/runpod.md says what a worker needs."
_SAME = ("checkpoints", "clip_vision", "controlnet", "loras", "upscale_models", "vae")
VOLUME_FOLDERS = {**{name: name for name in _SAME}, "diffusion_models": "unet", "text_encoders": "clip"}
"""ComfyUI's folders and where worker-comfyui looks for them on a network volume (its extra_model_paths.yaml); others are not read
from a volume."""
TEXT_LIMIT = 100_000
"""Characters of a worker's error that are read; the rest may be a graph."""

_NODE = re.compile(r"Node Type: (?P<type>.*?), Node ID: (?P<id>.*?), Message: (?P<message>.*)", re.DOTALL)
_BULLET = re.compile(r"^\W*Node (?P<id>\S+) \((?P<key>\w+)\): (?P<value>.*)$")
_REFUSED = ("workflow validation failed", "comfyui validation failed", "error queuing workflow", "missing 'workflow'")
_RAW = "Raw response:"
_NO_REASON = "Job processing failed"
"""worker-comfyui's headline for a graph that saved nothing; the reason is in ``details``, which may get lost on the way."""
_NOTHING = "No outputs found in history"


def http_error(status: int, said: str, what: str) -> RylaGenError:
    """Make the error for an HTTP answer that is not a success.

    Args:
        status: of the answer.
        said: the answer's text, cleaned and bounded.
        what: what was being done, as the beginning of a sentence.
    """
    details = {"status": status, "sent": False}
    tail = f" ({status}){f': {said}' if said else ''}"
    if status in (401, 403):
        return NotAuthorizedError(f"{what}: RunPod refused the API key{tail}", KEY_HINT, details)
    if status == 404:
        hint = "Compare the id with the console's: ryla-gen config set runpod.endpoint_id ID"
        return NotDeployedError(f"{what}: RunPod knows no such endpoint{tail}", hint, details)
    if status == 429:
        hint = "Wait a little, or send fewer jobs at once (map: in_flight=…)."
        return BackendUnreachableError(f"{what}: RunPod accepts no more requests now{tail}", hint, details)
    if status in (400, 413, 422):
        hint = "RunPod accepts 10 MB with /run and 20 MB with /runsync: send smaller pictures."
        return InvalidInputError(f"{what}: RunPod refused the request{tail}", hint, details)
    if 300 <= status < 400:
        hint = "Redirects are not followed, so that the key stays where it belongs. See: ryla-gen config show"
        return BackendUnreachableError(f"{what}: RunPod's address redirects elsewhere{tail}", hint, details)
    hint = "Look at https://uptime.runpod.io and try again."
    return BackendUnreachableError(f"{what}: RunPod failed to answer{tail}", hint, details)


def maybe_taken(job: str, why: str) -> BackendUnreachableError:
    """Make the error for a submission whose answer was lost: RunPod has no idempotency key, so it is not sent again."""
    text = f"RunPod did not confirm the job {job} ({why}). It may have been accepted and be paid for, so it was not sent again."
    return BackendUnreachableError(text, LOST_HINT, {"job": job, "sent": True, "maybe_taken": True})


def saved_nothing(answer: Mapping[str, Any]) -> bool:
    """Whether a failed job failed only because the graph saved nothing."""
    texts = list(_texts(answer))
    return any(_NOTHING in text for text in texts) and not any(_NODE.search(text) for text in texts)


def end_error(answer: Mapping[str, Any], job: str) -> RylaGenError:
    """Make the error for a job that ended FAILED, TIMED_OUT or CANCELLED."""
    status = answer.get("status")
    if status == "CANCELLED":
        return JobCanceledError(f"The job {job} was canceled.")
    if status == "TIMED_OUT":
        text = f"RunPod ended the job {job}: it ran or waited longer than its limit, or its worker stopped responding."
        return GenerationTimeoutError(text, "Give it more time: timeout=SECONDS, --timeout SECONDS.", {"job": job})
    if error := node_failed(answer, job):
        return error
    texts = list(_texts(answer))
    return next((error for text in texts if (error := _graph_error(text)) is not None), None) or _worker_error(texts, job)


def node_failed(answer: Mapping[str, Any], job: str) -> RylaGenError | None:
    """Find the node that raised, if one did. The worker reports such a job as completed when another branch had saved a file."""
    for text in _texts(answer):
        if found := _NODE.search(text):
            return node_error(ExecutionError(job, node_id=found["id"], node_type=found["type"], exception_message=found["message"]))
    return None


def _texts(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of the worker: its error, then the details of its output."""
    output = answer.get("output")
    output = output if isinstance(output, Mapping) else {}
    for item in (answer.get("error"), output.get("error"), output.get("details"), output.get("errors")):
        for text in item if isinstance(item, list) else (item,):
            if text:
                yield _unwrap(text if isinstance(text, str) else json.dumps(text))[:TEXT_LIMIT]


def _unwrap(text: str) -> str:
    """Unwrap a handler's exception from the JSON that RunPod's SDK puts around it."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return text
    if not isinstance(found, dict):
        return text
    return f"{found.get('error_type', '')}: {found.get('error_message', '')}".strip(": ")


def _graph_error(text: str) -> RylaGenError | None:
    """Recover ComfyUI's refusal from the worker's text; None when it was not a refusal."""
    raw = text.partition(_RAW)[2].strip()
    body = _json_object(raw) if raw else {"node_errors": node_errors} if (node_errors := _bullets(text)) else None
    if body:
        return _with_place(refusal(body))
    if text.lower().startswith(_REFUSED):
        return WorkflowInvalidError(f"ComfyUI on the worker refused the graph: {clean(text, 500)}", LOG_HINT)
    return None


def _with_place(error: RylaGenError) -> RylaGenError:
    """Add where a missing file belongs on RunPod."""
    if not isinstance(error, ModelNotFoundError):
        return error
    folder = str(error.details.get("folder") or "")
    volume = VOLUME_FOLDERS.get(folder)
    place = (
        f"/runpod-volume/models/{volume} of the endpoint's network volume"
        if volume
        else f"/comfyui/models/{folder} of the endpoint's image"
    )
    closest = error.hint.partition("Closest name there: ")[2]
    hint = f"Put the file into {place} (docs/runpod.md)." + (f" Closest name there: {closest}" if closest else "")
    return type(error)(error.message, hint, error.details)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _bullets(text: str) -> dict[str, dict[str, Any]]:
    """Parse ``node_errors`` from lines such as ``• Node 4 (class_type): CheckpointLoaderSimple``."""
    found: dict[str, dict[str, Any]] = {}
    for line in text.splitlines():
        if match := _BULLET.match(line):
            found.setdefault(match["id"], {})[match["key"]] = _value(match["value"])
    return {node: entry for node, entry in found.items() if isinstance(entry.get("errors"), list)}


def _value(text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return ast.literal_eval(text)  # reads literals only; runs nothing
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


def _worker_error(texts: list[str], job: str) -> RylaGenError:
    said = clean(": ".join(dict.fromkeys(texts)), 500) or "it gave no reason"
    if "out of memory" in said.lower():
        return node_error(ExecutionError(job, exception_message=said))
    if said == _NO_REASON:
        return NodeFailedError(f"The graph failed on the worker, and RunPod did not pass on why ({said}).", LOG_HINT, {"job": job})
    return ServerUnhealthyError(f"The RunPod worker failed at the job {job}: {said}", LOG_HINT, {"job": job})
