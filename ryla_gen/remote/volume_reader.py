"""Read the volume of models through Modal's API: names, sizes, recorded hashes, cards of LoRAs. Must not start a container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import cached_property
from typing import Any

import modal
import modal.exception
from modal.config import config

from ..errors import ModelNotFoundError
from ..locks.model_places import RECORDS
from ..models.loras.base import CARD, CARD_BYTES, Card, card_from
from ..names import MODELS_VOLUME
from ..settings import Settings
from ..support.loop_thread import run_async
from ..support.numbers import format_bytes
from . import admin
from .modal_errors import AMBIGUOUS, from_modal_error

RECORDS_BYTES = 16 * 2**20
"""Most bytes of the recorded hashes that are read; a volume with a thousand files has some 300 kB of them."""


def has_token() -> bool:
    """Whether Modal's client has a token on this machine, in the environment or in its own file; asks nobody."""
    return bool(config.get("token_id"))


class VolumeReader:
    """The volume of one Modal environment.

    Args:
        settings: which environment.
        told: takes a sentence before something that may take minutes.
    """

    def __init__(self, settings: Settings, told: Callable[[str], None]) -> None:
        self._settings, self._told = settings, told

    @cached_property
    def files(self) -> Mapping[str, int]:
        """Every file with its bytes, by its path there.

        Raises:
            BackendError: Modal cannot be asked.
        """
        return run_async(admin.volume_files(self._settings))

    def recorded(self, path: str) -> str | None:
        """Return the hash that a download recorded of a file, where the file still has that size."""
        item = self._records.get(path)
        if not isinstance(item, Mapping) or item.get("bytes") != self.files.get(path) or not item.get("sound", True):
            return None
        return str(item.get("sha256"))

    def sha256(self, path: str) -> str:
        """Read a file, and return its hash.

        Raises:
            ModelNotFoundError: it is not there any more.
            BackendError: Modal cannot be asked.
        """
        self._told(f"Reading {path} ({format_bytes(self.files.get(path, 0))}) from the volume, to know its sha256.")
        return run_async(self._hashed(path))

    def card(self, lora_id: str) -> Card | None:
        """Return the card of a stored LoRA; None where there is none that can be used."""
        path = f"loras/{lora_id}/{CARD}"
        if path not in self.files:
            return None
        try:
            return card_from(json.loads(run_async(self._bytes(path, CARD_BYTES))), lora_id)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def _records(self) -> Mapping[str, Any]:
        try:
            found = json.loads(run_async(self._bytes(RECORDS, RECORDS_BYTES)))["files"] if RECORDS in self.files else {}
        except (ValueError, LookupError, TypeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    async def _hashed(self, path: str) -> str:
        digest = hashlib.sha256()
        async with aclosing(self._blocks(path)) as blocks:
            async for block in blocks:
                digest.update(block)
        return digest.hexdigest()

    async def _bytes(self, path: str, most: int) -> bytes:
        data = b""
        async with aclosing(self._blocks(path)) as blocks:
            async for block in blocks:
                data += block
                if len(data) > most:
                    break
        return data

    async def _blocks(self, path: str) -> AsyncGenerator[bytes, None]:
        volume: Any = modal.Volume.from_name(MODELS_VOLUME, environment_name=self._settings.modal_environment)
        try:
            async with aclosing(volume.read_file.aio(path)) as blocks:
                async for block in blocks:
                    yield block
        except FileNotFoundError:
            raise ModelNotFoundError(f"{path} is not on the volume {MODELS_VOLUME} any more.") from None
        except (*AMBIGUOUS, modal.exception.Error) as error:
            raise from_modal_error(error, f"Reading from the volume {MODELS_VOLUME}") from None
