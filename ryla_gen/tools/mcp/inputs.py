"""Build the request of a call: read the pictures that it names, where a person allowed that. Runs nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import media
from ...errors import InvalidInputError
from ...media import MediaKind, References
from ...media.addresses import ALLOW
from ...media.sources import read_path
from ...workflows.base import Workflow
from ...workflows.fields import held_media, with_media

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_COMMAND = re.compile(r"ryla-gen workflows show \S+")
"""What a person would type for all fields, and an agent cannot."""
PUBLIC = References("any", private_addresses=False)
"""Addresses of this machine and of private networks are never fetched for an agent, whatever a person's own programs may."""


async def request_of(
    cls: type[Workflow], fields: Mapping[str, Any], allowed: Sequence[Path], *, schema: str = "", read: bool = True
) -> Workflow:
    """Build a request from an agent's arguments.

    Args:
        cls: the workflow.
        fields: its fields, as JSON has them.
        allowed: folders below which a file may be named; a relative path begins in the first.
        schema: what an agent does to see all fields.
        read: whether pictures are read; an estimate needs none.

    Raises:
        InvalidInputError: a field does not fit, or names a file or an address that is not allowed.

    """
    try:
        workflow = cls.from_plain(fields, trusted=True)
    except InvalidInputError as error:
        error.hint = _COMMAND.sub(lambda found: schema or f"see the input schema of {cls.name}", error.hint)
        raise
    found: dict[str, Any] = {}
    for name, kind in cls.media_fields().items():
        held = getattr(workflow, name)
        if held is not None:
            places = {place: await _picture(value, kind, place, allowed, read=read) for place, value in held_media(name, held)}
            found[name] = with_media(held, places, name)
    return workflow.changed(**found) if found and read else workflow


async def _picture(value: Any, kind: MediaKind, place: str, allowed: Sequence[Path], *, read: bool) -> Any:
    if not isinstance(value, str):
        raise InvalidInputError(f"{place}: give a text: a path, an https:// address or a data: URL.", "")
    if value[:5].lower() == "data:" or value[:8].lower() == "https://":
        return await _public(value, kind, place) if read else value
    path = allowed_path(value, allowed, place)
    if not read:
        return value
    limit = media.IMAGE_LIMIT_BYTES if kind == "image" else media.VIDEO_LIMIT_BYTES
    return await media.read(await asyncio.to_thread(read_path, path, limit), kind, name=place)


async def _public(value: str, kind: MediaKind, place: str) -> bytes:
    try:
        return await media.read(value, kind, name=place, references=PUBLIC)
    except InvalidInputError as error:
        if error.hint == ALLOW:  # a setting that does not reach an agent
            error.hint = "An agent's pictures are fetched from public addresses only."
        raise


def allowed_path(text: str, allowed: Sequence[Path], place: str) -> Path:
    """Return the file that a text names, links followed, if it lies in a folder that is allowed.

    Whether a file outside is there is not told.

    Raises:
        InvalidInputError: it lies elsewhere, or the text is no path.

    """
    folders = ", ".join(map(str, allowed))
    hint = f"Files may be named below: {folders}. A person allows another folder by starting the server with --allow-folder."
    refused = InvalidInputError(f"{place}: {text[:80]!r} is not a file that may be read here.", hint, {"field": place})
    if _SCHEME.match(text) and not Path(text).drive:
        raise InvalidInputError(f"{place}: only https:// addresses are read.", hint, {"field": place})
    try:
        path = (allowed[0] / text).resolve()
        fits = any(path.is_relative_to(folder) for folder in allowed) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a NUL, a name that is too long, links in a circle
        raise refused from None
    if not fits:
        raise refused
    return path
