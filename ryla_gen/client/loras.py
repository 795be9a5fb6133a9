"""Push, list, show, pull, verify and remove LoRAs: ``client.loras``, asynchronous and synchronous. Must not run a job."""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..backends.lora_stores import lora_store
from ..errors import InvalidInputError, JobCanceledError
from ..models.loras.base import Show, Stored, Transfer, checked_id
from ..models.loras.library import Library, Pushed, Verified
from ..models.loras.source import (
    Incoming,
    PushOptions,
    default_id,
    hub_checked,
    hub_hash,
    inspect_source,
    is_hub,
    on_disk,
    words_of,
)
from ..support.loop_thread import LoopThread

if TYPE_CHECKING:
    from ..settings import Settings

DOWNLOADS = "downloads"
"""Folder below the configuration's where interrupted downloads wait to be continued."""


class AsyncLoras:
    """The LoRAs of the client's backend: ``client.loras``.

    Args:
        settings: say which backend, and where it keeps its LoRAs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._library: Library | None = None

    async def push(
        self,
        source: str | PathLike[str],
        *,
        id: str | None = None,  # noqa: A002 - the field's own name
        base: str | None = None,
        trigger_words: Iterable[str] | str = (),
        progress: Show | None = None,
    ) -> Pushed:
        """Store a LoRA where the backend reads it; the next request may use it. What is there already is not sent again.

        Args:
            source: path of a .safetensors file, or ``hf://owner/repository/file.safetensors@revision``.
            id: name under which requests ask for it; made of the file's name when absent.
            base: flux, sdxl, wan, z_image, qwen or flux2, for a file that does not say.
            trigger_words: words that call it, instead of those its metadata names.
            progress: called with how far it is, from any thread.

        Raises:
            InvalidInputError: it is not a LoRA in a safetensors file, the id does not fit, or its base model is not known.
            LoraIncompatibleError: it is for a base model that no workflow uses.
            BackendNotConfiguredError: the backend's LoRAs cannot be stored from here.
            BackendError, StorageFailedError: it could not be stored; what was there before is still there, whole.
        """
        text, show = os.fspath(source), _Hearer(progress)
        lora_id = checked_id(id if id is not None else _file_name(text))
        wishes = PushOptions(base, words_of(trigger_words))
        library = await self._open()
        if is_hub(text):
            known = await self._find_stored(library, lora_id, text, wishes)
            if known is not None:
                return known
        with show, ExitStack() as stack:
            folder, token = self._settings.home / DOWNLOADS, os.environ.get("HF_TOKEN") or None
            path = await asyncio.to_thread(lambda: stack.enter_context(on_disk(text, folder, token, show)))
            incoming = await asyncio.to_thread(_inspect, path, text, wishes, show)
            return await library.push(lora_id, incoming, show)

    async def list(self) -> builtins.list[Stored]:
        """List the LoRAs that are stored, plain files put there by hand among them."""
        return await (await self._open()).list()

    async def show(self, id: str) -> Stored:  # noqa: A002 - the field's own name
        """Find one LoRA.

        Raises:
            LoraNotFoundError: no LoRA has that id.
        """
        return await (await self._open()).show(id)

    async def pull(
        self,
        id: str,  # noqa: A002 - the field's own name
        path: str | PathLike[str] = ".",
        *,
        overwrite: bool = False,
        progress: Show | None = None,
    ) -> Path:
        """Copy a LoRA to a file, verified, and return the file.

        Args:
            id: of the LoRA.
            path: a file's name, or a folder, which gets ``<id>.safetensors``.
            overwrite: whether a file of that name may be replaced.
            progress: called with how far it is.

        Raises:
            LoraNotFoundError: no LoRA has that id, or what is stored is not whole.
            OutputExistsError: the file exists.
            StorageFailedError: it cannot be written; nothing half-written stays.
        """
        return await (await self._open()).pull(id, Path(path), progress or _no_progress, overwrite=overwrite)

    async def verify(self, id: str, *, progress: Show | None = None) -> Verified:  # noqa: A002 - the field's own name
        """Read a LoRA's stored bytes, and compare them with its hash and the format.

        Raises:
            LoraNotFoundError: no LoRA has that id.
        """
        return await (await self._open()).verify(id, progress or _no_progress)

    async def remove(self, id: str) -> tuple[str, ...]:  # noqa: A002 - the field's own name
        """Remove a LoRA with all its files, and return their names.

        Raises:
            LoraNotFoundError: no LoRA has that id.
            StorageFailedError: a job on the server uses it now.
        """
        return await (await self._open()).remove(id)

    async def _open(self) -> Library:
        if self._library is None:
            self._library = Library(lora_store(self._settings.backend_names[0], self._settings))
        return self._library

    async def _find_stored(self, library: Library, lora_id: str, source: str, wishes: PushOptions) -> Pushed | None:
        """Check the hub's file first: one that is stored already, or does not fit, is not downloaded."""
        token = os.environ.get("HF_TOKEN") or None
        digest = await asyncio.to_thread(hub_hash, source, token)
        card = await library.has(lora_id, digest) if digest is not None else None
        if card is None or wishes.base not in (None, card.base) or wishes.trigger_words not in ((), card.trigger_words):
            await asyncio.to_thread(hub_checked, source, token, wishes.base)
            return None
        return Pushed(card, "already")


class Loras:
    """The LoRAs of the client's backend: ``client.loras``. Each method is that of :class:`AsyncLoras`, waited for."""

    def __init__(self, loras: AsyncLoras, loop_thread: LoopThread) -> None:
        self._loras = loras
        self._loop_thread = loop_thread

    def push(
        self,
        source: str | PathLike[str],
        *,
        id: str | None = None,  # noqa: A002 - the field's own name
        base: str | None = None,
        trigger_words: Iterable[str] | str = (),
        progress: Show | None = None,
    ) -> Pushed:
        """Store a LoRA where the backend reads it; see :meth:`AsyncLoras.push`."""
        return self._loop_thread.call(self._loras.push(source, id=id, base=base, trigger_words=trigger_words, progress=progress))

    def list(self) -> builtins.list[Stored]:
        """List the LoRAs that are stored."""
        return self._loop_thread.call(self._loras.list())

    def show(self, id: str) -> Stored:  # noqa: A002 - the field's own name
        """Find one LoRA; see :meth:`AsyncLoras.show`."""
        return self._loop_thread.call(self._loras.show(id))

    def pull(
        self,
        id: str,  # noqa: A002 - the field's own name
        path: str | PathLike[str] = ".",
        *,
        overwrite: bool = False,
        progress: Show | None = None,
    ) -> Path:
        """Copy a LoRA to a file; see :meth:`AsyncLoras.pull`."""
        return self._loop_thread.call(self._loras.pull(id, path, overwrite=overwrite, progress=progress))

    def verify(self, id: str, *, progress: Show | None = None) -> Verified:  # noqa: A002 - the field's own name
        """Check a LoRA's stored bytes; see :meth:`AsyncLoras.verify`."""
        return self._loop_thread.call(self._loras.verify(id, progress=progress))

    def remove(self, id: str) -> tuple[str, ...]:  # noqa: A002 - the field's own name
        """Remove a LoRA; see :meth:`AsyncLoras.remove`."""
        return self._loop_thread.call(self._loras.remove(id))


class _Hearer:
    """Forwards progress until the push ends, then stops work that still runs in a thread, which cannot be canceled."""

    def __init__(self, show: Show | None) -> None:
        self._show = show or _no_progress
        self._over = threading.Event()

    def __call__(self, transfer: Transfer) -> None:
        if self._over.is_set():
            raise JobCanceledError("The push was stopped.", "Run it again: it continues where it can.")
        self._show(transfer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()


def _no_progress(transfer: Transfer) -> None:
    """Ignore progress; used when the caller gave no callback."""


def _file_name(source: str) -> str:
    name = default_id(source)
    if not name:
        raise InvalidInputError(f"No id can be made from the name {source!r}.", "Give one: id=…, --id my-character")
    return name


def _inspect(path: Path, source: str, wishes: PushOptions, show: Show) -> Incoming:
    total, read = path.stat().st_size, 0

    def moved(count: int) -> None:
        nonlocal read
        read += count
        show(Transfer("checking", read, total))

    return inspect_source(path, source, wishes, moved)
