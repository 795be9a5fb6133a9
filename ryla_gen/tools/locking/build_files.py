"""Read what other tools wrote: comfy-build.yaml, a snapshot of ComfyUI-Manager, a comfy-pack file; write the first.

What is read are hints: addresses, commits, versions. Runs nothing, installs nothing, and asks nobody.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import InvalidInputError, PackUnknownError, StorageFailedError
from ...locks.git_calls import COMMIT
from ...locks.graph_lock import PENDING, GraphLock
from ...locks.lock_checks import FOLDER, SHA256, is_https, is_model_name
from .pack_addresses import plain_repository
from .pack_lookup import HintedPack

SCHEMA = "comfy-build/1"
DEFINITION = "distribution-definition/0"
LARGEST = 64 * 1024 * 1024
"""Bytes of a file's text; a snapshot has some thousand."""


@dataclass(frozen=True, slots=True)
class HintedModel:
    """A model that an imported file names."""

    folder: str
    """Below ComfyUI's ``models``."""
    file: str
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class PackHints:
    """What an imported file says."""

    source: str
    """The file's name, without its folders."""
    packs: tuple[HintedPack, ...] = ()
    models: tuple[HintedModel, ...] = ()
    comfyui_version: str = ""
    comfyui_commit: str = ""
    left_out: tuple[str, ...] = ()
    """What was not taken over, a sentence each."""


def read_hints(path: Path) -> PackHints:
    """Read a ``comfy-build.yaml`` or ``.json``, a snapshot of ComfyUI-Manager, or a ``.cpack.zip`` or its ``snapshot.json``.

    Raises:
        InvalidInputError: it is none of them.
        StorageFailedError: it cannot be read.

    """
    data = _parsed(path)
    if data.get("schema") == SCHEMA and isinstance(data.get("definition"), Mapping):
        return _from_build(data["definition"], path.name)
    if isinstance(data.get("custom_nodes"), list):
        return _from_comfy_pack(data, path.name)
    if any(name in data for name in ("git_custom_nodes", "cnr_custom_nodes")):
        return _from_snapshot(data, path.name)
    hint = f"It takes {SCHEMA}, a snapshot of ComfyUI-Manager, and .cpack.zip."
    raise InvalidInputError(f"{path.name} is no file of an environment that is known here.", hint)


def comfy_build_yaml(lock: GraphLock) -> str:
    """Write a lock as ``comfy-build.yaml``: ComfyUI and packs at their commits, models with address and hash.

    Packages stay out: there they are overrides of what the packs ask for.
    """
    definition = {
        "schema": DEFINITION,
        "baseComfyVersion": lock.image.comfyui.commit,
        "models": sorted(_model_rows(lock), key=lambda row: (row["type"], row["filename"])),
        "customNodes": sorted(
            (
                {"name": pack.name, "repository": pack.repo, "gitRef": pack.commit, "commit": pack.commit}
                for pack in lock.image.packs
            ),
            key=lambda row: row["name"],
        ),
    }
    text = {"schema": SCHEMA, "id": None, "name": lock.name, "description": "", "syncedRevision": None, "definition": definition}
    return "".join(_yaml(text, ""))


def _model_rows(lock: GraphLock) -> Iterator[dict[str, str]]:
    for item in lock.models:
        if item.needed and item.url:  # the others are published nowhere
            inner, _, file = item.label.rpartition("/")
            row = {"type": inner, "filename": file, "sourceUri": item.url}
            yield row if item.sha256 == PENDING else {**row, "sha256": item.sha256}


def _yaml(data: Mapping[str, Any], margin: str) -> Iterator[str]:
    """Yield lines of YAML; every text is written as in JSON, which YAML reads alike."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield f"{margin}{name}:\n"
            yield from _yaml(value, f"{margin}  ")
        elif isinstance(value, list) and value:
            yield f"{margin}{name}:\n"
            for row in value:
                first, *rest = _yaml(row, f"{margin}    ")
                yield f"{margin}  - {first.lstrip()}"
                yield from rest
        else:
            yield f"{margin}{name}: {json.dumps(value, ensure_ascii=False)}\n"


def _parsed(path: Path) -> Mapping[str, Any]:
    import yaml  # here, because only this needs it

    read = yaml.safe_load if path.suffix.lower() in (".yaml", ".yml") else json.loads
    try:
        data = read(_text_of(path))
    except OSError as error:
        raise StorageFailedError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, RecursionError, zipfile.BadZipFile, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path.name} cannot be read: {str(error)[:200]}") from error
    if not isinstance(data, Mapping):
        raise InvalidInputError(f"{path.name} holds no table of names.")
    return data


def _text_of(path: Path) -> str:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open("snapshot.json") as file:
            data = file.read(LARGEST + 1)
    else:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("it is larger than any such file")
    return data.decode("utf-8-sig")


def _from_build(data: Mapping[str, Any], name: str) -> PackHints:
    left: list[str] = []
    packs, models = [], []
    for row in _rows(data.get("customNodes")):
        pinned = _text(row, "commit") or _text(row, "gitRef")
        packs += _pack(_text(row, "repository"), pinned, _text(row, "id"), _text(row, "registryVersion"), left)
    for row in _rows(data.get("models")):
        models += _model(_text(row, "type"), _text(row, "filename"), _text(row, "sourceUri"), _text(row, "sha256"), left)
    if data.get("pipDependencies"):
        left.append("pipDependencies: packages are resolved anew, with hashes.")
    return PackHints(name, tuple(packs), tuple(models), *_comfyui(_text(data, "baseComfyVersion")), tuple(left))


def _from_snapshot(data: Mapping[str, Any], name: str) -> PackHints:
    left: list[str] = []
    packs: list[HintedPack] = []
    listed, registered = data.get("git_custom_nodes"), data.get("cnr_custom_nodes")
    for address, row in listed.items() if isinstance(listed, Mapping) else ():
        if isinstance(row, Mapping) and not row.get("disabled"):
            packs += _pack(str(address), _text(row, "hash"), "", "", left)
    for known, version in registered.items() if isinstance(registered, Mapping) else ():
        packs += _pack("", "", str(known), str(version), left)
    if data.get("file_custom_nodes"):
        left.append("file_custom_nodes: single files have no repository.")
    if data.get("pips"):
        left.append("pips: packages are resolved anew, with hashes.")
    return PackHints(name, tuple(packs), (), *_comfyui(_text(data, "comfyui")), tuple(left))


def _from_comfy_pack(data: Mapping[str, Any], name: str) -> PackHints:
    left: list[str] = []
    packs, models = [], []
    for row in _rows(data["custom_nodes"]):
        if not row.get("disabled"):
            packs += _pack(_text(row, "url"), _text(row, "commit_hash"), "", "", left)
    for row in _rows(data.get("models")):
        place, source = PurePosixPath(_text(row, "filename").replace("\\", "/")), row.get("source")
        folder = "/".join(place.parts[1:-1]) if place.parts[:1] == ("models",) else ""
        url = _text(source, "download_url") if isinstance(source, Mapping) else ""
        models += _model(folder, place.name, url, _text(row, "sha256"), left)
    return PackHints(name, tuple(packs), tuple(models), *_comfyui(_text(data, "comfyui")), tuple(left))


def _pack(address: str, ref: str, known: str, version: str, left: list[str]) -> list[HintedPack]:
    try:
        plain = plain_repository(address) if address else ""
    except PackUnknownError as error:
        left.append(error.message)
        return []
    if not plain and not known:
        left.append("A pack without an address and without an id in the registry.")
        return []
    return [HintedPack(plain, ref, known, version)]


def _model(folder: str, file: str, url: str, sha256: str, left: list[str]) -> list[HintedModel]:
    name = file or PurePosixPath(url.partition("?")[0]).name
    if not FOLDER.fullmatch(folder) or ".." in folder or not is_model_name(name) or (url and not is_https(url)):
        left.append(f"{folder[:80]}/{name[:80]}: no file in ComfyUI's models folder, or no https:// address.")
        return []
    return [HintedModel(folder, name, url, sha256 if SHA256.fullmatch(sha256) else "")]


def _comfyui(text: str) -> tuple[str, str]:
    """Return version and commit: such a file names one of them."""
    if COMMIT.fullmatch(text):
        return "", text
    return (text.removeprefix("v"), "") if re.fullmatch(r"v?\d+(\.\d+)+", text) else ("", "")


def _rows(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (row for row in value if isinstance(row, Mapping)) if isinstance(value, list) else ()


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
