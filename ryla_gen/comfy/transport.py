"""Send HTTP requests and open the websocket of one ComfyUI server. Must not know a prompt or a message.

Every failure leaves here as one of our errors, without the credentials that aiohttp's exceptions carry.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import ssl as tls
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from ..errors import BackendUnreachableError, InvalidInputError, PlainData
from . import errors as errors_map
from .errors import HttpAnswer
from .messages import clean

log = logging.getLogger("ryla_gen.comfy")

HEARTBEAT = 40.0
"""Seconds between pings. A server that loads a model may hold Python's lock for long; it has half of this to answer."""
KEEP_ALIVE = 4.0
"""Seconds an idle connection is reused: less than the 5 s after which common proxies close theirs while we write to it."""
CERTIFICATE = "If your own authority signed it, name that authority's file: ryla-gen config set comfyui.tls_ca FILE.pem"
ANSWER_LIMIT = 16 * 2**20
"""Longest JSON answer, in bytes, unless the caller allows more; a refusal that lists every file of a large server has some MB."""
QUEUE_LIMIT = 512 * 2**20
"""Longest answer of /queue, in bytes: it repeats every graph, and a graph may hold 100 MB."""
HISTORY_LIMIT = 256 * 2**20
"""Longest entry of the history: the graph again, and what it saved."""
NODES_LIMIT = 128 * 2**20
"""Longest answer of /object_info: 3 MB on a stock server; every loader of every pack repeats the list of all files."""
FILE_LIMIT = 2 * 2**30
"""Longest result file, in bytes; it is held in memory."""
FILE_SECONDS = 1800.0
"""How long a result file may take: 2 GB on a line of 10 Mbit/s."""
ANSWER_SECONDS = 300.0
"""How long any other answer may take, the silence of a server that loads a model and a slow line together."""
UNDECLARED_LIMIT = 256 * 2**20
"""Longest answer that does not say its length in advance. A compressed one never does: a kilobyte of it may hold a megabyte."""
FRAME_LIMIT = 128 * 2**20
"""Longest message of the websocket, in bytes. The largest are pictures: a PNG of 5600² pixels of pure noise has so much."""
SLOWEST = 32 * 2**10
"""Bytes a second of the slowest line on which a request's body is still waited for."""


class Transport:
    """Requests to one server. Makes its session when first used, inside the running loop."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        ssl: tls.SSLContext | bool,
        timeout: aiohttp.ClientTimeout,
        *,
        within: float,
    ) -> None:
        base, authorization = _split(url)
        self._within = within
        """Seconds from a question to the last byte of its answer."""
        self.address = str(base).rstrip("/")
        self._headers = {**authorization, **headers}
        self._ssl = ssl
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None
        self._closed = False

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    async def json(
        self, method: str, path: str, *, json: object = None, empty: bool = False, limit: int = ANSWER_LIMIT
    ) -> PlainData:
        """Send a request and return its JSON object; ``empty`` expects no body."""
        answer = await self.call(method, path, limit=limit, json=json)
        return {} if empty and answer.status == 200 else self.object(answer)

    def object(self, answer: HttpAnswer) -> PlainData:
        """Return the JSON object of a successful answer."""
        if answer.status != 200:
            raise errors_map.http_error(answer, self.address)
        body = answer.json()
        if not isinstance(body, dict):
            raise errors_map.not_comfyui(self.address, "its answer is not a JSON object")
        return body

    async def call(
        self,
        method: str,
        path: str,
        *,
        limit: int = ANSWER_LIMIT,
        within: float | None = None,
        sending: int = 0,
        **options: Any,
    ) -> HttpAnswer:
        """Send a request and read the whole answer.

        Args:
            method: of HTTP.
            path: with its slash.
            limit: bytes of the answer at most.
            within: seconds until the answer's last byte, instead of those of every answer.
            sending: bytes of the request's body, which get time of their own.
            options: aiohttp's.

        Raises:
            BackendUnreachableError: no answer; ``details["sent"]`` says whether the server may have got the request.
            ServerUnhealthyError: the answer is too long, or does not end.

        """
        seconds = (within or self._within) + sending / SLOWEST
        try:
            async with asyncio.timeout(seconds) as clock:
                async with self._session().request(
                    method, URL(self.address + path, encoded=True), allow_redirects=False, **options
                ) as response:
                    return HttpAnswer(response.status, await self._read(response, limit), response.content_type)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: what cannot be sent
            if isinstance(error, TimeoutError) and clock.expired():
                raise errors_map.too_slow(self.address, seconds) from None
            raise self._unreachable(error) from None  # aiohttp keeps the request's headers, and so the credentials

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        # A compressed body may be small on the wire and huge in memory, so its declared length is not trusted.
        declared = response.content_length is not None and not response.headers.get("Content-Encoding")
        limit = limit if declared else min(limit, UNDECLARED_LIMIT)
        if declared and (response.content_length or 0) > limit:
            raise errors_map.too_long(self.address, limit)
        body = io.BytesIO()  # passes its bytes on without a second copy
        async for chunk in response.content.iter_any():
            if body.tell() + len(chunk) > limit:
                raise errors_map.too_long(self.address, limit)
            body.write(chunk)
        return body.getvalue()

    async def websocket(self, client_id: str) -> aiohttp.ClientWebSocketResponse:
        """Open the websocket. Its errors say ``sent: False``: nothing was started by it."""
        try:
            socket = await self._session().ws_connect(
                URL(f"{self.address}/ws?clientId={client_id}", encoded=True),
                max_msg_size=FRAME_LIMIT,  # aiohttp's 4 MiB would close it at the first large picture
                heartbeat=HEARTBEAT,
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=1.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            refused = errors_map.http_error(HttpAnswer(error.status, b""), self.address)
            raise type(refused)(refused.message, refused.hint, {**refused.details, "sent": False}) from None
        except (aiohttp.ClientError, OSError) as error:
            lost = self._unreachable(error)
            raise BackendUnreachableError(lost.message, lost.hint, {**lost.details, "sent": False}) from None
        try:
            # Must be the first message: only then do previews name the prompt and node they belong to.
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        except (aiohttp.ClientError, OSError):
            log.debug("the websocket closed at once")
        return socket

    def _session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise BackendUnreachableError("This client was closed.", "", {"sent": False})
        if self._http is None:
            refusing = aiohttp.TraceConfig()
            refusing.on_request_redirect.append(_refuse_redirect)
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._ssl, keepalive_timeout=KEEP_ALIVE),
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[refusing],
                # No proxy from the environment: it would see the server's credentials.
                trust_env=False,
            )
        return self._http

    def _unreachable(self, error: BaseException) -> BackendUnreachableError:
        # Only a failed connection proves that the request never left.
        sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        silent = isinstance(error, TimeoutError) and sent
        why = "it does not answer" if silent else clean(str(error).replace(" ssl:default", ""), 200) or type(error).__name__
        details = {"sent": sent, "silent": silent, "exception_type": type(error).__name__}
        hint = ""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            why, hint = f"its certificate is not trusted ({clean(_reason(error), 200)})", CERTIFICATE
        elif isinstance(error, aiohttp.ClientConnectorSSLError):
            why, hint = "it does not use TLS there", "Write the address with http:// if the server has no certificate."
        return BackendUnreachableError(f"Cannot reach ComfyUI at {self.address}: {why}.", hint, details)


def _reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    found = error.certificate_error
    return str(getattr(found, "verify_message", "") or found)


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> NoReturn:
    # ws_connect has no allow_redirects, and our headers (tokens) must not follow to another host.
    params.response.close()
    raise aiohttp.ClientConnectionError(f"it redirects elsewhere ({params.response.status}); use the address it redirects to")


def _split(url: str) -> tuple[URL, dict[str, str]]:
    """Split an address into the URL without credentials and the header made of them. Error texts never contain the url."""
    try:
        parsed = URL(url.strip() if "://" in url else f"http://{url.strip()}")
        scheme = {"ws": "http", "wss": "https"}.get(parsed.scheme, parsed.scheme)
        fits = scheme in ("http", "https") and bool(parsed.host) and not parsed.query_string and parsed.port
    except ValueError:
        fits = None
    if not fits:
        raise InvalidInputError("The address of the ComfyUI server is not valid.", "Write it like http://127.0.0.1:8188")
    header = {}
    if parsed.user or parsed.password:
        pair = f"{parsed.user or ''}:{parsed.password or ''}".encode()
        header = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    # Port by port: ws and http, wss and https share their default ports.
    return parsed.with_scheme(scheme).with_user(None).with_fragment(None), header
