"""Copy LoRAs from the volume onto the container's own disk when one is first requested. Must not know ComfyUI.

A volume with open files cannot be reloaded, and ComfyUI keeps files mapped: hence a copy, read through Modal's API, which always
sees the last commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..engine.loras import require_base, require_plain
from ..errors import PlainData
from ..models.loras.base import CARD, CARD_BYTES, Card, broken_lora, card_from

log = logging.getLogger("ryla_gen.remote")

FOLDER = "loras"
READINGS = 3
"""Times a card is read when its content is gone: another one was pushed between the two looks."""


class Shelf(Protocol):
    """The operations that LoRA copies need from a ``modal.Volume``."""

    def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's content; raises FileNotFoundError."""
        ...


class ModalShelf:
    """A volume by its name."""

    def __init__(self, name: str) -> None:
        import modal

        self._volume = modal.Volume.from_name(name, create_if_missing=True)

    async def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's content; raises FileNotFoundError."""
        async with aclosing(self._volume.read_file.aio(path)) as blocks:
            async for block in blocks:
                yield block


@dataclass(frozen=True, slots=True)
class Brought:
    """A LoRA on the container's disk."""

    name: str
    """As ComfyUI sees it."""
    bytes: int = 0
    """That had to be copied; 0 when it was there."""
    seconds: float = 0.0

    def to_data(self, lora_id: str) -> PlainData:
        """Describe the copy for the reply."""
        return {"id": lora_id, "bytes": self.bytes, "seconds": round(self.seconds, 4)}


class LoraCopies:
    """The LoRAs of one container.

    Args:
        shelf: where they are stored.
        folder: ComfyUI's folder for LoRAs on the container's own disk.
    """

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._shelf = shelf
        self._folder = folder
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bring(self, lora_id: str, base: str | None) -> Brought | None:
        """Copy a LoRA to the disk unless it is there; None when the volume has none of that id.

        Args:
            lora_id: name of the LoRA.
            base: base model it is wanted for, with its size where known (``wan 14B``); None where the graph does not tell.

        Raises:
            LoraIncompatibleError: it was made for another base model.
            LoraNotFoundError: what is stored is not whole.
        """
        # One copy at a time per LoRA: several inputs of a container may ask for it at once.
        async with self._locks[lora_id]:
            for _ in range(READINGS):
                card = await self._card(lora_id)
                if card is None:
                    return await self._plain(lora_id, base)
                require_base(lora_id, card.model or None, base)
                try:
                    return await self._have(card.path, card)
                except FileNotFoundError:
                    continue
            raise broken_lora(lora_id, "its content is not there")

    async def _card(self, lora_id: str) -> Card | None:
        """Read lora.json each time: a LoRA that was pushed again has another file."""
        data = b""
        try:
            async with aclosing(self._shelf.read(f"{FOLDER}/{lora_id}/{CARD}")) as blocks:
                async for block in blocks:
                    data += block
                    if len(data) > CARD_BYTES:
                        break
        except FileNotFoundError:
            return None
        try:
            return card_from(json.loads(data), lora_id)
        except (ValueError, RecursionError) as error:
            why = "its lora.json cannot be read" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
            raise broken_lora(lora_id, why) from None

    async def _plain(self, lora_id: str, base: str | None) -> Brought | None:
        """Copy a file that was put there by hand; it has no card, so its own keys tell whether it fits."""
        try:
            brought = await self._have(f"{lora_id}.safetensors", None)
        except FileNotFoundError:
            return None
        await asyncio.to_thread(require_plain, lora_id, self._folder, base)
        return brought

    async def _have(self, name: str, card: Card | None) -> Brought:
        if (self._folder / name).is_file():
            return Brought(name)
        began = time.monotonic()
        size = await self._copy(f"{FOLDER}/{name}", self._folder / name, card)
        return Brought(name, size, time.monotonic() - began)

    async def _copy(self, source: str, target: Path, card: Card | None) -> int:
        """Copy one file, verified, and only whole; its size."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        digest, size = hashlib.sha256(), 0
        try:
            async with aclosing(self._shelf.read(source)) as blocks:
                with temporary.open("wb") as file:
                    async for block in blocks:
                        await asyncio.to_thread(file.write, block)
                        digest.update(block)
                        size += len(block)
            found = {"sha256": digest.hexdigest(), "bytes": size}
            # A damaged copy would change the picture without an error, so its hash is checked each time it is copied.
            wrong = [key for key, value in found.items() if card is not None and getattr(card, key) != value]
            if wrong:
                raise broken_lora(target.parent.name, f"its {' and '.join(wrong)} differ from lora.json")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        log.info("copied %s (%d bytes)", source, size)
        return size
