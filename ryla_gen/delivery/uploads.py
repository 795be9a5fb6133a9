"""Upload the files of a result to a bucket or to signed addresses. What could not be uploaded stays in the result, which says so.

Credentials come from this process's environment, by the names that the clouds' own tools read; they are never part of a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from ..errors import BackendNotConfiguredError, InvalidInputError
from ..media.addresses import REFUSED, PrivateAddressError, guarded_connector, leads_outside, uses_proxy, without_query
from ..results import Generation, Output
from ..workflows.base import Notice
from .destinations import Addresses, Bucket, Destination, OutputTo, destination_of

EXTRA = "pip install 'ryla-gen[buckets]'"
NOT_UPLOADED = "not_uploaded"
"""Code of the warning that a file stayed in the result."""
SECONDS = 300.0
"""How long the files of one job may take to arrive: 200 MB at 6 Mbit/s."""
AT_ONCE = 4
"""Files of one job that are uploaded side by side."""
RETRY: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
"""How obstore tries again: connection faults and answers of 429 and 5xx, with growing pauses."""
PUT_ATTEMPTS = 3
"""Times that a file is sent to a signed address."""


class _FailedError(Exception):
    """A file did not arrive; the message says why, without a secret."""


def require_uploads(output_to: OutputTo) -> None:
    """Refuse a bucket where this process cannot upload to one, before a job is paid for.

    Raises:
        BackendNotConfiguredError: the extra ``buckets`` is not installed here.

    """
    if output_to is not None and isinstance(destination_of(output_to), Bucket):
        try:
            import obstore  # noqa: F401 - only whether it is there
        except ImportError:
            raise BackendNotConfiguredError("Uploading to a bucket needs the package obstore.", f"Install it: {EXTRA}") from None


async def uploaded(generation: Generation, output_to: OutputTo, *, private: bool = False) -> Generation:
    """Upload the files of a result that are still in it; return it with their addresses in the place of their bytes.

    Texts stay in the result. A file that does not arrive stays too, with a warning that says why: nothing is lost.

    Args:
        generation: the result.
        output_to: where to; None leaves the result as it is.
        private: whether addresses of private networks may be asked for a signed address.

    """
    if output_to is None or not any(waits(item) for item in generation.outputs):
        return generation
    try:
        target = destination_of(output_to)
    except InvalidInputError as error:  # of the journal, where another version wrote it
        notice = Notice(NOT_UPLOADED, f"Nothing was uploaded: {error.message} The files are in this result.")
        return replace(generation, warnings=(*generation.warnings, notice))
    outputs, notices = await bring(generation.outputs, target, generation.job, private=private)
    # What an earlier try said of a file that has arrived now is no longer true.
    kept = generation.warnings if notices else tuple(item for item in generation.warnings if item.code != NOT_UPLOADED)
    return replace(generation, outputs=outputs, warnings=kept + notices)


def waits(item: Output) -> bool:
    """Whether an output is a file that was not uploaded; texts are told in the result."""
    return item.url is None and item.kind != "text"


async def bring(
    outputs: Sequence[Output], target: Destination, job: str, *, private: bool = False
) -> tuple[tuple[Output, ...], tuple[Notice, ...]]:
    """Upload the files of a job; return its outputs with what became of them, and a warning for each that did not arrive.

    Args:
        outputs: all that the job made; what was uploaded before, and texts, stay as they are.
        target: where to.
        job: its id, which is part of the keys in a bucket.
        private: whether addresses of private networks may be asked for a signed address.

    """
    waiting = [(index, item) for index, item in enumerate(outputs) if waits(item)]
    deadline, room = asyncio.get_running_loop().time() + SECONDS, asyncio.Semaphore(AT_ONCE)

    async def put(place: int, item: Output) -> tuple[Output, Notice | None]:
        try:
            async with asyncio.timeout_at(deadline), room:  # of all of them: on Modal a GPU waits meanwhile
                url = await _put(target, job, place, item, private=private)
        except Exception as error:  # whatever it is, the file has been paid for
            why = _why(error)
            where = target.url if isinstance(target, Bucket) else "its signed address"
            return item, Notice(NOT_UPLOADED, f"{item.name} was not uploaded to {where}: {why}. It is in this result.")
        held = hashlib.sha256(item.data).hexdigest()
        return replace(item, data=b"", url=url, sha256=held, size=len(item.data)), None

    brought = await asyncio.gather(*(put(place, item) for place, (_, item) in enumerate(waiting)))
    found = list(outputs)
    for (index, _), (item, _) in zip(waiting, brought, strict=True):
        found[index] = item
    return tuple(found), tuple(notice for _, notice in brought if notice is not None)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"it took longer than {SECONDS:g} s"
    return str(error) if isinstance(error, _FailedError) else type(error).__name__  # other words may hold a signature


async def _put(target: Destination, job: str, place: int, item: Output, *, private: bool) -> str:
    if isinstance(target, Bucket):
        return await _put_into(target, target.key(job, item.name), item)
    return await _put_to(target, place, item, private=private)


async def _put_into(bucket: Bucket, key: str, item: Output) -> str:
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        raise _FailedError(f"the package obstore is missing; install it: {EXTRA}") from None
    try:
        store = from_url(f"{bucket.scheme}://{bucket.name}", client_options=_client_options(), retry_config=RETRY)
        await obstore.put_async(store, key, item.data, attributes={"Content-Type": item.media_type})
    except Exception as error:  # of the library: its own classes and builtin ones
        raise _FailedError(_reason(error, bucket.scheme)) from error
    return f"{bucket.scheme}://{bucket.name}/{key}"


def _client_options() -> Any:
    """Return how to connect: over plain http only where the owner of this environment names such an endpoint."""
    named = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {"allow_http": named.lower().startswith("http://")}


_REASONS = {
    "FileNotFoundError": "there is no such bucket",  # the builtin one, which the library raises for an answer of 404
    "NotFoundError": "there is no such bucket",
    "PermissionDeniedError": "the credentials in the environment may not write there",
    "UnauthenticatedError": "the credentials in the environment are missing or wrong",
}


_METADATA_PATHS = ("/latest/api/token", "/latest/meta-data/", "/computeMetadata/")
"""What the library asks for when the environment has no credentials: a machine of the cloud's own would answer with its."""
_NO_CREDENTIALS = {
    "s3": "there are no credentials in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "there are no credentials in the environment: GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY",
}
_NO_CONNECTION = "kind: Connect"
"""What the library's text has below its first line when there was no connection; no other part of the error says it."""
_TRIES = re.compile(r" in [0-9.]+[mµ]?s(, after .*?retry_timeout: [0-9.]+m?s)?")
"""How long it tried, which would push the rest of a message out of sight."""
_ANSWER = re.compile(r"(status code: [0-9]{3}[^:]*):.*")
"""An answer's status, and what the server wrote, which is left out: it may repeat what was signed."""
LONGEST_REASON = 300
"""Characters of the library's text that are shown: an address and what came of it."""


def _reason(error: Exception, scheme: str) -> str:
    """Return why an upload failed. The library's own text may hold answers of the server, so its first line alone is shown."""
    if any(path in str(error) for path in _METADATA_PATHS):
        return _NO_CREDENTIALS[scheme]
    known = _REASONS.get(type(error).__name__)
    if known is None and _NO_CONNECTION in str(error):
        known = "the storage cannot be reached"
    first = _TRIES.sub("", str(error).split("\n", 1)[0])
    text = without_query(" ".join(_ANSWER.sub(r"\1", first).split()))[:LONGEST_REASON]
    return f"{known} ({text})" if known else text or type(error).__name__


async def _put_to(addresses: Addresses, place: int, item: Output, *, private: bool) -> str:
    if place >= len(addresses.urls):
        raise _FailedError(f"the job made more files than the {len(addresses.urls)} signed addresses of output_to")
    url = addresses.urls[place]
    if not url.lower().startswith("https://") and not private:
        raise _FailedError("signed addresses begin with https://")
    if not private and not await leads_outside(url):
        raise _FailedError(REFUSED)
    shown = without_query(url)
    for attempt in range(PUT_ATTEMPTS):
        failure = await _put_once(url, item, private=private)
        if failure is None:
            return shown
        if not failure.passing or attempt == PUT_ATTEMPTS - 1:
            raise _FailedError(f"{shown} {failure.text}")
        await asyncio.sleep(0.5 * 2**attempt)
    raise AssertionError("the last attempt ended it")


class _Failure(NamedTuple):
    """What came of one try."""

    text: str
    passing: bool
    """Whether the next try may succeed."""


async def _put_once(url: str, item: Output, *, private: bool) -> _Failure | None:
    from aiohttp import ClientError, ClientSession, ClientTimeout

    connector = None if private or uses_proxy(url) else guarded_connector()
    try:
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=None), trust_env=not private) as session:
            headers = {"Content-Type": item.media_type}
            async with session.put(url, data=item.data, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return None
                passing = answer.status in (408, 429, 500, 502, 503, 504)
                return _Failure(f"answered {answer.status}" + ("" if passing else "; its signature may have run out"), passing)
    except (ClientError, OSError, ValueError) as error:
        if isinstance(getattr(error, "os_error", error), PrivateAddressError):
            return _Failure(f"is not asked: {REFUSED}", passing=False)
        return _Failure(f"cannot be reached ({type(error).__name__})", passing=True)
