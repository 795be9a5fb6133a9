"""Tell one event to a receiver: signed, over https, to hosts of the internet only, again while a fault may pass.

Never raises into a job's result: whatever became of it is a :class:`Told`. Must not know a job, nor remember an event.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InvalidInputError
from ..media.addresses import (
    ALLOW,
    LOOPBACK,
    REFUSED,
    PrivateAddressError,
    connected_host,
    guarded_connector,
    is_literal,
    is_public,
    leads_outside,
    shown_address,
    uses_proxy,
)
from ..support.retry import RetryPolicy
from ..version import __version__
from .signatures import read_secrets, sign
from .webhook_events import event_id, write_event

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from ..settings import Settings

ATTEMPTS = 4
"""Tries of one event at once; what is not told then is told later, from the journal."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between two tries, growing."""
SECONDS = 10.0
"""Seconds of one try, from the name's look-up to the answer's status."""
LONGEST_RETRY_AFTER = 60.0
"""Longest ``Retry-After``, in seconds, that is waited for between two tries."""
PASSING = frozenset({408, 425, 429})
"""Answers below 500 that the same event may not get a moment later."""
ANSWER_BYTES = 2048
"""Bytes of a refusal that are read: enough for a sentence, and no more of what a stranger sends."""
ANSWER_SHOWN = 200
"""Characters of it that are repeated."""
HEADERS = {"Content-Type": "application/json", "User-Agent": f"ryla-gen/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of telling one event."""

    url: str
    """The receiver, without what follows a question mark, which may be a secret."""
    delivered: bool
    """Whether the receiver took it."""
    tries: int
    """How often it was sent, or tried to be."""
    status: int | None
    """HTTP status of the last answer; None when there was none."""
    reason: str
    """What the last try came to, as the rest of a sentence that begins with the receiver."""
    final: bool
    """Whether there is no use in trying again later."""
    retry_after: float = 0.0
    """Seconds that the receiver asked to be left alone."""

    def __str__(self) -> str:
        tries = f" (try {self.tries})" if self.tries > 1 else ""
        return f"{self.url} {self.reason}{tries}."


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events, and how they are signed; :func:`check_webhook` makes one."""

    url: str = field(repr=False)
    """Its address, which may hold a token."""
    secrets: tuple[bytes, ...] = field(repr=False)
    """Keys that sign; a receiver has one of them."""
    include_prompt: bool = False
    """Whether its events tell the prompt, and an error's words."""
    allow_private: bool = False
    """Whether it may be at an address of this machine or of a private network."""

    async def tell(
        self,
        event: Mapping[str, Any],
        *,
        attempts: int = ATTEMPTS,
        first_pause: float = FIRST_PAUSE,
        longest_retry_after: float = LONGEST_RETRY_AFTER,
        seconds: float = SECONDS,
    ) -> Told:
        """Tell an event, and again while the fault may pass; raises nothing.

        Args:
            event: what is told.
            attempts: tries at most.
            first_pause: seconds between the first try and the second; each pause is twice as long as the one before.
            longest_retry_after: seconds that ``Retry-After`` is waited for at most.
            seconds: seconds of one try.

        """
        retry = RetryPolicy(attempts, first_pause, longest_pause=LONGEST_PAUSE)
        # Reading the authorities takes tens of milliseconds, which the loop must not lose.
        trust = await asyncio.to_thread(ssl.create_default_context) if urlsplit(self.url).scheme == "https" else True
        async with _session(self.url, private=self.allow_private, seconds=seconds) as session:
            told = await self._try(session, trust, event, 1)
            for number in range(2, attempts + 1):
                if told.delivered or told.final:
                    break
                pause = retry.pause(number - 2) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret: senders must not return at once
                await asyncio.sleep(max(pause, min(told.retry_after, longest_retry_after)))
                told = await self._try(session, trust, event, number)
        return told

    async def _try(self, session: ClientSession, trust: ssl.SSLContext | bool, event: Mapping[str, Any], number: int) -> Told:
        from aiohttp import ClientError

        body = write_event(event)
        headers = HEADERS | sign(self.secrets, event_id(event), int(time.time()), body)
        shown = shown_address(self.url)
        try:
            if not self.allow_private and not await leads_outside(self.url):
                raise PrivateAddressError(REFUSED)
            # A redirect is an answer like any other: the event goes to the address that was named, or nowhere.
            async with session.post(self.url, data=body, headers=headers, allow_redirects=False, ssl=trust) as response:
                return await _told(response, shown, number)
        except (ClientError, OSError, ValueError) as error:  # a certificate's faults are ValueErrors too, a timeout an OSError
            cause = getattr(error, "os_error", error)
            refused = isinstance(cause, PrivateAddressError)
            reason = f"was not asked: {REFUSED}" if refused else f"could not be reached: {_words(error)}"
            return Told(shown, False, number, None, reason, final=refused)


def check_webhook(url: str, settings: Settings, *, include_prompt: bool = False) -> Webhook:
    """Return the webhook of an address, after everything about it was checked that can be before an event is sent.

    Args:
        url: the receiver's address: https, or http on this machine where private addresses are allowed.
        settings: the secret, and whether private addresses are allowed.
        include_prompt: whether its events tell the prompt, and an error's words.

    Raises:
        InvalidInputError: the address cannot be used, leads to this machine or a private network, or there is no secret.

    """
    private = settings.allow_private_addresses
    return webhook_at(url, settings.webhook_secret, include_prompt=include_prompt, private=private)


def webhook_at(url: str, secret: str | None, *, include_prompt: bool, private: bool) -> Webhook:
    """Return the webhook of an address where there are no settings, as in a container.

    Args:
        url: the receiver's address.
        secret: what signs; several are separated by spaces.
        include_prompt: whether its events tell the prompt, and an error's words.
        private: whether it may be at an address of a private network.

    Raises:
        InvalidInputError: as :func:`check_webhook`.

    """
    _check_address(url, private=private)
    return Webhook(url, read_secrets(secret), include_prompt, private)


def _check_address(url: str, *, private: bool) -> None:
    try:
        parts = urlsplit(url)
        host = connected_host(url) or ""
        fits = bool(host) and parts.port != 0 and "@" not in parts.netloc and url.isprintable() and " " not in url
    except ValueError:
        fits = False
    if not fits:
        raise InvalidInputError(
            "The address of the webhook cannot be used.", "Write it as https://example.com/hook, without a user name or password."
        )
    here = host in LOOPBACK or (is_literal(host) and not is_public(host))
    if here and not private:
        raise InvalidInputError(f"Events are not sent to {shown_address(url)}: {REFUSED}.", ALLOW)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise InvalidInputError(f"Events are not sent to {shown_address(url)}: only https:// addresses are.", "Use https://.")


def _session(url: str, *, private: bool, seconds: float) -> ClientSession:
    from aiohttp import ClientSession, ClientTimeout

    # A proxy of one's own is at a private address; what lies behind it is looked at before each try.
    connector = None if private or uses_proxy(url) else guarded_connector()
    return ClientSession(connector=connector, timeout=ClientTimeout(total=seconds), trust_env=True, auto_decompress=False)


async def _told(response: ClientResponse, shown: str, number: int) -> Told:
    status = response.status
    delivered, passing = 200 <= status < 300, status in PASSING or status >= 500
    text = "" if delivered else await _beginning(response)
    said = f" ({text})" if text else ""
    reason = f"took it ({status})" if delivered else f"answered {status}{_MEANINGS.get(status, '')}{said}"
    return Told(shown, delivered, number, status, reason, not delivered and not passing, _seconds_asked(response))


_REDIRECT = ", a redirect, which is not followed"
_MEANINGS = dict.fromkeys((301, 302, 303, 307, 308), _REDIRECT) | {410: ", it wants no more events"}
"""Status → what it says about events."""


async def _beginning(response: ClientResponse) -> str:
    """Read the first words of a refusal; a body that does not come changes nothing."""
    from aiohttp import ClientError

    data = b""
    with suppress(ClientError, OSError, ValueError):
        data = await response.content.read(ANSWER_BYTES)
    return " ".join(data.decode("utf-8", "replace").split())[:ANSWER_SHOWN]


def _seconds_asked(response: ClientResponse) -> float:
    """Read ``Retry-After`` in seconds. Its other form, a date, is ignored: this machine's clock may be wrong."""
    text = response.headers.get("Retry-After", "")
    return float(text) if re.fullmatch("[0-9]{1,9}", text) else 0.0


def _words(error: Exception) -> str:
    """Describe a fault of the network without the address, whose query may be a secret."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    number = getattr(cause, "errno", None) or 0
    told = getattr(cause, "verify_message", None) or (os.strerror(number) if number > 0 else getattr(cause, "strerror", None))
    return str(told or type(error).__name__)
