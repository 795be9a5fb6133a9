"""Find a job on the user's own server, stop it there, and find out which jobs are lost. Must not send a job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..comfy.connect import connect
from ..comfy.messages import ExecutionStart, ExecutionSuccess, PromptEnd, Whereabouts, messages_from_history
from ..errors import JobCanceledError, JobExpiredError, RylaGenError
from ..events import FINAL_STATES
from ..history import Record
from ..history.processes import has_ended
from ..settings import Settings

if TYPE_CHECKING:
    from ..comfy.client import ComfyClient

STOP_SECONDS, STOP_PAUSE = 3.0, 0.05
"""How long a server may take to say that a prompt has stopped, and how often it is asked: some nodes end before they stop."""
ANSWER_SECONDS = 2.0
"""How long a server may take to say what it has when no single job is awaited: a list should not wait for a dead server."""


@dataclass(slots=True)
class Lost:
    """Jobs that are certainly gone."""

    jobs: list[tuple[Record, JobExpiredError]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    """Addresses of servers that do not answer: what became of their jobs is not known."""


async def locate(settings: Settings, record: Record) -> Whereabouts | None:
    """Find a job on the user's own server; None when its backend is not such a server."""
    if record.backend != "comfyui" or not settings.comfyui_url:
        return None
    prompt_id = _prompt_id(record)
    async with connect(settings) as server:
        return (await server.locate([prompt_id]))[prompt_id]


async def stop(settings: Settings, record: Record) -> JobCanceledError | None:
    """Remove a job from the queue of the user's own server, or interrupt it.

    Returns:
        The end to journal; None when the job was not there, or had ended before it could be stopped.

    """
    place = await locate(settings, record)
    if place is None or place.place not in ("pending", "running"):
        return None
    prompt_id = _prompt_id(record)
    async with connect(settings) as server:
        await server.cancel(prompt_id)
        entry = await _last_entry(server, prompt_id) if place.place == "running" else {}
    said = messages_from_history(prompt_id, entry) if entry else []
    if isinstance(said[-1] if said else None, ExecutionSuccess):
        return None
    error = JobCanceledError(f"The job {record.id} was canceled.")
    start, end = (next((item.at for item in said if isinstance(item, kind)), 0.0) for kind in (ExecutionStart, PromptEnd))
    if start and end:  # the run time that the server itself reports
        error.details |= {"gpu_seconds": end - start, "cost_usd": (end - start) * settings.comfyui_hourly_usd / 3600}
    return error


def suspects(records: Sequence[Record]) -> list[Record]:
    """Choose the open jobs whose loss can be found out: their process is known to have ended, or their server can be asked."""
    opened = [record for record in records if record.state not in FINAL_STATES]
    return [
        record
        for record in opened
        if (record.backend == "comfyui" and record.server) or (record.backend == "emulator" and has_ended(record.process))
    ]


async def find_lost(records: Sequence[Record]) -> Lost:
    """Find out which open jobs are certainly gone. That a server does not answer proves nothing.

    Args:
        records: what :func:`suspects` chose.

    """
    found, servers = Lost(), dict[str, list[Record]]()
    for record in records:
        if record.backend == "emulator":
            text = f"The job {record.id} ran on the in-process emulator and ended with its process."
            found.jobs.append((record, JobExpiredError(text)))
        elif record.server:
            servers.setdefault(record.server, []).append(record)
    await asyncio.gather(*(_ask(address, held, found) for address, held in servers.items()))
    return found


async def _ask(address: str, records: Sequence[Record], found: Lost) -> None:
    try:
        # As an argument: the configured credentials go to their own server only, and this address may be another one.
        settings = Settings.load(backend="comfyui", comfyui_url=address)
        async with asyncio.timeout(ANSWER_SECONDS), connect(settings, connect_timeout=ANSWER_SECONDS) as server:
            queue = await server.queue()  # the queue first: prompts move from there to the history
            for record in records:
                prompt_id = _prompt_id(record)
                if prompt_id in (*queue.running, *queue.pending) or await server.history(prompt_id) is not None:
                    continue
                if record.handle is None and not has_ended(record.process):
                    continue  # its process may be about to send it
                text = f"The server {address} does not know the job {record.id} (or no longer does)."
                found.jobs.append((record, JobExpiredError(text, "Submit it again.", {"server": address})))
    except (RylaGenError, TimeoutError):
        found.silent.append(address)


async def _last_entry(server: ComfyClient, prompt_id: str) -> Mapping[str, Any]:
    """Wait for the history entry of a prompt that was interrupted; empty when it takes too long to stop."""
    for _ in range(round(STOP_SECONDS / STOP_PAUSE)):
        entry = await server.history(prompt_id)
        if entry is not None:
            return entry
        await asyncio.sleep(STOP_PAUSE)
    return {}


def _prompt_id(record: Record) -> str:
    return (record.handle or record.id).rpartition(":")[2]
