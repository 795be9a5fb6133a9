"""Open an https address and follow its redirects, to hosts of the internet only. Must not know what is downloaded, or retry.

Built for threads: one loop drives one connection, step by step, in the thread that reads it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ...media.addresses import REFUSED, PrivateAddressError, guarded_connector, leads_outside, uses_proxy

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_REDIRECTS = 5
"""A short link, a page for downloads, a store and its nearest copy need four."""
CONNECT_SECONDS = 30.0
PATIENCE = 30.0
"""Seconds without a byte before a connection counts as lost."""
PIECE = 1 << 20
"""Bytes buffered at most; what is read at once."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Headers = Callable[[str], Mapping[str, str]]
"""Gives the headers for an address: a token belongs to one host, and a redirect may lead to another."""


class LostError(Exception):
    """The host did not answer, or the connection ended."""


class NotFollowedError(Exception):
    """The address, or one that it leads to, is not fetched; says why."""


class WebAnswer:
    """The answer of the last address; read in the thread that opened it."""

    def __init__(self, runner: asyncio.Runner, response: ClientResponse) -> None:
        self._runner, self._response = runner, response
        self.status_code = response.status
        self.headers = response.headers
        self.url = str(response.url)

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            LostError: the connection ended too early.

        """
        while block := self.read():
            yield block

    def read(self) -> bytes:
        """Return what came, waiting for at least one byte; nothing at the end. Raises as ``iter_bytes`` does."""
        with lost_is_told():
            return self._runner.run(self._response.content.readany())


@contextmanager
def opened(url: str, headers: Headers, *, private: bool = False) -> Iterator[WebAnswer]:
    """Open an address.

    Args:
        url: the address.
        headers: what to send to which address.
        private: whether addresses of this machine and of private networks may be asked.

    Raises:
        LostError: a host did not answer.
        NotFollowedError: an address is not https, or not of the internet, or there are too many.

    """
    with asyncio.Runner() as runner:
        with lost_is_told():
            session = runner.run(_session(url, private))
        try:
            with lost_is_told():
                response = runner.run(_follow(session, url, headers, private))
            try:
                yield WebAnswer(runner, response)
            finally:
                response.close()
        finally:
            runner.run(session.close())


@contextmanager
def lost_is_told() -> Iterator[None]:
    """Turn the faults of the network into LostError."""
    from aiohttp import ClientError, InvalidURL

    try:
        yield
    except (ClientError, OSError, ValueError) as error:  # the builtin TimeoutError is an OSError
        if isinstance(getattr(error, "os_error", error), PrivateAddressError):
            raise NotFollowedError(REFUSED) from None
        if isinstance(error, InvalidURL) or not isinstance(
            error, ClientError | OSError
        ):  # a certificate's faults are ValueErrors too
            raise NotFollowedError("it is not a valid address") from None
        raise LostError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None


async def _session(url: str, private: bool) -> ClientSession:
    from aiohttp import ClientSession, ClientTimeout

    return ClientSession(
        connector=None if private or uses_proxy(url) else guarded_connector(),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=PATIENCE),
        trust_env=True,
        auto_decompress=False,
        read_bufsize=PIECE,
    )


async def _follow(session: ClientSession, url: str, headers: Headers, private: bool) -> ClientResponse:
    trust = ssl.create_default_context()
    for _ in range(MAX_REDIRECTS + 1):
        await _check(url, private)
        sent: Any = {"Accept-Encoding": "identity", **headers(url)}
        response = await session.get(url, headers=sent, allow_redirects=False, ssl=trust)
        target = response.headers.get("Location")
        if response.status not in REDIRECTS or not target:
            return response
        response.close()
        url = urljoin(url, target)
    raise NotFollowedError(f"it redirects more than {MAX_REDIRECTS} times")


async def _check(url: str, private: bool) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise NotFollowedError("only https:// addresses are, and it leads to another")
    if not private and not await leads_outside(url):
        raise NotFollowedError(REFUSED)
