"""Tell webhooks from a container how its jobs ended, where the caller may be gone. Must not run a job, nor decide whom to tell."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from ..contract import Options, Request
from ..delivery.signatures import VARIABLE
from ..delivery.webhook_events import failure_event, result_event
from ..delivery.webhooks import SECONDS, Webhook, webhook_at
from ..errors import InvalidInputError, PlainData, RylaGenError
from ..names import WEBHOOK_DELIVERED
from ..results import Generation

LAST_SECONDS = 5.0
"""How long a container that ends waits for events that were not delivered at the first try."""

log = logging.getLogger("ryla_gen.remote")


class Teller:
    """Tells the ends of one container's jobs.

    The first try is made before the reply, which says whether it arrived; else the caller tells it too, and a receiver may get it
    twice. Without the secret in the environment nothing is told from here: the caller does it.

    Args:
        private: whether receivers may be at addresses of private networks.
    """

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._later: set[asyncio.Task[Any]] = set()

    async def succeeded(self, options: Options, generation: Generation) -> bool:
        """Tell that a job succeeded; return whether that was delivered."""
        if options.webhook is None:
            return False
        return await self._tell(options, result_event(generation, include_prompt=options.webhook_prompt))

    async def failed(self, request: Request, error: RylaGenError) -> bool:
        """Tell that a job failed; return whether that was delivered."""
        workflow, options = request.workflow, request.options
        if options.webhook is None:
            return False
        event = failure_event(
            error,
            job=request.job,
            workflow=workflow.name,
            backend="modal",
            seed=getattr(workflow, "seed", None),
            prompt=getattr(workflow, "prompt", None),
            include_prompt=options.webhook_prompt,
        )
        return await self._tell(options, event)

    async def stop(self) -> None:
        """Wait a moment for what is still to be told."""
        if self._later:
            await asyncio.wait(self._later, timeout=LAST_SECONDS)

    async def _tell(self, options: Options, event: Mapping[str, Any]) -> bool:
        secret = os.environ.get(VARIABLE)
        if options.webhook is None or not secret:
            return False
        try:
            webhook = webhook_at(options.webhook, secret, include_prompt=options.webhook_prompt, private=self._private)
        except InvalidInputError as error:
            log.warning("the webhook of the job %s is not told from here: %s", event["data"]["job"], error.message)
            return False
        try:
            told = await webhook.tell(event, attempts=1, seconds=SECONDS)
        except Exception as error:  # the reply that comes after this has been paid for
            log.warning("the webhook of the job %s could not be told from here: %s", event["data"]["job"], type(error).__name__)
            return False
        if not told.delivered and not told.final:
            task = asyncio.create_task(_again(webhook, event))
            self._later.add(task)
            task.add_done_callback(self._later.discard)
        return told.delivered


async def _again(webhook: Webhook, event: Mapping[str, Any]) -> None:
    told = await webhook.tell(event)
    if not told.delivered:
        log.warning("a webhook was not told from here: %s", told)


def with_delivery(reply: PlainData) -> PlainData:
    """Say in a reply that its webhook has been told."""
    if reply.get("ok"):
        generation = reply["generation"]
        return {**reply, "generation": {**generation, "server": {**generation["server"], WEBHOOK_DELIVERED: True}}}
    error = reply["error"]
    return {**reply, "error": {**error, "details": {**(error.get("details") or {}), WEBHOOK_DELIVERED: True}}}
