"""Define what a stored LoRA is: its id, its card, where its files lie below the store. Must not open a file.

docs/contract.md, "LoRA files on a volume or pod", has the shapes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ...errors import InvalidInputError, LoraNotFoundError, PlainData
from ..safetensors import SUFFIX

LORA_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit; as the field ``lora_id`` takes it."""
CONTENT_FILE = re.compile(r"[0-9a-f]{16}\.safetensors")
"""Name of a stored content: the first 16 digits of its sha256."""
CARD = "lora.json"
CARD_BYTES = 65_536
"""Most bytes of a lora.json."""
LISTED_WORDS, LONGEST_WORD = 10, 200
"""Trigger words that a card holds at most, and their characters: as many as the field ``trigger_word`` takes."""
LISTED_NOTES, LONGEST_NOTE = 5, 600
"""Notes that a card holds at most, and their characters."""

Kind = Literal["stored", "plain", "broken"]
"""stored: pushed, with a card. plain: ``<id>.safetensors``, put there by hand. broken: its card cannot be used."""


@dataclass(frozen=True, slots=True)
class Card:
    """The contents of a LoRA's lora.json."""

    id: str
    file: str
    """Name of the content's file, beside the card."""
    sha256: str
    bytes: int
    base: str
    """flux, sdxl, wan, z_image, qwen or flux2."""
    trigger_words: tuple[str, ...] = ()
    pushed_at: str = ""
    source: str = ""
    """Where it came from: a file's name, or an address on the hub."""
    variant: str = ""
    """Size of the base model, where there are several that take no LoRAs of each other: ``14B``, ``klein 4B``."""
    notes: tuple[str, ...] = ()
    """Sentences about what was found in the file: what ComfyUI does not load of it, and the like."""

    @property
    def path(self) -> str:
        """The content's place below the store; also the name under which ComfyUI sees it."""
        return f"{self.id}/{self.file}"

    @property
    def model(self) -> str:
        """Base model and size, as far as they are known: ``wan 14B``."""
        return f"{self.base} {self.variant}".strip()

    def to_data(self) -> PlainData:
        """Return the card as lora.json holds it."""
        return {**asdict(self), "trigger_words": list(self.trigger_words), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One file below a store, by its relative path with ``/``."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """One LoRA as a store has it."""

    id: str
    kind: Kind
    file: str
    """Place of its content below the store."""
    bytes: int | None
    card: Card | None = None
    why: str = ""
    """What is wrong with a broken one."""

    def to_data(self) -> PlainData:
        """Return a row of ``lora list --json`` as plain data."""
        card = self.card
        return {
            "id": self.id,
            "kind": self.kind,
            "file": self.file,
            "bytes": self.bytes,
            "sha256": card.sha256 if card else None,
            "base": card.base if card else None,
            "variant": card.variant if card else "",
            "trigger_words": list(card.trigger_words) if card else [],
            "pushed_at": card.pushed_at if card else None,
            "source": card.source if card else None,
            "notes": list(card.notes) if card else [],
            **({"why": self.why} if self.why else {}),
        }


Stage = Literal["downloading", "checking", "sending", "receiving"]
"""What a transfer is at."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a transfer is."""

    stage: Stage
    bytes: int
    total: int | None
    """None as long as it is not known."""


Show = Callable[[Transfer], None]
"""Told how far a transfer is, often, from any thread."""
Moved = Callable[[int], None]
"""Told how many bytes more have gone over (less after a repetition)."""


class LoraStore(Protocol):
    """Files below one folder of LoRAs, somewhere. Knows no LoRA; every path is relative, with ``/``."""

    place: str
    """What people call it."""

    async def entries(self) -> list[StoreEntry]:
        """List every file; nothing half-written among them. A store that is not there yet is empty."""
        ...

    def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's content; raises FileNotFoundError."""
        ...

    async def put(self, source: Path, path: str, sha256: str, moved: Moved) -> None:
        """Store a file, whole or not at all; an interrupted attempt is continued where that is possible."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Replace a small file, in one step."""
        ...

    async def remove(self, paths: Collection[str]) -> None:
        """Remove files, and folders that are empty then. Files that are gone already are not an error."""
        ...

    async def in_use(self) -> Collection[str]:
        """Return the paths that waiting or running jobs name."""
        ...


def card_from(data: Any, lora_id: str) -> Card:
    """Read lora.json's content; unknown keys are ignored.

    Raises:
        ValueError: it is not a card of this LoRA; the message says why.
    """
    if not isinstance(data, Mapping):
        raise ValueError("its lora.json cannot be read")
    name, sha256, size = data.get("file"), data.get("sha256"), data.get("bytes")
    if not isinstance(name, str) or "/" in name or "\\" in name or name.startswith(".") or not name.endswith(SUFFIX):
        raise ValueError("its lora.json names no .safetensors file")
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256) or type(size) is not int:
        raise ValueError("its lora.json has no hash or size")
    words = data.get("trigger_words")
    listed = tuple(str(word)[:LONGEST_WORD] for word in words[:LISTED_WORDS]) if isinstance(words, list) else ()
    notes = data.get("notes")
    said = tuple(str(note)[:LONGEST_NOTE] for note in notes[:LISTED_NOTES]) if isinstance(notes, list) else ()
    texts = {key: str(data.get(key) or "")[:500] for key in ("base", "pushed_at", "source", "variant")}
    return Card(lora_id, name, sha256, size, trigger_words=listed, notes=said, **texts)


def checked_id(lora_id: str) -> str:
    """Return an id that fits.

    Raises:
        InvalidInputError: it does not; the hint has the nearest one that does.
    """
    if LORA_ID.fullmatch(lora_id):
        return lora_id
    near = nearest_id(lora_id)
    hint = f"Nearest valid: --id {near}" if near else "Such as: --id my-character"
    text = f"{lora_id!r} is not a valid LoRA id: use 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit."
    raise InvalidInputError(text, hint, {"lora_id": lora_id, "nearest": near})


def nearest_id(text: str) -> str:
    """Make an id of any text; empty when nothing of it is left."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.strip().lower())
    return re.sub(r"^[._-]+", "", plain)[:64].rstrip("-.")


def not_found(lora_id: str, place: str) -> LoraNotFoundError:
    """Return the error for an id that a store does not have."""
    hint = f"Store it: ryla-gen lora push FILE --id {lora_id}. See what is stored: ryla-gen lora list"
    return LoraNotFoundError(f"There is no LoRA {lora_id!r} in {place}.", hint, {"lora_id": lora_id})


def broken_lora(lora_id: str, why: str) -> LoraNotFoundError:
    """Return the error for a stored LoRA whose file is not the one that was stored."""
    hint = f"Store it again: ryla-gen lora push FILE --id {lora_id}"
    return LoraNotFoundError(f"The stored LoRA {lora_id} is damaged: {why}.", hint, {"lora_id": lora_id})
