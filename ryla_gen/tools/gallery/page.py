"""Write a collection as one HTML page: data, style and script inside, pictures by link. Reads no picture."""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ... import media
from ...errors import OutputExistsError, StorageFailedError
from ...names import GALLERY_MARK, GALLERY_PAGE
from ...version import __version__
from .base import Collection, GalleryItem

MARK = GALLERY_MARK
"""At the beginning of every page of ours: such a file may be replaced unasked."""
MARK_WITHIN = 400
"""Bytes of a page within which the mark stands."""
_PLACE = re.compile(r"@@(\w+)@@")


def save_page(page: Path, found: Collection, *, overwrite: bool = False) -> Path:
    """Write the page, whole or not at all, and return its absolute path.

    Args:
        page: an HTML file, or a folder, which gets a ``gallery.html``.
        found: what is shown.
        overwrite: whether a file that is no gallery page may be replaced.

    Raises:
        OutputExistsError: a file of that name exists and is no gallery page.
        StorageFailedError: the page cannot be written; nothing half-written stays.

    """
    target = Path(os.path.abspath(page.expanduser()))  # noqa: PTH100 - links stay as they were named
    if os.path.isdir(target):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        target /= GALLERY_PAGE
    ours = _is_ours(target)
    if os.path.lexists(target) and not ours and not overwrite:
        hint = "Choose another name with -o, or replace it with --overwrite."
        raise OutputExistsError(f"{target} exists already and is not a gallery page.", hint, {"file": str(target)})
    return media.save_atomically(target, page_of(found, target), overwrite=ours or overwrite)


def _is_ours(page: Path) -> bool:
    if not os.path.isfile(page):  # noqa: PTH113 - as above
        return False
    try:
        with page.open("rb") as file:
            return MARK in file.read(MARK_WITHIN)
    except OSError as error:
        raise StorageFailedError(f"Cannot read {page}: {error.strerror or error}.", "Choose another name with -o.") from error


def page_of(found: Collection, page: Path) -> bytes:
    """Return the page, in UTF-8.

    Args:
        found: what is shown.
        page: absolute path at which the page will lie; links start there.

    """
    style, script = _part("gallery.css"), _part("gallery.js")
    data = {"folder": found.folder.name, "items": [_item_data(item, page) for item in found.items], "skipped": found.skipped}
    parts = {
        "version": __version__,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": _embed(data),
    }
    return _PLACE.sub(lambda mark: parts[mark[1]], _part("gallery.html")).encode()


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Hash a script for the page's policy, which then runs this text and no other, whatever a prompt contains."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embed(data: Any) -> str:
    """Encode JSON that cannot end the element that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _item_data(item: GalleryItem, page: Path) -> dict[str, Any]:
    data = item.to_data()
    del data["path"]
    return {**data, "url": link(item.path, page.parent), "name": item.path.name, "fields": dict(item.fields)}


def link(path: Path, folder: Path) -> str:
    """Return the address of a file as seen from a page: relative where both share a folder below the root.

    Args:
        path: absolute path of the file.
        folder: absolute path of the page's folder.

    """
    near = path.anchor == folder.anchor and path.parts[:2] == folder.parts[:2]
    if not near:
        return path.as_uri() if os.name == "nt" else "file://" + quote(os.fsencode(path))
    relative = os.path.relpath(path, folder)
    return quote(os.fsencode(relative.replace(os.sep, "/")))
