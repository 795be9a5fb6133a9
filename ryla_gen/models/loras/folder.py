"""Store LoRAs in a folder: a pod's own, mounted or local, or the emulator's. Bytes by path; must not read a card."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from ...errors import RylaGenError, StorageFailedError
from .base import Moved, StoreEntry

BLOCK = 1 << 20
"""Bytes copied at once: large enough that the loop costs nothing, small enough that Ctrl-C is felt."""
PART = ".part"
"""End of the name of what is not whole yet. ComfyUI offers only names that end as a model's does."""

P = ParamSpec("P")
T = TypeVar("T")
InUse = Callable[[], Awaitable[Collection[str]]]


class FolderStore:
    """A folder of LoRAs.

    Args:
        folder: ComfyUI's ``models/loras``; made at the first push unless ``must_exist``.
        place: what people call it.
        in_use: asks which of its files jobs name at this moment.
        must_exist: whether the folder itself has to be there: of a mount that is not mounted, nothing should be made.
    """

    def __init__(self, folder: Path, place: str, in_use: InUse | None = None, *, must_exist: bool = False) -> None:
        self.folder = folder
        self.place = place
        self._in_use = in_use
        self._must_exist = must_exist

    async def entries(self) -> list[StoreEntry]:
        """List every file that is whole."""
        return await self._thread(self._entries)

    async def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's content; raises FileNotFoundError."""
        with await self._thread((self.folder / path).open, "rb") as file:
            while block := await self._thread(file.read, BLOCK):
                yield block

    async def put(self, source: Path, path: str, sha256: str, moved: Moved) -> None:
        """Copy a file there; an interrupted copy goes on where it stopped."""
        stop = threading.Event()
        try:
            await self._thread(lambda: self._put(source, self.folder / path, sha256, moved, stop))
        except asyncio.CancelledError:
            stop.set()  # a thread cannot be canceled: it has to notice
            raise

    async def write(self, path: str, data: bytes) -> None:
        """Replace a small file, in one step."""
        await self._thread(lambda: self._write(self.folder / path, data))

    async def remove(self, paths: Collection[str]) -> None:
        """Remove files, and their folders when those are empty then."""
        await self._thread(lambda: self._remove(paths))

    async def in_use(self) -> Collection[str]:
        """Return the paths that waiting or running jobs name."""
        return await self._in_use() if self._in_use is not None else ()

    async def _thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except (RylaGenError, FileNotFoundError):
            raise
        except OSError as error:
            text = f"{self.place} cannot be used: {error.strerror or error}."
            hint = "Check that the folder exists, is writable and has free space."
            raise StorageFailedError(text, hint, {"folder": str(self.folder)}) from None

    def _entries(self) -> list[StoreEntry]:
        self._require()
        files = (path for path in self.folder.rglob("*") if not path.name.endswith(PART) and path.is_file())
        return sorted(
            (StoreEntry(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in files),
            key=lambda entry: entry.path,
        )

    def _require(self) -> None:
        if self._must_exist and not self.folder.is_dir():
            hint = "Mount it, or set the right one: ryla-gen config set comfyui.lora_folder PATH"
            raise StorageFailedError(f"There is no folder {self.folder}.", hint, {"folder": str(self.folder)})

    def _put(self, source: Path, target: Path, sha256: str, moved: Moved, stop: threading.Event) -> None:
        self._require()
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}{PART}")
        copied = _copy(source, part, moved, stop)
        if stop.is_set():
            return  # the copy was canceled; what is there stays for the next time
        if copied != sha256:
            # The partial file had another content, or the source changed: copy once more from the beginning.
            moved(-part.stat().st_size)
            part.unlink()
            if _copy(source, part, moved, stop) != sha256:
                part.unlink()
                raise StorageFailedError(
                    f"{source} changed while it was copied.", "Push it again when no other program writes to it."
                )
        part.replace(target)

    def _write(self, target: Path, data: bytes) -> None:
        self._require()
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid4().hex[:8]}{PART}")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _remove(self, paths: Collection[str]) -> None:
        for path in paths:
            target = self.folder / path
            target.unlink(missing_ok=True)
            if target.parent == self.folder or not target.parent.is_dir():
                continue
            left = list(target.parent.iterdir())
            if all(item.name.endswith(PART) for item in left):
                for item in left:
                    item.unlink(missing_ok=True)
                target.parent.rmdir()


def _copy(source: Path, part: Path, moved: Moved, stop: threading.Event) -> str:
    """Copy what is missing of a file, and return the hash of the whole copy."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, part.open("r+b" if part.exists() else "x+b") as writing:
        while block := writing.read(BLOCK):
            digest.update(block)
            moved(len(block))
        reading.seek(writing.tell())
        while (block := reading.read(BLOCK)) and not stop.is_set():
            writing.write(block)
            digest.update(block)
            moved(len(block))
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()
