"""Look at jobs that nobody follows, so that their ends are journaled and told. Stops no job, and waits for none that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ryla_gen.errors import GenerationTimeoutError, RylaGenError
from ryla_gen.events import FINAL_STATES
from ryla_gen.history.processes import lives_here
from ryla_gen.support.loop_thread import run_async

from .run_options import server_of, settings_for

if TYPE_CHECKING:
    from ryla_gen.client import AsyncClient
    from ryla_gen.history import History, Record

LOOK_SECONDS = 3.0
"""How long a backend may take to say that a job has ended; one that runs is left alone after that."""
AT_ONCE = 8
"""Jobs that are looked at side by side."""


def look_at(history: History, jobs: Iterable[str]) -> None:
    """Ask where jobs run whether they have ended; a client journals the end of one that has, and tells who waits for it.

    A job whose process still lives is left to it. A backend that does not answer changes nothing.

    Args:
        history: the journal.
        jobs: their ids.

    """
    by_server: dict[str | None, list[Record]] = {}
    for record in map(history.get, jobs):
        if record is not None and not lives_here(record.process):
            by_server.setdefault(server_of(record, None), []).append(record)
    for url, records in by_server.items():
        run_async(_look(url, records))


async def _look(url: str | None, records: Sequence[Record]) -> None:
    from ryla_gen.client import AsyncClient

    room = asyncio.Semaphore(AT_ONCE)

    async def look(record: Record) -> None:
        async with room:
            with suppress(RylaGenError):
                await _ask(client, record)

    async with AsyncClient(settings=settings_for(None, url)) as client:
        await client.jobs.end_lost(records)
        await asyncio.gather(*map(look, records))


async def _ask(client: AsyncClient, record: Record) -> None:
    known = client.history.get(record.id)
    if known is None or known.state in FINAL_STATES:
        return
    job = await client.jobs.get(record.id)
    try:
        await job.result(LOOK_SECONDS)
    except GenerationTimeoutError:
        if job.state in FINAL_STATES and not job.done:  # it has ended: its files are being uploaded
            await job.result()
