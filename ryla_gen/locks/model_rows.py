"""Turn the address of a model into a row that is downloaded like every other weights file, and back. Asks nobody."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from ..models.weights_table import UNPUBLISHED, Weights
from .graph_lock import PENDING, LockedModel

HUB = "https://huggingface.co"
_HUB_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/(?:resolve|blob|raw)/(?P<revision>[^/]+)/(?P<file>.+)")
_RELEASE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/releases/download/(?P<tag>[^/]+)/(?P<file>[^/]+)")
COMMIT = re.compile(r"[0-9a-f]{40}")


def row_of(model: LockedModel) -> Weights:
    """Return the row of a model."""
    repo, revision, file = place_of(model.url) if model.url else (UNPUBLISHED, None, model.file)
    return Weights(
        folder=model.folder,
        name=model.file,
        repo=repo,
        revision=model.revision or (revision if revision and _stays(repo, revision) else None),
        file=file,
        bytes=model.bytes,
        approx_size=None,
        sha256=None if model.sha256 == PENDING else model.sha256,
        sha256_source=None if model.sha256 == PENDING else "lock",
        gated=bool(model.gated),
        licence=model.licence,
        nodes=(),
        source=model.source,
        note=None,
    )


def _stays(repo: str, revision: str) -> bool:
    """Whether a revision names the same file tomorrow: a commit does, and the tag of a release is all that its address has."""
    return repo.startswith("github:") or bool(COMMIT.fullmatch(revision))


def place_of(url: str) -> tuple[str, str | None, str]:
    """Split an address into repository, revision and file, as a row names them; of any other host the address is the repository."""
    parts = urlsplit(url)
    if parts.hostname in ("huggingface.co", "www.huggingface.co", "hf.co") and (found := _HUB_FILE.fullmatch(unquote(parts.path))):
        return found["repo"], found["revision"], found["file"]
    if parts.hostname == "github.com" and (found := _RELEASE.fullmatch(unquote(parts.path))):
        return f"github:{found['repo']}", found["tag"], found["file"]
    return url, None, unquote(parts.path).rpartition("/")[2]


def hub_address(repo: str, revision: str | None, file: str) -> str:
    """Return the address of a file on the Hub."""
    return f"{HUB}/{repo}/resolve/{quote(revision or 'main', safe='')}/{quote(file)}"


def plain_address(url: str) -> str:
    """Return an address without what browsers add: ``?download=true``, and the page in place of the file."""
    repo, revision, file = place_of(url)
    if "://" in repo:
        return url
    return url.partition("?")[0] if repo.startswith("github:") else hub_address(repo, revision, file)
