"""Tell what the journal says is to be told, and write down what became of it: at least once, though processes end.

Must not decide who is told, nor build an event.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError
from ..history.webhooks import DueWebhook, Outbox
from ..media.addresses import shown_address
from ..support.retry import RetryPolicy
from .webhooks import SECONDS, Told, Webhook, check_webhook

if TYPE_CHECKING:
    from ..history import History
    from ..settings import Settings

LEASE = 300.0
"""Seconds that an event belongs to the process that took it: more than all tries of :meth:`Webhook.tell` and their pauses take."""
AT_ONCE = 8
"""Events that are told at the same time."""
LATER = RetryPolicy(attempts=100, first_pause=60.0, longest_pause=3600.0)
"""Pauses between two times that an event is taken: a minute, then twice as long each time, an hour at most."""
GIVE_UP_AFTER = timedelta(days=3)
"""Age at which an event is given up: a receiver that was away so long has to ask for its jobs."""


@dataclass(frozen=True, slots=True)
class ToldJob:
    """What became of one event of the journal."""

    job: str
    told: Told
    given_up: bool
    """Whether it is never tried again."""


async def tell_recorded(history: History, webhook: Webhook, event: Mapping[str, Any], **limits: Any) -> Told:
    """Write an event down, tell it, and write down what became of it: if this process ends meanwhile, another tells it.

    Args:
        history: the journal.
        webhook: who is told.
        event: what is told.
        limits: arguments of :meth:`Webhook.tell`.

    """
    outbox, job = Outbox(history), str(event["data"]["job"])
    outbox.add(job, webhook.url, event, due_in=LEASE)
    told = await webhook.tell(event, **limits)
    _settle(outbox, DueWebhook(job, webhook.url, dict(event), 1, str(event["timestamp"])), told)
    return told


async def tell_due(history: History, settings: Settings, *, seconds: float = SECONDS) -> Sequence[ToldJob]:
    """Tell every event that is due, each once, and write down what became of it.

    Args:
        history: the journal.
        settings: the secret, and whether private addresses are allowed.
        seconds: seconds of one try.

    """
    outbox = Outbox(history)
    done: list[ToldJob] = []
    while due := outbox.take_due(AT_ONCE, LEASE):
        done += await asyncio.gather(*(_tell(outbox, item, settings, seconds) for item in due))
    return done


async def _tell(outbox: Outbox, due: DueWebhook, settings: Settings, seconds: float) -> ToldJob:
    try:
        webhook = check_webhook(due.url, settings)
    except InvalidInputError as error:  # a secret that is missing, or an address that is not allowed (any more): it may come back
        told = Told(shown_address(due.url), False, 0, None, f"was not asked: {error.message.rstrip('.')}", final=False)
    else:
        told = await webhook.tell(due.event, attempts=1, seconds=seconds) if due.event else _damaged(due.url)
    return ToldJob(due.job, told, _settle(outbox, due, told))


def _damaged(url: str) -> Told:
    return Told(shown_address(url), False, 0, None, "was not asked: the journal's event is damaged", final=True)


def _settle(outbox: Outbox, due: DueWebhook, told: Told) -> bool:
    """Write down what became of an event; return whether it was given up."""
    if told.delivered:
        outbox.told(due.job, due.url)
        return False
    if told.final or LATER.is_last(due.tries - 1) or _age(due.added_at) >= GIVE_UP_AFTER:
        outbox.give_up(due.job, due.url, told.reason)
        return True
    pause = LATER.pause(due.tries - 1) * random.uniform(0.75, 1.0)  # noqa: S311 - no secret: many events must not return at once
    outbox.postpone(due.job, due.url, max(pause, min(told.retry_after, LATER.longest_pause)), told.reason)
    return False


def _age(added_at: str) -> timedelta:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(added_at)
    except (ValueError, TypeError):  # damaged: as if it were just added
        return timedelta()
