"""Read and write the LoRAs on the Modal volume through Modal's API. Must not read a card or run anything on Modal."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import modal
import modal.exception

from ...errors import BackendUnreachableError, StorageFailedError
from ...models.loras.base import Moved, StoreEntry
from ...names import MODELS_VOLUME
from ...remote.modal_errors import AMBIGUOUS, from_modal_error

T = TypeVar("T")

FOLDER = "loras"
"""Folder of the volume."""
REACH_SECONDS = 30.0
"""Seconds in which Modal must answer a question; an upload may take as long as it moves."""


class VolumeStore:
    """The ``loras`` folder of the volume.

    Modal puts an upload in place when all of it has arrived; one that was cut leaves nothing. On a volume of version 2 the blocks
    that had arrived are not sent again; on one of version 1 the file is.

    Args:
        environment: Modal environment; None is the workspace's default one.
        volume: name of the volume.
    """

    def __init__(self, environment: str | None = None, volume: str = MODELS_VOLUME) -> None:
        self.place = f"the Modal volume {volume}"
        self._name, self._environment = volume, environment
        self._volume: Any = modal.Volume.from_name(volume, environment_name=environment, create_if_missing=True)

    async def entries(self) -> list[StoreEntry]:
        """List every file; Modal lists complete ones only."""
        try:
            found = await self._ask(lambda: self._volume.listdir.aio(FOLDER, recursive=True), "Listing", REACH_SECONDS)
        except FileNotFoundError:
            return []
        files = [item for item in found if item.type.name == "FILE"]
        return [StoreEntry(item.path.lstrip("/").removeprefix(f"{FOLDER}/"), item.size) for item in files]

    async def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's content; raises FileNotFoundError."""
        try:
            async with aclosing(self._volume.read_file.aio(f"{FOLDER}/{path}")) as blocks:
                async for block in blocks:
                    yield block
        except FileNotFoundError:
            raise
        except (*AMBIGUOUS, modal.exception.Error) as error:
            raise from_modal_error(error, f"Reading from {self.place}") from None

    async def put(self, source: Path, path: str, sha256: str, moved: Moved) -> None:
        """Upload a file; it appears when it is whole. Progress is to be had on volumes of version 1 alone."""
        counted = await self._ask(self._is_first_version, "Asking for", REACH_SECONDS)

        async def upload() -> None:
            with _Watched(source, moved) as file:
                async with self._volume.batch_upload.aio(force=True) as batch:
                    # For version 2 Modal reads several blocks at once from copies of the handle, which share one position: by name.
                    batch.put_file(file if counted else source, f"/{FOLDER}/{path}")

        await self._ask(upload, "Uploading to")

    async def _is_first_version(self) -> bool:
        """Whether the volume is of version 1. Modal has no question for it: it only refuses the other version."""
        await self._volume.hydrate.aio()  # makes it when it is missing
        try:
            await modal.Volume.from_name(self._name, environment_name=self._environment, version=1).hydrate.aio()
        except modal.exception.InvalidError:
            return False
        return True

    async def write(self, path: str, data: bytes) -> None:
        """Replace a small file: Modal puts it in the old one's place when it has arrived."""

        async def upload() -> None:
            async with self._volume.batch_upload.aio(force=True) as batch:
                batch.put_file(io.BytesIO(data), f"/{FOLDER}/{path}")

        await self._ask(upload, "Writing to")

    async def remove(self, paths: Collection[str]) -> None:
        """Remove files; containers have copies of their own."""
        for path in paths:
            try:
                await self._ask(lambda: self._volume.remove_file.aio(f"{FOLDER}/{path}"), "Removing from", REACH_SECONDS)  # noqa: B023
            except FileNotFoundError:
                continue

    async def in_use(self) -> Collection[str]:
        """Return nothing: no job reads the volume's own files."""
        return ()

    async def _ask(self, call: Callable[[], Awaitable[T]], what: str, seconds: float | None = None) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call()
        except (FileNotFoundError, modal.exception.NotFoundError) as error:
            if seconds is None:
                text = f"{what} {self.place}: {error}."
                raise StorageFailedError(
                    text, "Check the Modal environment: ryla-gen config show", {"volume": self.place}
                ) from None
            raise FileNotFoundError(str(error)) from None
        except (*AMBIGUOUS, modal.exception.Error) as error:
            found = from_modal_error(error, f"{what} {self.place}")
            if isinstance(found, BackendUnreachableError):
                found.hint = "Check the network and run it again: no unfinished file is visible there."
            raise found from None


class _Watched(io.FileIO):
    """A file that reports when it is read the second time: Modal reads it once to hash it, and once to send it."""

    def __init__(self, path: Path, moved: Moved) -> None:
        super().__init__(path, "rb")
        self._moved, self._hashing = moved, path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        """Read, and count the bytes of the second pass."""
        data = super().read(-1 if size is None else size) or b""
        hashed = min(self._hashing, len(data))
        self._hashing -= hashed
        if len(data) > hashed:
            self._moved(len(data) - hashed)
        return data
