"""Ask ComfyUI's registry of node packs, by its documented API. Knows no lock and no git.

Documented at https://docs.comfy.org/registry/api-reference: ``GET /nodes/{id}``, ``/nodes/{id}/versions/{version}``,
``/comfy-nodes/{class}/node``. What publishers write there is their claim: names and addresses are checked by who uses them.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import quote, urlsplit

from ...errors import BackendUnreachableError, InvalidInputError, PackUnknownError

REGISTRY = "https://api.comfy.org"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SECONDS = 20.0
LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes; a pack's answer has a few thousand."""


@dataclass(frozen=True, slots=True)
class RegistryPack:
    """What the registry says of one pack."""

    id: str
    repository: str
    """Empty where its publisher names none."""
    licence: str | None
    latest: str
    """Its newest version; empty where there is none."""


@dataclass(frozen=True, slots=True)
class RegistryClient:
    """Asks one registry; every answer is asked for once."""

    url: str = REGISTRY
    """Base address."""
    seconds: float = SECONDS
    """How long one answer may take."""
    _answers: dict[str, Mapping[str, Any] | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("https", "http"):
            raise InvalidInputError(f"{self.url!r} is no address of a registry.", f"The public one is {REGISTRY}")

    def pack(self, name: str) -> RegistryPack | None:
        """Return a pack by its id; None where the registry has none.

        Raises:
            PackUnknownError: it was withdrawn, or has another id now.
            BackendUnreachableError: the registry does not answer as documented.

        """
        if not ID.fullmatch(name):
            raise PackUnknownError(f"{name[:80]!r} is no id of a pack in ComfyUI's registry.")
        found = self._pack(f"/nodes/{quote(name, safe='')}", name)
        if found is not None and found.id.lower() != name.lower():
            text = (
                f"The registry answers with {found.id!r} for {name!r}: the pack has another id now, or another pack took its place."
            )
            raise PackUnknownError(text)
        return found

    def pack_of_class(self, kind: str) -> RegistryPack | None:
        """Return a pack that claims a node class. Publishers claim what they like: it is a candidate, not an answer.

        Raises:
            BackendUnreachableError: the registry does not answer as documented.

        """
        try:
            return self._pack(f"/comfy-nodes/{quote(kind, safe='')}/node", kind)
        except PackUnknownError:
            return None

    def has_version(self, name: str, version: str) -> bool:
        """Whether a version of a pack can be installed.

        Raises:
            BackendUnreachableError: the registry does not answer as documented.

        """
        answer = self._ask(f"/nodes/{quote(name, safe='')}/versions/{quote(version, safe='')}")
        return answer is not None and answer.get("status") not in ("NodeVersionStatusBanned", "NodeVersionStatusDeleted")

    def _pack(self, path: str, name: str) -> RegistryPack | None:
        row = self._ask(path)
        if row is None:
            return None
        if row.get("status") in ("NodeStatusBanned", "NodeStatusDeleted"):
            raise PackUnknownError(f"The registry has withdrawn {name[:80]!r}.")
        latest = row.get("latest_version")
        version = latest.get("version") if isinstance(latest, Mapping) else None
        return RegistryPack(str(row.get("id") or ""), str(row.get("repository") or ""), _licence(row), str(version or ""))

    def _ask(self, path: str) -> Mapping[str, Any] | None:
        if path not in self._answers:
            self._answers[path] = self._fetch(path)
        return self._answers[path]

    def _fetch(self, path: str) -> Mapping[str, Any] | None:
        address = self.url.rstrip("/") + path
        request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 - checked above
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=self.seconds) as reply:
                row = json.loads(reply.read(LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code in (301, 302, 303, 307, 308):
                text = f"The registry sends {path} on to {str(error.headers.get('Location'))[:200]!r}."
                raise PackUnknownError(text) from error
            raise self._silent(f"HTTP {error.code}") from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise self._silent(str(getattr(error, "reason", None) or error or type(error).__name__)) from error
        if not isinstance(row, Mapping):
            raise self._silent("no JSON object")
        return row

    def _silent(self, reason: str) -> BackendUnreachableError:
        hint = "Lock without it: --offline. Or name each pack: --pack CLASS=OWNER/REPOSITORY@COMMIT"
        return BackendUnreachableError(f"ComfyUI's registry at {self.url} does not answer: {reason[:200]}.", hint)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a pack under another id may be somebody else's."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _licence(row: Mapping[str, Any]) -> str | None:
    """Return a licence's name: it is written as ``MIT``, as ``{"text": "MIT License"}``, or names a file."""
    text = str(row.get("license") or "").strip()
    if text.startswith("{"):
        try:
            named = json.loads(text)
        except ValueError:
            return None
        text = str(named.get("text") or "").strip()
    line = text.partition("\n")[0].strip()
    return line[:80] if line and not re.search(r"LICENSE|COPYING|\.(txt|md)$", line) else None
