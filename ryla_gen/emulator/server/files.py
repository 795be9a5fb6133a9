"""Decide where nodes may read and write: names stay inside their folder, numbers count up. Knows no pictures, no nodes."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import time
from functools import lru_cache
from pathlib import Path, PurePosixPath


def inside(folder: Path, name: str) -> Path:
    """Return the file ``name`` of ``folder``; refuse a name that leads out of it (ComfyUI would follow it)."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise ValueError(f"{name!r} is outside its folder: give the name of a file in {folder.name}, without '..' or a leading '/'")
    return folder / path


_SHOWN = ("image/", "video/", "audio/", "model/", "font/")
_XML = "+xml"
"""How the types end that a browser reads as XML, in which scripts run: SVG, and models such as COLLADA and X3D."""
_ALSO_SHOWN = frozenset({"text/plain", "application/json"})


def served_as(name: str) -> tuple[str, dict[str, str]]:
    """Return type and headers under which a file goes to a browser: a type that could run a script is sent as a download.

    ComfyUI names a few types that are not shown (0.28.2: HTML, XHTML, JavaScript, CSS); here the types that are shown are named.
    """
    kind = mimetypes.guess_type(name)[0] or ""
    shown = (kind.startswith(_SHOWN) and not kind.endswith(_XML)) or kind in _ALSO_SHOWN
    plain = "".join(sign if sign.isprintable() else "_" for sign in name).replace("\\", "\\\\").replace('"', '\\"')
    headers = {
        "Content-Disposition": f'{"" if shown else "attachment; "}filename="{plain}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'",
    }
    return kind if shown else "application/octet-stream", headers


def content_hash(path: Path) -> str:
    """Hash a file's content; the hash is kept while size and time of the file stay the same."""
    stat = path.stat()
    return _hash_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash_of(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def next_names(folder: Path, prefix: str, width: int, height: int) -> tuple[Path, str, str, int]:
    """Choose where files of a prefix go: folder (made), name without number, subfolder, and the first free number."""
    prefix = _fill_prefix(prefix, width, height)
    path = PurePosixPath(prefix.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"Saving image outside the output folder is not allowed: filename_prefix {prefix!r} leads out of it")
    target = folder / path.parent
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"Saving image outside the output folder is not allowed: filename_prefix {prefix!r} leads out of it")
    target.mkdir(parents=True, exist_ok=True)
    subfolder = "" if str(path.parent) == "." else str(path.parent)
    pattern = re.compile(re.escape(path.name) + r"_(\d+)")
    taken = [int(found[1]) for entry in target.iterdir() if (found := pattern.match(entry.name))]
    return target, path.name, subfolder, max(taken, default=0) + 1


def _fill_prefix(prefix: str, width: int, height: int) -> str:
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    values = {
        "width": str(width), "height": str(height), "year": str(now.tm_year), "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}", "minute": f"{now.tm_min:02}", "second": f"{now.tm_sec:02}",
    }  # fmt: skip
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix
