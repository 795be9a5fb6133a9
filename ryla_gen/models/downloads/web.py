"""Locate and open a file at a plain https address, Civitai's among them. Must not write a file or retry.

Finds size and tag of the file, opens the stream of its bytes, and turns every refusal into a typed error.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...errors import BackendUnreachableError, InvalidInputError, ModelNotFoundError, NotAuthorizedError, RylaGenError
from ...version import __version__
from ..weights_table import Weights
from .base import Origin, row_details, total_of
from .https import LostError, NotFollowedError, WebAnswer, opened
from .retry import PassingError

CIVITAI = "https://civitai.com"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that the same request may not get a minute later."""
AGENT = {"user-agent": f"ryla-gen/{__version__}"}
HEAD = 512
"""Bytes of a file that are looked at before it is downloaded: where a page begins with its type."""
PAGES = (b"<!doctype html", b"<html")
LOGIN = "/login"
"""Civitai sends strangers there from files whose maker asks for an account."""


def is_web(repo: str) -> bool:
    """Whether a row's ``repo`` is a whole address, and not a repository."""
    return repo.startswith("https://")


@dataclass(frozen=True, slots=True)
class Web:
    """Plain https addresses, for one sync."""

    civitai_token: str | None = field(default=None, repr=False)
    """Sent to Civitai, and to no host that it redirects to."""
    private_addresses: bool = False
    """Whether files of this machine and of private networks are fetched."""
    civitai: str = CIVITAI
    """Address of Civitai."""

    def probe(self, row: Weights) -> Origin:
        """Request size and tag.

        Raises PassingError for what may pass, else NotAuthorizedError, ModelNotFoundError or InvalidInputError.
        """
        url = self._address(row.repo)
        with self._answer(row, url, {"Range": f"bytes=0-{HEAD - 1}"}) as answer:
            size = total_of(answer)
            if size is None and row.sha256 is None and row.bytes is None:
                hint = "Name another address of it, or its sha256 in the lock."
                told = f"{shown(row.repo)} does not say how large {row.label} is, so that a broken download would not be noticed."
                raise ModelNotFoundError(told, hint, row_details(row, None))
            if size == 0:
                raise _gone(row)
            if answer.read().lstrip().lower().startswith(PAGES):
                raise _page(row)
            return Origin(url, {}, size, None, _tag(answer), None)

    @contextmanager
    def open(self, row: Weights, origin: Origin, start: int) -> Iterator[WebAnswer]:
        """Open the stream of a file's bytes from ``start``; the answer may begin at zero all the same. Raises as ``probe`` does."""
        # Without a hash or a tag, what comes now may belong to another file than what is there.
        span = {"Range": f"bytes={start}-"} if start and (row.sha256 or origin.etag) else {}
        with self._answer(row, origin.url, span) as answer:
            if row.sha256 is None and _tag(answer) != origin.etag:
                why = BackendUnreachableError(f"{row.label} changed at {shown(row.repo)} meanwhile.", "Run it again.")
                raise PassingError(why)
            yield answer

    def headers(self, url: str) -> Mapping[str, str]:
        """Return what is sent to an address."""
        return {**AGENT, "authorization": f"Bearer {self.civitai_token}"} if self.civitai_token and self._at_civitai(url) else AGENT

    def _address(self, url: str) -> str:
        return self.civitai + url.removeprefix(CIVITAI) if url.startswith(f"{CIVITAI}/") else url

    def _at_civitai(self, url: str) -> bool:
        ours, asked = urlsplit(self.civitai), urlsplit(url)
        return (ours.scheme, ours.hostname, ours.port) == (asked.scheme, asked.hostname, asked.port)

    @contextmanager
    def _answer(self, row: Weights, url: str, span: Mapping[str, str]) -> Iterator[WebAnswer]:
        try:
            with opened(url, lambda to: {**self.headers(to), **span}, private=self.private_addresses) as answer:
                if self._at_civitai(answer.url) and urlsplit(answer.url).path == LOGIN:
                    raise self._refused(row, 401)
                if answer.status_code >= 400 and answer.status_code != 416:  # 416 (beyond the end): the caller handles it
                    raise self._refusal(row, answer)
                if "html" in answer.headers.get("Content-Type", ""):
                    raise _page(row)
                yield answer
        except LostError as error:
            raise PassingError(_unreachable(row, str(error))) from None
        except NotFollowedError as error:
            hint = f"Name another address of the file: {_model_command(row)}"
            raise InvalidInputError(f"{shown(url)} is not fetched: {error}.", hint, row_details(row, None)) from None

    def _refusal(self, row: Weights, answer: WebAnswer) -> Exception:
        status = answer.status_code
        if status in PASSING:
            wait = answer.headers.get("Retry-After", "")
            return PassingError(_unreachable(row, f"HTTP {status}"), float(wait) if wait.isdigit() else None)
        if status in (401, 403) and row.repo.startswith(CIVITAI) and not self._at_civitai(answer.url):
            # The next try gets a freshly signed address.
            return PassingError(_unreachable(row, f"HTTP {status} of its store"))
        if status in (401, 403):
            return self._refused(row, status)
        if status in (404, 410):
            return _gone(row)
        return PassingError(_unreachable(row, f"HTTP {status}"))

    def _refused(self, row: Weights, status: int) -> RylaGenError:
        if not row.repo.startswith(f"{CIVITAI}/"):
            hint = "Name an address that needs no account, or bring the file to the volume yourself."
            return NotAuthorizedError(f"{shown(row.repo)} was refused with HTTP {status}.", hint, row_details(row, None))
        why = "the account of the token may not have it" if self.civitai_token else "no token was given"
        hint = (
            "Make an API key at https://civitai.com/user/account and put it into CIVITAI_TOKEN "
            "(on Modal: modal secret create civitai CIVITAI_TOKEN=…), then run it again."
        )
        return NotAuthorizedError(f"Civitai gives {row.label} to some accounts only, and {why}.", hint, row_details(row, None))


def shown(url: str) -> str:
    """Return an address as messages show it: what follows a question mark may be a secret."""
    return url.partition("?")[0]


def _model_command(row: Weights) -> str:
    """Write the command that gives a lock another address of a file."""
    return f"ryla-gen graph lock FILE.json --model {shlex.quote(f'{row.name}=https://…')}"


def _tag(answer: WebAnswer) -> str:
    """Return what changes when the file does; a store that has no tag says at least of what time it is."""
    return (answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "").strip('"')


def _gone(row: Weights) -> ModelNotFoundError:
    hint = f"It was moved or deleted. Name another address of it: {_model_command(row)}"
    return ModelNotFoundError(f"There is no file at {shown(row.repo)}.", hint, row_details(row, None))


def _page(row: Weights) -> ModelNotFoundError:
    hint = "Name the address that the download itself has, not the page that shows it."
    return ModelNotFoundError(f"{shown(row.repo)} answers with a web page, not with {row.label}.", hint, row_details(row, None))


def _unreachable(row: Weights, why: str) -> BackendUnreachableError:
    hint = "Check the network and run it again: it continues where it stopped."
    told = f"{urlsplit(row.repo).hostname} did not deliver {row.label} ({why})."
    return BackendUnreachableError(told, hint, row_details(row, None))
