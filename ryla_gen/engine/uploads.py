"""Store the pictures and videos of requests in a server's input folder, once, under their hash. Must not know a graph."""

from __future__ import annotations

import hashlib

from .. import media
from ..comfy.client import ComfyClient
from ..errors import InvalidInputError, RylaGenError
from ..workflows.base import Workflow
from ..workflows.fields import held_media

FOLDER = "ryla"
"""Subfolder of the server's input folder for what we upload."""

REMEMBERED = 256
"""Uploads that are remembered, so that one reference picture in a thousand requests travels once."""


class Uploads:
    """The files that one server was given.

    Args:
        client: the server.

    """

    def __init__(self, client: ComfyClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def bring(self, workflow: Workflow) -> dict[str, str]:
        """Store a workflow's pictures and videos, and return the server's names by field (``field[key]`` where it holds several).

        Raises:
            InvalidInputError: one was not read into bytes yet.

        """
        names: dict[str, str] = {}
        for name in workflow.media_fields():
            for place, data in held_media(name, getattr(workflow, name)):
                names[place] = await self._store(data, place)
        return names

    def forget_if_missing(self, error: RylaGenError) -> bool:
        """Whether the server misses a file that we once stored there; if so, forget all of them."""
        missing = any(name in error.message for name in self._names.values())
        if missing:
            self._names.clear()
        return missing

    async def _store(self, data: object, name: str) -> str:
        """Store bytes under the name of their hash; what is there already is not sent again."""
        if not isinstance(data, bytes):
            raise InvalidInputError(
                f"{name} has not been read yet.", "Call `await workflow.resolved()` before handing it to an engine."
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._names:
            suffix = media.SUFFIXES.get(media.sniff_media_type(data) or "", ".png")
            if len(self._names) >= REMEMBERED:
                del self._names[next(iter(self._names))]
            self._names[digest] = await self._client.upload(data, f"{digest[:32]}{suffix}", subfolder=FOLDER)
        return self._names[digest]
