"""Translate ComfyUI's refusals and exceptions into typed errors.

Pure: answers and messages in, errors out. Knows no socket, no workflow. Server text is cleaned and bounded before it is shown.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import (
    BackendUnreachableError,
    FaceNotFoundError,
    GenerationTimeoutError,
    GpuOutOfMemoryError,
    InvalidInputError,
    LoraNotFoundError,
    ModelNotFoundError,
    NodeFailedError,
    NotAuthorizedError,
    NotEmulatedError,
    PlainData,
    RylaGenError,
    ServerUnhealthyError,
    StorageFailedError,
    WorkflowInvalidError,
)
from .file_names import WEIGHTS_SUFFIXES, closest_file
from .messages import ExecutionError, clean

FOLDERS = {
    "ckpt_name": "checkpoints",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "control_net_name": "controlnet",
    "instantid_file": "instantid",
    "lora_name": "loras",
    "pulid_file": "pulid",
    "style_model_name": "style_models",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
}
"""Inputs that take a weights file, and the server's folder for it (node_schemas_0.3.71)."""
_FOLDERS_OF_CLASS = {("CLIPVisionLoader", "clip_name"): "clip_vision", ("UpscaleModelLoader", "model_name"): "upscale_models"}
AVAILABLE_LIMIT = 50
"""Most names of available files go into an error."""
_OOM_TYPES = {"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError"}
_OUT_OF_MEMORY = re.compile(r"\bout of memory\b|\bAllocation on device\b", re.IGNORECASE)
_NO_ROOM = re.compile(r"\[Errno (?:27|28|122)\]|No space left on device|Disk quota exceeded|File too large")
"""EFBIG, ENOSPC and EDQUOT, as Python words them."""
_NO_FACE = re.compile(r"\bno faces? (?:was |were |is |are )?(?:detected|found)\b", re.IGNORECASE)
_NO_CLASS = re.compile(r"\bnode (\S+) does not exist\b|\bNode '([^']+)' not found\b")
_NODE_ID = re.compile(r"Node ID '#([^']*)'")
_CHAIN = re.compile(
    r"(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):"
)
"""How Python joins the tracebacks of exceptions that led to each other."""
TRACEBACK_LIMIT = 100_000
"""Characters of a traceback that are read."""
MESSAGE_LINES = 8
"""Lines of an exception's message that are shown."""
MOST_CAUSES = 3
"""Exceptions shown that led to the last one."""
RESTART = "The thread that runs prompts has probably ended (a node that raised SystemExit does that): restart ComfyUI."
"""What to do about a server that answers and runs nothing."""
CREDENTIALS = (
    "Set COMFYUI_TOKEN (a bearer token), or COMFYUI_USER and COMFYUI_PASSWORD (basic authorization), to what the server expects."
)
_GATEWAY = frozenset({502, 503, 504, 520, 521, 522, 523, 524})
"""What proxies answer when the server behind them is not there or is too slow (520–524: Cloudflare, before RunPod pods)."""


def folder_of(class_type: str, name: str) -> str:
    """Return the server folder whose files a node's input names; empty when it is not known."""
    return _FOLDERS_OF_CLASS.get((class_type, name)) or FOLDERS.get(name, "")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    media_type: str = ""

    def json(self) -> Any:
        """Return the body as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def from_gateway(self) -> bool:
        """Whether a proxy answered in the server's place, so that it is not known what the server did."""
        return self.status in _GATEWAY


def submit_error(answer: HttpAnswer, address: str) -> RylaGenError:
    """Make the error for an answer to ``POST /prompt`` that is not a success."""
    body = answer.json()
    if answer.status == 400 and isinstance(body, dict):
        return refusal(body)
    if answer.status == 413:
        return too_large(clean(answer.body[:1000].decode("utf-8", "replace"), 300))
    if answer.status == 500 and answer.media_type == "text/plain":
        return WorkflowInvalidError(
            "ComfyUI could not read the graph (500).",
            'Send a graph in API format, as the menu item "Workflow > Export (API)" writes it; the plain export is another format.',
            {"status": 500},
        )
    return http_error(answer, address)


def too_large(said: str) -> InvalidInputError:
    """Make the error for a request larger than the server takes (ComfyUI: 100 MB)."""
    hint = "Upload pictures as files instead of writing them into the graph, or start ComfyUI with a larger --max-upload-size."
    error = InvalidInputError(f"The request is too large for the server: {said}", hint, {"status": 413})
    error.started = "no"
    return error


def http_error(answer: HttpAnswer, address: str) -> RylaGenError:
    """Make the error for any other HTTP answer that is not a success."""
    status, details = answer.status, {"status": answer.status, "sent": True}
    if status in (401, 403, 407):
        return NotAuthorizedError(f"The server at {address} refused the credentials ({status}).", CREDENTIALS, details)
    if answer.from_gateway:
        return BackendUnreachableError(f"A proxy answered for the server at {address} ({status}).", "", details)
    if status == 413:
        return too_large(clean(answer.body[:1000].decode("utf-8", "replace"), 300))
    if 300 <= status < 400:
        hint = "Use the address it redirects to; redirects are not followed, so that credentials stay where they belong."
        return BackendUnreachableError(f"The server at {address} redirects elsewhere ({status}).", hint, details)
    if status >= 500:
        return ServerUnhealthyError(f"The server at {address} failed to answer ({status}).", "", details)
    return not_comfyui(address, f"it answered {status}", details)


def not_comfyui(address: str, why: str, details: Mapping[str, Any] | None = None) -> BackendUnreachableError:
    """Make the error for an address at which something other than ComfyUI answers."""
    return BackendUnreachableError(f"No ComfyUI at {address}: {why}.", "", details)


def too_long(address: str, limit: int) -> ServerUnhealthyError:
    """Make the error for an answer that is longer than what is read."""
    text = f"The server at {address} sends an answer of more than {limit:,} bytes, which is not read."
    return ServerUnhealthyError(text, "See what answers there: curl -sI ADDRESS", {"limit": limit})


def too_slow(address: str, seconds: float) -> ServerUnhealthyError:
    """Make the error for an answer that does not begin, or does not end, in time."""
    text = f"The server at {address} did not finish an answer within {seconds:,.0f} s."
    return ServerUnhealthyError(text, "Check the connection to the server, and the proxy in front of it.", {"sent": True})


def refusal(body: Mapping[str, Any]) -> RylaGenError:
    """Build the error from ``{"error": …, "node_errors": …}``, the body of a 400 or of a 200 that dropped outputs."""
    faults = list(_faults(body.get("node_errors")))
    whole = body.get("error")
    whole = whole if isinstance(whole, dict) else {}
    if faults:
        chosen = min(faults, key=_urgency)
        return _fault_error(chosen, faults)
    return _whole_error(whole)


@dataclass(frozen=True, slots=True)
class _Fault:
    """One entry of ``node_errors``."""

    node_id: str
    class_type: str
    kind: str
    message: str
    about: str
    input: str
    received: Any
    options: tuple[str, ...] | None

    @property
    def folder(self) -> str:
        """The server folder of the weights file that is missing; empty when it is not known."""
        return folder_of(self.class_type, self.input)

    @property
    def is_missing_file(self) -> bool:
        """Whether a weights file is named that the server does not have."""
        named = isinstance(self.received, str) and self.received.lower().endswith(WEIGHTS_SUFFIXES)
        return self.kind == "value_not_in_list" and (named or bool(self.folder))

    @property
    def is_missing_lora(self) -> bool:
        """Whether that file is a LoRA."""
        return self.is_missing_file and ("lora" in self.input.lower() or "lora" in self.class_type.lower())

    def details(self) -> PlainData:
        """Return which node, class and input the error is about."""
        return {"node_id": self.node_id, "class_type": self.class_type, "input": self.input, "error_type": self.kind}


def _urgency(fault: _Fault) -> int:
    # One missing file explains the faults that follow from it; a wrong link is named last because ComfyUI blames it at random.
    return 0 if fault.is_missing_file else 2 if fault.kind == "exception_during_inner_validation" else 1


def _faults(node_errors: object) -> Iterator[_Fault]:
    for node_id, entry in node_errors.items() if isinstance(node_errors, dict) else ():
        errors = entry.get("errors") if isinstance(entry, dict) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                yield _fault(clean(node_id, 200), clean(entry.get("class_type") or "", 200), error)


def _fault(node_id: str, class_type: str, error: Mapping[str, Any]) -> _Fault:
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    return _Fault(
        node_id,
        class_type,
        clean(error.get("type") or "", 100),
        clean(error.get("message") or "", 300),
        clean(error.get("details") or "", 300),
        clean(extra.get("input_name") or "", 200),
        extra.get("received_value"),
        _options(extra.get("input_config")),
    )


def _options(config: object) -> tuple[str, ...] | None:
    # Two dialects: [["a", "b"], {…}] and ["COMBO", {"options": […]}]; None when ComfyUI left out a long list (over 20).
    match config:
        case [list(names), *_] | [_, {"options": list(names)}, *_]:
            return tuple(clean(name, 300) for name in names)
    return None


def _fault_error(fault: _Fault, faults: Sequence[_Fault]) -> RylaGenError:
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault.is_missing_file:
        return missing_file(fault.details(), clean(fault.received, 300), fault.folder, fault.options, lora=fault.is_missing_lora)
    where = f"node {fault.node_id} ({fault.class_type}), input {fault.input}" if fault.input else f"node {fault.node_id}"
    # Without the blame for a broken link the details are a bare Python exception, such as '99'.
    message = f"ComfyUI refused the graph: {where}: {fault.message}: {fault.about}{others}"
    return WorkflowInvalidError(message, "", {**fault.details(), "errors": [item.details() for item in faults[:20]]})


def missing_file(
    details: Mapping[str, Any], file: str, folder: str, available: Sequence[str] | None, *, lora: bool
) -> ModelNotFoundError:
    """Make the error for a weights file that the server does not have; ``available`` is None when it did not list its files."""
    close = closest_file(file, available or (), lora=lora)
    place = f"models/{folder}" if folder else "the models folder"
    hint = f"Put the file into {place} on the server."
    if lora:
        lora_id = file.replace("\\", "/").partition("/")[0].removesuffix(".safetensors")
        hint = f"Store it: ryla-gen lora push FILE --id {shlex.quote(lora_id)}."
    if close:
        hint += f" Closest name there: {close}"
    elif available is not None and not available:
        hint += " That folder is empty."
    data = {**details, "file": file, "folder": folder, "available": list(available or ())[:AVAILABLE_LIMIT]}
    cls, noun = (LoraNotFoundError, "LoRA") if lora else (ModelNotFoundError, "weights file")
    return cls(f"The server has no {noun} {file!r} (needed by node {details.get('node_id')}).", hint, data)


def _whole_error(error: Mapping[str, Any]) -> RylaGenError:
    kind, said, about = (clean(error.get(key) or "", 300) for key in ("type", "message", "details"))
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    missing = _NO_CLASS.search(said)
    node = _NODE_ID.search(about)
    class_type = clean(extra.get("class_type") or "", 200) or (missing and (missing[1] or missing[2])) or ""
    details = {"node_id": clean(extra.get("node_id") or "", 200) or (node[1] if node else ""), "class_type": class_type}
    details["error_type"] = kind
    if class_type and (missing or kind == "missing_node_type"):
        hint = f"Install the node pack that provides {class_type} on the server (ComfyUI-Manager finds it), and restart it."
        return WorkflowInvalidError(f"The server has no node class {class_type}.", hint, details)
    if kind == "not_emulated":
        return _not_emulated(extra.get("nodes"), about)
    if kind == "prompt_no_outputs":
        hint = "Add a node that saves or shows something, such as SaveImage."
        return WorkflowInvalidError("The graph has no output node.", hint, details)
    message = "ComfyUI refused the graph: " + ": ".join(text for text in dict.fromkeys((said, about)) if text)
    return WorkflowInvalidError(message if said or about else "ComfyUI refused the graph without a reason.", "", details)


def _not_emulated(told: Any, about: str) -> NotEmulatedError:
    """Make the error for a refusal by our own emulator, which names every node that stops it."""
    nodes = [item for item in told if isinstance(item, dict)] if isinstance(told, list) else []
    named = [{key: clean(item.get(key) or "", 200) for key in ("node_id", "class_type", "reason")} for item in nodes]
    return NotEmulatedError(f"The emulator cannot run this graph: {about}", "", {"nodes": named})


def causes_in(traceback: str) -> list[str]:
    """Read the exceptions of a Python traceback that led to its last one, the nearest first, each with its type and message."""
    blocks = [[line for line in block.splitlines() if _of_exception(line)] for block in _CHAIN.split(traceback[:TRACEBACK_LIMIT])]
    return ["\n".join(lines) for lines in reversed(blocks[:-1]) if lines]


def _of_exception(line: str) -> bool:
    """Whether a line of a traceback belongs to an exception's message: frames and their source are indented."""
    return bool(line.strip()) and not line[0].isspace() and not line.startswith('File "') and "Traceback (most recent" not in line


def causes_in_log(error: ExecutionError, log: Sequence[str]) -> list[str]:
    """Find what led to a node's exception in the server's log: its message carries the last exception alone."""
    first = error.exception_message.partition("\n")[0]
    for piece in reversed(log):
        if "Traceback (most recent" in piece and first in piece and error.exception_type.rpartition(".")[2] in piece:
            return causes_in(piece)
    return []


def _cut(text: str, lines: int, characters: int) -> str:
    kept = clean(text, characters).splitlines()
    return "\n".join(kept[:lines]) + ("\n…" if len(kept) > lines else "")


def node_error(error: ExecutionError, causes: Sequence[str] = ()) -> RylaGenError:
    """Make the typed error for a node that raised.

    Args:
        error: the server's message.
        causes: the exceptions that led to it, the nearest first; they are looked for in its traceback when there are none.
    """
    kind = error.exception_type
    details = {"node_id": error.node_id, "class_type": error.node_type, "input": "", "exception_type": kind}
    said = error.exception_message
    what = ": ".join(part for part in (kind, _cut(said, MESSAGE_LINES, 1000)) if part) or "it raised without a message"
    led = [_cut(cause, 3, 300) for cause in (causes or causes_in("\n".join(error.traceback)))[:MOST_CAUSES]]
    what += "".join(f"\ncaused by {cause}" for cause in led)
    where = f"Node {error.node_id} ({error.node_type}) failed" if error.node_id else "The graph failed"
    if kind in _OOM_TYPES or kind.endswith(".OutOfMemoryError") or _OUT_OF_MEMORY.search(said):
        return GpuOutOfMemoryError(f"{where}: the GPU is out of memory: {said.partition(chr(10))[0] or kind}", "", details)
    if _NO_FACE.search(said):
        return FaceNotFoundError(f"{where}: {said}", "", details)
    if _NO_ROOM.search(said):
        return StorageFailedError(
            f"{where}: the server could not store a file: {said}", "Free some space on the server's disk.", details
        )
    hint = "The server's own memory (RAM) is full: restart it, or use a machine with more." if kind == "MemoryError" else ""
    if kind.endswith("SafetensorError"):  # the file's name is right, but its content is damaged
        hint = "A weights file on the server is damaged or incomplete: ryla-gen weights verify WORKFLOW --local COMFYUI/models"
    return NodeFailedError(f"{where}: {what}", hint, {**details, "exception_message": said, **({"causes": led} if led else {})})


def stuck_prompt(prompt_id: str, address: str, silent: float, limit: float) -> ServerUnhealthyError:
    """Make the error for a prompt that counts as running, makes no progress and does not stop."""
    text = f"ComfyUI counts the job {prompt_id} as running, but made no progress for {silent:.0f} s and did not stop when told to."
    hint = (
        f"{RESTART} If a single step takes this long, give it more than {limit:g} s: timeout=SECONDS, --timeout SECONDS. "
        f"Check again: ryla-gen doctor --url {address}"
    )
    return ServerUnhealthyError(text, hint, {"job": prompt_id, "limit": limit, "stopped": False, "sent": True, "lost": True})


def stuck_queue(
    prompt_id: str, address: str, seconds: float, ahead: Sequence[str] | None, *, moved: bool, stopped: bool
) -> GenerationTimeoutError | ServerUnhealthyError:
    """Make the error for a prompt that waited as long as it may and never started.

    Args:
        prompt_id: the prompt.
        address: of the server.
        seconds: how long it waited.
        ahead: the prompts before it, the running one first; None when the server does not say.
        moved: whether others became fewer while it waited.
        stopped: whether the request to drop it reached the server.
    """
    dropped = "was removed from the queue; nothing of it ran." if stopped else "the server could not be told to remove it."
    waited = f"The job {prompt_id} waited {seconds:g} s for its turn and {dropped}"
    longer = "allow a longer wait: ryla-gen config set queue_timeout SECONDS"
    details = {"job": prompt_id, "queued": True, "limit": seconds, "stopped": stopped}
    details["ahead"] = list(ahead or ())[:AVAILABLE_LIMIT]
    if ahead is not None and not ahead:
        text = f"{waited} The server runs nothing, but does not start it."
        return ServerUnhealthyError(text, f"{RESTART} Check again: ryla-gen doctor --url {address}", details)
    if ahead is None:
        return GenerationTimeoutError(f"{waited} The server is running something else.", f"Try again later, or {longer}", details)
    others = f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
    if moved:
        text = f"{waited} The prompt {clean(ahead[0], 128)}{others} was ahead of it."
        return GenerationTimeoutError(text, f"Try again later, or {longer}", details)
    text = f"{waited} The prompt {clean(ahead[0], 128)}{others} was ahead of it, and nothing finished in that time."
    hint = f"{RESTART} If that prompt takes long, {longer}. Check again: ryla-gen doctor --url {address}"
    return ServerUnhealthyError(text, hint, details)
