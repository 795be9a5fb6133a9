"""Find models in the list that ComfyUI-Manager publishes, read as data from its package. Must not import or run the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import PurePosixPath
from typing import Any

from ...locks.lock_checks import FOLDER, is_https, is_model_name
from ...locks.model_rows import plain_address

DISTRIBUTION = "comfyui-manager"
FILE = "model-list.json"
FOLDERS = {
    "checkpoint": "checkpoints",
    "checkpoints": "checkpoints",
    "unclip": "checkpoints",
    "clip": "text_encoders",
    "text_encoders": "text_encoders",
    "vae": "vae",
    "lora": "loras",
    "t2i-adapter": "controlnet",
    "t2i-style": "controlnet",
    "controlnet": "controlnet",
    "clip_vision": "clip_vision",
    "gligen": "gligen",
    "upscale": "upscale_models",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "unet": "diffusion_models",
    "diffusion_model": "diffusion_models",
}
"""Type → folder, for entries whose ``save_path`` is ``default`` (its own table: ``comfyui_manager/glob/constants.py``)."""
SAME = {"unet": "diffusion_models", "clip": "text_encoders"}
"""Older names of ComfyUI's folders."""
GENERAL = ("model", "pytorch", "diffusion")
"""With one of these in its name a file says nothing of itself: many makers call theirs so. It has to lie where the list says."""


@dataclass(frozen=True, slots=True)
class ManagerModel:
    """One entry of the list."""

    file: str
    folder: str
    """Below ComfyUI's ``models``, with the folders inside it."""
    url: str
    source: str

    @property
    def path(self) -> str:
        """Folder and name below ``models``."""
        return f"{self.folder}/{self.file}"

    @property
    def top(self) -> str:
        """ComfyUI's folder for it."""
        return self.folder.partition("/")[0]


@cache
def manager_models() -> tuple[ManagerModel, ...]:
    """Return every entry that names one file at an https address; none without the package (``pip install ryla-gen[manager]``)."""
    try:
        package = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return ()
    place = next((item for item in package.files or () if item.name == FILE), None)
    if place is None:
        return ()
    try:
        rows = json.loads(place.read_text(encoding="utf-8"))["models"]
        return tuple(_models(rows, f"{DISTRIBUTION} {package.version}"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # another form of list: what it knows is not known
        return ()


def find_in_manager(file: str, folder: str) -> tuple[ManagerModel, ...]:
    """Return the entries that may be a file of a graph, one for each folder and address: with several, a person has to say which.

    Args:
        file: its name, as the loader has it.
        folder: ComfyUI's folder for that loader; empty where it is not known.

    """
    top, _, inner = folder.partition("/")
    path = "/".join(part for part in (SAME.get(top, top), inner, file.replace("\\", "/")) if part)
    name = PurePosixPath(path).name
    named = [item for item in manager_models() if item.file == name and (not folder or item.top == path.partition("/")[0])]
    exact = [item for item in named if item.path == path]
    general = any(word in name.lower() for word in GENERAL)
    return tuple({(item.url, item.top): item for item in exact or ([] if general else named)}.values())


def listed_in_manager(folder: str, file: str) -> tuple[tuple[str, str], ...]:
    """Return the folders and addresses that the list has for a file of a graph; the folder of its loader may be empty."""
    return tuple((item.top, item.url) for item in find_in_manager(file, folder))


def _models(rows: list[dict[str, Any]], source: str) -> Iterator[ManagerModel]:
    for row in rows:
        folder = row["save_path"] if row["save_path"] != "default" else FOLDERS.get(row["type"].lower(), "")
        top, _, inner = folder.strip("/").partition("/")
        folder = "/".join(part for part in (SAME.get(top, top), inner) if part)
        plain = is_model_name(row["filename"]) and bool(FOLDER.fullmatch(folder)) and ".." not in folder
        if plain and top != "custom_nodes" and is_https(row["url"]):
            yield ManagerModel(row["filename"], folder, plain_address(row["url"]), source)
