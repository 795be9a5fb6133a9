"""Convert a request for worker-comfyui, and read its reply: graph, base64 files, progress, outputs. Must not use the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ... import media
from ...engine import used_seed
from ...errors import InvalidInputError, ServerUnhealthyError
from ...results import Output, file_texts, require_outputs
from ...results.notes import is_emulated
from ...results.output_files import as_output, with_texts
from ...results.provenance import mark_of
from ...support.numbers import is_number
from ...workflows.base import Files, Workflow
from ...workflows.fields import held_media

RUN_LIMIT = 10_000_000
"""Bytes of a request to ``/run``: RunPod's 10 MB, read as decimal to be on the safe side (docs.runpod.io, operation reference)."""
RUNSYNC_LIMIT = 20_000_000
"""Bytes of a request to ``/runsync``: RunPod's 20 MB."""
RUNSYNC = "runsync?wait=1000"
"""Operation with the larger size limit: it answers after a second with the job's id, which is then followed like any other."""
SHORTEST_RUN, SHORTEST_LIFE, LONGEST = 5_000, 10_000, 7 * 86_400_000
"""Milliseconds: what RunPod's ``executionTimeout`` and ``ttl`` may be."""
OUTPUT_LIMIT = 1 << 30
"""Bytes of one file that a worker put into a bucket."""
_STEPS = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")


def prepare(workflow: Workflow, job: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Build the graph, and name its files by their content, so that a worker's cache cannot serve another request's picture.

    Pictures that are missing (a request rebuilt from the journal has none) leave preview names in the graph.
    """
    names: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for field in workflow.media_fields():
        for place, data in held_media(field, getattr(workflow, field)):
            if isinstance(data, bytes) and data:
                suffix = media.SUFFIXES.get(media.sniff_media_type(data) or "", ".png")
                name = f"{hashlib.sha256(data).hexdigest()[:32]}{suffix}"
                files[name] = data
                names[place] = name
            elif data and not isinstance(data, bytes):
                raise InvalidInputError(f"{field} has not been read yet.", "Call `await workflow.resolved()` before.")
    return workflow.build(Files(prefix=f"ryla/{job}/{workflow.name}", media=names)).to_api(), files


def request_body(graph: Mapping[str, Any], files: Mapping[str, bytes], *, run_seconds: float, life_seconds: float) -> bytes:
    """Encode the JSON document of a submission.

    Args:
        graph: in ComfyUI's API format.
        files: what the graph reads, by the names that it uses.
        run_seconds: after which RunPod itself ends the job.
        life_seconds: after which RunPod forgets it, queued or not: what bounds the price of a job whose answer was lost.
    """
    images = [{"name": name, "image": base64.b64encode(data).decode()} for name, data in files.items()]
    policy = {
        "executionTimeout": round(min(max(run_seconds * 1000, SHORTEST_RUN), LONGEST)),
        "ttl": round(min(max(life_seconds * 1000, SHORTEST_LIFE), LONGEST)),
    }
    inputs = {"workflow": graph, **({"images": images} if images else {})}
    return json.dumps({"input": inputs, "policy": policy}, allow_nan=False).encode()


def operation_for(size: int) -> str:
    """Choose the operation whose size limit a request of that many bytes is within.

    Raises:
        InvalidInputError: it is larger than every limit; nothing was sent.

    """
    if size <= RUN_LIMIT:
        return "run"
    if size <= RUNSYNC_LIMIT:
        return RUNSYNC
    limit = f"the limit is {RUNSYNC_LIMIT / 1e6:g} MB"
    text = f"The request is too large for RunPod: {size / 1e6:.1f} MB with its files in base64; {limit}."
    hint = "Send smaller pictures or a shorter video (base64 adds a third), or use another backend: --backend modal"
    raise InvalidInputError(text, hint, {"bytes": size, "limit_bytes": RUNSYNC_LIMIT, "status": 413})


def progress_of(output: object) -> dict[str, Any] | None:
    """Read what a worker reported while it ran; None when it says nothing about how far it is.

    worker-comfyui itself reports nothing. Workers that do write "7/20", a share from 0 to 1, or a dict of these.
    """
    if isinstance(output, Mapping):
        said = next((output[key] for key in ("fraction", "progress", "step", "value") if key in output), None)
        total = next((output[key] for key in ("steps", "max", "total") if key in output), None)
        found = _share(f"{said}/{total}" if is_number(said) and is_number(total) else said)
        return {**found, "node": str(output.get("node_type") or output.get("node") or "")[:100]} if found else None
    return _share(output)


def _share(said: object) -> dict[str, Any] | None:
    if is_number(said) and 0 <= said <= 1:
        return {"fraction": float(said)}
    match = _STEPS.search(said[:200]) if isinstance(said, str) else None
    if match is None or not float(match[2]):
        return None
    step, steps = float(match[1]), float(match[2])
    return {"fraction": min(1.0, step / steps), "step": int(step), "steps": int(steps)}


def list_files(answer: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, type (base64 or s3_url) and data of every file of a finished job.

    Raises:
        ServerUnhealthyError: the endpoint's worker answers in another form than worker-comfyui 5.

    """
    output = answer.get("output")
    items = output.get("images") if isinstance(output, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, Mapping) and isinstance(item.get("data"), str) for item in items):
        raise _unreadable(answer)
    return [(str(item.get("filename") or "file"), str(item.get("type") or "base64"), str(item["data"])) for item in items]


def _unreadable(answer: Mapping[str, Any]) -> ServerUnhealthyError:
    if answer.get("output") is None:
        text = "RunPod reports the job as completed but has no output: results over its limit of 10 MB are lost."
        hint = "Give the worker a bucket (BUCKET_ENDPOINT_URL: docs/runpod.md), or ask for fewer or smaller files."
        return ServerUnhealthyError(text, hint)
    text = "The endpoint's answer does not have the form that worker-comfyui 5 uses."
    hint = "Deploy worker-comfyui 5 or newer on the endpoint: docs/runpod.md"
    return ServerUnhealthyError(text, hint, {"answer": _shape(answer)})


def _shape(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return names and types of an answer's fields, without the content, which may be a person's picture."""
    return {str(key)[:50]: type(value).__name__ for key, value in list(answer.items())[:20]}


def decode(data: str) -> bytes:
    """Decode base64, with or without a data URL's head.

    Raises:
        ServerUnhealthyError: it is not base64.

    """
    try:
        return base64.b64decode(data.partition(",")[2] if data.startswith("data:") else data, validate=True)
    except ValueError:
        raise ServerUnhealthyError("The worker sent a file that is not base64.", "Run it again; see the endpoint's log.") from None


def outputs_of(
    files: list[tuple[str, bytes]], workflow: Workflow, graph: Mapping[str, Any], job: str
) -> tuple[tuple[Output, ...], int]:
    """Describe the files of a job, write our metadata into them (workers run ComfyUI without any), and return the seed.

    Raises:
        WorkflowError: there are no files.

    """
    seed = used_seed(workflow, graph)
    texts = file_texts(workflow, seed, job, graph)
    form = getattr(workflow, "output_format", "png")
    outputs = []
    for index, (name, data) in enumerate(files):
        # RunPod does not tell what ran the graph; a file that the emulator made says so itself.
        mark = mark_of(graph, emulated=is_emulated(data))
        outputs.append(as_output(with_texts(data, form, texts), name, f"{workflow.name}-{seed}-{index}", form, texts, mark=mark))
    require_outputs(tuple(outputs), workflow.name)
    return tuple(outputs), seed
