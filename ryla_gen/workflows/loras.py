"""Define how requests name stored LoRAs, and put their loaders into graphs. Must not know a workflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Link, Node
from ..support.shell_words import path_word
from .base import Files, Workflow
from .parts import Part


def _no_file(value: object) -> object:
    """Refuse the name of a LoRA's file, and say how it gets an id."""
    if isinstance(value, str) and value.lower().endswith(".safetensors"):
        stem = re.sub(r"[^a-z0-9._-]+", "-", re.split(r"[/\\]", value)[-1].lower().removesuffix(".safetensors")).strip("._-")
        text = "This is a file, not the id of a stored LoRA. Store it: ryla-gen lora push {file} --id {id}; then name it {id}"
        raise PydanticCustomError("lora_file", text, {"file": path_word(value), "id": stem[:64] or "my-lora"})
    return value


LoraId = Annotated[str, BeforeValidator(_no_file), Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Name of a stored LoRA: 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit."""


class Lora(Part):
    """A stored LoRA and how strongly it acts."""

    _in_order: ClassVar[tuple[str, ...]] = ("id", "strength")

    id: LoraId
    """Id of the stored LoRA."""
    strength: float = Field(default=1.0, ge=-2, le=2)
    """How strongly it acts, -2 to 2: 0 not at all, 1 as trained, below 0 away from what it was trained on."""

    if TYPE_CHECKING:

        def __init__(self, id: str, strength: float = 1.0) -> None: ...  # noqa: A002 - the field's own name


if TYPE_CHECKING:
    Loras = Sequence[Lora]
else:
    Loras = tuple[Lora, ...]
    """Any sequence may be given, and type checkers are told so; held is a tuple, so that a request stays frozen."""


class LoraFields(Workflow):
    """The field of workflows that take LoRAs, and what it adds to their graphs."""

    added: ClassVar[frozenset[str]] = frozenset({"loras"})

    loras: Loras = Field(default=(), max_length=8)
    """Stored LoRAs for this model, applied in this order; at most 8."""

    def ordered_loras(self) -> tuple[Lora, ...]:
        """Return the LoRAs in the order in which they are applied."""
        return tuple(self.loras)

    def _patched(self, graph: Graph, model: Node | Link, clip: Node | Link, files: Files) -> tuple[Node | Link, Node | Link]:
        """Return a model and its text encoder with the LoRAs."""
        for lora in self.ordered_loras():
            loader = graph.add(
                "LoraLoader",
                model=model,
                clip=clip,
                lora_name=files.lora(lora.id),
                strength_model=lora.strength,
                strength_clip=lora.strength,
            )
            model, clip = loader, loader[1]
        return model, clip


def patched_model(graph: Graph, model: Node, loras: Sequence[Lora], files: Files) -> Node:
    """Return a model with LoRAs that have nothing for a text encoder, as those of video models."""
    for lora in loras:
        model = graph.add("LoraLoaderModelOnly", model=model, lora_name=files.lora(lora.id), strength_model=lora.strength)
    return model
