"""Call RunPod's serverless REST API over HTTP. Must not know a workflow, nor send the key to any but the configured address."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import random
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ...comfy.messages import clean
from ...errors import BackendNotConfiguredError, BackendUnreachableError, JobNotFoundError, NotAuthorizedError, RylaGenError
from ...media.addresses import LOOPBACK
from ...support.retry import RetryPolicy
from .errors import KEY_HINT, http_error, maybe_taken

RETRY = RetryPolicy(attempts=8, first_pause=0.5, longest_pause=15.0)
"""How often a question is asked when RunPod does not answer; with the pauses between, an outage of about a minute is survived."""
REACH_ATTEMPTS = 3
"""Times a connection is tried while nothing is at stake: a dead address is reported within two seconds."""
LONGEST_RETRY_AFTER = 120.0
"""Longest ``Retry-After``, in seconds, that is waited for; a longer one is raised to the caller."""
ANSWER_LIMIT = 256 * 2**20
"""Longest answer, in bytes. RunPod's own limit on results is far below; this one only protects memory."""
TIMEOUT = aiohttp.ClientTimeout(total=900.0, sock_connect=15.0, sock_read=60.0)
"""A body of 10 MB may take minutes to send, and a result of 20 MB to arrive; silence is bounded, and so is the whole answer."""
KEEP_ALIVE = 4.0
"""Seconds an idle connection is reused: a connection closed by the other side must not make a submission ambiguous."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Characters allowed in an id that becomes part of an address; no id from a server goes into one unchecked."""


@dataclass(frozen=True, slots=True)
class RunpodAnswer:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    retry_after: float | None = None
    """Seconds that the server asks to wait."""

    def object(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or None when it is not one."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def passing(self) -> bool:
        """Whether the same query may succeed a moment later."""
        return self.status in (408, 429) or self.status >= 500


class _LostError(Exception):
    """No answer; ``sent`` says whether RunPod may have read the request all the same."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class RunpodApi:
    """One RunPod endpoint.

    Args:
        url: address of the API; https, or http on this machine.
        endpoint_id: the endpoint.
        key: the API key.
        retry: how often a question is asked.

    Raises:
        BackendNotConfiguredError: the address or the endpoint's id does not fit.
        NotAuthorizedError: the key cannot be one.

    """

    def __init__(self, url: str, endpoint_id: str, key: str, *, retry: RetryPolicy = RETRY) -> None:
        self._base = f"{_check_address(url)}/{endpoint_id}"
        self._key = key
        self._retry = retry
        self._reach = dataclasses.replace(retry, attempts=min(retry.attempts, REACH_ATTEMPTS))
        """For questions before there is a job."""
        self._http: aiohttp.ClientSession | None = None
        if not _NAME.fullmatch(endpoint_id):
            text = "The id of the RunPod endpoint is not valid: it consists of letters and digits, as in the endpoint's address."
            raise BackendNotConfiguredError(text, "Correct it: ryla-gen config set runpod.endpoint_id ID")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise NotAuthorizedError("RUNPOD_API_KEY does not contain a valid key.", KEY_HINT)

    async def run(self, body: bytes, operation: str, job: str) -> dict[str, Any]:
        """Submit a job, once. It is sent again only when RunPod certainly did not take it.

        Args:
            body: the JSON document.
            operation: ``run``, or ``runsync?wait=…``.
            job: our id of the job, for messages.

        Raises:
            BackendError: refused, or unreachable; with ``details["sent"]`` true the job may have been taken.

        """
        for attempt in range(self._retry.attempts):
            try:
                answer = await self._ask("POST", operation, body)
            except _LostError as lost:
                if lost.sent:  # RunPod has no idempotency key: a second POST could be a second job, paid for twice
                    raise maybe_taken(job, str(lost)) from None
                await self._pause(attempt, None, _certain(self._unreachable(lost)), self._reach)
                continue
            if answer.status == 429:
                error = _certain(self._refusal(answer, "Submitting the job"))
                await self._pause(attempt, answer.retry_after, error, self._retry)
                continue
            found = answer.object()
            if answer.status == 200 and found is not None and _NAME.fullmatch(str(found.get("id") or "")):
                return found
            # Neither a clear yes nor a clear no: treated as accepted, since sending again may pay twice.
            if answer.status < 300 or answer.passing:
                raise maybe_taken(job, f"RunPod answered {answer.status} and no job id")
            raise _certain(self._refusal(answer, "Submitting the job"))
        raise AssertionError("the last pause raises")

    async def status(self, job_id: str) -> dict[str, Any] | None:
        """Return RunPod's status of a job, its output included; None when it does not know it (any more)."""
        return await self._retry_request("GET", f"status/{_name(job_id)}", "Asking for the job")

    async def cancel(self, job_id: str) -> dict[str, Any] | None:
        """Cancel a job, queued or running; None when RunPod does not know it."""
        return await self._retry_request("POST", f"cancel/{_name(job_id)}", "Canceling the job")

    async def health(self) -> dict[str, Any]:
        """Return the counts of workers and jobs.

        Raises:
            NotDeployedError: there is no such endpoint.
            NotAuthorizedError: the key is not one of its account.

        """
        found = await self._retry_request("GET", "health", "Asking for the endpoint", self._reach)
        if found is None:
            raise http_error(404, "", "Asking for the endpoint")
        return found

    async def close(self) -> None:
        """Close every connection."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def _retry_request(self, method: str, path: str, what: str, retry: RetryPolicy | None = None) -> dict[str, Any] | None:
        """Repeat a request that may safely be sent twice, until RunPod answers or the time limit ends."""
        retry = retry or self._retry
        for attempt in range(retry.attempts):
            try:
                answer = await self._ask(method, path, None)
            except _LostError as lost:
                await self._pause(attempt, None, self._unreachable(lost), retry)
                continue
            if answer.status == 404:
                return None
            found = answer.object()
            if answer.status == 200 and found is not None:
                return found
            error = self._refusal(answer, what)
            if not answer.passing and answer.status != 200:
                raise error
            await self._pause(attempt, answer.retry_after, error, retry)
        raise AssertionError("the last pause raises")

    async def _pause(self, attempt: int, retry_after: float | None, error: RylaGenError, retry: RetryPolicy) -> None:
        """Wait before the next attempt; after the last one, or when told to come back much later, raise."""
        if retry.is_last(attempt) or (retry_after or 0.0) > LONGEST_RETRY_AFTER:
            raise error
        pause = retry.pause(attempt) * random.uniform(0.75, 1.0)  # noqa: S311 - no secret, but many callers must not come back at once
        await asyncio.sleep(max(pause, retry_after or 0.0))

    async def _ask(self, method: str, path: str, body: bytes | None) -> RunpodAnswer:
        data = None if body is None else io.BytesIO(body)  # a stream goes out in pieces: a large body must not block the loop
        try:
            # Redirects are not followed: the key must go to the configured address only.
            async with self._session().request(method, f"{self._base}/{path}", data=data, allow_redirects=False) as response:
                return RunpodAnswer(response.status, await _read(response), _seconds(response.headers.get("Retry-After")))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            # Only an error of the connection itself proves that RunPod never saw the request.
            unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            why = "it does not answer" if isinstance(error, TimeoutError) else clean(error, 200) or type(error).__name__
            raise _LostError(why, sent=not unsent) from None  # aiohttp's errors carry the headers, and so the key

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE),
                headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
                timeout=TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http

    def _refusal(self, answer: RunpodAnswer, what: str) -> RylaGenError:
        found = answer.object() or {}
        said = found.get("error") or found.get("message") or answer.body[:1000].decode("utf-8", "replace")
        return http_error(answer.status, clean(said, 300).replace(self._key, "…"), what)

    def _unreachable(self, lost: _LostError) -> BackendUnreachableError:
        text = f"Cannot reach RunPod at {urlsplit(self._base).netloc}: {lost}."
        return BackendUnreachableError(text, "Check the network, or https://uptime.runpod.io, and try again.", {"sent": False})


def _certain(error: RylaGenError) -> RylaGenError:
    """Mark an error after which RunPod has certainly not taken the job: another backend may have it."""
    error.started = "no"
    return error


def _check_address(url: str) -> str:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or parts.username or parts.password or parts.query or parts.fragment:
        text = "The address of RunPod's API must be https:// (http only on this machine), without a user name or a query."
        raise BackendNotConfiguredError(text, "Use RunPod's own: ryla-gen config unset runpod.url")
    return url.rstrip("/")


def _name(job_id: str) -> str:
    if not _NAME.fullmatch(job_id):
        raise JobNotFoundError("That is not the id of a RunPod job.")
    return job_id


def _seconds(text: str | None) -> float | None:
    """Read ``Retry-After`` in seconds. Its other form, a date, is ignored: this machine's clock may be wrong."""
    return float(text) if text and text.strip().isdecimal() else None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > ANSWER_LIMIT:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {ANSWER_LIMIT:,} bytes")
    return bytes(data)
