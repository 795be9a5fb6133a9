"""Erase what the backends keep of ended jobs, as far as they allow, and say what stays there. Touches nothing on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from ..comfy.connect import connect
from ..history import Record
from ..settings import Settings

MODAL_RESULT_DAYS = 7
"""Days that Modal keeps the result of a call, as its documentation says."""


async def forget_jobs(records: Sequence[Record], settings: Settings) -> None:
    """Erase what the servers of some ended jobs have and give up.

    Args:
        records: the jobs.
        settings: how the servers are reached.

    Raises:
        RylaGenError: a server did not do it, or does not answer.
    """
    for address, held in _servers(records).items():
        # As an argument: the configured credentials go to their own server only, and this address may be another one.
        own = settings if address == settings.comfyui_url else Settings.load(backend="comfyui", comfyui_url=address)
        async with connect(own) as server:
            for record in held:
                await server.forget(_own_id(record))
    sent = [record.id for record in records if record.backend == "modal"]
    if sent:
        from .modal.forgetting import forget_entries  # Modal's client, which other backends do not need

        await forget_entries(sent, settings.modal_environment)


def erased_there(records: Sequence[Record]) -> Iterator[str]:
    """Yield what :func:`forget_jobs` erases, in words."""
    for address, held in _servers(records).items():
        yield f"{len(held)} of the history of {address}"
    if any(record.backend == "modal" for record in records):
        yield "claims and events at Modal"


def kept_there(records: Sequence[Record]) -> Iterator[str]:
    """Yield what stays with the backends, and for how long: whole sentences."""
    for address in _servers(records):
        yield (
            f"The files that the jobs saved on {address} stay there (output/ryla), with the pictures that were uploaded for them "
            "(input): ComfyUI has no call that removes files. Remove them on that machine."
        )
    at_modal = [record for record in records if record.backend == "modal"]
    if at_modal:
        yield (
            f"Modal keeps the result of a call for {MODAL_RESULT_DAYS} days after it ended, here until {_until(at_modal)}, and the "
            "logs of containers for as long as the plan of the workspace says. No client can remove either."
        )
    if any(record.backend == "runpod" for record in records):
        yield "RunPod keeps a result for at most 30 minutes after it ended. No client can remove it."


def _servers(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.backend == "comfyui" and record.server:
            found.setdefault(record.server, []).append(record)
    return found


def _own_id(record: Record) -> str:
    return (record.handle or record.id).rpartition(":")[2]


def _until(records: Iterable[Record]) -> str:
    """Return the day on which the last of the results is gone."""
    last = max(record.finished_at or record.created_at for record in records)
    return f"{datetime.fromisoformat(last) + timedelta(days=MODAL_RESULT_DAYS + 1):%Y-%m-%d}"
