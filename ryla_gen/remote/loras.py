"""Brings LoRAs from the volume onto the container's own disk, when one is first asked for. Knows no ComfyUI.

A volume with open files cannot be reloaded, and ComfyUI keeps files mapped: hence a copy, read through Modal's API, which always
sees the last commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import LoraIncompatibleError, LoraNotFoundError

log = logging.getLogger("ryla_gen.remote")

CARD_BYTES = 65_536
"""A lora.json that is longer is none."""
FOLDER = "loras"


class Shelf(Protocol):
    """What is needed of a ``modal.Volume``."""

    def read(self, path: str) -> AsyncIterator[bytes]:
        """Yield a file's content; raises FileNotFoundError."""
        ...


class ModalShelf:
    """A volume by its name."""

    def __init__(self, name: str) -> None:
        import modal

        self._volume = modal.Volume.from_name(name, create_if_missing=True)

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """Yield a file's content; raises FileNotFoundError."""
        async for block in self._volume.read_file.aio(path):
            yield block


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

    async def bring(self, lora_id: str, base: str) -> str | None:
        """Have a LoRA on the disk, and return the name under which ComfyUI sees it; None when the volume has none of that id.

        Args:
            lora_id: name of the LoRA.
            base: base model it is wanted for: flux, sdxl or wan.

        Raises:
            LoraIncompatibleError: it was made for another base model.
            LoraNotFoundError: what is stored is not whole.
        """
        async with self._locks[lora_id]:
            card = await self._card(lora_id)
            if card is None:
                return await self._plain(lora_id)
            made_for = card.get("base")
            if made_for not in (None, base):
                text = f"The LoRA {lora_id} was made for {made_for}, not for {base}."
                raise LoraIncompatibleError(text, "", {"lora_id": lora_id, "base": made_for, "wanted": base})
            name = f"{lora_id}/{_file_of(card, lora_id)}"
            if not (self._folder / name).is_file():
                await self._copy(f"{FOLDER}/{name}", self._folder / name, card)
            return name

    async def _card(self, lora_id: str) -> dict[str, Any] | None:
        """Read lora.json each time: a LoRA that was pushed again has another file."""
        data = b""
        try:
            async for block in self._shelf.read(f"{FOLDER}/{lora_id}/lora.json"):
                data += block
                if len(data) > CARD_BYTES:
                    break
            card = json.loads(data)
        except FileNotFoundError:
            return None
        except ValueError:
            card = None
        if not isinstance(card, dict):
            raise _broken(lora_id, "its lora.json cannot be read")
        return card

    async def _plain(self, lora_id: str) -> str | None:
        name = f"{lora_id}.safetensors"
        if not (self._folder / name).is_file():
            try:
                await self._copy(f"{FOLDER}/{name}", self._folder / name, {})
            except FileNotFoundError:
                return None
        return name

    async def _copy(self, source: str, target: Path, card: dict[str, Any]) -> None:
        """Copy one file, verified, and only whole."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        digest, size = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as file:
                async for block in self._shelf.read(source):
                    await asyncio.to_thread(file.write, block)
                    digest.update(block)
                    size += len(block)
            wanted = {"sha256": digest.hexdigest(), "bytes": size}
            wrong = [key for key, value in wanted.items() if card.get(key) not in (None, value)]
            if wrong:
                raise _broken(target.parent.name, f"its {' and '.join(wrong)} differ from lora.json")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        log.info("copied %s (%d bytes)", source, size)


def _file_of(card: dict[str, Any], lora_id: str) -> str:
    name = card.get("file")
    if not isinstance(name, str) or "/" in name or "\\" in name or name.startswith(".") or not name.endswith(".safetensors"):
        raise _broken(lora_id, "its lora.json names no .safetensors file")
    return name


def _broken(lora_id: str, why: str) -> LoraNotFoundError:
    hint = f"Store it again: ryla-gen lora push FILE --id {lora_id}"
    return LoraNotFoundError(f"The stored LoRA {lora_id} is not whole: {why}.", hint, {"lora_id": lora_id})
