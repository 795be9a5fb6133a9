"""Read what the Hugging Face hub says of the files of one repository at one commit, in one request. Must not download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BackendUnreachableError, ModelNotFoundError, NotAuthorizedError
from ...models.downloads.retry import PassingError
from ...models.downloads.web import PASSING

SECONDS = 30.0
"""In which the hub must answer."""
SHA256 = re.compile(r"[0-9a-f]{64}")
OPEN = frozenset(
    {"apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "wtfpl", "cc0-1.0", "cc-by-2.0", "cc-by-3.0"}
    | {
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "gpl-2.0",
        "gpl-3.0",
        "agpl-3.0",
        "lgpl-2.1",
        "lgpl-3.0",
        "mpl-2.0",
        "artistic-2.0",
    }
    | {"openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m", "bigscience-bloom-rail-1.0"}
)
"""The hub's names of licences that allow commercial use (https://huggingface.co/docs/hub/repositories-licenses)."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository."""

    bytes: int | None
    sha256: str | None
    """Only of large files: small ones lie in git, which has another hash."""


@dataclass(frozen=True, slots=True)
class HubRepository:
    """One repository at one commit."""

    commit: str | None
    """None where the hub does not say it to strangers."""
    gated: bool
    licence: str | None
    files: Mapping[str, HubFile] | None


def read_repository(repo: str, revision: str | None, token: str | None, endpoint: str | None = None) -> HubRepository:
    """Request a repository's commit, licence and files.

    Args:
        repo: ``owner/name``.
        revision: commit, branch or tag; None is the newest.
        token: for repositories that are gated or private; no other is looked for.
        endpoint: address of the hub; by default HF_ENDPOINT, else huggingface.co.

    Raises:
        ModelNotFoundError: there is no such repository or revision, or it is private.
        NotAuthorizedError: the token is refused.
        BackendUnreachableError: the hub is switched off here.
        PassingError: the hub did not answer.

    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    api = HfApi(endpoint=endpoint, token=token or False)  # False, not None: None would send whatever token lies on this machine
    transport: type[Exception] = HfHubHTTPError.__mro__[1]
    try:
        found = api.model_info(repo, revision=revision, files_metadata=True, timeout=SECONDS)
    except HfHubHTTPError as error:
        # from None: the hub's own error carries the request, and so the token.
        return _refused(error.response, repo, revision, api.endpoint, token)
    except HFValidationError:
        raise ModelNotFoundError(f"{repo!r} is not the name of a repository.") from None
    except OfflineModeIsEnabled:
        raise _unreachable(api.endpoint, "HF_HUB_OFFLINE is set") from None
    except (transport, OSError, ValueError, KeyError, TypeError) as error:
        raise PassingError(_unreachable(api.endpoint, type(error).__name__)) from None
    files = {item.rfilename: HubFile(item.size, _sha256(item.lfs)) for item in found.siblings or ()}
    return HubRepository(found.sha, bool(found.gated or found.private), licence_of(found.card_data), files)


def licence_of(card: Any) -> str | None:
    """Return the licence that a model card names; what it allows is marked as unknown unless it is one that everybody knows."""
    names = [getattr(card, "license", None), getattr(card, "license_name", None)]
    said, other = (", ".join(map(str, item)) if isinstance(item, list) else str(item or "") for item in names)
    name = (other or said) if said in ("other", "") else said
    if not name or not name.isprintable():
        return None
    words = name[:100].lower()
    if words in OPEN:
        return name
    forbids = re.search(r"(^|-)nc(-|$)|non-?commercial", words)
    return f"{name[:100]} (non-commercial)" if forbids else f"{name[:100]} (see card)"


def _unreachable(host: str, why: str) -> BackendUnreachableError:
    """Return the error for a host that does not say what is to be looked up."""
    return BackendUnreachableError(f"{host} does not answer ({why}).", "Check the network, then try again.")


def _sha256(lfs: Any) -> str | None:
    said = str(getattr(lfs, "sha256", "") or "")
    return said if SHA256.fullmatch(said) else None


def _refused(response: Any, repo: str, revision: str | None, endpoint: str, token: str | None) -> HubRepository:
    status, code = response.status_code, response.headers.get("X-Error-Code")
    if code == "GatedRepo":
        return HubRepository(None, True, None, None)
    if code == "RevisionNotFound":
        raise ModelNotFoundError(f"{repo} has no revision {revision}.") from None
    if code == "RepoNotFound" or status == 404 or (status == 401 and not token):
        # The hub answers 401 to strangers for a repository that does not exist, so that private ones cannot be guessed.
        raise ModelNotFoundError(f"There is no repository {repo}, or it is private.") from None
    if status in (401, 403):
        hint = "Check HF_TOKEN: it must be valid and may read this repository (https://huggingface.co/settings/tokens)."
        raise NotAuthorizedError(f"{repo} was refused with HTTP {status}.", hint) from None
    error = _unreachable(endpoint, f"HTTP {status}")
    raise (PassingError(error) if status in PASSING else error) from None
