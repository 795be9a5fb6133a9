"""Mark the files that output nodes saved as emulated, for every client that fetches them. Must not encode a picture again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...media.base import sniff_media_type
from ...media.origin import mark_of_making
from ...workflows.abilities import reads_media
from ..base import Folders
from .files import inside


def mark_files(ui: Mapping[str, Any], graph: Mapping[str, Any], folders: Folders) -> None:
    """Write the mark of their origin into the files that a node reports.

    Args:
        ui: what the node reports.
        graph: in ComfyUI's API format.
        folders: of the server; files in the input folder were given, and stay as they are.
    """
    mark = mark_of_making(given=reads_media(graph), emulated=True)
    for path in _files(ui, {"output": folders.output, "temp": folders.temp}):
        data = path.read_bytes()
        new = mark.write(data, sniff_media_type(data) or "")
        if new != data:
            path.write_bytes(new)


def _files(ui: Mapping[str, Any], roots: Mapping[str, Path]) -> Iterator[Path]:
    for entries in ui.values():
        for entry in entries if isinstance(entries, list | tuple) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("filename"), str) and entry.get("type") in roots:
                path = inside(roots[entry["type"]], f"{entry.get('subfolder') or '.'}/{entry['filename']}")
                if path.is_file():
                    yield path
