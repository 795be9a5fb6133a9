"""Read what ``--model`` says: which file of a graph, and where it is. Asks nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from ...errors import InvalidInputError
from ...locks.graph_lock import PENDING, VOLUME, LockedModel
from ...locks.lock_checks import is_https, is_model_name
from ...locks.model_rows import hub_address, place_of, plain_address
from ...models.civitai import download_address, is_civitai, version_of
from ...models.loras.base import LORA_ID

SOURCE = "--model"
_OPTION = re.compile(r"(?P<name>.+?)=(?P<place>(?:hf|https?|file)://.*|(?:civitai|lora):.*|volume)", re.DOTALL)
_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?/(?P<file>[^@]+)(?:@(?P<last>[\w.-]+))?")
SECRETS = frozenset(
    {"token", "key", "api_key", "apikey", "access_token", "sig", "signature", "x-amz-signature", "x-goog-signature"}
)
"""Parameters of addresses that hold a secret, or run out within the hour; a lock is committed and read by others."""
EXAMPLES = (
    "Write NAME=PLACE, such as --model flux1-dev.safetensors=hf://black-forest-labs/FLUX.1-dev/flux1-dev.safetensors, "
    "NAME=https://HOST/FILE, NAME=civitai:VERSION, NAME=lora:ID for a stored LoRA, or NAME=volume for a file that is there already."
)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Where one file of a graph is, as somebody says."""

    name: str
    """Of the file: as the graph has it, with its folder before it or without."""
    kind: Literal["hub", "https", "civitai", "lora", "volume"]
    url: str
    """Where it is published; empty where it is on the volume."""
    source: str = SOURCE
    """What the lock says of where that is known from."""

    def means(self, folder: str, file: str) -> bool:
        """Whether this is about a file of the graph."""
        return self.name in names_of(folder, file)

    def model(self, folder: str, file: str) -> LockedModel:
        """Return the file as a lock names it, with nothing looked up."""
        if not self.url:
            return LockedModel(file, folder, "", None, PENDING, None, None, None, self.source)
        repo, revision, _ = place_of(self.url)
        pinned = revision if revision and re.fullmatch(r"[0-9a-f]{40}", revision) and "://" not in repo else None
        return LockedModel(file, folder, self.url, pinned, PENDING, None, None, None, SOURCE)


def names_of(folder: str, file: str) -> tuple[str, str, str]:
    """Return the names that a caller may give a file of a graph, the most exact first."""
    return f"{folder}/{file}", file, PurePosixPath(file).name


def parse_model_option(text: str) -> ModelChoice:
    """Read one ``--model``.

    Args:
        text: ``NAME=hf://OWNER/REPOSITORY[@REVISION]/FILE``, ``NAME=https://…``, ``NAME=civitai:VERSION``, ``NAME=lora:ID`` or
            ``NAME=volume``; NAME is a file of the graph, with its folder before it or without.

    Raises:
        InvalidInputError: it is none of these.

    """
    found = _OPTION.fullmatch(text.strip())
    if found is None:
        raise InvalidInputError(f"--model {text[:200]!r} does not say which file is where.", EXAMPLES)
    name, place = found["name"].strip().replace("\\", "/"), found["place"].strip()
    if not is_model_name(name):
        raise InvalidInputError(f"{name[:200]!r} cannot name a model file.", EXAMPLES)
    if place == VOLUME:
        return ModelChoice(name, "volume", "", VOLUME)
    if place.startswith("lora:"):
        return _lora(name, place.removeprefix("lora:"))
    if place.startswith("hf://"):
        return _hub(name, place)
    if is_civitai(place):
        return _civitai(name, place)
    return _https(name, place)


def lora_source(lora_id: str) -> str:
    """Return the source of a file that is a stored LoRA."""
    return f"{VOLUME}: LoRA {lora_id}"


def _lora(name: str, lora_id: str) -> ModelChoice:
    if not LORA_ID.fullmatch(lora_id):
        raise InvalidInputError(f"{lora_id[:80]!r} is no id of a stored LoRA.", "See them: ryla-gen lora list --backend modal")
    return ModelChoice(name, "lora", "", lora_source(lora_id))


def _hub(name: str, place: str) -> ModelChoice:
    found = _HUB.fullmatch(place)
    if found is None or (found["revision"] and found["last"]) or not is_model_name(found["file"]):
        hint = "Write hf://OWNER/REPOSITORY/FOLDER/FILE, with @REVISION after the repository for one commit."
        raise InvalidInputError(f"{place[:200]!r} does not name a file on the hub.", hint)
    return ModelChoice(name, "hub", hub_address(found["repo"], found["revision"] or found["last"], found["file"]))


def _civitai(name: str, place: str) -> ModelChoice:
    version = version_of(place)
    if version is None:
        hint = "Write civitai:VERSION; the number stands behind modelVersionId= in the address of the version's page."
        raise InvalidInputError(f"{place.partition('?')[0][:200]!r} names no version of a model at Civitai.", hint)
    query = parse_qs(urlsplit(place).query) if place.startswith("https:") else {}
    which = "&".join(
        f"{key}={query[key][0]}" for key in ("type", "format", "size", "fp") if re.fullmatch(r"\w+", "".join(query.get(key, [])))
    )
    return ModelChoice(name, "civitai", f"{download_address(version)}{'?' + which if which else ''}")


def _https(name: str, place: str) -> ModelChoice:
    shown = re.sub(r"//[^/]*@", "//", place.partition("?")[0])[:200]  # without user and password
    if not is_https(place):
        raise InvalidInputError(f"{shown!r} is not an https:// address without user and password.", EXAMPLES)
    secret = next((key for key in parse_qs(urlsplit(place).query) if key.lower() in SECRETS), None)
    if secret is not None:
        hint = "Tokens come from HF_TOKEN and CIVITAI_TOKEN, and go to those two alone."
        raise InvalidInputError(f"{shown!r} has the secret {secret!r} in it, and a lock holds none.", hint)
    url = plain_address(place)
    return ModelChoice(name, "https" if "://" in place_of(url)[0] or place_of(url)[0].startswith("github:") else "hub", url)
