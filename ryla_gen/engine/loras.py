"""Find the stored file of each LoRA of a request, and check its base model, before anything is spent. Must not store one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from ..comfy.errors import missing_file
from ..comfy.schema import input_specs
from ..errors import LoraIncompatibleError, LoraNotFoundError, RylaGenError
from ..models.loras.base import Card
from ..models.loras.keys import NAMES, base_of, variant_of
from ..models.loras.library import Library
from ..models.safetensors import SUFFIX, read_header
from ..workflows.base import Workflow
from ..workflows.preview import sample_of
from ..workflows.registry import built_in_classes

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
                require_base(lora_id, card.model or None, base)
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
    """Refuse a LoRA that was made for another base model, or another size of it. Where the LoRA or the graph names none, it passes.

    Args:
        lora_id: name of the LoRA.
        made_for: its base model, and the size of it where known: ``wan 14B``.
        base: the same of the model that it is wanted for.

    Raises:
        LoraIncompatibleError: it was.
    """
    if made_for is not None and base is not None and not _fits(made_for, base):
        text = f"The LoRA {lora_id} was made for {_name(made_for)}, not for {_name(base)}: it would have no effect."
        hint = "See what is stored, and for which models: ryla-gen lora list"
        raise LoraIncompatibleError(text, hint, {"lora_id": lora_id, "base": made_for, "wanted": base})


def _fits(made_for: str, base: str) -> bool:
    """Whether base models are the same, and their sizes where both are known."""
    (one, _, size), (other, _, wanted) = made_for.partition(" "), base.partition(" ")
    return one == other and (not size or not wanted or size == wanted)


def takers(model: str) -> Iterator[tuple[type[Workflow], str | None]]:
    """Yield the built-in workflows that take a LoRA, each with the value of its ``model`` for that; None where the default will do.

    Args:
        model: the LoRA's base model, and the size of it where known: ``wan 1.3B``.

    """
    for cls in built_in_classes():
        if "loras" not in cls.model_fields:
            continue
        sizes = get_args(cls.model_fields["model"].annotation) if "model" in cls.model_fields else ()
        for size in (None, *sizes):
            request = sample_of(cls, loras=({"id": "any"},), **({} if size is None else {"model": size}))
            wanted = request.stored_loras().get("any") if request is not None else None
            if wanted is not None and _fits(model, wanted):
                yield cls, size
                break


def _name(model: str) -> str:
    base, _, size = model.partition(" ")
    return f"{NAMES.get(base, base)} {size}".strip()


def require_plain(lora_id: str, folder: Path, base: str | None) -> None:
    """Check a plain file that was put there by hand, if there is one.

    Raises:
        LoraIncompatibleError: its keys are those of another base model.
    """
    path = folder / f"{lora_id}{SUFFIX}"
    try:
        header = read_header(path) if path.is_file() else None
    except RylaGenError as error:  # ComfyUI will report what is wrong with it
        log.debug("%s: %s", path, error.message)
        return
    told = base_of(header) if header is not None else None
    if header is not None and told is not None:
        require_base(lora_id, f"{told} {variant_of(header, told)}".strip(), base)


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
