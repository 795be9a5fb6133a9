"""Locate and open a file on the Hugging Face hub, on the page of a GitHub release, or elsewhere. Must not write a file or retry.

Finds a file's address, size and hash, opens the stream of its bytes, and turns every refusal into a typed error. It stands on
huggingface_hub's addresses, metadata and session, but not on ``hf_hub_download``: version 2.4 writes to a name drawn anew for each
call and deletes it on failure, so a killed 17 GB download would begin again at zero. Xet is thereby not used: these are
plain HTTPS downloads with ranges, which the hub serves for every file, wherever it keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from ...errors import BackendUnreachableError, ModelNotFoundError, NotAuthorizedError, RylaGenError
from ..weights_table import Weights
from .base import Origin, row_details, total_of
from .retry import PassingError
from .web import AGENT, PASSING, Web, is_web

GITHUB = "https://github.com"
RELEASE = "github:"
"""A row's ``repo`` that starts with this is a GitHub repository, and its ``revision`` the tag of a release."""
TRANSPORT: type[Exception] = HfHubHTTPError.__mro__[1]
"""The HTTP library's own base of errors: the hub's releases 1.x stand on httpx, 2.x on httpx2."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class _RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, response: Any) -> None:
        super().__init__(response.status_code)
        self.response = response


class Sources:
    """The hub, GitHub and every other address, for one sync."""

    def __init__(self, token: str | None, endpoint: str | None = None, github: str = GITHUB, web: Web | None = None) -> None:
        self._token: str | bool = token or False  # False, not None: None would send whatever token lies on this machine
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._github = github.rstrip("/")
        self._web = web or Web()
        self._commits: dict[str, str] = {}

    def probe(self, row: Weights, known: str | None) -> Origin:
        """Request size, hash and commit; ``known`` is the commit that an earlier download recorded.

        Raises PassingError for what may pass, else NotAuthorizedError, ModelNotFoundError or BackendUnreachableError.
        """
        if is_web(row.repo):
            return self._web.probe(row)
        revision = row.revision or known
        with self._explain(row, revision):
            if row.repo.startswith(RELEASE):
                return self._release(row)
            found = self._hub(row, revision or self._commits.get(row.repo) or constants.DEFAULT_REVISION)
            if revision is None:
                # Files of one repository stay together at one commit, even if a push comes between two requests.
                commit = self._commits.setdefault(row.repo, str(found.commit))
                found = found if found.commit == commit else self._hub(row, commit)
            return found

    def _hub(self, row: Weights, revision: str) -> Origin:
        url = hf_hub_url(row.repo, row.file, revision=revision, endpoint=self.endpoint)
        found = get_hf_file_metadata(url, token=self._token, endpoint=self.endpoint, user_agent=AGENT["user-agent"])
        if not found.commit_hash or not found.etag:
            raise FileMetadataError("an answer without commit or etag")
        # The pinned address, not found.location: a signed address of the store runs out in the middle of a long download.
        pinned = hf_hub_url(row.repo, row.file, revision=found.commit_hash, endpoint=self.endpoint)
        login = {"authorization": f"Bearer {self._token}"} if self._token else {}
        sha256 = found.etag if SHA256.fullmatch(found.etag) else None
        return Origin(pinned, {**AGENT, **login}, found.size, sha256, found.etag, found.commit_hash)

    def _release(self, row: Weights) -> Origin:
        repo = row.repo.removeprefix(RELEASE).split()[0]
        if not row.revision:
            hint = "Put the tag of the release into the row's revision in weights.json."
            raise ModelNotFoundError(f"It is not known which release of {repo} contains {row.file}.", hint, row_details(row, None))
        url = f"{self._github}/{repo}/releases/download/{quote(row.revision, safe='')}/{quote(row.file)}"
        # GET and hang up, not HEAD: the store's signed addresses are signed for GET.
        with self._response(url, {**AGENT, "Range": "bytes=0-0"}) as response:
            size = total_of(response)
            return Origin(url, AGENT, size, None, str(response.headers.get("ETag", "")).strip('"'), row.revision)

    @contextmanager
    def open(self, row: Weights, origin: Origin, start: int) -> Iterator[Any]:
        """Open the stream of a file's bytes from ``start``; the answer may begin at zero all the same. Raises as ``probe`` does."""
        if is_web(row.repo):
            with self._web.open(row, origin, start) as answer:
                yield answer
            return
        span = {"Range": f"bytes={start}-"} if start else {}
        with self._explain(row, origin.commit), self._response(origin.url, {**origin.headers, **span}) as response:
            yield response

    @contextmanager
    def _response(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
        asked = {**headers, "Accept-Encoding": "identity"}
        session, patience = get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
        with session.stream("GET", url, headers=asked, timeout=patience, follow_redirects=True) as response:
            if response.status_code >= 400 and response.status_code != 416:  # 416 (beyond the end): the caller handles it
                raise _RefusedError(response)
            yield response

    @contextmanager
    def _explain(self, row: Weights, revision: str | None) -> Iterator[None]:
        try:
            yield
        except (HfHubHTTPError, _RefusedError) as error:
            # from None: the hub's own error carries the request, and so the token.
            raise self._refusal(error.response, row, revision) from None
        except HFValidationError as error:
            message = f"{row.repo!r} is not the name of a repository: {error}"
            raise ModelNotFoundError(message, details=row_details(row, revision)) from None
        except OfflineModeIsEnabled:
            hint = "Unset HF_HUB_OFFLINE to allow downloads."
            raise BackendUnreachableError("Downloads from the hub are switched off.", hint, row_details(row, revision)) from None
        except (TRANSPORT, FileMetadataError) as error:
            raise PassingError(self._unreachable(row, revision, f"{type(error).__name__}: {error}")) from None

    def _refusal(self, response: Any, row: Weights, revision: str | None) -> Exception:
        status, code = response.status_code, response.headers.get("X-Error-Code")
        if status in PASSING:
            wait = str(response.headers.get("Retry-After", ""))
            return PassingError(self._unreachable(row, revision, f"HTTP {status}"), float(wait) if wait.isdigit() else None)
        if code == "GatedRepo":
            return self._gated_error(row, revision)
        if code == "RevisionNotFound":
            return self._gone_error(row, revision, f"{row.repo} has no revision {revision}")
        if code == "RepoNotFound" or (status == 401 and not self._token and not row.repo.startswith(RELEASE)):
            # The hub answers 401 to strangers for a repository that does not exist, so that private ones cannot be guessed.
            return self._gone_error(row, revision, f"There is no repository {row.repo}, or it is private")
        if status in (401, 403) and not str(response.url).startswith(self.endpoint):
            # The next try gets a freshly signed address.
            return PassingError(self._unreachable(row, revision, f"HTTP {status} of its store"))
        if status in (401, 403):
            hint = "Check HF_TOKEN: it must be valid and may read this repository (https://huggingface.co/settings/tokens)."
            return NotAuthorizedError(f"{row.repo} was refused with HTTP {status}.", hint, row_details(row, revision))
        if status in (404, 410):
            return self._gone_error(
                row, revision, f"{row.repo} has no file {row.file} at revision {revision or constants.DEFAULT_REVISION}"
            )
        return PassingError(self._unreachable(row, revision, f"HTTP {status}"))

    def _page(self, row: Weights) -> str:
        if row.repo.startswith(RELEASE):
            return f"{self._github}/{row.repo.removeprefix(RELEASE).split()[0]}/releases"
        return f"{self.endpoint}/{row.repo}"

    def _gated_error(self, row: Weights, revision: str | None) -> NotAuthorizedError:
        why = "the account of the token has no access" if self._token else "no token was given"
        hint = (
            f"Accept the licence at {self._page(row)} with your account, then put a read token of it into HF_TOKEN "
            "(on Modal: modal secret create huggingface HF_TOKEN=hf_…) and run it again."
        )
        return NotAuthorizedError(f"{row.repo} is gated, and {why}.", hint, row_details(row, revision))

    def _gone_error(self, row: Weights, revision: str | None, what: str) -> ModelNotFoundError:
        hint = f"It was moved or deleted: look at {self._page(row)} and correct the row of {row.label} in weights.json."
        return ModelNotFoundError(f"{what}.", hint, row_details(row, revision))

    def _unreachable(self, row: Weights, revision: str | None, why: str) -> BackendUnreachableError:
        host = self._github if row.repo.startswith(RELEASE) else self.endpoint
        hint = "Check the network and run it again: it continues where it stopped."
        return BackendUnreachableError(f"{host} did not deliver {row.label} ({why}).", hint, row_details(row, revision))


def with_details(error: RylaGenError, row: Weights) -> RylaGenError:
    """Add to the error which file of which repository it is about, if it does not say so yet."""
    error.details = {**row_details(row, row.revision), **error.details}
    return error
