"""Find files of a graph on the Modal volume of models: those that people put there, and stored LoRAs. Must not change it.

What is found stands in a lock by its content, with a sha256, its bytes and no address: a volume of somebody else has other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from shlex import quote
from typing import Protocol

from ...errors import RylaGenError
from ...locks.graph_lock import PENDING, VOLUME, LockedModel, OpenQuestion
from ...locks.lock_checks import is_model_name
from ...models.loras.base import LORA_ID, Card
from ...models.safetensors import SUFFIX
from ...names import MODELS_VOLUME
from .graph_models import NamedFile
from .model_options import lora_source

LORAS = "loras"
"""Folder of stored LoRAs, and of the files that loaders of LoRAs name."""
_LORA_SOURCE = re.compile(rf"{VOLUME}: LoRA (?P<id>[a-z0-9][a-z0-9._-]*?)(\. .*)?", re.DOTALL)


class Volume(Protocol):
    """What is asked of a volume."""

    @property
    def files(self) -> Mapping[str, int]:
        """Every file with its bytes."""
        ...

    def recorded(self, path: str) -> str | None:
        """Return the hash that a download recorded of a file."""
        ...

    def sha256(self, path: str) -> str:
        """Read a file, and return its hash."""
        ...

    def card(self, lora_id: str) -> Card | None:
        """Return the card of a stored LoRA."""
        ...


class VolumeModels:
    """What the volume has of a graph's files.

    Args:
        connect: called when the volume is first needed; returns None where it cannot be asked.
        command: what the commands of questions begin with.
    """

    def __init__(self, connect: Callable[[], Volume | None], command: str) -> None:
        self._connect, self._command = connect, command
        self.fault: RylaGenError | None = None
        """Why the volume could not be asked for a file that nobody named it for."""

    def find(self, item: NamedFile) -> LockedModel | OpenQuestion | None:
        """Return the file that has exactly this folder and name, or is the stored LoRA of that id; nothing where there is none.

        A file whose hash is not recorded would have to be read whole, so it is a question.
        """
        if self.fault is not None or not item.folder or not is_model_name(item.file) or self._volume is None:
            return None
        try:
            return self._stored_lora(item, self._volume) or self._same_name(item, self._volume)
        except RylaGenError as error:
            self.fault = error
            return None

    def settle(self, models: Iterable[LockedModel]) -> tuple[tuple[LockedModel, ...], tuple[OpenQuestion, ...]]:
        """Find the files that the caller says are on the volume.

        Returns:
            All models, those of the volume with hash and bytes; and a question for each that is not there.

        Raises:
            BackendError: Modal cannot be asked.

        """
        settled = [item if item.url or item.sha256 != PENDING else self._settle(item) for item in models]
        known = tuple(item for item in settled if isinstance(item, LockedModel))
        return known, tuple(item for item in settled if isinstance(item, OpenQuestion))

    @cached_property
    def _volume(self) -> Volume | None:
        return self._connect()

    def _settle(self, item: LockedModel) -> LockedModel | OpenQuestion:
        lora = _LORA_SOURCE.fullmatch(item.source)
        word = f"lora:{lora['id']}" if lora else VOLUME
        again = f"{self._command} --model {quote(f'{item.label}={word}')}"
        if self._volume is None:
            text = "It is on the volume, which was not asked: lock it without --offline."
            return OpenQuestion("model", item.label, text, again, item.source)
        if lora:
            card = self._volume.card(lora["id"])
            missing = f"There is no stored LoRA {lora['id']!r}. See them: ryla-gen lora list --backend modal."
            return self._question(item, missing) if card is None else _of_card(item, card)
        size = self._volume.files.get(item.label)
        if not size:
            put = f"modal volume put {MODELS_VOLUME} FILE {quote(item.label)}"
            return self._question(item, f"The volume {MODELS_VOLUME} has no file {item.label}. Put it there: {put}")
        return replace(item, sha256=self._volume.recorded(item.label) or self._volume.sha256(item.label), bytes=size)

    def _question(self, item: LockedModel, text: str) -> OpenQuestion:
        return OpenQuestion("model", item.label, text, f"{self._command} --model {quote(f'{item.label}=')}https://…", item.source)

    def _stored_lora(self, item: NamedFile, volume: Volume) -> LockedModel | None:
        """Return the stored LoRA that a graph names: by its id, with or without an ending, or as the built-in workflows name it."""
        lora_id, _, content = item.file.partition("/")
        lora_id = lora_id if content else lora_id.removesuffix(SUFFIX)
        if item.folder != LORAS or not LORA_ID.fullmatch(lora_id):
            return None
        card = volume.card(lora_id)
        if card is None or content not in ("", card.file):
            return None
        return _of_card(_on_volume(item, lora_source(lora_id)), card)

    def _same_name(self, item: NamedFile, volume: Volume) -> LockedModel | OpenQuestion | None:
        size = volume.files.get(item.label)
        if not size:
            return None
        recorded = volume.recorded(item.label)
        if recorded is not None:
            return replace(_on_volume(item, VOLUME), sha256=recorded, bytes=size)
        text = f"{item.class_type} (node {item.node}) loads it, and the volume {MODELS_VOLUME} has a file of that name. That one?"
        return OpenQuestion("model", item.label, text, f"{self._command} --model {quote(f'{item.label}={VOLUME}')}", VOLUME)


def _on_volume(item: NamedFile, source: str) -> LockedModel:
    return LockedModel(item.file, item.folder, "", None, PENDING, None, None, None, source)


def _of_card(item: LockedModel, card: Card) -> LockedModel:
    return replace(item, sha256=card.sha256, bytes=card.bytes)
