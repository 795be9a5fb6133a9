"""Look a version of a model up at Civitai, by its documented API (https://developer.civitai.com). Must not download."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import BackendUnreachableError, ModelNotFoundError
from .downloads.https import LostError, NotFollowedError, opened
from .downloads.retry import PassingError
from .downloads.web import CIVITAI, PASSING, Web

SCHEME = "civitai:"
HOSTS = ("civitai.com", "www.civitai.com")
ANSWER = 8 << 20
"""Bytes that an answer of the API may have; a model with hundreds of versions has half of that."""
_DOWNLOAD = re.compile(r"/api/download/models/(\d+)/?")
_PAGE = re.compile(r"/models/\d+(?:/[^/]*)?/?")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class CivitaiFile:
    """One file of a version."""

    name: str
    url: str
    """Address that it is downloaded from."""
    sha256: str | None
    bytes: int | None
    """None where the API rounds it."""
    licence: str
    """What its maker allows, in words."""


def is_civitai(url: str) -> bool:
    """Whether an address is one of Civitai's, or ``civitai:`` and a number."""
    return url.startswith(SCHEME) or urlsplit(url).hostname in HOSTS


def version_of(url: str) -> int | None:
    """Return the version that an address names: ``civitai:ID``, a download, or a page with ``modelVersionId``; None for a model."""
    if url.startswith(SCHEME):
        number = url.removeprefix(SCHEME)
        return int(number) if re.fullmatch(r"\d{1,12}", number) else None
    parts = urlsplit(url)
    if found := _DOWNLOAD.fullmatch(parts.path):
        return int(found[1])
    given = parse_qs(parts.query).get("modelVersionId", [""])[0]
    return int(given) if _PAGE.fullmatch(parts.path) and re.fullmatch(r"\d{1,12}", given) else None


def download_address(version: int) -> str:
    """Return the address of a version's main file."""
    return f"{CIVITAI}/api/download/models/{version}"


def find_file(url: str, name: str, web: Web) -> CivitaiFile:
    """Find the file of a version: the one that the address or else the name means, else its main one.

    Args:
        url: an address that names a version.
        name: what the graph calls the file.
        web: where Civitai is, and the token for it.

    Raises:
        ModelNotFoundError: there is no such version, or it has no such file, or nobody may download it.
        PassingError: Civitai did not answer.

    """
    version = version_of(url)
    if version is None:
        raise ModelNotFoundError(f"{url.partition('?')[0]} names no version of a model.", "Name one: civitai:VERSION")
    found = _get(web, f"model-versions/{version}")
    if found.get("usageControl", "Download") != "Download":
        raise ModelNotFoundError(f"Version {version} may be used at Civitai only: its maker allows no download.")
    file = _choose([item for item in found.get("files") or () if isinstance(item, dict)], url, name)
    if file is None:
        raise ModelNotFoundError(f"Version {version} at Civitai has several files, and none is called {name}, or has none.")
    model = _get(web, f"models/{found['modelId']}") if found.get("modelId") else {}
    sha256 = str((file.get("hashes") or {}).get("SHA256") or "")
    known = sha256.lower() if SHA256.fullmatch(sha256) else None
    return CivitaiFile(str(file.get("name")), _address(file, version), known, _bytes(file.get("sizeKB")), licence_words(model))


def licence_words(model: Mapping[str, Any]) -> str:
    """Say what a model's maker allows, from the switches of its page."""
    allowed = model.get("allowCommercialUse")
    uses = set(re.findall(r"[A-Za-z]+", allowed)) if isinstance(allowed, str) else set(allowed or ())
    words = []
    if allowed is not None and not uses - {"None"}:
        words.append("non-commercial")
    elif uses:
        words.append(f"commercial use: {', '.join(sorted(uses))}")
    words += [] if model.get("allowNoCredit", True) else ["credit required"]
    words += [] if model.get("allowDerivatives", True) else ["no merges"]
    words += [] if model.get("allowDifferentLicense", True) else ["merges under the same terms"]
    # Sold images and a paid service are two permissions: with one of them alone, what is allowed depends on the use.
    whole = {"Image", "Rent"} <= uses or (allowed is not None and uses <= {"None"})
    return f"Civitai: {'; '.join(words) or 'terms unknown'}{'' if whole else ' (see card)'}"


def _choose(files: list[dict[str, Any]], url: str, name: str) -> dict[str, Any] | None:
    query = parse_qs(urlsplit(url).query)
    query.pop("modelVersionId", None)
    base = PurePosixPath(name).name
    asked = [item for item in files if query and parse_qs(urlsplit(str(item.get("downloadUrl"))).query) == query]
    named = [item for item in files if item.get("name") == base]
    main = [item for item in files if item.get("primary")]
    for found in (asked, named, main, files):
        if len(found) == 1:
            return found[0]
    return None


def _address(file: Mapping[str, Any], version: int) -> str:
    parts = urlsplit(str(file.get("downloadUrl") or ""))
    query = parse_qs(parts.query)
    if parts.hostname in HOSTS and version_of(parts.geturl()) == version and query.keys() <= {"type", "format", "size", "fp"}:
        return f"{download_address(version)}{'?' + parts.query if parts.query else ''}"
    return download_address(version)


def _bytes(size: object) -> int | None:
    """Return the bytes behind ``sizeKB``; None where it has been rounded to two places and so may be another."""
    if not isinstance(size, float) or round(size, 2) == size or not (size * 1024).is_integer():
        return None
    return int(size * 1024)


def _get(web: Web, path: str) -> dict[str, Any]:
    url = f"{web.civitai}/api/v1/{path}"
    try:
        with opened(url, web.headers, private=web.private_addresses) as answer:
            if answer.status_code in (400, 404):
                raise ModelNotFoundError(f"Civitai knows no {path.replace('-', ' ').replace('s/', ' ')}.")
            if answer.status_code != 200:
                raise _fault(f"HTTP {answer.status_code}", passing=answer.status_code in PASSING)
            body = bytearray()
            for block in answer.iter_bytes():
                body += block
                if len(body) > ANSWER:
                    raise _fault("an answer that is too long")
        found = json.loads(body)
    except (LostError, NotFollowedError) as error:
        raise _fault(str(error)) from None
    except ValueError:
        raise _fault("an answer that is not JSON") from None
    if not isinstance(found, dict):
        raise _fault("an answer of another form")
    return found


def _fault(why: str, *, passing: bool = True) -> PassingError | BackendUnreachableError:
    error = BackendUnreachableError(f"Civitai does not answer ({why}).", "Check the network and CIVITAI_TOKEN, then try again.")
    return PassingError(error) if passing else error
