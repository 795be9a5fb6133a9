"""Tell webhooks how the jobs of one client ended, in the background; the journal keeps what is not told. Follows no job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ..contract import Options
from ..delivery.outbox import LEASE, tell_due, tell_recorded
from ..delivery.webhook_events import failure_event, result_event
from ..delivery.webhooks import check_webhook
from ..errors import InvalidInputError, RylaGenError
from ..history import History, Record
from ..history.webhooks import Outbox
from ..names import WEBHOOK_DELIVERED
from ..results import Generation
from ..settings import Settings

log = logging.getLogger("ryla_gen")

LATER = "The next process that tells a webhook tries again, or: ryla-gen webhook send"
GIVEN_UP = "It is given up."


class Telling:
    """The webhooks of one client.

    Args:
        history: the journal, which knows whom the end of a job is told.
        settings: the secret, and whether private addresses are allowed.

    """

    def __init__(self, history: History, settings: Settings) -> None:
        self._history, self._settings = history, settings
        self._outbox = Outbox(history)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, tuple[str, bool]] = {}

    def expect(self, job: str, options: Options) -> None:
        """Remember whom the end of a job is told, for a journal that cannot be used (any more)."""
        if options.webhook is not None:
            self._asked[job] = (options.webhook, options.webhook_prompt)

    def tell(
        self,
        job: str,
        known: Record | None,
        generation: Generation | None,
        error: BaseException | None,
        *,
        cost_usd: float | None = None,
    ) -> None:
        """Write down that everybody who waits for the end of a job is to be told, and begin with that; returns at once.

        Args:
            job: its id.
            known: the job as the journal knew it before its end.
            generation: its result.
            error: why there is none.
            cost_usd: US dollars that a job without a result cost; None where that is not known.
        """
        waiting, asked = self._outbox.registered(job), self._asked.pop(job, None)
        if asked is not None and not waiting and not self._outbox.knows(job):
            waiting = [asked]
        for url, prompt in waiting:
            if _told_already(generation, error):
                self._outbox.told(job, url)
                continue
            event = _event(job, known, generation, error, cost_usd=cost_usd, prompt=prompt)
            self._outbox.add(job, url, event, due_in=LEASE)
            self._begin(url, event, prompt=prompt)

    async def wait(self, seconds: float) -> None:
        """Wait a moment for what is being told; what is not told by then, a later process tells."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()

    def _begin(self, url: str, event: Mapping[str, Any], *, prompt: bool) -> None:
        task = asyncio.create_task(self._tell(url, event, prompt=prompt), name="ryla-gen webhook")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, url: str, event: Mapping[str, Any], *, prompt: bool) -> None:
        try:
            webhook = check_webhook(url, self._settings, include_prompt=prompt)
        except InvalidInputError as error:  # another process sent the job, with a secret that is not here
            log.warning("a webhook is not told yet: %s %s", error.message, LATER)
            return
        told = await tell_recorded(self._history, webhook, event)
        if not told.delivered:
            log.warning("a webhook was not told: %s %s", told, GIVEN_UP if told.final else LATER)
        await tell_due(self._history, self._settings)  # what an earlier process did not come to


def _told_already(generation: Generation | None, error: BaseException | None) -> bool:
    """Whether the container that ran the job has told it."""
    if generation is not None:
        return generation.server.get(WEBHOOK_DELIVERED) is True
    return isinstance(error, RylaGenError) and error.details.get(WEBHOOK_DELIVERED) is True


def _event(
    job: str,
    known: Record | None,
    generation: Generation | None,
    error: BaseException | None,
    *,
    cost_usd: float | None,
    prompt: bool,
) -> Mapping[str, Any]:
    if generation is not None:
        return result_event(generation, include_prompt=prompt)
    return failure_event(
        error or RylaGenError("The job ended without a result."),
        job=job,
        workflow=known.workflow if known is not None else "",
        backend=known.backend if known is not None else "",
        seed=known.seed if known is not None else None,
        cost_usd=cost_usd,
        prompt=known.inputs.get("prompt") if known is not None else None,
        include_prompt=prompt,
    )
