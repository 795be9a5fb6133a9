"""Recover a job's request from its backend when this machine's journal does not have it. Must not follow the job."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..comfy.connect import connect
from ..errors import (
    JobCanceledError,
    JobExpiredError,
    JobNotFoundError,
    NotDeployedError,
    PlainData,
    PreemptedError,
    RylaGenError,
    error_from_data,
)
from ..results import METADATA_KEY
from ..settings import Settings
from ..support.numbers import is_number
from . import BUILT

CALL_LOG = "See the log of the app that it ran in: ryla-gen jobs logs APP"
"""A call does not name its app."""


@dataclass(frozen=True, slots=True)
class RemoteRequest:
    """A job as the server that has it describes it."""

    backend: str
    handle: str
    """Backend and its own id of the job."""
    job: str
    """The job's id, where the server knows it; else the server's own."""
    workflow: str
    """Name of the workflow; empty where only the graph is known."""
    inputs: Mapping[str, Any]
    """Its fields; of pictures the hash and the size."""
    seed: int | None = None
    """The seed that was used."""
    graph: Mapping[str, Any] | None = None
    """What runs, in ComfyUI's API format."""


async def recover_request(handle: str, settings: Settings) -> RemoteRequest | None:
    """Query the server that a handle belongs to; None when the text is not a handle.

    Args:
        handle: backend and its own id of the job, such as ``comfyui:<prompt id>``.
        settings: how the server is reached.

    Raises:
        JobNotFoundError: the server does not say what was requested.
        JobExpiredError: it does not know the job (any more).
        RylaGenError: it cannot be reached, or the job failed: why.

    """
    backend, _, own = handle.partition(":")
    if backend not in BUILT or not own:
        return None
    if backend == "comfyui":
        return await _of_comfyui(own, settings)
    if backend == "modal":
        return await _of_modal(own)
    if backend == "runpod":
        text = f"RunPod keeps no request, so {handle} can be resumed only on the machine that submitted it."
        raise JobNotFoundError(text, f"There: ryla-gen jobs result {handle} -o FILE", {"handle": handle, "missing": "request"})
    raise JobExpiredError(f"The job {own} ran on the in-process emulator and ended with its process.")


async def _of_comfyui(own: str, settings: Settings) -> RemoteRequest:
    async with connect(settings) as client:
        prompt = await client.prompt(own)
    if prompt is None:
        raise JobExpiredError(f"The server {client.address} does not know the job {own} (or no longer does).")
    _, _, graph, extra, *_ = prompt
    handle, said = f"comfyui:{own}", _metadata(extra)
    inputs = said.get("inputs")
    name, inputs = (str(said.get("workflow") or ""), inputs) if isinstance(inputs, dict) else ("", {})
    return RemoteRequest("comfyui", handle, own, name, inputs, _number(said.get("seed")), graph)


def _metadata(extra: Any) -> PlainData:
    """Return our own metadata beside a graph; empty when another program sent it."""
    pnginfo = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
    said = pnginfo.get(METADATA_KEY) if isinstance(pnginfo, dict) else None
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            return {}
    return said if isinstance(said, dict) else {}


async def _of_modal(own: str) -> RemoteRequest:
    from ..remote.claims import CANCELED  # here, since it imports modal

    reply = await _reply(own)
    error = reply.get("error") if reply.get("ok") is not True else None
    if isinstance(error, dict):
        owner = str((error.get("details") or {}).get("handle") or "").removeprefix("modal:")
        if owner == CANCELED:
            raise JobCanceledError(f"The job of the call {own} was canceled.")
        if error.get("code") == "already_claimed" and owner and owner != own:
            return await _of_modal(owner)
        raise error_from_data(error)
    made = reply.get("generation")
    if not isinstance(made, Mapping) or not isinstance(made.get("inputs"), Mapping):
        raise JobNotFoundError(f"The call {own} was not made by ryla_gen: its reply does not contain a generation.")
    return RemoteRequest(
        "modal", f"modal:{own}", str(made.get("job") or own), str(made["workflow"]), made["inputs"], _number(made.get("seed"))
    )


async def _reply(own: str) -> Mapping[str, Any]:
    """Fetch the return value of a call that has ended."""
    import modal

    from ..remote.modal_errors import AMBIGUOUS, from_modal_error

    try:
        reply = await modal.FunctionCall.from_id(own).get.aio(timeout=0)
    except (modal.exception.FunctionTimeoutError, modal.exception.OutputExpiredError) as error:
        raise from_modal_error(error, f"The call {own}", log=CALL_LOG) from None
    except TimeoutError:
        text = f"The call {own} has not ended, and Modal returns the request only with the reply."
        raise JobNotFoundError(
            text,
            "Ask again when it has ended, or on the machine that submitted it.",
            {"handle": f"modal:{own}", "missing": "request"},
        ) from None
    except (modal.exception.Error, *AMBIGUOUS) as error:
        raise _lost_call_error(from_modal_error(error, f"The call {own}", log=CALL_LOG), error, own) from None
    return reply if isinstance(reply, Mapping) else {}


def _lost_call_error(found: RylaGenError, error: BaseException, own: str) -> RylaGenError:
    from ..remote.claims import canceled_by_hand, over_without_reply

    if isinstance(found, NotDeployedError):
        return JobExpiredError(f"Modal does not know the call {own} (or no longer does).")
    if canceled_by_hand(error):
        return JobCanceledError(f"The call {own} was canceled.")
    return PreemptedError(f"The container of the call {own} was lost.") if over_without_reply(error) else found


def _number(value: object) -> int | None:
    """Read a seed; JSON of a server may hold NaN or Infinity in its place."""
    return int(value) if is_number(value) and math.isfinite(value) else None
