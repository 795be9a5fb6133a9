"""Define what steers a picture: encoded prompts, LoRA styles, faces. Plain frozen data; knows no arithmetic and no nodes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """A LoRA: a style drawn from its content, and how strongly it is applied."""

    key: int
    strength: float


@dataclass(frozen=True, eq=False)
class ReferenceFace:
    """A reference face: the picture it is in, as a small thumbnail, and how strongly it counts."""

    thumbnail: Array
    """RGB 0..1, [H, W, 3], at most 96 pixels a side."""
    identity: float
    """How far colours and features follow the reference."""
    placement: float
    """How far the place of the head follows the reference."""


@dataclass(frozen=True, eq=False)
class Control:
    """A picture whose shapes a painting follows: what a ControlNet reads."""

    hint: Array
    """RGB 0..1, [H, W, 3]."""
    strength: float
    """How far, over the whole sampling; 0 changes nothing."""
    where: Array | None = None
    """[H, W] of the hint's size: 1 where it counts; none for everywhere."""


@dataclass(frozen=True, eq=False)
class KnownPart:
    """A part of a picture or video that is given, and stays: around a hole, or the first and the last frame."""

    samples: Array
    """Latents [B, 16, h, w], or [B, 16, T, h, w] of a video."""
    free: Array
    """[B, 1, h, w] or [B, 1, T, h, w]: 0 where the latents are given, 1 where the picture is to be painted."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """One encoded prompt, with everything that nodes may add to it."""

    texts: tuple[tuple[str, float], ...] = (("", 1.0),)
    """Texts and their shares; more than one after ConditioningAverage."""
    guidance: float | None = None
    """Flux's distilled guidance; none means the model's default."""
    looks: tuple[Look, ...] = ()
    """LoRAs of the text encoder that made it."""
    faces: tuple[ReferenceFace, ...] = ()
    strength: float = 1.0
    """Its share among combined prompts."""
    start: float = 0.0
    end: float = 1.0
    """The part of the sampling it acts in, from 0 (noise) to 1 (picture)."""
    zeroed: bool = False
    """ConditioningZeroOut: says nothing at all."""
    references: tuple[Array, ...] = ()
    """Latents of pictures to edit: the first gives the layout, the others colours. A model without edits ignores them."""
    controls: tuple[Control, ...] = ()
    known: KnownPart | None = None

    def with_changes(self, **changes: object) -> Prompt:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by the dataclass itself

    def joined_text(self) -> str:
        """Join the prompt's texts, for what needs only words."""
        return "" if self.zeroed else " ".join(text for text, _ in self.texts)


Conditioning = tuple[Prompt, ...]
"""What ComfyUI calls CONDITIONING: prompts whose predictions are averaged."""


def stable_key(data: bytes | str) -> int:
    """Compute a 64-bit number that is the same in every process (Python's own ``hash`` is not)."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")
