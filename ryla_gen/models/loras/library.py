"""Push, list, show, pull, verify and remove the LoRAs of one store. Decides order and safety; bytes go through the store.

A push sends the content under the name of its hash first and replaces the card last: a reader in between sees the old LoRA
whole, and never half of one.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import os
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from ...errors import InvalidInputError, PlainData, RylaGenError, StorageFailedError
from ...media.files import check_target
from ..safetensors import SUFFIX, parse_header
from .base import (
    CARD,
    CARD_BYTES,
    CONTENT_FILE,
    LORA_ID,
    Card,
    LoraStore,
    Show,
    Stored,
    StoreEntry,
    Transfer,
    broken_lora,
    card_from,
    not_found,
)
from .source import Incoming

log = logging.getLogger("ryla_gen.models.loras")

READERS = 8
"""Cards read at once: a volume answers each in some tens of milliseconds."""
ATTEMPTS = 3
"""Times a content is sent again when another push of the same id removed it at that very moment."""

TOLD = ("base", "variant", "trigger_words", "notes")
"""What a card holds of a content besides its bytes: when it changes, the card is written again."""

Outcome = Literal["pushed", "already"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push."""

    card: Card
    outcome: Outcome
    """already: the store had this content under this id, and nothing was sent."""
    sent: int = 0
    """Bytes of content that had to go over."""
    removed: tuple[str, ...] = ()
    """Older contents of the same id that were removed."""

    def to_data(self) -> PlainData:
        """Return the push as plain data."""
        return {**self.card.to_data(), "outcome": self.outcome, "sent": self.sent, "removed": list(self.removed)}


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification."""

    stored: Stored
    sha256: str | None
    """Of the bytes that are there; None when there are none."""
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it is what it should be."""
        return not self.problems

    def to_data(self) -> PlainData:
        """Return the verification as plain data."""
        return {**self.stored.to_data(), "ok": self.ok, "actual_sha256": self.sha256, "problems": list(self.problems)}


class Library:
    """The LoRAs of one store.

    Args:
        store: where they are.
    """

    def __init__(self, store: LoraStore) -> None:
        self.store = store

    async def list(self) -> list[Stored]:
        """List every LoRA: those that were pushed, and plain files put there by hand. What is half done is not listed."""
        entries = {entry.path: entry for entry in await self.store.entries()}
        gate = asyncio.Semaphore(READERS)

        async def one(lora_id: str) -> Stored:
            async with gate:
                return await self._stored_lora(lora_id, entries)

        ids = sorted({lora_id for path in entries if (lora_id := _id_of(path))})
        return [*await asyncio.gather(*(one(lora_id) for lora_id in ids))]

    async def show(self, lora_id: str) -> Stored:
        """Find one LoRA.

        Raises:
            LoraNotFoundError: no LoRA has that id.
        """
        entries = {entry.path: entry for entry in await self.store.entries()}
        if not LORA_ID.fullmatch(lora_id) or not {f"{lora_id}/{CARD}", f"{lora_id}{SUFFIX}"} & entries.keys():
            raise not_found(lora_id, self.store.place)
        return await self._stored_lora(lora_id, entries)

    async def card(self, lora_id: str) -> Card | None:
        """Read a LoRA's card; None when it has none that can be used."""
        try:
            return await self._card(lora_id)
        except (FileNotFoundError, ValueError):
            return None

    async def has(self, lora_id: str, sha256: str) -> Card | None:
        """Return the card when this content is stored under this id already."""
        card = await self.card(lora_id)
        if card is None or card.sha256 != sha256:
            return None
        sizes = {entry.path: entry.bytes for entry in await self.store.entries()}
        return card if sizes.get(card.path) == card.bytes else None

    async def push(self, lora_id: str, incoming: Incoming, show: Show) -> Pushed:
        """Store a LoRA under an id; what was stored there before is replaced, and jobs that use it are not disturbed.

        Args:
            lora_id: a valid id.
            incoming: what was examined.
            show: called with how far it is.

        Raises:
            StorageFailedError, BackendError: the store cannot be written; what was there before is still there, whole.
        """
        name = f"{incoming.sha256[:16]}{SUFFIX}"
        before = {entry.path: entry.bytes for entry in await self.store.entries()}
        old = await self.card(lora_id)
        told = {key: getattr(incoming, key) for key in TOLD}
        whole = old is not None and old.sha256 == incoming.sha256 and before.get(old.path) == old.bytes
        if old is not None and whole and told == {key: getattr(old, key) for key in TOLD}:
            return Pushed(old, "already")
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        card = Card(lora_id, name, incoming.sha256, incoming.bytes, pushed_at=now, source=incoming.source, **told)
        sent = await self._send(card, incoming, before, show)
        return Pushed(card, "pushed", sent, await self._clear_older(card, before))

    async def pull(self, lora_id: str, target: Path, show: Show, *, overwrite: bool = False) -> Path:
        """Copy a LoRA's content to a file, verified, whole or not at all.

        Raises:
            LoraNotFoundError: no LoRA has that id, or what is stored is not whole.
            OutputExistsError: the file exists already.
            StorageFailedError: it cannot be written.
        """
        stored = await self.show(lora_id)
        _require_usable(stored)
        target = await asyncio.to_thread(_target, target, lora_id, overwrite=overwrite)
        part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
        try:
            digest = await self._receive(stored, part, show)
            if stored.card is not None and digest != stored.card.sha256:
                raise broken_lora(lora_id, f"its sha256 is {digest}, not {stored.card.sha256}")
            part.replace(target)
        except OSError as error:
            raise StorageFailedError(f"{target} could not be written: {error.strerror}.", "", {"file": str(target)}) from None
        finally:
            part.unlink(missing_ok=True)
        return target

    async def verify(self, lora_id: str, show: Show) -> Verified:
        """Read a LoRA's bytes where they are stored, and compare them with its card and with the format.

        Raises:
            LoraNotFoundError: no LoRA has that id.
        """
        stored = await self.show(lora_id)
        if stored.kind == "broken":
            return Verified(stored, None, (stored.why,))
        head, digest, size = bytearray(), hashlib.sha256(), 0
        try:
            async with aclosing(self._read_with_progress(stored, show)) as blocks:
                async for block in blocks:
                    digest.update(block)
                    size += len(block)
                    if len(head) < 8 or len(head) < 8 + int.from_bytes(head[:8], "little"):
                        head += block
        except FileNotFoundError:
            return Verified(stored, None, (f"its content {stored.file} is not there",))
        problems = [f"its {what} is {got}, not {wanted}" for what, got, wanted in _differences(stored, digest.hexdigest(), size)]
        try:
            parse_header(io.BytesIO(bytes(head)), size, stored.file)
        except InvalidInputError as error:
            problems.append(error.message.partition(": ")[2].rstrip(".") or error.message)
        return Verified(stored, digest.hexdigest(), tuple(problems))

    async def remove(self, lora_id: str) -> tuple[str, ...]:
        """Remove a LoRA with everything of it, and return the files. What runs has a copy of its own, or is waited for.

        Raises:
            LoraNotFoundError: no LoRA has that id.
            StorageFailedError: a job on the server names it at this moment; nothing was removed.
        """
        paths = [entry.path for entry in await self.store.entries() if _belongs(entry.path, lora_id)]
        if not LORA_ID.fullmatch(lora_id) or not paths:
            raise not_found(lora_id, self.store.place)
        used = set(await self.store.in_use()) & set(paths)
        if used:
            text = f"A waiting or running job on the server uses {', '.join(sorted(used))}."
            raise StorageFailedError(text, "Wait for it, or cancel it: ryla-gen jobs list", {"lora_id": lora_id})
        # The card first: without it no new reader starts on the content.
        cards = [path for path in paths if path.endswith(f"/{CARD}")]
        await self.store.remove(cards)
        await self.store.remove([path for path in paths if path not in cards])
        return tuple(paths)

    async def _send(self, card: Card, incoming: Incoming, before: dict[str, int], show: Show) -> int:
        """Send the content where it is missing, then the card; again when another push cleared the content away meanwhile."""
        have, sent = before, 0
        for _ in range(ATTEMPTS):
            if have.get(card.path) != card.bytes:
                counter = _Counter(show, card.bytes)
                await self.store.put(incoming.path, card.path, card.sha256, counter.add)
                sent = card.bytes
            data = json.dumps(card.to_data(), indent=1).encode() + b"\n"
            # The card last: readers follow it, so it must never name content that is not there yet.
            await self.store.write(f"{card.id}/{CARD}", data)
            # Checked after the card is written: a concurrent push may have removed the content as outdated in between.
            have = {entry.path: entry.bytes for entry in await self.store.entries()}
            if have.get(card.path) == card.bytes:
                show(Transfer("sending", card.bytes, card.bytes))
                return sent
        text = f"Another push or removal of {card.id} is in progress."
        raise StorageFailedError(text, "Wait for it to end, and push again.", {"lora_id": card.id})

    async def _clear_older(self, card: Card, before: Collection[str]) -> tuple[str, ...]:
        """Remove the older contents of the id: those that were there when this push began, and that nothing names any more."""
        now = await self.card(card.id)
        old = [path for path in before if path.startswith(f"{card.id}/") and CONTENT_FILE.fullmatch(path.partition("/")[2])]
        old = [path for path in old if path not in (card.path, now.path if now else "")]
        try:
            used = await self.store.in_use() if old else ()
            # A waiting or running prompt that names the file would fail without it.
            gone = tuple(path for path in old if path not in used)
            await self.store.remove(gone)
        except RylaGenError as error:  # the push itself is done; the next one removes old contents
            log.warning("older contents of %s stay: %s", card.id, error.message)
            return ()
        return gone

    async def _stored_lora(self, lora_id: str, entries: dict[str, StoreEntry]) -> Stored:
        if f"{lora_id}/{CARD}" not in entries:
            plain = entries[f"{lora_id}{SUFFIX}"]
            return Stored(lora_id, "plain", plain.path, plain.bytes)
        try:
            card = await self._card(lora_id)
        except (FileNotFoundError, ValueError) as error:
            return Stored(lora_id, "broken", f"{lora_id}/{CARD}", None, why=str(error) or "its lora.json is gone")
        content = entries.get(card.path)
        if content is None:
            return Stored(lora_id, "broken", card.path, None, card, f"its content {card.path} is not there")
        return Stored(lora_id, "stored", card.path, content.bytes, card)

    async def _card(self, lora_id: str) -> Card:
        """Read a card; raises FileNotFoundError, or ValueError for what is none."""
        data = b""
        async with aclosing(self.store.read(f"{lora_id}/{CARD}")) as blocks:
            async for block in blocks:
                data += block
                if len(data) > CARD_BYTES:
                    raise ValueError("its lora.json is too long")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise ValueError("its lora.json cannot be read") from None
        return card_from(found, lora_id)

    async def _receive(self, stored: Stored, part: Path, show: Show) -> str:
        digest = hashlib.sha256()
        with await asyncio.to_thread(part.open, "xb") as file:
            try:
                async with aclosing(self._read_with_progress(stored, show)) as blocks:
                    async for block in blocks:
                        await asyncio.to_thread(file.write, block)
                        digest.update(block)
            except FileNotFoundError:
                raise broken_lora(stored.id, f"its content {stored.file} is not there") from None
            os.fsync(file.fileno())
        return digest.hexdigest()

    async def _read_with_progress(self, stored: Stored, show: Show) -> AsyncGenerator[bytes, None]:
        size = 0
        async with aclosing(self.store.read(stored.file)) as blocks:
            async for block in blocks:
                size += len(block)
                yield block
                show(Transfer("receiving", size, stored.bytes))


class _Counter:
    """Adds up what a store moved."""

    def __init__(self, show: Show, total: int) -> None:
        self._show, self._total, self._bytes = show, total, 0

    def add(self, count: int) -> None:
        self._bytes = min(max(self._bytes + count, 0), self._total)
        self._show(Transfer("sending", self._bytes, self._total))


def _id_of(path: str) -> str | None:
    """Return the id of the LoRA that a file stands for: a card, or a plain file; None for content without a card."""
    folder, _, name = path.rpartition("/")
    lora_id = folder if name == CARD else "" if folder else name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else ""
    return lora_id if LORA_ID.fullmatch(lora_id) else None


def _belongs(path: str, lora_id: str) -> bool:
    return path == f"{lora_id}{SUFFIX}" or path.startswith(f"{lora_id}/")


def _differences(stored: Stored, sha256: str, size: int) -> list[tuple[str, object, object]]:
    card = stored.card
    pairs = [("sha256", sha256, card.sha256), ("size", size, card.bytes)] if card is not None else []
    return [pair for pair in pairs if pair[1] != pair[2]]


def _require_usable(stored: Stored) -> None:
    if stored.kind == "broken":
        raise broken_lora(stored.id, stored.why)


def _target(target: Path, lora_id: str, *, overwrite: bool) -> Path:
    """Return the file that a pull writes; in a folder, one of the LoRA's name."""
    try:
        target = target.expanduser()
        target = target / f"{lora_id}{SUFFIX}" if target.is_dir() else target
        check_target(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise StorageFailedError(f"{str(target)!r} cannot be written: {error}.", "Choose another name.") from None
    return target
