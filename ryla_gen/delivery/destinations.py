"""Read where the files of a job go: a bucket with a prefix, or signed addresses. Sends nothing, and opens no connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import InvalidInputError
from ..media.addresses import without_query

OutputTo = str | tuple[str, ...] | None
"""A bucket's address with a prefix, or one signed address for each file."""
SCHEMES = {"s3": "S3, R2 and what else speaks S3", "gs": "Google Cloud Storage"}
"""What a bucket's address may begin with."""
MOST_ADDRESSES = 100
"""Signed addresses of one job."""
LONGEST = 4096
"""Characters of an address: a signed one has about a thousand."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,221}")
_HINT = 'Write output_to="s3://bucket/prefix" (or gs://…), or give signed https:// addresses for PUT, one for each file.'


class Bucket(NamedTuple):
    """A bucket, and what the keys in it begin with."""

    scheme: str
    name: str
    prefix: str

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{self.scheme}://{self.name}/{self.prefix}".rstrip("/")

    def key(self, job: str, name: str) -> str:
        """Return the key of one file: below the job's own id, so that a job writes over no file but its own."""
        parts = (self.prefix, _plain(job), _plain(name))
        return "/".join(part for part in parts if part)


class Addresses(NamedTuple):
    """Signed addresses that take one PUT each, in the order of the files."""

    urls: tuple[str, ...]


Destination = Bucket | Addresses


def read_destination(given: Any) -> OutputTo:
    """Check where the files of a job are to go, and return it as it is kept.

    Args:
        given: a bucket's address, or a list of signed addresses.

    Raises:
        InvalidInputError: it is none.

    """
    if given is None:
        return None
    destination_of(given)
    return given if isinstance(given, str) else tuple(given)


def is_bucket(given: OutputTo) -> bool:
    """Whether this is a bucket's address, which may be written down: it holds no signature."""
    return isinstance(given, str) and isinstance(destination_of(given), Bucket)


def read_bucket(given: str | None) -> str | None:
    """Check where the files of many jobs are to go: a bucket, in which each job has its own keys.

    Raises:
        InvalidInputError: it is no bucket's address.

    """
    if given is None:
        return None
    if not isinstance(destination_of(given), Bucket):
        text = "A signed address takes one file of one job, and these are many jobs."
        raise InvalidInputError(text, 'Give a bucket, output_to="s3://bucket/prefix", or run them one by one.')
    return given


def destination_of(given: str | Sequence[str]) -> Destination:
    """Take an address or several of them apart.

    Raises:
        InvalidInputError: it is none that files can be brought to.

    """
    if isinstance(given, str):
        return _signed((given,)) if given[:8].lower().startswith(("https://", "http://")) else _bucket(given)
    if not isinstance(given, list | tuple) or not given or not all(isinstance(item, str) for item in given):
        raise InvalidInputError("output_to is neither an address nor a list of addresses.", _HINT)
    return _signed(tuple(given))


def _bucket(text: str) -> Bucket:
    scheme, mark, rest = text.strip().partition("://")
    name, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if mark and scheme.lower() in SCHEMES and name and not _BUCKET.fullmatch(name):
        text = f"output_to={_shown(text)} names no bucket: {name[:64]!r} is no bucket's name."
        raise InvalidInputError(text, "A name has 3 to 222 letters, digits and . _ -, and begins with a letter or digit.")
    if not mark or scheme.lower() not in SCHEMES or not _BUCKET.fullmatch(name) or len(text) > LONGEST:
        raise InvalidInputError(f"output_to={_shown(text)} is no bucket that files can be brought to.", _HINT)
    parts = prefix.split("/") if prefix else []
    if any(part in ("", ".", "..") or not part.isprintable() for part in parts) or "?" in prefix or "#" in prefix:
        raise InvalidInputError(f"The prefix in output_to={_shown(text)} cannot be part of a key.", _HINT)
    return Bucket(scheme.lower(), name, prefix)


def _signed(urls: tuple[str, ...]) -> Addresses:
    if len(urls) > MOST_ADDRESSES:
        raise InvalidInputError(f"output_to has {len(urls)} addresses; a job takes {MOST_ADDRESSES} at most.", _HINT)
    for url in urls:
        try:
            parts = urlsplit(url)
            fits = parts.scheme in ("https", "http") and parts.hostname and (parts.port or 1) and url.isprintable()
        except ValueError:
            fits = False
        if not fits or len(url) > LONGEST or " " in url:
            raise InvalidInputError(f"output_to={_shown(url)} is no address that takes a file.", _HINT)
    return Addresses(urls)


def _shown(text: str) -> str:
    """Return an address as a message repeats it: what follows a question mark is a signature."""
    return repr(without_query(text))[:120]


def _plain(name: str) -> str:
    """Return a name as one part of a key."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
