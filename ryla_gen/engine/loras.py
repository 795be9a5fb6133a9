"""Find the stored file of each LoRA of a request, and check its base model, before anything is spent. Must not store one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..comfy.errors import missing_file
from ..comfy.schema import input_specs
from ..errors import LoraIncompatibleError, LoraNotFoundError, RylaGenError
from ..models.loras.base import Card
from ..models.loras.keys import NAMES, base_of
from ..models.loras.library import Library
from ..models.safetensors import SUFFIX, read_header
from ..workflows.base import Workflow

log = logging.getLogger("ryla_gen.models.loras")

LOOK_SECONDS = 5.0
"""How long a look at the store may delay a request: this check is optional, as the worker checks again."""
REMEMBERED_SECONDS = 300.0
"""How long a card that was read over the network counts as read."""


class LoraResolver:
    """Looks requests' LoRAs up in a store.

    Args:
        library: the store's LoRAs.
        remember: seconds that a card counts as read; 0 reads it each time.
        plain: folder of plain files, where they can be looked into at once.
    """

    def __init__(self, library: Library, *, remember: float = 0.0, plain: Path | None = None) -> None:
        self._library = library
        self._plain = plain
        self._remember = remember
        self._read: dict[str, tuple[float, Card | None]] = {}

    async def names(self, workflow: Workflow) -> dict[str, str]:
        """Return ComfyUI's name of each LoRA that was pushed. Others, and all when the store does not answer, are left out.

        Raises:
            LoraIncompatibleError: one was made for another base model.
        """
        found: dict[str, str] = {}
        for lora_id, base in workflow.stored_loras().items():
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    card = await self._card(lora_id)
            except (RylaGenError, TimeoutError) as error:
                log.debug("the LoRA %s was not looked up: %s", lora_id, error)
                continue
            if card is not None:
                require_base(lora_id, card.base or None, base)
                found[lora_id] = card.path
            elif self._plain is not None:
                await asyncio.to_thread(require_plain, lora_id, self._plain, base)
        return found

    async def _card(self, lora_id: str) -> Card | None:
        at, card = self._read.get(lora_id, (float("-inf"), None))
        if time.monotonic() - at >= self._remember:
            card = await self._library.card(lora_id)
            self._read[lora_id] = (time.monotonic(), card)
        return card


def require_base(lora_id: str, made_for: str | None, base: str | None) -> None:
    """Refuse a LoRA that was made for another base model. Where neither the LoRA nor the graph names one, it passes.

    Raises:
        LoraIncompatibleError: it was.
    """
    if made_for is not None and base is not None and made_for != base:
        names = {key: NAMES.get(key, key) for key in (made_for, base)}
        text = f"The LoRA {lora_id} was made for {names[made_for]}, not for {names[base]}: it would have no effect."
        hint = "See what is stored, and for which models: ryla-gen lora list"
        raise LoraIncompatibleError(text, hint, {"lora_id": lora_id, "base": made_for, "wanted": base})


def require_plain(lora_id: str, folder: Path, base: str | None) -> None:
    """Check a plain file that was put there by hand, if there is one.

    Raises:
        LoraIncompatibleError: its keys are those of another base model.
    """
    path = folder / f"{lora_id}{SUFFIX}"
    try:
        told = base_of(read_header(path)) if path.is_file() else None
    except RylaGenError as error:  # ComfyUI will report what is wrong with it
        log.debug("%s: %s", path, error.message)
        return
    require_base(lora_id, told, base)


def stored_loras(wanted: list[str], schemas: Mapping[str, Any], *, required: bool = False) -> dict[str, str]:
    """Find the file of each LoRA id among the names the server lists: ``<id>/<file>`` before a plain ``<id>.safetensors``.

    Args:
        wanted: ids.
        schemas: the server's.
        required: whether an id without a file is an error; an emulator would go by the name of a file that is not there.

    Raises:
        LoraNotFoundError: an id has no file, and all are required.

    """
    specs = input_specs(schemas.get("LoraLoader", {}))
    names = [str(name) for name in (specs["lora_name"].options or ())] if "lora_name" in specs else []
    found: dict[str, str] = {}
    for lora_id in wanted:
        stored = [name for name in names if name.replace("\\", "/").startswith(f"{lora_id}/") and name.endswith(".safetensors")]
        plain = [name for name in names if name == f"{lora_id}.safetensors"]
        if stored or plain:
            found[lora_id] = (stored or plain)[-1]
        elif required and "lora_name" in specs:
            near = missing_file({"input": "lora_name"}, f"{lora_id}.safetensors", "loras", names, lora=True)
            raise LoraNotFoundError(f"The server has no LoRA {lora_id!r}.", near.hint, near.details)
    return found
